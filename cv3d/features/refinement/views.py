"""Pictures prepared for alignment, by kind of device: the torch reference, or a fused twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.compute import Compute
from cv3d.features.refinement.alignment import ReferencePatches, align_read_patches, read_patches
from cv3d.features.refinement.fused_view import FusedView
from cv3d.features.refinement.options import RefinementOptions
from cv3d.features.refinement.pyramid import Pyramid
from cv3d.features.refinement.results import Floats, Refinement

Picture = Tensor | NDArray[np.uint8] | NDArray[np.float32]
"""A grey picture, (H, W), uint8 or float32 in [0, 1]."""


class View(Protocol):
    """A picture in which patches are read and found."""

    @property
    def pixels(self) -> int:
        """Pixels in memory, 4 bytes each."""
        ...

    def read(self, places: Floats, affinities: Floats, options: RefinementOptions) -> ReferencePatches:
        """Read the surroundings of places (n, 2), to be found with affinities (n, 2, 2) in other views."""
        ...

    def align(
        self, references: ReferencePatches, places: Floats, affinities: Floats, options: RefinementOptions
    ) -> Refinement:
        """Find patches read in other views; see :func:`cv3d.features.refinement.alignment.align_read_patches`.

        Args:
            references: n patches, read with these affinities and options by a view of this kind.
            places: (n, 2), the start, pixels.
            affinities: (n, 2, 2), derivatives of this view's pixels by the reference's. Not finite ones are rejected.
            options: patch, iterations, and what is accepted.
        """
        ...


class TorchView:
    """The reference, on any device."""

    def __init__(self, picture: Tensor, compute: Compute) -> None:
        """Prepare a picture.

        Args:
            picture: (H, W) or (1, H, W), grey, uint8 or floating point in [0, 1].
            compute: where it goes.

        Raises:
            InputError: the picture has another shape or type, or is empty.
        """
        self._pyramid = Pyramid.build(picture, compute)
        self._compute = compute

    @property
    def pixels(self) -> int:
        """See :class:`View`."""
        return self._pyramid.plane.numel()

    def read(self, places: Floats, affinities: Floats, options: RefinementOptions) -> ReferencePatches:
        """See :class:`View`. Nothing waits for the device."""
        return read_patches(self._pyramid, self._bring(places), self._bring(affinities), options)

    def align(
        self, references: ReferencePatches, places: Floats, affinities: Floats, options: RefinementOptions
    ) -> Refinement:
        """See :class:`View`. Waits for the device."""
        found = align_read_patches(references, self._pyramid, self._bring(places), self._bring(affinities), options)
        mask = found.mask.cpu().numpy()
        keep = mask[:, None, None]
        return Refinement(
            np.where(mask[:, None], found.positions.cpu().numpy(), places).astype(np.float64),
            np.where(keep, found.covariance.cpu().numpy(), np.nan).astype(np.float64),
            np.where(keep, found.warps.cpu().numpy(), affinities).astype(np.float64),
            found.ncc.cpu().numpy(),
            found.shift.cpu().numpy(),
            mask,
        )

    def _bring(self, array: Floats) -> Tensor:
        """The array in float32 on the device. Narrowed first: Metal takes no float64."""
        return torch.from_numpy(np.require(array, np.float32, ("C", "W"))).to(self._compute.device)


TWINS: Mapping[str, Callable[[Tensor, Compute], View]] = {"cpu": FusedView}
"""What replaces the torch reference, by kind of device."""


def view_of(picture: Picture, compute: Compute) -> View:
    """A picture, prepared on a device.

    Raises:
        InputError: it is not grey, or of another type.
    """
    if not isinstance(picture, Tensor):
        # torch warns of arrays that cannot be written to, as decoders give them.
        picture = torch.from_numpy(np.require(picture, requirements=["C", "W"]))
    return TWINS.get(compute.device.type, TorchView)(picture, compute)

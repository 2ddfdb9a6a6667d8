"""The poses and the measurements of a pose graph."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from cv3d.errors import EstimationError, InputError
from cv3d.geometry.transforms import SE3, Sim3

Pose = TypeVar("Pose", SE3, Sim3)
Indices = NDArray[np.int64]

_SYMMETRIC = 1e-6
_NAMED = 5


@dataclass(frozen=True, eq=False)
class PoseGraph(Generic[Pose]):
    """Frames with poses, and measured motions between pairs of them. float64 on the CPU.

    Raises:
        InputError: shapes do not match, an index is out of range, a number is not finite, or an information matrix is
            not symmetric and positive.
    """

    world_from_node: Pose
    """Poses as far as they are known, (N,): where the search may start."""
    first: Indices
    """The frame that each measurement is seen from, (E,)."""
    second: Indices
    """The frame that it is of, (E,)."""
    first_from_second: Pose
    """The measured motions, (E,)."""
    information: Tensor
    """Inverse covariances of the measurements' errors, (E, d, d), d = 6 or 7: translation, rotation vector (radians)
    and, for similarities, logarithm of the scale of `measured^-1 @ true`, all in the second frame."""
    is_loop: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    """Measurements that may be altogether wrong, (E,); empty: those between frames that do not follow each other."""
    fixed: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    """Frames that stay where they are, (N,); empty: the first one, which is what fixes the world's frame."""

    def __post_init__(self) -> None:
        nodes, edges, dim = len(self.world_from_node), len(self.first), self.world_from_node.tangent_dim
        if not nodes:
            raise InputError("a pose graph has at least one frame")
        shapes = (self.second.shape, tuple(self.first_from_second.batch_shape), tuple(self.information.shape))
        if shapes != ((edges,), (edges,), (edges, dim, dim)):
            raise InputError(f"a pose graph of {edges} measurements has arrays of other lengths: {shapes}")
        if type(self.world_from_node) is not type(self.first_from_second):
            raise InputError("poses and measurements of a pose graph are of one kind, SE3 or Sim3")
        if not len(self.is_loop):
            object.__setattr__(self, "is_loop", np.abs(self.second - self.first) != 1)
        if not len(self.fixed):
            object.__setattr__(self, "fixed", np.arange(nodes) == 0)
        if self.is_loop.shape != (edges,) or self.fixed.shape != (nodes,):
            raise InputError("the flags of a pose graph are one for each measurement and one for each frame")
        self._check_values()

    def _check_values(self) -> None:
        ends = np.concatenate([self.first, self.second])
        if len(ends) and (ends.min() < 0 or ends.max() >= len(self)):
            raise InputError(f"a measurement of the pose graph is of a frame beyond its {len(self)}")
        itself = np.flatnonzero(self.first == self.second)
        if len(itself):
            raise InputError(
                f"measurement {itself[0]} of the pose graph is of frame {self.first[itself[0]]} and itself"
            )
        for what, tensor in (
            ("pose", self.world_from_node.parameters),
            ("measurement", self.first_from_second.parameters),
        ):
            broken = np.flatnonzero(~torch.isfinite(tensor).all(dim=-1).numpy())
            if len(broken):
                raise InputError(f"{what} {broken[0]} of the pose graph is not finite")
        information = self.information
        skew = (information - information.transpose(-1, -2)).abs().amax(dim=(-2, -1))
        largest = information.abs().amax(dim=(-2, -1))
        lowest = torch.linalg.eigvalsh(torch.nan_to_num(information)).amin(dim=-1)
        sound = (
            torch.isfinite(largest) & (skew <= _SYMMETRIC * largest) & (lowest > -_SYMMETRIC * largest) & (largest > 0)
        )
        if not bool(sound.all()):
            which = int(torch.nonzero(~sound)[0])
            raise InputError(f"the information of measurement {which} of the pose graph is not symmetric and positive")

    def __len__(self) -> int:
        return len(self.world_from_node)

    @property
    def tangent_dim(self) -> int:
        """Degrees of freedom of a frame, d."""
        return self.world_from_node.tangent_dim

    def with_poses(self, world_from_node: Pose) -> PoseGraph[Pose]:
        """The same measurements with other poses."""
        return replace(self, world_from_node=world_from_node)

    def check_connected(self) -> None:
        """See that every frame hangs together with a fixed one.

        Raises:
            EstimationError: some do not, and nothing says where they are.
        """
        links = coo_matrix((np.ones(len(self.first)), (self.first, self.second)), shape=(len(self), len(self)))
        _, part = connected_components(links, directed=False)
        loose = np.flatnonzero(~np.isin(part, part[self.fixed]))
        if len(loose):
            names = ", ".join(map(str, loose[:_NAMED])) + (", …" if len(loose) > _NAMED else "")
            raise EstimationError(
                f"{len(loose)} of {len(self)} frames of the pose graph hang together with no fixed one: {names}"
            )

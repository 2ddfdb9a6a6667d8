"""A pair of picture files made ready: read, rectified, and what is known of its cameras."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError, UsageError
from cv3d.formats.reading import read_cameras
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig
from cv3d.geometry.views.rectification import Rectification, rectify
from cv3d.media.decode import Pixels
from cv3d.media.picture import Picture
from cv3d.media.resampling import resample
from cv3d.media.sized_views import camera_at

Bytes = NDArray[np.uint8]

_PARALLEL = 1e-4
"""Most by which rotation and direction between rectified cameras may differ from what they should be, radians."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """What is known of a rectified pair's cameras."""

    camera: Camera
    """Pinhole, of the left picture."""
    baseline: float
    """Distance between the cameras, in the rig's unit."""
    principal_offset_px: float = 0.0
    """Principal column of the right camera minus the left one's."""
    rectification: Rectification | None = None
    """Where the pictures were rectified here."""


@dataclass(frozen=True, eq=False)
class StereoPair:
    """Two pictures whose counterparts lie on one row (one column, where the cameras are one above the other)."""

    names: tuple[str, str]
    left: Bytes
    """(h, w, 3) RGB."""
    right: Bytes
    """(h, w, 3) RGB."""
    geometry: Geometry | None = None
    is_metric: bool = False
    """Whether the baseline is in metres."""
    warnings: tuple[str, ...] = ()

    @property
    def is_vertical(self) -> bool:
        """Whether the second camera is below the first."""
        rectification = None if self.geometry is None else self.geometry.rectification
        return rectification is not None and rectification.is_vertical

    @property
    def seen(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which pixels of either picture the camera saw, (h, w)."""
        rectification = None if self.geometry is None else self.geometry.rectification
        if rectification is None:
            return np.ones(self.left.shape[:2], bool), np.ones(self.left.shape[:2], bool)
        return rectification.first.map.valid, rectification.second.map.valid


def read_pair(
    left: str | Path, right: str | Path, rig: Rig | str | Path | None, cameras: tuple[int, int], is_rectified: bool
) -> StereoPair:
    """Read two picture files, and rectify them where there is a rig and they are not rectified yet.

    Raises:
        InputError: a file is no picture, the sizes differ, or the rig has no such posed cameras side by side.
        EstimationError: the pair cannot be rectified.
        UsageError: pictures are said to be rectified that the rig's cameras do not take.
    """
    pictures = [Picture(Path(one).name, Path(one)) for one in (left, right)]
    pixels = [picture.read_rgb() for picture in pictures]
    names = pictures[0].name, pictures[1].name
    notes = _depth_notes(pixels)
    if rig is None:
        sizes = [f"{one.array.shape[1]}x{one.array.shape[0]}" for one in pixels]
        if sizes[0] != sizes[1]:
            raise InputError(
                f"{names[0]} is {sizes[0]}, {names[1]} is {sizes[1]}: pictures of a rectified pair have one size; give "
                "the pair's calibration to have it rectified"
            )
        return StereoPair(names, pixels[0].array, pixels[1].array, warnings=notes)
    posed = rig if isinstance(rig, Rig) else read_cameras(rig)
    if len(set(cameras)) != 2 or not all(0 <= index < len(posed.cameras) for index in cameras):
        raise UsageError(f"a pair is two different cameras of {len(posed.cameras)}, not {cameras[0]} and {cameras[1]}")
    right_from_left = posed.cam_from_cam(cameras[1], cameras[0])
    fitting = []
    for index, one, name in zip(cameras, pixels, names, strict=True):
        fitting.append(camera_at(posed.cameras[index].camera, one.array.shape[1], one.array.shape[0], name))
    if is_rectified:
        geometry = _as_rectified(fitting[0], fitting[1], right_from_left)
        return StereoPair(names, pixels[0].array, pixels[1].array, geometry, posed.is_metric, notes)
    made = rectify(fitting[0], fitting[1], right_from_left)
    if made.second.projection[int(made.is_vertical), 3] > 0.0:
        side = "above" if made.is_vertical else "left of"
        raise InputError(
            f"by its calibration the second camera is {side} the first: give pictures and cameras the other way round"
        )
    views = [
        np.asarray(resample(half.map, one.array), dtype=np.uint8)
        for half, one in zip((made.first, made.second), pixels, strict=True)
    ]
    geometry = Geometry(made.target, made.baseline, 0.0, made)
    return StereoPair(names, views[0], views[1], geometry, posed.is_metric, notes)


def _as_rectified(left: Camera, right: Camera, right_from_left: NDArray[np.float64]) -> Geometry:
    """The geometry of pictures that came rectified."""
    if (left.width, left.height) != (right.width, right.height):
        raise InputError("the pictures of a rectified pair have one size")
    baseline = float(np.linalg.norm(right_from_left[:3, 3]))
    if not baseline > 0.0:
        raise InputError("the two cameras of the rig are in the same place: no depth can be had from them")
    turned = float(np.abs(right_from_left[:3, :3] - np.eye(3)).max())
    aside = float(np.abs(right_from_left[:3, 3] / baseline - (-1.0, 0.0, 0.0)).max())
    fits = np.allclose(left.params[:2], right.params[:2]) and abs(left.params[3] - right.params[3]) < 0.01
    if {left.model, right.model} != {"pinhole"} or max(turned, aside) > _PARALLEL or not fits:
        raise UsageError(
            "the rig's cameras do not take rectified pictures: these need pinhole cameras with one focal length and "
            "parallel axes, the second one to the right; leave it to cv3d to rectify"
        )
    return Geometry(left, baseline, right.params[2] - left.params[2])


def _depth_notes(pixels: list[Pixels]) -> tuple[str, ...]:
    bits = [one.bits for one in pixels]
    if bits[0] == bits[1]:
        return ()
    return (f"the pictures seem to have {bits[0]} and {bits[1]} bits a sample, and other brightness",)


def turned(pair: StereoPair) -> StereoPair:
    """The pair with rows and columns exchanged, for cameras one above the other."""
    across = [np.ascontiguousarray(one.transpose(1, 0, 2)) for one in (pair.left, pair.right)]
    return replace(pair, left=across[0], right=across[1])

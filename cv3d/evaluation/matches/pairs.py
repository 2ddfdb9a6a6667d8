"""What matchers are evaluated on: pairs of pictures with their truth, and what a matcher has to give for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.cameras.camera import Camera
from cv3d.media.picture import Picture

Floats = NDArray[np.float64]

_SAME_SHAPE = 5e-3
"""Relative difference of the aspect ratios up to which a picture is a resized one of its camera."""


@dataclass(frozen=True, eq=False)
class PairView:
    """One picture of a pair, as it is matched."""

    picture: Picture
    turns: int = 0
    """Quarter turns counterclockwise by which it is turned before anything else."""
    camera: Camera | None = None
    """Of the picture before it is turned."""
    matrix: Floats | None = None
    """K, (3, 3), of the picture before it is turned, where its size is not known; pixels."""

    @property
    def key(self) -> str:
        """The same for the same pixels."""
        return f"{self.picture.source}#{self.turns}"

    def read(self) -> NDArray[np.uint8]:
        """The pixels as they are matched, (H, W, 3) RGB.

        Raises:
            PictureError: the picture cannot be read.
        """
        return np.ascontiguousarray(np.rot90(self.picture.read_rgb().array, self.turns))

    def camera_of(self, width: int, height: int) -> Camera | None:
        """The camera of the picture as it is matched; None where it has none.

        Args:
            width: of the picture as it is matched, pixels.
            height: of the picture as it is matched, pixels.

        Raises:
            InputError: the picture is not one of its camera's, by its shape.
        """
        stored = (height, width) if self.turns % 2 else (width, height)
        if self.matrix is not None:
            fx, fy, cx, cy = (float(self.matrix[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
            return turned_pinhole(Camera("pinhole", *stored, (fx, fy, cx, cy)), self.turns)
        if self.camera is None:
            return None
        known = self.camera.width, self.camera.height
        if abs(stored[0] * known[1] / (stored[1] * known[0]) - 1.0) > _SAME_SHAPE:
            raise InputError(
                f"{self.picture.name}: is {stored[0]}x{stored[1]} pixels, but its camera takes {known[0]}x{known[1]}"
            )
        camera = self.camera if stored == known else self.camera.scaled(stored[0] / known[0])
        return camera if self.turns == 0 else turned_pinhole(camera, self.turns)


@dataclass(frozen=True, eq=False)
class PoseTruth:
    """The true relative pose of two pictures."""

    cam1_from_cam0: Floats
    """(4, 4), of the pictures before they are turned."""

    def between(self, first: PairView, second: PairView) -> Floats:
        """cam1_from_cam0, (4, 4), of the pictures as they are matched."""
        return quarter_turn(second.turns) @ self.cam1_from_cam0 @ quarter_turn(first.turns).T


@dataclass(frozen=True, eq=False)
class HomographyTruth:
    """The true homography of two pictures of a plane."""

    matrix: Floats
    """H with x1 ~ H x0, pixels, (3, 3)."""


@dataclass(frozen=True, eq=False)
class TruePair:
    """Two pictures, and what is true about them."""

    name: str
    first: PairView
    second: PairView
    truth: PoseTruth | HomographyTruth


class PairMatches(Protocol):
    """What a matcher found in two pictures."""

    @property
    def points0(self) -> Floats:
        """Matched keypoints of the first picture, (n, 2), pixels."""

    @property
    def points1(self) -> Floats:
        """Those of the second, (n, 2), pixels."""

    @property
    def keypoints(self) -> tuple[int, int]:
        """How many keypoints there are in either picture, matched or not."""

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Width and height of either picture, pixels."""

    @property
    def extract_seconds(self) -> tuple[float, ...]:
        """How long each extraction took that was done for this pair: none, one or two."""

    @property
    def match_seconds(self) -> float:
        """How long the matching took."""


class PairMatcher(Protocol):
    """Finds keypoints in two pictures and matches them."""

    def __call__(self, first: PairView, second: PairView) -> PairMatches:
        """The matches of two pictures.

        Raises:
            PictureError: one of them cannot be read.
        """
        ...


def quarter_turn(turns: int) -> Floats:
    """turned_from_stored, (4, 4), of the camera of a picture that is turned counterclockwise by quarters.

    A quarter carries pixel (x, y) of a picture of width w to (y, w - 1 - x), and so x to y and y to -x of the camera.
    """
    quarter = np.eye(4)
    quarter[:2, :2] = [[0.0, 1.0], [-1.0, 0.0]]
    return np.linalg.matrix_power(quarter, turns % 4)


def turned_pinhole(camera: Camera, turns: int) -> Camera:
    """The camera of the same pictures turned counterclockwise by quarters.

    Raises:
        InputError: it is no pinhole camera.
    """
    if camera.model != "pinhole":
        raise InputError(f"pictures of a '{camera.model}' camera cannot be turned, only those of a pinhole")
    for _ in range(turns % 4):
        fx, fy, cx, cy = camera.params
        camera = Camera("pinhole", camera.height, camera.width, (fy, fx, cy, camera.width - 1.0 - cx))
    return camera

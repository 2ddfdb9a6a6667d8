"""What happens in every frame on the device: follow, check backwards, align with the references, look for keypoints.

Everything of one frame comes back in one tensor, so the host waits once. The sets have a fixed size and are padded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.compute import Compute
from cv3d.features.extractors.base import Extractor, Features
from cv3d.features.tracks.alignment import References, align
from cv3d.features.tracks.lucas_kanade import FlowOptions, follow
from cv3d.features.tracks.opencv_flow import follow_opencv
from cv3d.features.tracks.options import TrackOptions
from cv3d.features.tracks.pyramid import Pyramid, build_pyramid

Kind = TypeVar("Kind", bound=np.generic)
Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

Bools = NDArray[np.bool_]

Twin = Callable[[Image, Image, Floats, Floats, FlowOptions], tuple[Floats, Bools]]
TWINS: Mapping[str, Twin] = {"cpu": follow_opencv}
"""What follows points instead of the torch reference, by kind of device. 500 points of VGA frames, forward only, one
core: 340 ms become 10."""


_SURE = 0.82
"""Least cosine of a point and the keypoint at which it is expected: XFeat's authors' value where errors are costly."""


@dataclass(frozen=True)
class Keypoints:
    """What the extractor found in a key frame."""

    pixels: Floats
    """(k, 2), pixels, strongest first."""
    scores: Floats
    """(k,)"""
    descriptors: Floats
    """(k, D), of unit length."""


NO_KEYPOINTS = Keypoints(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, 0), np.float32))


@dataclass(frozen=True)
class Stepped:
    """What became of the points of the frame before."""

    followed: Floats
    """(n, 2) where frame-to-frame flow puts them, pixels."""
    is_followed: NDArray[np.bool_]
    """(n,) whether it could follow them there and back."""
    error: Floats
    """(n,) forward-backward error, pixels."""
    aligned: Floats
    """(n, 2) where their reference patches are, pixels."""
    warps: Floats
    """(n, 2, 2) as :class:`cv3d.features.tracks.alignment.Aligned` has them."""
    ncc: Floats
    """(n,) of the aligned patches."""
    covariance: Floats
    """(n, 3) of the aligned place (xx, yy, xy), pixels²."""
    keypoints: Keypoints | None
    """Where they were asked for."""


class Stepper:
    """Holds the last frame and the reference patches on the device."""

    def __init__(self, compute: Compute, options: TrackOptions, extractor: Extractor) -> None:
        self._device = compute.device
        self._options = options
        self._extractor = extractor
        self._twin = TWINS.get(compute.device.type)
        # Row 0 is for padding; the others are handed out by the host.
        self.row_count = options.max_tracks + options.max_lost + 1
        self._references = References.empty(self.row_count, options.alignment, compute.device)
        self._image: Image | None = None
        self._pyramid: Pyramid | None = None

    def forget_frame(self) -> None:
        """Nothing will be followed into the next frame."""
        self._image = self._pyramid = None

    @torch.no_grad()
    def step(
        self,
        image: Image,
        pixels: Floats,
        guess: Floats,
        rows: NDArray[np.int64],
        warps: Floats,
        descriptors: Floats,
        is_key: bool,
    ) -> Stepped:
        """Take the points of the last frame to the next, which becomes the last.

        Args:
            image: (H, W) the next frame, grey, of the last one's size where there are points.
            pixels: (n, 2) in the last frame.
            guess: (n, 2) where they are expected.
            rows: (n,) of their reference patches.
            warps: (n, 2, 2) of their patches in the last frame.
            descriptors: (n, D) of the points; where a keypoint of a key frame has a point's, that is where it is
                expected.
            is_key: whether to look for keypoints, too.
        """
        before, before_image = self._pyramid, self._image
        gray = torch.from_numpy(image).to(self._device)
        # Where a twin follows the points, only the finest level is read.
        has_twin = self._twin is not None
        level_count = 1 if has_twin else self._options.flow.levels
        self._pyramid, self._image = build_pyramid(gray.float(), level_count, has_derivatives=not has_twin), image
        features = self._extractor.extract(gray[None, None]) if is_key else None
        parts: list[Tensor] = []
        count = len(pixels)
        if count and before is not None and before_image is not None:
            size = self._padded(count)
            expected = torch.from_numpy(_padded(guess, size)).to(self._device)
            if features is not None:
                described = torch.from_numpy(_padded(descriptors, size)).to(self._device)
                expected = _expected(features, described, expected)
            frames = before, self._pyramid, before_image, image
            parts.append(self._move(frames, pixels, expected, rows, warps))
        if features is not None:
            parts += [features.keypoints[0], features.scores[0], features.descriptors[0].float()]
        if not parts:
            return _stepped(np.zeros((0, 14), np.float32), None)
        flat = torch.cat([part.reshape(-1) for part in parts]).cpu().numpy()
        moved, rest = flat[: 14 * self._padded(count)], flat[14 * self._padded(count) :]
        found = _unpack_keypoints(rest, self._extractor) if is_key else None
        return _stepped(moved.reshape(-1, 14)[:count], found)

    @torch.no_grad()
    def take(self, pixels: Floats, rows: NDArray[np.int64]) -> None:
        """Make the surroundings of places in the last frame the references of some rows."""
        if self._pyramid is None or not len(rows):
            return
        size = self._padded(len(rows))
        places = torch.from_numpy(_padded(pixels, size)).to(self._device)
        index = np.zeros(size, np.int64)
        index[: len(rows)] = rows
        self._references.take(self._pyramid.levels[0], places, torch.from_numpy(index).to(self._device))

    def _move(
        self,
        frames: tuple[Pyramid, Pyramid, Image, Image],
        pixels: Floats,
        guess: Tensor,
        rows: NDArray[np.int64],
        warps: Floats,
    ) -> Tensor:
        """(n, 14) what :func:`_stepped` takes apart."""
        before, present, before_image, image = frames
        options = self._options.flow
        size = self._padded(len(pixels))
        start = torch.from_numpy(_padded(pixels, size)).to(self._device)
        if self._twin is not None:
            expected: Floats = guess.numpy()
            there, is_there = self._twin(before_image, image, pixels, expected, options)
            back, is_back = self._twin(image, before_image, there, there - (expected - pixels), options)
            followed = torch.from_numpy(_padded(there, size)).to(self._device)
            returned = torch.from_numpy(_padded(back, size)).to(self._device)
            good = torch.from_numpy(_padded((is_there & is_back).astype(np.float32), size)).to(self._device)
        else:
            followed, is_there_ = follow(before, present, start, guess, options)
            returned, is_back_ = follow(present, before, followed, followed - (guess - start), options)
            good = (is_there_ & is_back_).float()
        error = (returned - start).norm(dim=1)
        index = torch.from_numpy(_padded(rows, size)).to(self._device)
        turned = torch.from_numpy(_padded(warps, size)).to(self._device)
        found = align(present.levels[0], self._references, index, followed, turned, self._options.alignment)
        columns = (followed, good[:, None], error[:, None], found.pixels, found.warps.flatten(1), found.ncc[:, None])
        return torch.cat((*columns, found.covariance), 1)

    def _padded(self, count: int) -> int:
        """How many entries the device works on for `count` points."""
        if count == 0:
            return 0
        if self._twin is not None:
            return count
        whole = self._options.max_tracks
        return whole * -(-count // whole)


def _expected(features: Features, descriptors: Tensor, guess: Tensor) -> Tensor:
    """(n, 2) keypoints that are mutual nearest neighbours of points with descriptors (n, D); else the guess."""
    described = features.descriptors[0].float()
    similarity = descriptors @ described.T
    cosine, best = similarity.max(1)
    back = similarity.argmax(0)
    here = torch.arange(len(descriptors), device=descriptors.device)
    is_match = (back[best] == here) & (cosine > _SURE) & features.mask[0][best]
    return torch.where(is_match[:, None], features.keypoints[0][best], guess)


def _padded(values: NDArray[Kind], size: int) -> NDArray[Kind]:
    """The values with zeros behind them up to `size`."""
    values = np.ascontiguousarray(values)
    if len(values) == size:
        return values
    result = np.zeros((size, *values.shape[1:]), values.dtype)
    result[: len(values)] = values
    return result


def _unpack_keypoints(flat: Floats, extractor: Extractor) -> Keypoints:
    count, size = extractor.max_keypoints, extractor.descriptor_size
    pixels, scores, descriptors = np.split(flat, (2 * count, 3 * count))
    is_there = scores > 0.0
    return Keypoints(pixels.reshape(count, 2)[is_there], scores[is_there], descriptors.reshape(count, size)[is_there])


def _stepped(rows: Floats, keypoints: Keypoints | None) -> Stepped:
    return Stepped(
        followed=rows[:, :2],
        is_followed=rows[:, 2] > 0.5,
        error=rows[:, 3],
        aligned=rows[:, 4:6],
        warps=rows[:, 6:10].reshape(-1, 2, 2),
        ncc=rows[:, 10],
        covariance=rows[:, 11:14],
        keypoints=keypoints,
    )

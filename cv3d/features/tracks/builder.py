"""Tracks of a stream of frames, one frame at a time, in bounded memory: the same for a file and a live camera."""

from __future__ import annotations

import time as clock
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features.extractors.base import Extractor
from cv3d.features.extractors.xfeat import XFeat, XFeatOptions
from cv3d.features.tracks.frame_tracks import Frame, FrameStatistics, FrameTracks
from cv3d.features.tracks.options import TrackOptions
from cv3d.features.tracks.points import Points
from cv3d.features.tracks.relinking import carry_along, find_again, neighbours_velocity
from cv3d.features.tracks.seeding import choose_seeds
from cv3d.features.tracks.stepping import Keypoints, Stepped, Stepper
from cv3d.features.tracks.tracks import Flag
from cv3d.features.tracks.verifying import contradicting
from cv3d.geometry.cameras.camera import Camera

_MARGIN = 2.0
"""Nearest that a followed point lies to the border, pixels."""
_DRIFT = np.array([0.01, 0.01, 0.0], np.float32)
"""What a frame of flow alone adds to a place's covariance (xx, yy, xy), pixels²."""
_SAME_POINT = 1.5
"""Two tracks nearer than this are of one point, pixels."""
_NEAR_KEYPOINT = 2.0
"""A keypoint nearer than this describes a followed point, pixels."""
_STARVING = 0.25
"""With less than this share of the points asked for, key frames may follow each other soon."""
_HARD = 0.15
"""Where more than this share of the points gets lost in a frame, the motion is hard to follow without keypoints."""
_SOON = 0.1
"""How soon, as a share of the usual gap."""
_LONGEST_STEP_S = 0.5
"""Over a longer gap between frames, no velocity is carried on."""
_LEAST_SIDE = 32


@dataclass
class _Course:
    """What happens in one frame."""

    index: int
    time: float
    size: tuple[int, int]
    started: float
    lost: int = 0
    relinked: int = 0
    merged: list[tuple[int, int]] = field(default_factory=list)
    note: str = ""


class TrackBuilder:
    """Follows points from frame to frame.

    Points begin at keypoints of key frames. In each frame they are followed by pyramidal Lucas-Kanade, there and back,
    and then placed where their reference patch, the one that they began with, fits under an affine warp. Points that
    get lost are carried along with their neighbours for a while; where a keypoint of a later key frame has their
    descriptor near their expected place, and their reference patch fits there in the frame after it, they are found
    again. Whether a key frame is due is decided on the frame before, so a frame waits for the device once.

    Memory depends on the options alone, not on the number of frames.
    """

    def __init__(
        self,
        compute: Compute,
        options: TrackOptions | None = None,
        camera: Camera | None = None,
        extractor: Extractor | None = None,
    ) -> None:
        """Load the extractor.

        Args:
            compute: device and precision.
            options: how to track.
            camera: of all frames, where it is known; the verification of key frames then uses it.
            extractor: finds and describes keypoints; XFeat by default.

        Raises:
            DependencyError: the extractor's weights are not here.
        """
        self.options = options or TrackOptions()
        self.camera = camera
        extractor = extractor or XFeat(compute, XFeatOptions(max_keypoints=self.options.max_keypoints))
        self._descriptor_size = extractor.descriptor_size
        self._stepper = Stepper(compute, self.options, extractor)
        self._next_frame = 0
        self._next_id = 0
        self._size: tuple[int, int] | None = None
        self._last_time = 0.0
        self._is_key_due = True
        self._forget()

    def add(self, frame: Frame) -> FrameTracks:
        """Take the next frame.

        Where its size differs from the last one's, all tracks end and new ones begin, and the note says so.

        Raises:
            InputError: the frame is no grey picture, or smaller than 32 pixels.
        """
        started = clock.perf_counter()
        # A copy: a live camera may write its next frame into the same memory.
        image = np.array(frame.gray(), order="C")
        if image.ndim != 2 or image.dtype != np.uint8 or min(image.shape) < _LEAST_SIDE:
            raise InputError(
                f"frame {self._next_frame}: a frame to track in is grey, (H, W) uint8, at least {_LEAST_SIDE} pixels "
                f"on each side, not {image.shape} {image.dtype}"
            )
        course = _Course(self._next_frame, float(frame.time), (image.shape[1], image.shape[0]), started)
        if self._size is not None and course.size != self._size:
            before = "x".join(map(str, self._size))
            course.note = f"the size changes from {before} to {course.size[0]}x{course.size[1]}: all tracks end here"
            course.lost = len(self._live)
            self._forget()
        self._size = course.size
        is_key = self._is_key_due
        keypoints = self._advance(image, course, is_key)
        if keypoints is not None:
            self._renew(keypoints, course)
        self._is_key_due = self._needs_key(course)
        self._next_frame += 1
        self._last_time = course.time
        return self._observed(course, is_key)

    def _forget(self) -> None:
        """Begin anew: no points, no memory of any."""
        self._live = Points.none(self._descriptor_size)
        self._lost = Points.none(self._descriptor_size)
        self._tentative = Points.none(self._descriptor_size)
        self._free = list(range(self._stepper.row_count - 1, 0, -1))
        self._is_key_due = True
        self._key_time = self._verified_time = -np.inf
        self._key_count = 0
        self._stepper.forget_frame()

    def _advance(self, image: NDArray[np.uint8], course: _Course, is_key: bool) -> Keypoints | None:
        """Follow all points into the frame, and judge where they came to."""
        live_count = len(self._live)
        moving = Points.joined([self._live, self._tentative])
        dt = course.time - self._last_time
        guess = moving.pixels.copy()
        if 0.0 < dt < _LONGEST_STEP_S:
            guess += moving.velocity * np.float32(dt)
        step = self._stepper.step(image, moving.pixels, guess, moving.rows, moving.warps, moving.descriptors, is_key)
        fits = _fits(step, course.size, self.options)
        drifts = _drifts(step, course.size, self.options) & ~fits & (moving.astray < self.options.max_astray)
        drifts[live_count:] = False
        good = fits | drifts
        before = moving.pixels
        moving.error = step.error.astype(np.float32)
        moving.warps = np.where(fits[:, None, None], step.warps, moving.warps)
        moving.covariance = np.where(fits[:, None], step.covariance, moving.covariance + _DRIFT).astype(np.float32)
        moving.pixels = np.where(fits[:, None], step.aligned, np.where(drifts[:, None], step.followed, moving.pixels))
        moving.astray = np.where(fits, 0, moving.astray + 1).astype(np.int32)
        moving.flags = np.where(fits, Flag.ALIGNED, Flag.NONE).astype(np.uint8)
        if dt > 0.0:
            moving.velocity = ((moving.pixels - before) / np.float32(dt)).astype(np.float32)
        live, tentative = moving[:live_count], moving[live_count:]
        is_here, is_found = good[:live_count], good[live_count:]
        carry_along(self._lost, before[:live_count][is_here], live.pixels[is_here])
        gone, kept = self._live[~is_here], live[is_here]
        failed, found = self._tentative[~is_found], tentative[is_found]
        kept = self._settle(kept, found, course)
        carry_along(gone, before[:live_count][is_here], live.pixels[is_here])
        course.lost += len(gone)
        self._live = self._rereferenced(kept)
        self._live.last[:] = course.index
        self._live.last_time[:] = course.time
        self._live.last_pixels = self._live.pixels.copy()
        self._tentative = Points.none(self._descriptor_size)
        self._remember([self._lost, failed, gone], course)
        return step.keypoints

    def _settle(self, kept: Points, found: Points, course: _Course) -> Points:
        """Join points found again to those that are followed; one point of the scene keeps one track."""
        found.flags |= np.uint8(Flag.RELINKED)
        found.error[:] = np.nan
        joined = Points.joined([kept, found])
        is_found = np.arange(len(joined)) >= len(kept)
        drop = np.zeros(len(joined), bool)
        for i, j in _pairs_within(joined.pixels, _SAME_POINT):
            if drop[i] or drop[j]:
                continue
            # The older stays. If the younger began after it was lost, the younger's past becomes its own.
            old, young = (i, j) if joined.first[i] <= joined.first[j] else (j, i)
            if is_found[old] and not is_found[young] and joined.first[young] > joined.last[old]:
                course.merged.append((int(joined.ids[old]), int(joined.ids[young])))
                drop[young] = True
            elif is_found[young] and not is_found[old]:
                drop[young] = True
            elif is_found[old] and not is_found[young]:
                drop[old] = True
            else:
                drop[young] = True
        self._release(joined[drop])
        merged_away = {away for _, away in course.merged}
        course.lost += int((drop & ~is_found & ~np.isin(joined.ids, list(merged_away))).sum())
        course.relinked += int((is_found & ~drop).sum())
        return joined[~drop]

    def _rereferenced(self, points: Points) -> Points:
        """New reference patches for points whose view has changed too much for the old one."""
        if not len(points):
            return points
        stretched = _stretch(points.warps) > self.options.max_scale
        if stretched.any():
            self._stepper.take(points.pixels[stretched], points.rows[stretched])
            points.warps[stretched] = np.eye(2, dtype=np.float32)
            points.flags[stretched] |= np.uint8(Flag.REFERENCE)
        return points

    def _renew(self, keypoints: Keypoints, course: _Course) -> None:
        """What a key frame is for: verify, describe, find again, begin."""
        if self.options.is_verified and course.time - self._verified_time >= self.options.verify_gap_s:
            wrong = contradicting(self._live.key_pixels, self._live.pixels, self.camera, self.options)
            # A point that contradicts the others is not one to look for.
            self._release(self._live[wrong])
            course.lost += int((wrong & (self._live.flags & Flag.RELINKED == 0)).sum())
            course.relinked -= int((wrong & (self._live.flags & Flag.RELINKED > 0)).sum())
            self._live = self._live[~wrong]
            self._live.key_pixels = self._live.pixels.copy()
            self._verified_time = course.time
        _describe(self._live, keypoints)
        chosen, of_keypoint = find_again(self._lost, keypoints, course.time, self.options)
        self._tentative = self._lost[chosen]
        self._tentative.pixels = keypoints.pixels[of_keypoint].copy()
        if len(self._live):
            self._tentative.velocity = neighbours_velocity(self._tentative.pixels, self._live)
        is_left = np.ones(len(self._lost), bool)
        is_left[chosen] = False
        self._lost = self._lost[is_left]
        taken = np.concatenate([self._live.pixels, self._tentative.pixels])
        room = min(self.options.max_tracks - len(taken), len(self._free))
        picked = choose_seeds(keypoints.pixels, taken, course.size, room, self.options.min_distance)
        rows = np.array([self._free.pop() for _ in range(len(picked))], np.int64)
        ids = np.arange(self._next_id, self._next_id + len(picked), dtype=np.int32)
        self._next_id += len(picked)
        pixels = keypoints.pixels[picked].copy()
        self._stepper.take(pixels, rows)
        begun = Points.begun(
            ids, rows, course.index, course.time, pixels, keypoints.descriptors[picked], int(Flag.SEED)
        )
        if self._verified_time == course.time:
            begun.key_pixels = pixels.copy()
        if len(self._live):
            begun.velocity = neighbours_velocity(begun.pixels, self._live)
        self._live = Points.joined([self._live, begun])
        self._key_time, self._key_count = course.time, len(self._live)

    def _remember(self, parts: list[Points], course: _Course) -> None:
        """Keep lost points that may come back, the latest first."""
        lost = Points.joined(parts)
        is_young = course.time - lost.last_time <= self.options.relink_s
        order = np.argsort(-lost.last, kind="stable")
        kept = order[is_young[order]][: self.options.max_lost]
        is_kept = np.zeros(len(lost), bool)
        is_kept[kept] = True
        self._release(lost[~is_kept])
        self._lost = lost[is_kept]

    def _release(self, points: Points) -> None:
        """Hand back the rows of points that are given up."""
        self._free.extend(points.rows.tolist())

    def _needs_key(self, course: _Course) -> bool:
        count, options = len(self._live), self.options
        if count < options.key_share * self._key_count or course.lost > _HARD * (count + course.lost):
            return True
        gap = course.time - self._key_time
        if count < _STARVING * options.max_tracks and gap >= _SOON * options.key_gap_s:
            return True
        return count < options.key_share * options.max_tracks and gap >= options.key_gap_s

    def _observed(self, course: _Course, is_key: bool) -> FrameTracks:
        live = self._live[np.argsort(self._live.ids)]
        is_new = live.flags & Flag.SEED > 0
        followed = np.isfinite(live.error)
        error = float(np.median(live.error[followed])) if followed.any() else float("nan")
        return FrameTracks(
            index=course.index,
            time=course.time,
            size=course.size,
            tracks=live.ids.copy(),
            pixels=live.pixels.copy(),
            error=live.error.copy(),
            covariance=live.covariance.copy(),
            flags=live.flags.copy(),
            merged=np.array(course.merged, np.int32).reshape(-1, 2),
            statistics=FrameStatistics(
                alive=len(live),
                new=int(is_new.sum()),
                lost=course.lost,
                relinked=course.relinked,
                error=error,
                is_key=is_key,
                ms=1e3 * (clock.perf_counter() - course.started),
                note=course.note,
            ),
        )


def _drifts(step: Stepped, size: tuple[int, int], options: TrackOptions) -> NDArray[np.bool_]:
    """(n,) whether a point may go on where flow alone puts it."""
    well = step.is_followed & (step.error <= options.max_forward_backward) & (step.ncc >= options.min_astray_ncc)
    return np.asarray(well & _is_inside(step.followed, size), bool)


def _is_inside(pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    limit = np.array(size, np.float32) - 1.0 - _MARGIN
    return np.asarray((pixels >= _MARGIN).all(1) & (pixels <= limit).all(1), bool)


def _fits(step: Stepped, size: tuple[int, int], options: TrackOptions) -> NDArray[np.bool_]:
    """(n,) whether a point's reference patch is found where flow says that it is."""
    xx, yy, xy = step.covariance.T
    worst = 0.5 * (xx + yy) + np.sqrt(0.25 * (xx - yy) ** 2 + xy**2)
    pull = np.linalg.norm(step.aligned - step.followed, axis=1)
    well = step.is_followed & (step.error <= options.max_forward_backward)
    well &= (step.ncc >= options.min_ncc) & (pull <= options.max_pull) & (worst <= options.max_deviation**2)
    well &= _is_inside(step.aligned, size)
    return np.asarray(well & (_stretch(step.warps) < 2.0 * options.max_scale), bool)


def _stretch(warps: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) the factor by which warps (n, 2, 2) stretch or squeeze most; infinite where they fold or are not finite."""
    finite = np.asarray(np.isfinite(warps).all((1, 2)), bool).reshape(-1)
    warps = np.where(finite[:, None, None], warps, 1.0)
    a, b, c, d = warps[:, 0, 0], warps[:, 0, 1], warps[:, 1, 0], warps[:, 1, 1]
    half = 0.5 * (a * a + b * b + c * c + d * d)
    determinant = a * d - b * c
    # The singular values of a 2 × 2 matrix from its norm and its determinant.
    apart = np.sqrt(np.maximum(half * half - determinant * determinant, 0.0))
    largest = np.sqrt(half + apart)
    smallest = np.abs(determinant) / np.maximum(largest, 1e-12)
    stretch = np.maximum(largest, 1.0 / np.maximum(smallest, 1e-12))
    return np.where(finite & (determinant > 0.0), stretch, np.inf).astype(np.float32)


def _pairs_within(pixels: NDArray[np.float32], distance: float) -> list[tuple[int, int]]:
    from scipy.spatial import cKDTree

    if len(pixels) < 2:
        return []
    pairs = cKDTree(pixels).query_pairs(distance, output_type="ndarray")
    return sorted(map(tuple, pairs.tolist()))


def _describe(points: Points, keypoints: Keypoints) -> None:
    """Give points the descriptor of the keypoint that lies on them."""
    from scipy.spatial import cKDTree

    if not len(points) or not len(keypoints.pixels):
        return
    distance, nearest = cKDTree(keypoints.pixels).query(points.pixels)
    is_near = np.flatnonzero(np.asarray(distance) < _NEAR_KEYPOINT)
    points.descriptors[is_near] = keypoints.descriptors[nearest[is_near]]

"""Tracks beside OpenCV's usual recipe, frame by frame in turns, in one process, held against the truth.

    python tests/benchmarks/tracks_vs_klt.py --data ../shared/data
    python tests/benchmarks/tracks_vs_klt.py --only room --threads 1

The peer is `goodFeaturesToTrack` with `calcOpticalFlowPyrLK` there and back (21 × 21 window, 4 levels, forward-backward
error up to 1 px), refilled to the same number of points whenever a fifth of them is gone. Points are what both see at
their first observation. "Kept" are the tracks that are right among the points still in sight; "hidden" are observations
of points that are out of sight.

On `room.mp4` the truth is exact; on 7-Scenes it is good to a few pixels only (see track_truth.py); on KITTI it is the
distance from the epipolar line of the true poses.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from track_truth import Kitti, Room, SevenScenes, score

import cv3d
from cv3d.compute import Compute
from cv3d.features.tracks import Frame, FrameStatistics, FrameTracks, TrackBuilder, TrackCollector, TrackOptions, Tracks

AGES = (1, 10, 30, 80)
KITTI_AGES = (1, 3, 10, 20)


class Klt:
    """The peer."""

    def __init__(self, count: int, window: int = 21, distance: float = 10.0) -> None:
        self._count, self._window, self._distance = count, window, distance
        self._image: NDArray[np.uint8] | None = None
        self._pixels = np.zeros((0, 2), np.float32)
        self._ids = np.zeros(0, np.int32)
        self._next_id = self._next_frame = 0

    def add(self, frame: Frame) -> FrameTracks:
        image = frame.gray()
        error = np.zeros(0, np.float32)
        if self._image is not None and len(self._pixels):
            found, is_found = self._flow(self._image, image, self._pixels)
            back, is_back = self._flow(image, self._image, found)
            error = np.linalg.norm(back - self._pixels, axis=1)
            limit = np.array(image.shape[::-1]) - 1
            good = is_found & is_back & (error < 1.0) & (found >= 0).all(1) & (found <= limit).all(1)
            self._pixels, self._ids, error = found[good], self._ids[good], error[good]
        new = self._corners(image)
        ids = np.arange(self._next_id, self._next_id + len(new), dtype=np.int32)
        self._next_id += len(new)
        self._pixels, self._ids = np.concatenate([self._pixels, new]), np.concatenate([self._ids, ids])
        self._image = image
        self._next_frame += 1
        count = len(self._ids)
        return FrameTracks(
            index=self._next_frame - 1,
            time=frame.time,
            size=(image.shape[1], image.shape[0]),
            tracks=self._ids,
            pixels=self._pixels,
            error=np.concatenate([error, np.full(len(new), np.nan)]).astype(np.float32),
            covariance=np.full((count, 3), np.nan, np.float32),
            flags=np.zeros(count, np.uint8),
            merged=np.zeros((0, 2), np.int32),
            statistics=FrameStatistics(count, len(new), 0, 0, 0.0, False, 0.0, ""),
        )

    def _flow(
        self, first: NDArray[np.uint8], second: NDArray[np.uint8], pixels: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        side = (self._window, self._window)
        start = np.ascontiguousarray(pixels).reshape(-1, 1, 2)
        found, status, _ = cv2.calcOpticalFlowPyrLK(first, second, start, None, winSize=side, maxLevel=3)
        return found.reshape(-1, 2), status.reshape(-1) > 0

    def _corners(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        if len(self._pixels) >= 0.8 * self._count:
            return np.zeros((0, 2), np.float32)
        mask = np.full(image.shape, 255, np.uint8)
        for x, y in np.rint(self._pixels).astype(int).tolist():
            cv2.circle(mask, (x, y), round(self._distance), 0, -1)
        room = self._count - len(self._pixels)
        corners = cv2.goodFeaturesToTrack(image, room, 0.01, self._distance, mask=mask)
        return np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2)


def run(truth: Room | SevenScenes | Kitti, count: int) -> tuple[dict[str, Tracks], dict[str, list[float]]]:
    """Both on every frame, one after the other."""
    builder = TrackBuilder(Compute.choose("cpu"), TrackOptions(max_tracks=count))
    workers = {"cv3d": builder, "OpenCV": Klt(count)}
    collectors = {name: TrackCollector() for name in workers}
    times: dict[str, list[float]] = {name: [] for name in workers}
    for frame in truth.frames():
        for name, worker in workers.items():
            start = time.perf_counter()
            added = worker.add(frame)
            times[name].append(1e3 * (time.perf_counter() - start))
            collectors[name].add(added)
    return {name: one.tracks(least_length=2) for name, one in collectors.items()}, times


def describe(tracks: Tracks) -> str:
    lengths = tracks.lengths
    return (
        f"{len(tracks) / tracks.frame_count:5.0f} alive   length {np.median(lengths):5.1f} median, "
        f"{lengths.mean():5.1f} mean   fb {np.nanmedian(tracks.error):.3f} px"
    )


def report(truth: Room | SevenScenes | Kitti, count: int) -> None:
    tracks, times = run(truth, count)
    ours, theirs = (statistics.median(times[name]) for name in ("cv3d", "OpenCV"))
    means = [statistics.mean(times[name]) for name in ("cv3d", "OpenCV")]
    print(f"\n{truth.name}: {len(times['cv3d'])} frames, up to {count} points")
    print(f"  ms a frame: cv3d {ours:.1f} median {means[0]:.1f} mean, OpenCV {theirs:.1f} median {means[1]:.1f} mean;")
    print(f"  cv3d / OpenCV: {ours / theirs:.2f} median, {means[0] / means[1]:.2f} mean")
    for name, found in tracks.items():
        print(f"  {name:7s} {describe(found)}")
        if isinstance(truth, Kitti):
            errors, ages = truth.epipolar_errors(found)
            for age in KITTI_AGES:
                chosen = errors[ages == age]
                print(
                    f"    age {age:2d}: {len(chosen):5d} observations, epipolar error median {np.median(chosen):5.2f} "
                    f"90 % {np.quantile(chosen, 0.9):5.2f} px, over 3 px {100 * (chosen > 3).mean():4.1f} %"
                )
            continue
        scored = score(found, truth)
        for age in AGES:
            near = np.abs(scored.ages - age) <= age // 10
            seen = np.abs(scored.visible_ages - age) <= age // 10
            errors = scored.errors[near]
            if not len(errors):
                continue
            print(
                f"    age {age:2d}: error median {np.median(errors):5.2f} 90 % {np.quantile(errors, 0.9):5.2f} px, "
                f"wrong (> {truth.wrong:.0f} px) {100 * (errors > truth.wrong).mean():4.1f} %, kept "
                f"{100 * scored.kept[seen].mean():4.1f} %"
            )
        print(
            f"    all:    error median {np.median(scored.errors):5.2f} px, wrong "
            f"{100 * (scored.errors > truth.wrong).mean():.1f} %, "
            f"hidden {100 * scored.hidden / len(scored.errors):.1f} %, kept {100 * scored.kept.mean():.1f} %"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CV3D_DATA", "../shared/data")))
    parser.add_argument("--points", type=int, default=512)
    parser.add_argument("--only", choices=["room", "seven_scenes", "kitti"])
    parser.add_argument("--threads", type=int, help="default: the libraries' own")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)
    print(
        f"cv3d {cv3d.__version__}, OpenCV {cv2.__version__}, torch {torch.__version__}, {platform.machine()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch threads {torch.get_num_threads()}"
    )
    if options.only in (None, "room"):
        report(Room(), options.points)
    for name, kind in (("seven_scenes", SevenScenes), ("kitti", Kitti)):
        if options.only not in (None, name):
            continue
        if options.data.is_dir():
            report(kind(options.data), options.points)
        else:
            print(f"\n{name}: not measured, no data in {options.data}")


if __name__ == "__main__":
    main()

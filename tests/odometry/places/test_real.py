"""Places of real recordings: found where two frames show the same, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.odometry.places import Describer, Description, Located, LoopGate, Meeting, Place, locate

Floats = NDArray[np.float64]
COLOR = Camera("pinhole", 640, 480, (525.0, 525.0, 319.5, 239.5))
"""The recording gives the depth camera's focal length, 585; the colour camera's is nearer to a Kinect's usual 525."""
DEPTH_FOCAL = 585.0


@dataclass(frozen=True, eq=False)
class Frame:
    number: int
    world_from_cam: Floats
    description: Description
    place: Place


def _lifted(pixels: NDArray[np.float32], depth_m: Floats) -> Floats:
    rays = COLOR.unproject(pixels.astype(np.float64))
    rays = rays / rays[:, 2:]
    on_depth = np.rint(rays[:, :2] * DEPTH_FOCAL + [319.5, 239.5]).astype(int)
    inside = ((on_depth >= 0) & (on_depth < [640, 480])).all(axis=1)
    column, row = np.clip(on_depth, 0, [639, 479]).T
    measured = depth_m[row, column]
    return rays * np.where(inside & (measured > 0), measured, np.nan)[:, None]


@pytest.fixture(scope="module")
def seven_scenes(data_root: Path, describer: Describer) -> list[Frame]:
    folder = data_root / "rgbd" / "seven_scenes"
    if not folder.is_dir():
        pytest.skip("no 7-Scenes frames")
    frames = []
    for number in range(0, 250, 25):
        stem = str(folder / f"frame-{number:06d}")
        depth = cv2.imread(stem + ".depth.png", cv2.IMREAD_UNCHANGED).astype(np.float64)
        depth_m = np.where(depth < 65535, depth, 0.0) / 1000.0
        described = describer.describe(cv2.imread(stem + ".color.jpg", cv2.IMREAD_GRAYSCALE))
        place = Place.of(number, 0, described, _lifted(described.pixels, depth_m))
        frames.append(Frame(number, np.loadtxt(stem + ".pose.txt"), described, place))
    return frames


def _error(found: Located, query: Frame, place: Frame) -> tuple[float, float]:
    """Metres and degrees."""
    true = np.linalg.inv(query.world_from_cam) @ place.world_from_cam
    off = np.linalg.inv(true) @ found.query_from_place
    cosine = (np.trace(off[:3, :3]) - 1.0) / 2.0
    return float(np.linalg.norm(off[:3, 3])), float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def test_frames_are_located_at_frames_a_second_apart(seven_scenes: list[Frame]) -> None:
    errors = []
    pairs = [(i, j) for i in range(10) for j in range(10) if abs(i - j) == 1]
    for i, j in pairs:
        found = locate(seven_scenes[i].description, seven_scenes[j].place, COLOR)
        if found is not None:
            errors.append(_error(found, seven_scenes[i], seven_scenes[j]))
    assert len(errors) >= len(pairs) - 1
    shift, turn = np.median(errors, axis=0)
    assert shift < 0.05
    assert turn < 1.5


def test_whatever_the_view_what_is_located_is_about_right(seven_scenes: list[Frame]) -> None:
    for query in seven_scenes[::2]:
        for place in seven_scenes[1::2]:
            found = locate(query.description, place.place, COLOR)
            if found is not None and found.inliers >= 40:
                shift, turn = _error(found, query, place)
                assert shift < 0.4
                assert turn < 9.0


def test_frames_near_in_view_rank_first(seven_scenes: list[Frame]) -> None:
    """Angles between the optical axes, neighbours in time left out: what is ranked first is among the nearest."""
    axes = np.stack([frame.world_from_cam[:3, 2] for frame in seven_scenes])
    angles = np.degrees(np.arccos(np.clip(axes @ axes.T, -1.0, 1.0)))
    whole = np.stack([frame.description.whole for frame in seven_scenes])
    likeness = whole @ whole.T
    excess = []
    for query in range(len(seven_scenes)):
        others = np.flatnonzero(np.abs(np.arange(len(seven_scenes)) - query) > 1)
        first = others[np.argmax(likeness[query, others])]
        excess.append(angles[query, first] - angles[query, others].min())
    assert np.median(excess) < 5.0


def test_other_recordings_are_no_place_of_this_one(
    seven_scenes: list[Frame], data_root: Path, describer: Describer
) -> None:
    strangers = sorted((data_root / "vo").glob("kitti_a/image_l/*"))[::25]
    strangers += sorted((data_root / "vo").glob("euroc_v101/mav0/cam0/data/*"))[::40]
    strangers += sorted((data_root / "views").glob("fox/images/*"))[::25]
    if not strangers:
        pytest.skip("no other recordings")
    gate = LoopGate()
    for number, path in enumerate(strangers):
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        height, width = picture.shape
        camera = Camera("pinhole", width, height, (0.9 * max(width, height),) * 2 + (width / 2, height / 2))
        described = describer.describe(picture)
        for frame in seven_scenes:
            found = locate(described, frame.place, camera)
            meetings = [] if found is None else [Meeting.of(number, found, np.eye(4), frame.world_from_cam)]
            assert gate.judge(meetings) == []
            assert found is None

"""Rigs from pictures: a rendered pair with exact truth, and real ones beside what others made of them."""

from __future__ import annotations

import itertools
import json
import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from cv3d.calibration.rig.estimating import RigOptions, calibrate_rig_sources
from cv3d.calibration.rig.frames import Moment, RigInput, RigSources, Timeline
from cv3d.calibration.rig.inputs import gather_rig
from cv3d.calibration.rig.result import Synchronisation, SyncMethod
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.transforms import SO3
from cv3d.media.inputs import find_pictures


def paired(first: list[Path], second: list[Path]) -> RigSources:
    """Two cameras whose pictures go together in their order."""
    cameras = tuple(
        RigInput(name, tuple(find_pictures(sorted(map(str, files)))), None)
        for name, files in (("left", first), ("right", second))
    )
    moments = tuple(Moment(f"{k:02d}", None, (k, k)) for k in range(len(first)))
    return RigSources(
        cameras,
        Timeline(moments, Synchronisation(SyncMethod.ORDER, "by order", (0.0, 0.0), (0.0, 0.0), math.nan)),
    )


def angle_deg(one: np.ndarray, other: np.ndarray) -> float:
    """Angle of the rotation between two poses, degrees."""
    turn = SO3.from_matrix(torch.from_numpy(one[:3, :3] @ other[:3, :3].T)).log()
    return math.degrees(float(torch.linalg.vector_norm(turn)))


def test_a_rendered_pair_is_where_it_is(project_root: Path) -> None:
    root = project_root / "data" / "samples" / "stereo"
    truth = json.loads((root / "ground_truth.json").read_text(encoding="utf-8"))
    sources = paired(list((root / "left").glob("*.jpg")), list((root / "right").glob("*.jpg")))
    result = calibrate_rig_sources(sources, RigOptions(model="brown5", square_m=truth["board"]["square_m"]))
    true = np.array(truth["cam1_from_cam0"])
    found = result.cameras[1].cam_from_cam0
    difference = true @ inverse_rigid(found)
    rotation = SO3.from_matrix(torch.from_numpy(difference[:3, :3])).log().numpy()
    step = np.concatenate([rotation, true[:3, 3] - difference[:3, :3] @ found[:3, 3]])
    assert (np.abs(step) < 3.0 * np.sqrt(np.diag(result.cameras[1].pose_covariance))).all()
    assert result.rms_px < 0.03
    assert result.pairs[0].epipolar_px < 0.02


def test_the_old_stereo_samples_of_opencv(data_root: Path) -> None:
    """OpenCV's own joint solution leaves 0.504 px, and 0.49 px with free intrinsics."""
    root = data_root / "calib" / "opencv_chess"
    result = calibrate_rig_sources(paired(list(root.glob("left*.jpg")), list(root.glob("right*.jpg"))))
    assert result.rms_px <= 0.504
    (pair,) = result.pairs
    assert pair.frames == 14
    assert pair.epipolar_px <= 0.095
    # The cameras stand side by side; a lens model that bends would pay for itself with a turn.
    assert pair.angle_deg < 3.0


@pytest.mark.slow
def test_four_cameras_beside_the_authors_rig(data_root: Path) -> None:
    """`camera_array.toml` holds cam_from_world, translations in metres."""
    root = data_root / "calib" / "rig4_charuco"
    authors = tomllib.loads((root / "camera_array.toml").read_text(encoding="utf-8"))["cameras"]
    poses, given = [], []
    for key in "0123":
        entry = authors[key]
        cam_from_world = np.eye(4)
        cam_from_world[:3, :3], cam_from_world[:3, 3] = entry["rotation"], entry["translation"]
        poses.append(cam_from_world)
        (fx, _, cx), (_, fy, cy), _ = entry["matrix"]
        given.append(Camera("brown5", *entry["size"], (fx, fy, cx, cy, *entry["distortions"])))
    sources = gather_rig([root / "calibration" / "extrinsic"])
    result = calibrate_rig_sources(sources, RigOptions(square_m=0.054, intrinsics=tuple(given)))
    assert len(result.pairs) == 6
    for first, second in itertools.combinations(range(4), 2):
        ours = result.cameras[second].cam_from_cam0 @ inverse_rigid(result.cameras[first].cam_from_cam0)
        theirs = poses[second] @ inverse_rigid(poses[first])
        assert angle_deg(ours, theirs) < 1.5
        ratio = np.linalg.norm(ours[:3, 3]) / np.linalg.norm(theirs[:3, 3])
        assert ratio == pytest.approx(1.0, abs=0.025)

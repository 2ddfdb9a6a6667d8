"""What refinement does to keypoints of real pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cv3d.compute import Compute
from cv3d.evaluation.matches.pose_error import relative_pose_error
from cv3d.features import weights
from cv3d.features.extractors.xfeat import XFeat, XFeatOptions
from cv3d.features.matchers.mutual import MutualNearest
from cv3d.features.refinement import refine_matches
from cv3d.formats.strecha import read_set
from cv3d.geometry.local_affinity import two_view_affinities
from cv3d.geometry.two_view import estimate_two_view
from cv3d.media.decode import decode_gray


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second", "expected"), [(3, 4, 0.25), (0, 3, 0.35)])
def test_matches_of_a_facade_agree_to_a_fraction_of_a_pixel(
    data_root: Path, first: int, second: int, expected: float
) -> None:
    folder = data_root / "views" / "fountain-P11"
    if not folder.is_dir():
        pytest.skip("views/fountain-P11 is not among the real data")
    if not weights.is_here("xfeat"):
        pytest.skip("the weights of XFeat are not installed")
    compute = Compute.choose("cpu")
    posed = [read_set(folder)[index] for index in (first, second)]
    pictures = [decode_gray(one.file.read_bytes(), one.name).array for one in posed]
    extractor = XFeat(compute, XFeatOptions(1024))
    found = []
    for picture in pictures:
        small = cv2.resize(picture, (1536, 1024), interpolation=cv2.INTER_AREA)
        found.append(extractor.extract(torch.from_numpy(small)[None, None]))
    matches = MutualNearest().match(*found).of_pair(0).numpy()
    ends = [
        (features.keypoints[0].numpy()[matches[:, side]].astype(np.float64) + 0.5) * 2.0 - 0.5
        for side, features in enumerate(found)
    ]
    cameras = [one.camera for one in posed]
    before = estimate_two_view(*ends, *cameras)
    ends = [points[before.inliers] for points in ends]
    for known in (cameras, (None, None)):
        geometry = estimate_two_view(*ends, *known)
        points = [one[geometry.inliers] for one in ends]
        affinities = two_view_affinities(geometry, *points, *known)
        refined = refine_matches(*pictures, *points, affinities, compute)
        assert refined.mask.mean() > 0.45
        after = estimate_two_view(points[0][refined.mask], refined.keypoints[refined.mask], *cameras)
        assert before.noise > 0.6
        assert after.noise < expected
        true = posed[1].cam_from_world @ np.linalg.inv(posed[0].cam_from_world)
        assert after.cam1_from_cam0 is not None
        assert relative_pose_error(after.cam1_from_cam0, true).max_deg < 0.25

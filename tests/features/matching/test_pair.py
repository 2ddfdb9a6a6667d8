"""Two pictures, from every kind of input to a pose that is right within its own uncertainty."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cv3d.compute import Compute
from cv3d.errors import InputError, PictureError, UsageError
from cv3d.features import weights
from cv3d.features.matching import MatchOptions, extract, match
from cv3d.geometry.two_view import Degeneracy, ModelKind

from .conftest import FAST, Room

CPU = Compute.choose("cpu")


def angle_deg(rotation: np.ndarray) -> float:
    return math.degrees(math.acos(min(1.0, max(-1.0, 0.5 * (np.trace(rotation) - 1.0)))))


def test_the_pose_is_right_within_its_uncertainty(room: Room) -> None:
    result = match(room.frames[0], room.frames[24], room.camera, room.camera, MatchOptions(), compute=CPU)
    truth = room.cam1_from_cam0(0, 24)
    pose = result.geometry.cam1_from_cam0
    assert result.verified
    assert result.geometry.model is ModelKind.ESSENTIAL
    assert pose is not None
    turned, moved = result.deviations_deg()
    direction = truth[:3, 3] / np.linalg.norm(truth[:3, 3])
    assert angle_deg(pose[:3, :3] @ truth[:3, :3].T) < max(4.0 * turned, 0.05)
    assert math.degrees(math.acos(min(1.0, float(pose[:3, 3] @ direction)))) < max(4.0 * moved, 0.3)
    assert result.rotation_deg == pytest.approx(angle_deg(truth[:3, :3]), abs=0.2)


def test_refinement_brings_matches_nearer_to_the_true_epipolar_lines(room: Room) -> None:
    truth = room.cam1_from_cam0(0, 24)
    t = truth[:3, 3]
    essential = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]]) @ truth[:3, :3]

    def error(refine: bool) -> float:
        options = MatchOptions(refine=refine)
        result = match(room.frames[0], room.frames[24], room.camera, room.camera, options, compute=CPU)
        inliers = result.geometry.inliers & result.refined if refine else result.geometry.inliers
        rays0, rays1 = (room.camera.unproject(p[inliers]) for p in (result.points0, result.points1))
        normals = rays0 @ essential.T
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        return float(np.median(np.abs((normals * rays1).sum(axis=1) / np.linalg.norm(rays1, axis=1)))) * 525.0

    assert error(refine=True) < 0.6 * error(refine=False)


def test_paths_pixels_tensors_and_grey_give_the_same_kind_of_answer(room: Room, folder: Path) -> None:
    first, second = room.frames[0], room.frames[8]
    options = MatchOptions(max_keypoints=512)
    by_pixels = match(first, second, options=options, compute=CPU)
    by_path = match(folder / "000.png", str(folder / "008.png"), options=options, compute=CPU)
    by_tensor = match(
        *(torch.from_numpy(one).permute(2, 0, 1) for one in (first, second)), options=options, compute=CPU
    )
    for other in (by_path, by_tensor):
        assert np.array_equal(other.indices, by_pixels.indices)
        assert np.array_equal(other.points1, by_pixels.points1)
    # As it is, and reduced.
    for side in (MatchOptions().max_side, 320):
        options = MatchOptions(max_keypoints=512, max_side=side)
        grey = match(cv2.cvtColor(first, cv2.COLOR_RGB2GRAY), second, options=options, compute=CPU)
        assert grey.verified
    assert by_path.names == (str(folder / "000.png"), str(folder / "008.png"))


def test_the_same_call_gives_the_same_bytes(room: Room) -> None:
    one, other = (match(room.frames[0], room.frames[36], options=FAST, compute=CPU) for _ in range(2))
    for name, array in one.arrays().items():
        assert np.array_equal(array, other.arrays()[name], equal_nan=array.dtype.kind == "f"), name


def test_keypoints_are_in_the_pixels_of_the_picture_at_any_size(room: Room) -> None:
    big = cv2.resize(room.frames[0], None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR)
    options = MatchOptions(max_keypoints=512, max_side=640)
    result = match(room.frames[0], big, options=options, compute=CPU)
    assert result.sizes == ((640, 480), (1920, 1440))
    expected = (result.points0 + 0.5) * 3.0 - 0.5
    off = np.linalg.norm(result.points1 - expected, axis=1)[result.geometry.inliers]
    assert result.inlier_count > 300
    assert np.median(off) < 0.5


def test_a_picture_with_itself_shows_no_motion(room: Room) -> None:
    result = match(room.frames[0], room.frames[0], room.camera, room.camera, FAST, compute=CPU)
    assert result.geometry.degeneracy is Degeneracy.NO_MOTION
    assert result.direction is None
    assert result.rotation_deg < 0.01


@pytest.mark.parametrize("shape", [(48, 64, 3), (32, 32)], ids=["black", "tiny"])
def test_a_black_picture_gives_a_reason(room: Room, shape: tuple[int, ...]) -> None:
    result = match(room.frames[0], np.zeros(shape, np.uint8), options=FAST, compute=CPU)
    assert not result.verified
    assert "few" in result.geometry.reason or "usable" in result.geometry.reason
    assert result.as_result()["model"] == "none"


def test_pictures_with_nothing_in_common_are_not_verified(room: Room) -> None:
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (480, 640, 3)).astype(np.uint8), (0, 0), 2.0)
    noise = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)
    result = match(room.frames[0], noise, options=FAST, compute=CPU)
    assert not result.verified
    assert result.geometry.reason


def test_a_thick_pair_needs_no_second_opinion_and_a_thin_one_gets_it(room: Room) -> None:
    near = match(room.frames[0], room.frames[8], options=FAST, compute=CPU)
    assert near.matcher == "mutual"
    assert "no doubt" in near.decision
    far = match(room.frames[0], room.frames[72], options=FAST, compute=CPU)
    assert "lighterglue found" in far.decision
    named = match(room.frames[0], room.frames[8], options=MatchOptions(matcher="lighterglue"), compute=CPU)
    assert named.matcher == "lighterglue"


def test_without_the_learned_weights_the_cheap_answer_stands_and_says_so(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cv3d.features.matching.cascade.is_here", lambda name: "lighterglue" not in name)
    result = match(room.frames[0], room.frames[72], options=FAST, compute=CPU)
    assert "are not here" in result.decision


@pytest.mark.parametrize("extractor", ["sift", "xfeat-dense", "aliked", pytest.param("disk", marks=pytest.mark.slow)])
def test_every_extractor_relates_two_frames(room: Room, extractor: str) -> None:
    needed = {"aliked": "aliked-n16", "disk": "disk"}.get(extractor)
    if needed and not weights.is_here(needed):
        pytest.skip(f"the weights of {extractor} are not installed")
    # Semi-dense features are made for pictures of some size.
    side = 640 if extractor == "xfeat-dense" else 320
    options = MatchOptions(extractor=extractor, max_keypoints=512, max_side=side)
    result = match(room.frames[0], room.frames[8], room.camera, room.camera, options, compute=CPU)
    assert result.verified
    truth = room.cam1_from_cam0(0, 8)
    assert result.geometry.rotation is not None
    assert angle_deg(result.geometry.rotation @ truth[:3, :3].T) < 1.0


def test_a_camera_of_another_shape_is_refused(room: Room) -> None:
    with pytest.raises(PictureError, match="another shape"):
        match(room.frames[0][:300], room.frames[8], room.camera, room.camera, FAST, compute=CPU)


def test_one_camera_alone_gives_a_fundamental_matrix(room: Room) -> None:
    result = match(room.frames[0], room.frames[24], room.camera, None, FAST, compute=CPU)
    assert result.geometry.model is ModelKind.FUNDAMENTAL
    assert result.cameras == (None, None)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), torch.zeros(2, 4, 4), np.zeros((0, 4), np.uint8)],
    ids=["float", "four channels", "two channels", "empty"],
)
def test_what_is_no_picture_is_refused(image: object) -> None:
    with pytest.raises(InputError):
        extract(image, compute=CPU)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"extractor": "orb"}, "no extractor"),
        ({"matcher": "flann"}, "no matcher"),
        ({"extractor": "sift", "matcher": "lighterglue"}, "takes the features of xfeat"),
        ({"max_error": 0.0}, "positive"),
        ({"max_side": 8}, "32 at least"),
    ],
)
def test_options_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MatchOptions(**settings)  # type: ignore[arg-type]

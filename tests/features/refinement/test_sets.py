"""Whole sets and posed tracks: one keypoint stays one keypoint, and all of a track show the same place."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features.refinement import (
    RefinementOptions,
    SetOptions,
    VerifiedPair,
    refine_set_keypoints,
    refine_tracks,
)
from cv3d.features.refinement.observations import PictureCache
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import ModelKind, estimate_two_view

Floats = NDArray[np.float64]
SIZE = (220, 200)
COMPUTE = Compute.choose("cpu")
POINTS = 40


@dataclass
class Views:
    """Pictures of one texture, and where its places are in them."""

    pictures: list[NDArray[np.float32]]
    true: list[Floats]
    found: list[Floats]
    affinities: list[Floats]


def similarity(angle: float, scale: float) -> Floats:
    return scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.fixture(scope="module")
def views(make_texture: Any) -> Views:
    """Four pictures; keypoints up to 1.5 pixels off."""
    texture, rng = make_texture(), np.random.default_rng(7)
    middle = np.array(SIZE) / 2.0
    places = rng.uniform(-45.0, 45.0, (POINTS, 2))
    made = Views([], [], [], [])
    for index in range(4):
        affinity = similarity(0.15 * index, 1.0 + 0.08 * index) @ np.array([[1.0, 0.04 * index], [0.0, 1.0]])
        origin = middle + rng.uniform(-0.5, 0.5, 2)
        made.pictures.append(texture.view(SIZE, affinity, origin))
        made.true.append(places @ affinity.T + origin)
        made.found.append(made.true[-1] + rng.uniform(-1.5, 1.5, (POINTS, 2)))
        made.affinities.append(affinity)
    return made


def verified(views: Views, pairs: list[tuple[int, int]]) -> list[VerifiedPair]:
    every = np.stack([np.arange(POINTS)] * 2, axis=1)
    result = []
    for i, j in pairs:
        geometry = estimate_two_view(views.true[i], views.true[j])
        assert geometry.model is ModelKind.HOMOGRAPHY
        result.append(VerifiedPair(i, j, every[geometry.inliers], geometry))
    return result


def disagreement(views: Views, keypoints: Any, masks: Any) -> Floats:
    """How far refined keypoints are from the place in the texture that their track's mean shows, texture pixels."""
    shown = np.stack(
        [
            (points - true) @ np.linalg.inv(affinity).T
            for points, true, affinity in zip(keypoints, views.true, views.affinities, strict=True)
        ]
    )
    counts = np.stack(masks).astype(np.float64)
    mean = (shown * counts[..., None]).sum(axis=0) / counts.sum(axis=0).clip(1.0)[:, None]
    off: Floats = np.linalg.norm(shown - mean, axis=2)
    return off[np.stack(masks)]


@pytest.mark.parametrize("pairs", [[(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)], [(0, 1), (1, 2), (2, 3)]])
def test_all_keypoints_of_a_track_show_one_place(views: Views, pairs: list[tuple[int, int]]) -> None:
    before = disagreement(views, views.found, [np.ones(POINTS, dtype=bool)] * 4)
    given = verified(views, pairs)
    found = refine_set_keypoints(lambda index: views.pictures[index], views.found, given, COMPUTE)
    assert np.concatenate(found.masks).mean() > 0.85
    off = disagreement(views, found.keypoints, found.masks)
    assert np.median(before) > 0.6
    assert np.median(off) < 0.03
    assert np.quantile(off, 0.9) < 0.1
    for picture in range(4):
        held = found.references[picture]
        np.testing.assert_array_equal(found.keypoints[picture][held], views.found[picture][held])
        refined = found.masks[picture]
        np.testing.assert_array_equal(found.keypoints[picture][~refined], views.found[picture][~refined])
        assert np.isnan(found.covariances[picture][~refined]).all()
        assert (np.linalg.eigvalsh(found.covariances[picture][refined]) > 0.0).all()
    for pair in given:
        agreed = found.agrees(pair.first, pair.second, pair.matches)
        ends = found.masks[pair.first][pair.matches[:, 0]] & found.masks[pair.second][pair.matches[:, 1]]
        assert agreed.mean() > 0.8
        assert not agreed[~ends].any()


def test_a_picture_of_something_else_is_left_out(views: Views, make_texture: Any) -> None:
    pictures = [*views.pictures[:3], make_texture(seed=9).view(SIZE, np.eye(2), np.zeros(2))]
    pairs = verified(views, list(itertools.combinations(range(4), 2)))
    found = refine_set_keypoints(lambda index: pictures[index], views.found, pairs, COMPUTE)
    assert found.masks[3].mean() < 0.1
    assert np.concatenate(found.masks[:3]).mean() > 0.85


def changing(make_texture: Any) -> list[NDArray[np.float32]]:
    """Three pictures from the same place whose contents turn into something else, 35 degrees at a time."""
    one, two = (make_texture(seed=seed).view(SIZE, np.eye(2), np.zeros(2)) - 0.5 for seed in (1, 2))
    return [0.5 + np.cos(angle) * one + np.sin(angle) * two for angle in np.radians((0.0, 32.0, 64.0))]


def test_what_does_not_align_is_tried_from_neighbours(make_texture: Any) -> None:
    pictures = changing(make_texture)
    rng = np.random.default_rng(0)
    places = rng.uniform(40.0, 160.0, (POINTS, 2))
    keypoints = [places, places + 0.4, places - 0.3]
    every = np.stack([np.arange(POINTS)] * 2, axis=1)
    views = Views(pictures, [places] * 3, keypoints, [np.eye(2)] * 3)
    pairs = [VerifiedPair(i, j, every, estimate_two_view(places, places + 0.7)) for i, j in ((0, 1), (1, 2), (0, 2))]
    # The first picture is made the reference of all: it is the one that the others are linked with most.
    counted = []
    for rounds in (1, 3):
        options = SetOptions(RefinementOptions(affine_iterations=0), rounds=rounds)
        found = refine_set_keypoints(lambda index: pictures[index], keypoints, pairs, COMPUTE, options=options)
        counted.append(np.concatenate(found.masks).mean())
    assert counted[1] > counted[0] + 0.1
    assert np.median(disagreement(views, found.keypoints, found.masks)) < 0.5


def posed() -> tuple[list[Camera], Floats]:
    """Cameras that look straight at the plane z = 10, turned about their axis, at different heights."""
    camera = Camera("pinhole", *SIZE, (300.0, 300.0, 110.0, 100.0))
    poses = []
    for index in range(4):
        pose = np.eye(4)
        pose[:2, :2] = similarity(0.2 * index, 1.0)
        pose[:3, 3] = (0.3 * index, -0.1 * index, -1.0 + 0.5 * index)
        poses.append(pose)
    return [camera] * 4, np.stack(poses)


def test_tracks_of_posed_pictures(make_texture: Any) -> None:
    texture, rng = make_texture(), np.random.default_rng(3)
    cameras, poses = posed()
    per_unit = 30.0
    points = np.column_stack([rng.uniform(-1.2, 1.2, (POINTS, 2)), np.full(POINTS, 10.0)])
    pictures, true = [], []
    for camera, pose in zip(cameras, poses, strict=True):
        true.append(camera.project(points @ pose[:3, :3].T + pose[:3, 3]))
        origin = camera.project(np.array([[0.0, 0.0, 10.0]]) @ pose[:3, :3].T + pose[:3, 3])[0]
        affinity = 300.0 / (10.0 + pose[2, 3]) * pose[:2, :2] / per_unit
        pictures.append(texture.view(SIZE, affinity, origin))
    views = np.repeat(np.arange(4), POINTS)
    tracks = np.tile(np.arange(POINTS), 4)
    start = np.concatenate(true) + rng.uniform(-1.0, 1.0, (4 * POINTS, 2))
    guessed = points + rng.normal(scale=0.02, size=points.shape)
    guessed[5] = np.nan
    asked: list[int] = []

    def picture(index: int) -> NDArray[np.float32]:
        asked.append(index)
        return pictures[index]

    options = SetOptions(max_pixels=1)
    found = refine_tracks(picture, cameras, poses, guessed, views, tracks, start, COMPUTE, options)
    assert not found.mask[tracks == 5].any()
    assert found.mask.mean() > 0.85
    assert found.references.sum() >= 0.9 * POINTS
    np.testing.assert_array_equal(found.pixels[found.references], start[found.references])
    places = Views(pictures, true, [], [300.0 / (10.0 + pose[2, 3]) * pose[:2, :2] / per_unit for pose in poses])
    off = disagreement(places, found.pixels.reshape(4, POINTS, 2), found.mask.reshape(4, POINTS))
    assert np.median(off) < 0.03
    assert np.quantile(off, 0.9) < 0.1
    assert len(asked) <= 4 * 4 * options.rounds
    order = rng.permutation(len(views))
    again = refine_tracks(picture, cameras, poses, guessed, views[order], tracks[order], start[order], COMPUTE)
    assert np.abs(again.pixels - found.pixels[order]).max() < 0.02


def test_pictures_in_memory_are_bounded() -> None:
    asked: list[int] = []

    def picture(index: int) -> torch.Tensor:
        asked.append(index)
        return torch.zeros((20, 20))

    cache = PictureCache(picture, COMPUTE, max_pixels=1)
    for index in (0, 1, 0, 1, 2, 1, 0):
        assert cache[index].pixels == 20 * 20
    assert asked == [0, 1, 2, 0]
    roomy = PictureCache(picture, COMPUTE, max_pixels=10_000)
    asked.clear()
    for index in (0, 1, 2, 0, 1, 2):
        roomy[index]
    assert asked == [0, 1, 2]


def test_an_empty_set_is_refined_to_nothing() -> None:
    def no_picture(index: int) -> torch.Tensor:
        raise AssertionError(index)

    found = refine_set_keypoints(no_picture, [np.zeros((0, 2)), np.ones((3, 2))], [], COMPUTE)
    assert [len(points) for points in found.keypoints] == [0, 3]
    assert not found.masks[1].any()
    cameras, poses = posed()
    none = np.zeros(0, dtype=np.int64)
    assert (
        len(refine_tracks(no_picture, cameras, poses, np.zeros((0, 3)), none, none, np.zeros((0, 2)), COMPUTE).mask)
        == 0
    )


def test_shapes_are_checked() -> None:
    with pytest.raises(InputError):
        SetOptions(rounds=0)
    cameras, poses = posed()
    one = np.zeros(1, dtype=np.int64)
    with pytest.raises(ValueError, match="observations"):
        refine_tracks(
            lambda _: torch.zeros((9, 9)), cameras, poses, np.ones((1, 3)), one, one, np.ones((2, 2)), COMPUTE
        )
    with pytest.raises(ValueError, match="poses"):
        refine_tracks(
            lambda _: torch.zeros((9, 9)), cameras, poses[:2], np.ones((1, 3)), one, one, np.ones((1, 2)), COMPUTE
        )

"""Matches under a known geometry: what the whole picture hides comes back, through any lens."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features.matchers.mutual import MutualNearest, MutualOptions
from cv3d.features.matching import MatchOptions, extract
from cv3d.features.matching.guided import GuidedOptions, PosedPair, guided_matches
from cv3d.features.store import PictureFeatures, pad
from cv3d.formats.posed_pictures import read_posed_pictures
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.epipolar import essential_matrix
from cv3d.geometry.pixel_rays import pixel_rays
from cv3d.geometry.transforms import SO3
from cv3d.geometry.two_view.parameters import RelativePose
from cv3d.geometry.two_view.residuals import EpipolarProblem, Matches

CPU = Compute.choose("cpu")
PINHOLE = Camera("pinhole", 1000, 800, (700.0, 710.0, 490.0, 410.0))
FISHEYE = Camera("kannala_brandt4", 1000, 800, (320.0, 325.0, 505.0, 395.0, 0.02, -0.01, 0.004, -0.001))
Floats = NDArray[np.float64]


class Twins:
    """Points in two pictures whose descriptors come in look-alikes: each kind has several points."""

    def __init__(self, camera0: Camera, camera1: Camera, kinds: int = 40, alike: int = 8, noise: float = 0.5) -> None:
        rng = np.random.default_rng(3)
        count = kinds * alike
        points = np.concatenate([rng.uniform(-2, 2, (count, 2)), rng.uniform(4, 8, (count, 1))], axis=1)
        self.cam1_from_cam0 = np.eye(4)
        self.cam1_from_cam0[:3, :3] = SO3.exp(torch.tensor([0.05, -0.1, 0.08], dtype=torch.float64)).as_matrix().numpy()
        self.cam1_from_cam0[:3, 3] = (0.8, 0.2, 0.1)
        moved = points @ self.cam1_from_cam0[:3, :3].T + self.cam1_from_cam0[:3, 3]
        self.pixels0 = camera0.project(points) + rng.normal(0, noise, (count, 2))
        self.order = rng.permutation(count)
        self.pixels1 = (camera1.project(moved) + rng.normal(0, noise, (count, 2)))[self.order]
        kind = unit(rng.normal(size=(kinds, 64)))[np.arange(count) % kinds]
        self.descriptors0 = unit(kind + rng.normal(0, 0.02, (count, 64)))
        self.descriptors1 = unit(kind + rng.normal(0, 0.02, (count, 64)))[self.order]
        self.pair = PosedPair(camera0, camera1, self.cam1_from_cam0)

    def right(self, matches: NDArray[np.int64]) -> int:
        return int((self.order[matches[:, 1]] == matches[:, 0]).sum())

    def guided(self, geometry: Floats | PosedPair, max_error: float = 2.0, **more: float) -> NDArray[np.int64]:
        arrays = self.descriptors0, self.pixels0, self.descriptors1, self.pixels1
        return guided_matches(*arrays, geometry, max_error, GuidedOptions(**more), compute=CPU)


def unit(vectors: Floats) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def unguided(descriptors0: NDArray[np.float32], descriptors1: NDArray[np.float32]) -> NDArray[np.int64]:
    """Mutual nearest neighbours of the whole picture."""
    both = [PictureFeatures(np.zeros((len(one), 2), np.float32), one) for one in (descriptors0, descriptors1)]
    batches = [pad([one], [(1000, 800)], len(one)) for one in both]
    matcher = MutualNearest(MutualOptions(MatchOptions().cascade.min_cosine))
    found: NDArray[np.int64] = matcher.match(*batches).of_pair(0).numpy()
    return found


def test_rays_handed_in_are_taken() -> None:
    twins = Twins(PINHOLE, FISHEYE)
    rays0, rays1 = pixel_rays(PINHOLE, twins.pixels0), pixel_rays(FISHEYE, twins.pixels1)
    found = twins.guided(replace(twins.pair, rays0=rays0, rays1=rays1))
    np.testing.assert_array_equal(found, twins.guided(twins.pair))
    hidden = replace(rays1, valid=np.arange(len(rays1)) >= 50)
    assert twins.guided(replace(twins.pair, rays1=hidden))[:, 1].min() >= 50
    with pytest.raises(InputError, match="rays of all keypoints"):
        twins.guided(replace(twins.pair, rays0=rays0[:-1]))


@pytest.mark.parametrize("cameras", list(itertools.product([PINHOLE, FISHEYE], repeat=2)))
def test_look_alikes_are_told_apart_by_the_curve(cameras: tuple[Camera, Camera]) -> None:
    twins = Twins(*cameras)
    found = twins.guided(twins.pair)
    plain = unguided(twins.descriptors0, twins.descriptors1)
    assert twins.right(found) > 0.85 * len(twins.order)
    assert twins.right(found) > 0.9 * len(found)
    assert twins.right(found) > 2 * twins.right(plain)


def test_a_fundamental_matrix_does_what_the_pose_does() -> None:
    twins = Twins(PINHOLE, PINHOLE)
    from_pixels = np.linalg.inv(PINHOLE.matrix)
    matrix = from_pixels.T @ essential_matrix(twins.cam1_from_cam0) @ from_pixels
    assert np.array_equal(twins.guided(matrix), twins.guided(twins.pair))
    assert np.array_equal(twins.guided(-1e4 * matrix), twins.guided(twins.pair))


@pytest.mark.parametrize("max_error", [0.5, 2.0, 6.0])
def test_every_match_is_as_near_as_asked_and_no_nearer_one_is_missed(max_error: float) -> None:
    """Held to the distances of all pairs in double precision."""
    twins = Twins(FISHEYE, PINHOLE)
    found = twins.guided(twins.pair, max_error, min_cosine=-1.0)
    near = distances(twins) <= max_error
    similarity = np.where(near, twins.descriptors0 @ twins.descriptors1.T, -4.0)
    best0, best1 = similarity.argmax(axis=1), similarity.argmax(axis=0)
    mutual = np.flatnonzero((best1[best0] == np.arange(len(best0))) & near.any(axis=1))
    expected = np.stack([mutual, best0[mutual]], axis=1)
    # A pair right at the bound may fall to either side in single precision.
    same = set(map(tuple, found.tolist())) ^ set(map(tuple, expected.tolist()))
    assert len(same) <= 0.01 * len(expected)
    assert (distances(twins)[tuple(found.T)] <= max_error * 1.001).all()


def distances(twins: Twins) -> Floats:
    """First-order distances, (n, m), pixels, by numeric derivatives of the constraint."""
    pair = twins.pair

    def rays(camera: Camera, pixels: Floats) -> Floats:
        return camera.unproject(pixels)

    def constraint(pixels0: Floats, pixels1: Floats) -> Floats:
        turned = rays(pair.camera0, pixels0) @ pair.cam1_from_cam0[:3, :3].T
        normals = np.cross(pair.cam1_from_cam0[:3, 3], turned)
        result: Floats = normals @ rays(pair.camera1, pixels1).T
        return result

    step, squared = 1e-3, 0.0
    for axis in np.eye(2) * step:
        first = constraint(twins.pixels0 + axis, twins.pixels1) - constraint(twins.pixels0 - axis, twins.pixels1)
        second = constraint(twins.pixels0, twins.pixels1 + axis) - constraint(twins.pixels0, twins.pixels1 - axis)
        squared = squared + (first**2 + second**2) / (2 * step) ** 2
    result: Floats = np.abs(constraint(twins.pixels0, twins.pixels1)) / np.sqrt(squared)
    return result


def test_thresholds_do_what_they_say() -> None:
    twins = Twins(PINHOLE, PINHOLE)
    arrays = twins.descriptors0, twins.descriptors1
    found = twins.guided(twins.pair, min_cosine=0.97)
    assert 0 < len(found) < len(twins.guided(twins.pair))
    assert (np.einsum("nd,nd->n", arrays[0][found[:, 0]], arrays[1][found[:, 1]]) > 0.97).all()
    distinct = twins.guided(twins.pair, 30.0, max_ratio=0.7)
    assert len(distinct) < len(twins.guided(twins.pair, 30.0))
    assert twins.right(distinct) > 0.95 * len(distinct)


def test_pixels_without_a_ray_match_nothing() -> None:
    twins = Twins(PINHOLE, PINHOLE)
    twins.pixels0[:50] = np.nan
    found = twins.guided(twins.pair)
    assert len(found)
    assert found[:, 0].min() >= 50


def test_what_makes_no_sense_is_refused() -> None:
    twins = Twins(PINHOLE, PINHOLE, kinds=4)
    with pytest.raises(InputError, match="has to be positive"):
        twins.guided(twins.pair, 0.0)
    with pytest.raises(InputError, match="one place"):
        twins.guided(PosedPair(PINHOLE, PINHOLE, np.eye(4)))
    with pytest.raises(InputError, match="one extractor"):
        guided_matches(
            twins.descriptors0, twins.pixels0, twins.descriptors1[:, :32], twins.pixels1, twins.pair, 2.0, compute=CPU
        )
    nothing = guided_matches(
        twins.descriptors0[:0], twins.pixels0[:0], twins.descriptors1, twins.pixels1, twins.pair, 2.0, compute=CPU
    )
    assert nothing.shape == (0, 2)


@pytest.mark.slow
def test_three_views_of_the_fountain_agree_on_more_points_than_unguided(data_root: Path) -> None:
    """Matches of two pairs that the third confirms: the truth has poses, not points."""
    folder = data_root / "views" / "fountain-P11"
    if not folder.is_dir():
        pytest.skip("views/fountain-P11 is not among the real data")
    views = read_posed_pictures(folder).pictures[3:8:2]
    found = [extract(view.file, MatchOptions(), compute=CPU) for view in views]
    pixels = [one.keypoints[0].numpy().astype(np.float64) for one in found]
    descriptors = [one.descriptors[0].numpy() for one in found]
    plain, guided = {}, {}
    for first, second in itertools.combinations(range(3), 2):
        pair = PosedPair(
            views[first].camera,
            views[second].camera,
            views[second].cam_from_world @ np.linalg.inv(views[first].cam_from_world),
        )
        arrays = descriptors[first], pixels[first], descriptors[second], pixels[second]
        whole = unguided(arrays[0], arrays[2])
        # What a verification leaves of the unguided matches: those that the geometry allows.
        rays = [pixel_rays(pair.camera0, arrays[1][whole[:, 0]]), pixel_rays(pair.camera1, arrays[3][whole[:, 1]])]
        ones = np.ones(len(whole))
        problem = EpipolarProblem(Matches(*rays, ones, ones))
        pose = pair.cam1_from_cam0
        model = RelativePose(pose[:3, :3], pose[:3, 3] / np.linalg.norm(pose[:3, 3]))
        plain[first, second] = dict(whole[problem.errors(model) <= 6.0].tolist())
        guided[first, second] = dict(guided_matches(*arrays, pair, 6.0, compute=CPU).tolist())
    assert confirmed(guided) > 1.3 * confirmed(plain)


def confirmed(matches: dict[tuple[int, int], dict[int, int]]) -> int:
    """Keypoints of the first view whose two matches are matched with each other."""
    return sum(
        matches[0, 2].get(first) is not None and matches[0, 2].get(first) == matches[1, 2].get(second)
        for first, second in matches[0, 1].items()
    )

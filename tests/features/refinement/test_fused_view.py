"""The fused twin gives what the torch reference gives, whatever the number of threads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.features.refinement.fused_view import FusedView
from cv3d.features.refinement.options import RefinementOptions
from cv3d.features.refinement.pyramid import Pyramid
from cv3d.features.refinement.results import Floats, Refinement
from cv3d.features.refinement.sampling_kernel import halve
from cv3d.features.refinement.views import TWINS, TorchView, View
from cv3d.formats.strecha import read_set
from cv3d.geometry.local_affinity import ray_homography_affinities
from cv3d.media.decode import decode_gray

COMPUTE = Compute.choose("cpu")
SIZE = (310, 260)
COUNT = 600
PLACES_PX = 0.01
"""How far 99 % of accepted places may be from the reference's, pixels."""
VERDICTS = 0.98
"""How many are to be accepted or rejected as the reference does."""


def noisy(view: NDArray[np.float32], seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    values = (view + rng.normal(scale=0.01, size=view.shape)).clip(0.0, 1.0)
    return torch.from_numpy(np.round(values * 255.0).astype(np.uint8))


def matches(affinity: Floats, origin: Floats, seed: int = 3) -> tuple[Floats, Floats, Floats]:
    """Places all over the first picture, rough ones in the second, and rough affinities; some not to be used."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(0.0, SIZE, (COUNT, 2))
    second = first @ affinity.T + origin + rng.uniform(-2.0, 2.0, (COUNT, 2))
    affinities = affinity @ (np.eye(2) + 0.05 * rng.standard_normal((COUNT, 2, 2)))
    first[0], second[1], affinities[2], affinities[3] = np.nan, np.inf, np.nan, 1e-9
    second[4], affinities[5] = 1e30, np.diag([40.0, 0.05])
    return first, second, affinities


def refine(
    view: Callable[..., View],
    pictures: tuple[torch.Tensor, torch.Tensor],
    found: tuple[Floats, Floats, Floats],
    **how: Any,
) -> Refinement:
    options = RefinementOptions(**how)
    patches = view(pictures[0], COMPUTE).read(found[0], found[2], options)
    return view(pictures[1], COMPUTE).align(patches, found[1], found[2], options)


def assert_same(twin: Refinement, reference: Refinement) -> None:
    assert (twin.mask == reference.mask).mean() >= VERDICTS
    both = twin.mask & reference.mask
    assert np.quantile(np.linalg.norm(twin.keypoints[both] - reference.keypoints[both], axis=1), 0.99) < PLACES_PX
    np.testing.assert_allclose(twin.ncc[both], reference.ncc[both], atol=1e-3)
    np.testing.assert_allclose(twin.shift[both], reference.shift[both], atol=0.05)
    apart = np.abs(twin.affinities[both] - reference.affinities[both]).max(axis=(1, 2))
    assert np.quantile(apart, 0.99) < 0.01 * np.abs(reference.affinities[both]).max()
    spread, other = (np.trace(one.covariance[both], axis1=1, axis2=2) for one in (twin, reference))
    assert np.quantile(np.abs(spread / other - 1.0), 0.99) < 0.02
    gone = ~twin.mask
    assert np.isnan(twin.covariance[gone]).all()


@pytest.mark.parametrize(
    ("affinity", "how"),
    [
        (np.eye(2), {}),
        (np.array([[0.9, -0.4], [0.35, 1.1]]), {}),
        (np.array([[0.9, -0.4], [0.35, 1.1]]), {"affine_iterations": 0, "iterations": 8}),
        (0.4 * np.eye(2), {"patch": 11}),
        (np.array([[-2.6, 0.3], [0.2, 3.0]]), {"patch": 21, "window": 0.5}),
    ],
)
def test_the_twin_is_the_reference(make_texture: Any, affinity: Floats, how: dict[str, Any]) -> None:
    texture = make_texture(wavelength=14.0 * max(1.0, 1.0 / np.sqrt(np.linalg.det(np.abs(affinity)))))
    origin = np.array(SIZE) / 2.0 - affinity @ (np.array(SIZE) / 2.0) + (0.3, -0.2)
    pictures = noisy(texture.view(SIZE, np.eye(2), np.zeros(2)), 0), noisy(texture.view(SIZE, affinity, origin), 1)
    found = matches(affinity, origin)
    twin, reference = (refine(view, pictures, found, **how) for view in (FusedView, TorchView))
    assert reference.mask.sum() > 40
    assert not twin.mask[:6].any()
    assert_same(twin, reference)


def test_threads_change_nothing(texture: Any) -> None:
    pictures = noisy(texture.view(SIZE, np.eye(2), np.zeros(2)), 0), noisy(texture.view(SIZE, np.eye(2), np.ones(2)), 1)
    found = matches(np.eye(2), np.ones(2))

    def alone(picture: torch.Tensor, compute: Compute) -> FusedView:
        return FusedView(picture, compute, threads=1)

    def together(picture: torch.Tensor, compute: Compute) -> FusedView:
        return FusedView(picture, compute, threads=3)

    one, three = (refine(view, pictures, found) for view in (alone, together))
    assert one.mask.sum() > 256
    for name in ("keypoints", "covariance", "affinities", "ncc", "shift", "mask"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))
    order = np.random.default_rng(0).permutation(COUNT)
    again = refine(alone, pictures, (found[0][order], found[1][order], found[2][order]))
    np.testing.assert_array_equal(again.keypoints, one.keypoints[order])


@pytest.mark.parametrize("size", [(40, 64), (41, 65), (17, 16)])
def test_pictures_are_halved_as_the_reference_does(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).random(size, dtype=np.float32)
    pyramid = Pyramid.build(torch.from_numpy(picture), COMPUTE)
    x, y = pyramid.offsets[1].long().tolist()
    width, height = pyramid.extents[1].long().tolist()
    expected = pyramid.plane[0, 0, y : y + height, x : x + width].numpy()
    np.testing.assert_allclose(halve(picture), expected, atol=1e-6)


def test_levels_are_made_when_they_are_needed(texture: Any) -> None:
    view = FusedView(torch.from_numpy(texture.view(SIZE, np.eye(2), np.zeros(2))), COMPUTE)
    middle = np.array(SIZE)[None] / 2.0
    view.read(middle, np.eye(2)[None], RefinementOptions())
    assert view.pixels == SIZE[0] * SIZE[1]
    view.read(middle, 0.5 * np.eye(2)[None], RefinementOptions())
    assert view.pixels == SIZE[0] * SIZE[1] * 5 // 4


def test_the_table_names_the_twin() -> None:
    assert TWINS["cpu"] is FusedView


@pytest.mark.slow
def test_the_twin_is_the_reference_on_a_facade(data_root: Path) -> None:
    folder = data_root / "views" / "fountain-P11"
    if not folder.is_dir():
        pytest.skip("views/fountain-P11 is not among the real data")
    posed = read_set(folder)[4:6]
    pictures = tuple(torch.tensor(decode_gray(one.file.read_bytes(), one.name).array) for one in posed)
    # The plane through the fountain that faces the first camera: rough affinities and starts, as matches have them.
    relative = posed[1].cam_from_world @ np.linalg.inv(posed[0].cam_from_world)
    rng = np.random.default_rng(5)
    camera = posed[0].camera
    first = rng.uniform((100.0, 100.0), np.array([camera.width, camera.height]) - 100.0, (3000, 2))
    depth = 8.0
    homography = relative[:3, :3] + np.outer(relative[:3, 3], (0.0, 0.0, 1.0 / depth))
    rays = np.column_stack([(first - camera.params[2:4]) / camera.params[:2], np.ones(len(first))])
    second = camera.project(rays @ homography.T) + rng.uniform(-2.0, 2.0, first.shape)
    affinities = ray_homography_affinities(first, homography, camera, posed[1].camera)
    found = first, second, affinities
    twin, reference = (refine(view, pictures, found, max_shift=20.0, iterations=10) for view in (FusedView, TorchView))
    assert reference.mask.sum() > 100
    assert_same(twin, reference)

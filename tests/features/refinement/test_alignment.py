"""Patches are found where they are, their stated spread is the measured one, and what cannot be told is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features.refinement import Pyramid, RefinementOptions, align_patches, refine_matches

Floats = NDArray[np.float64]
SIZE = (200, 170)
COMPUTE = Compute.choose("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def turned(angle: float, scale: float = 1.0) -> Floats:
    return scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def places(count: int, margin: float = 45.0, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).uniform(margin, np.array(SIZE) - margin, (count, 2))


def looking(affinity: Floats) -> Floats:
    """The origin that keeps the middle of the picture in the middle, but for a fraction of a pixel."""
    middle = np.array(SIZE) / 2.0
    return middle * np.sqrt(abs(np.linalg.det(affinity))).clip(1.0) - affinity @ middle + (0.37, -0.21)


def seen(texture: Any, affinity: Floats, *, has_area: bool = False) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The texture as it is, and through an affinity, with another brightness and contrast."""
    width, height = (int(side) for side in np.array(SIZE) * np.sqrt(abs(np.linalg.det(affinity))).clip(1.0))
    plain = texture.view(SIZE, np.eye(2), np.zeros(2))
    return plain, 0.7 * texture.view((width, height), affinity, looking(affinity), has_area=has_area) + 0.1


def repeated(affinity: Floats, count: int) -> Floats:
    return np.broadcast_to(affinity, (count, 2, 2)).copy()


@pytest.mark.parametrize("affinity", [np.eye(2), turned(0.7), np.array([[1.1, 0.25], [-0.1, 0.85]])])
def test_a_clean_patch_is_found_where_it_is(texture: Any, affinity: Floats) -> None:
    first, second = seen(texture, affinity)
    start = places(60)
    true = start @ affinity.T + looking(affinity)
    moved = true + np.random.default_rng(1).uniform(-1.5, 1.5, true.shape)
    found = refine_matches(first, second, start, moved, repeated(affinity, 60), COMPUTE)
    assert found.mask.mean() > 0.95
    off = np.linalg.norm(found.keypoints - true, axis=1)[found.mask]
    assert np.sqrt((off**2).mean()) < 0.02
    assert off.max() < 0.1
    assert found.ncc[found.mask].min() > 0.99


def test_a_wrong_affinity_is_corrected(texture: Any) -> None:
    affinity = np.array([[1.1, 0.2], [-0.1, 0.9]])
    first, second = seen(texture, affinity)
    start = places(60)
    true = start @ affinity.T + looking(affinity)
    held, free = (
        refine_matches(
            first,
            second,
            start,
            true + 0.7,
            repeated(np.eye(2), 60),
            COMPUTE,
            RefinementOptions(affine_iterations=count, min_ncc=0.5),
        )
        for count in (0, 8)
    )
    both = held.mask & free.mask
    assert both.mean() > 0.7
    off_held, off_free = (np.linalg.norm(one.keypoints - true, axis=1)[both] for one in (held, free))
    assert np.median(off_free) < 0.5 * np.median(off_held)
    assert np.median(np.abs(free.affinities[both] - affinity)) < 0.03


@pytest.mark.parametrize("noise", [0.01, 0.03])
@pytest.mark.parametrize("affine_iterations", [0, 4])
def test_the_stated_spread_is_the_measured_one(texture: Any, noise: float, affine_iterations: int) -> None:
    affinity = turned(0.3)
    first, second = seen(texture, affinity)
    rng = np.random.default_rng(2)
    start = places(60)
    true = start @ affinity.T + looking(affinity)
    options = RefinementOptions(affine_iterations=affine_iterations, min_deviation=0.0, min_ncc=0.5)
    errors, stated = [], []
    for _ in range(12):
        one, two = (
            torch.from_numpy((view + rng.normal(scale=noise, size=view.shape)).astype(np.float32))
            for view in (first, second)
        )
        found = refine_matches(one, two, start, true, repeated(affinity, 60), COMPUTE, options)
        errors.append((found.keypoints - true)[found.mask])
        stated.append(found.covariance[found.mask])
    off, covariance = np.concatenate(errors), np.concatenate(stated)
    assert len(off) > 650
    measured, predicted = (off**2).mean(axis=0), covariance.diagonal(axis1=1, axis2=2).mean(axis=0)
    np.testing.assert_allclose(np.sqrt(predicted), np.sqrt(measured), rtol=0.35)
    squares = np.einsum("ni,nij,nj->n", off, np.linalg.inv(covariance), off)
    assert 0.5 < np.median(squares) / (2.0 * np.log(2.0)) < 2.0


@pytest.mark.parametrize("scale", [0.2, 0.45, 0.8, 1.6, 3.0])
def test_another_scale_does_not_bias(make_texture: Any, scale: float) -> None:
    # Waves that the coarser view can still show; the camera averages over its pixels.
    coarse = make_texture(wavelength=14.0 * max(1.0, 1.0 / scale))
    affinity = turned(0.1, scale)
    first, second = seen(coarse, affinity, has_area=scale < 1.0)
    reach = 12.0 * max(1.0, 1.0 / scale)
    start = places(80, margin=min(reach + 5.0, 80.0))
    true = start @ affinity.T + looking(affinity)
    moved = true + np.random.default_rng(1).uniform(-0.8, 0.8, true.shape) * max(scale, 1.0)
    found = refine_matches(first, second, start, moved, repeated(affinity, 80), COMPUTE)
    assert found.mask.mean() > 0.8
    off = (found.keypoints - true)[found.mask] / max(scale, 1.0)
    assert np.abs(off.mean(axis=0)).max() < 0.02
    assert np.sqrt((off**2).mean()) < 0.06


def test_fine_structure_of_the_closer_view_does_not_bias_the_distant_one(make_texture: Any) -> None:
    both = make_texture(wavelength=70.0) + make_texture(seed=5, wavelength=3.5, contrast=0.07)
    affinity = turned(0.0, 0.25)
    first, second = seen(both, affinity, has_area=True)
    start = places(40, margin=60.0)
    true = start @ affinity.T + looking(affinity)
    found = refine_matches(first, second, start, true + 0.3, repeated(affinity, 40), COMPUTE)
    assert found.mask.mean() > 0.8
    off = np.linalg.norm(found.keypoints - true, axis=1)[found.mask]
    assert np.sqrt((off**2).mean()) < 0.05


def test_bytes_and_floats_agree(texture: Any) -> None:
    first, second = seen(texture, turned(0.2))
    start = places(40)
    moved = start @ turned(0.2).T + looking(turned(0.2)) + 0.4
    bytes0, bytes1 = (np.round(view.clip(0.0, 1.0) * 255.0).astype(np.uint8) for view in (first, second))
    warps = repeated(turned(0.2), 40)
    ours = refine_matches(first, second, start, moved, warps, COMPUTE)
    theirs = refine_matches(bytes0, torch.from_numpy(bytes1)[None], start, moved, warps, COMPUTE)
    both = ours.mask & theirs.mask
    assert both.mean() > 0.9
    assert np.abs(ours.keypoints - theirs.keypoints)[both].max() < 0.05


def test_arrays_that_are_locked_or_reversed_are_taken(texture: Any) -> None:
    first, second = (np.round(view.clip(0.0, 1.0) * 255.0).astype(np.uint8) for view in seen(texture, np.eye(2)))
    mirrored = first[:, ::-1]
    start = places(5)
    warps = repeated(np.eye(2), 5)
    for array in (second, start, warps):
        array.flags.writeable = False
    assert refine_matches(first, second, start, start + looking(np.eye(2)), warps, COMPUTE).mask.all()
    assert refine_matches(mirrored, mirrored, start, start, warps, COMPUTE).mask.all()


def test_chunks_change_nothing(texture: Any) -> None:
    pyramids = [Pyramid.build(torch.from_numpy(view), COMPUTE) for view in seen(texture, np.eye(2))]
    start = torch.from_numpy(places(50)).float()
    warps = torch.eye(2).expand(50, 2, 2)
    whole, parts = (
        align_patches(*pyramids, start, start + 0.5, warps, RefinementOptions(chunk=size)) for size in (64, 7)
    )
    torch.testing.assert_close(whole.positions, parts.positions, atol=1e-3, rtol=0.0)
    assert torch.equal(whole.mask, parts.mask)
    assert len(align_patches(*pyramids, start[:0], start[:0], warps[:0]).mask) == 0


def test_what_cannot_be_told_is_refused(texture: Any) -> None:
    first, second = seen(texture, np.eye(2))
    flat, edge = np.full_like(first, 0.5), np.zeros_like(first)
    edge[:, SIZE[0] // 2 :] = 1.0
    middle = np.array([[SIZE[0] / 2.0, SIZE[1] / 2.0]])
    unit = repeated(np.eye(2), 1)
    origin = looking(np.eye(2))
    nowhere = np.full((1, 2, 2), np.nan)
    outside = np.array([[3.0, 80.0]])
    other = texture.view(SIZE, np.eye(2), np.array([1000.0, 500.0]))
    assert refine_matches(first, second, middle, middle + origin, unit, COMPUTE).mask.all()
    for name, found in {
        "flat": refine_matches(flat, flat, middle, middle, unit, COMPUTE),
        "edge": refine_matches(edge, edge, middle, middle, unit, COMPUTE),
        "border": refine_matches(first, second, outside, outside, unit, COMPUTE),
        "far outside": refine_matches(first, second, middle, middle + 1e6, unit, COMPUTE),
        "no affinity": refine_matches(first, second, middle, middle, nowhere, COMPUTE),
        "no place": refine_matches(first, second, middle * np.nan, middle, unit, COMPUTE),
        "collapsed": refine_matches(first, second, middle, middle, unit * 1e-9, COMPUTE),
        "another scene": refine_matches(first, other, middle, middle, unit, COMPUTE),
        "too far": refine_matches(
            first, second, middle, middle + origin + 2.0, unit, COMPUTE, RefinementOptions(max_shift=1.0)
        ),
        "negative": refine_matches(first, 1.0 - second, middle, middle + origin, unit, COMPUTE),
    }.items():
        assert not found.mask.any(), name
        assert np.isnan(found.covariance).all(), name


def test_rejected_matches_stay_as_they_were(texture: Any) -> None:
    first, second = seen(texture, np.eye(2))
    start = np.array([[2.123456789, 3.987654321]])
    found = refine_matches(first, second, start, start, repeated(np.eye(2), 1), COMPUTE)
    np.testing.assert_array_equal(found.keypoints, start)


def test_tiny_pictures(texture: Any) -> None:
    small = texture.view((5, 4), np.eye(2), np.zeros(2))
    start = np.array([[2.0, 2.0]])
    assert not refine_matches(small, small, start, start, repeated(np.eye(2), 1), COMPUTE).mask.any()


def test_bad_input_has_one_clear_line() -> None:
    good = np.zeros((20, 20), dtype=np.uint8)
    one, unit = np.zeros((1, 2)), np.eye(2)[None]
    for picture in (np.zeros((20, 20, 3), np.uint8), np.zeros((0, 5), np.uint8), np.zeros((20, 20), np.int32)):
        with pytest.raises(InputError, match="picture to refine in"):
            refine_matches(picture, good, one, one, unit, COMPUTE)
    with pytest.raises(ValueError, match="affinities"):
        refine_matches(good, good, one, np.zeros((2, 2)), unit, COMPUTE)
    for options in ({"patch": 8}, {"min_ncc": 1.5}, {"chunk": 0}, {"max_shift": 0.0}, {"min_deviation": -1.0}):
        with pytest.raises(InputError):
            RefinementOptions(**options)


def test_equal_runs_are_equal_to_the_bit(texture: Any) -> None:
    first, second = seen(texture, turned(0.2))
    start = places(30)
    moved = start @ turned(0.2).T + looking(turned(0.2)) + 0.3
    one, two = (refine_matches(first, second, start, moved, repeated(turned(0.2), 30), COMPUTE) for _ in range(2))
    np.testing.assert_array_equal(one.keypoints, two.keypoints)
    np.testing.assert_array_equal(one.covariance, two.covariance)

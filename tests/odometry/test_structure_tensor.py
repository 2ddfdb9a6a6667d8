"""Structure tensors are inverted as far as they are not noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cv3d.odometry.patches import GRADIENT_NOISE
from cv3d.odometry.patches_reference import _steps
from cv3d.odometry.structure_tensor import spread_inverse, step_inverse


def tensors(seed: int, count: int = 50) -> np.ndarray:
    half = np.random.default_rng(seed).normal(0.0, 60.0, (count, 2, 2))
    return half @ half.transpose(0, 2, 1) + 1.0 * np.eye(2)


def as_matrix(found: tuple[float, float, float]) -> np.ndarray:
    return np.array([[found[0], found[1]], [found[1], found[2]]])


def test_without_noise_it_is_the_inverse() -> None:
    for tensor in tensors(0):
        parts = tensor[0, 0], tensor[0, 1], tensor[1, 1]
        for function in (step_inverse, spread_inverse):
            assert as_matrix(function(*parts, 0.0)) @ tensor == pytest.approx(np.eye(2), abs=1e-3)


def test_noise_is_taken_out_of_each_direction() -> None:
    noise = 400.0
    for tensor in tensors(1):
        parts = tensor[0, 0], tensor[0, 1], tensor[1, 1]
        values, vectors = np.linalg.eigh(tensor)
        steps = np.diag(vectors.T @ as_matrix(step_inverse(*parts, noise)) @ vectors)
        spread = np.diag(vectors.T @ as_matrix(spread_inverse(*parts, noise)) @ vectors)
        assert steps == pytest.approx(np.maximum(values - noise, 0.0) / values**2, rel=1e-3, abs=1e-6 * steps.max())
        assert 1.0 / spread == pytest.approx(np.maximum(values - noise, 1e-6 * values[1]), rel=1e-3)


def test_round_and_empty_tensors_are_no_exception() -> None:
    assert as_matrix(step_inverse(900.0, 0.0, 900.0, 100.0)) == pytest.approx(np.eye(2) * 800.0 / 900.0**2)
    for function in (step_inverse, spread_inverse):
        assert np.isfinite(function(0.0, 0.0, 0.0, 100.0)).all()


def test_the_reference_says_the_same() -> None:
    many = tensors(2)
    found = _steps(torch.from_numpy(many.astype(np.float32))).numpy()
    for tensor, step in zip(many, found, strict=True):
        expected = as_matrix(step_inverse(tensor[0, 0], tensor[0, 1], tensor[1, 1], GRADIENT_NOISE))
        assert step == pytest.approx(expected, rel=1e-2, abs=1e-2 * np.abs(expected).max() + 1e-9)

from __future__ import annotations

import numpy as np
import pytest
import torch

from cv3d.geometry.bundle.banded import solve_banded


@pytest.mark.parametrize("width", [1, 2, 5, 7, 16, 22, 23])
@pytest.mark.parametrize("size", [24, 25])
def test_bands_are_solved_as_dense_matrices_are(width: int, size: int) -> None:
    rng = np.random.default_rng(width)
    root = np.tril(rng.normal(size=(size, size))) + 3.0 * np.eye(size)
    root[np.subtract.outer(np.arange(size), np.arange(size)) > width] = 0.0
    matrix = root @ root.T
    # What the storage holds outside the band must not matter.
    band = rng.normal(size=size * (width + 1))
    for j in range(size):
        for i in range(j, min(size, j + width + 1)):
            band[j * width + i] = matrix[i, j]
    right = rng.normal(size=(size, 3))
    found = solve_banded(torch.from_numpy(band), width, torch.from_numpy(right))
    assert found is not None
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right), rtol=1e-9, atol=1e-9)
    band[(size - 2) * (width + 1)] = -1.0
    assert solve_banded(torch.from_numpy(band), width, torch.from_numpy(right)) is None

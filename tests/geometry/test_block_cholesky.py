"""Sparse Cholesky factors of block matrices, against dense ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cv3d.errors import EstimationError
from cv3d.geometry.block_cholesky import BlockPattern
from cv3d.geometry.block_elimination import eliminate

Problem = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def problem(count: int, size: int, links: int, seed: int) -> Problem:
    """A random positive definite matrix: its links, blocks, and itself."""
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(0, count, (2, links))
    rows, cols = rows[rows != cols], cols[rows != cols]
    blocks = rng.normal(size=(len(rows), size, size))
    dense = np.zeros((count, size, count, size))
    np.add.at(dense, (rows, slice(None), cols), blocks)
    dense = dense.reshape(count * size, -1)
    dense = dense + dense.T
    loud = np.abs(dense).sum(axis=1).max() + 1.0
    own = rng.normal(size=(count, size, size)) * 0.1
    diagonal = own @ own.transpose(0, 2, 1) + loud * np.eye(size)
    for k in range(count):
        dense[k * size : (k + 1) * size, k * size : (k + 1) * size] += diagonal[k]
    return rows, cols, diagonal, blocks, dense


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 120), st.integers(0, 1000))
def test_solutions_and_inverse_are_those_of_the_dense_matrix(count: int, size: int, links: int, seed: int) -> None:
    rows, cols, diagonal, blocks, dense = problem(count, size, links, seed)
    factor = BlockPattern(count, size, rows, cols).factor(diagonal, blocks)
    right = np.random.default_rng(seed).normal(size=(count, size, 2))
    expected = np.linalg.solve(dense, right.reshape(count * size, 2))
    np.testing.assert_allclose(factor.solve(right).reshape(-1, 2), expected, atol=1e-12)
    np.testing.assert_allclose(factor.solve(right[:, :, 0]).ravel(), expected[:, 0], atol=1e-12)
    each = np.arange(count)
    inverse = np.linalg.inv(dense).reshape(count, size, count, size)[each, :, each, :]
    np.testing.assert_allclose(factor.inverse_diagonal(), inverse, atol=1e-12)
    assert factor.log_determinant() == pytest.approx(np.linalg.slogdet(dense)[1])


def test_a_pattern_serves_blocks_of_another_size() -> None:
    rows, cols, diagonal, blocks, dense = problem(30, 2, 60, 7)
    pattern = BlockPattern(30, 6, rows, cols).with_size(2)
    right = np.ones((30, 2))
    solved = pattern.factor(diagonal, blocks).solve(right)
    np.testing.assert_allclose(solved.ravel(), np.linalg.solve(dense, right.ravel()), atol=1e-12)


@pytest.mark.parametrize(("rows", "cols"), [(40, 40), (1, 300)])
def test_every_unknown_is_eliminated_once_and_fill_stays_small(rows: int, cols: int) -> None:
    """A grid of n unknowns has some n log n entries in its factor, a chain n."""
    index = np.arange(rows * cols).reshape(rows, cols)
    first = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    second = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    found = eliminate(rows * cols, first, second)
    pivots = np.concatenate([front.pivots for front in found.fronts])
    np.testing.assert_array_equal(np.sort(pivots), np.arange(rows * cols))
    for number, front in enumerate(found.fronts):
        assert all(child < number for child in front.children)
        if front.parent >= 0:
            parent = found.fronts[front.parent]
            np.testing.assert_array_equal(
                np.concatenate([parent.pivots, parent.border])[front.into_parent], front.border
            )
    entries = sum(len(f.pivots) * (len(f.pivots) + len(f.border)) for f in found.fronts)
    assert entries < 12.0 * rows * cols * max(np.log2(min(rows, cols)), 1.0)


def test_an_indefinite_matrix_is_refused() -> None:
    rows, cols, diagonal, blocks, _ = problem(10, 3, 20, 1)
    with pytest.raises(EstimationError, match="not positive definite"):
        BlockPattern(10, 3, rows, cols).factor(-diagonal, blocks)
    with pytest.raises(ValueError, match="diagonal"):
        BlockPattern(3, 2, [0, 1], [1, 1])

"""Positive definite banded systems by Cholesky factorisation of blocks as wide as the band.

Cut into blocks of the half bandwidth, a band is block tridiagonal (Golub and Van Loan, "Matrix Computations", 4.5). The
blocks go to torch, which keeps to the threads that it is given: LAPACK's own banded factorisation works in such small
pieces that a threaded BLAS spends hundreds of times their cost on handing them over.
"""

from __future__ import annotations

import torch
from torch import Tensor


def solve_banded(band: Tensor, half_bandwidth: int, right: Tensor) -> Tensor | None:
    """Solve A X = B.

    Args:
        band: entry (i, j) of A, 0 <= i - j <= half_bandwidth, at `j * half_bandwidth + i`, (n * (half_bandwidth + 1),).
        half_bandwidth: subdiagonals, at least 1.
        right: B, (n, m).

    Returns:
        X, (n, m); None where A is not positive definite.
    """
    size, width = len(right), half_bandwidth
    starts = range(0, size, width)
    factors: list[Tensor] = []
    following: list[Tensor] = []
    forward: list[Tensor] = []
    for start in starts:
        own, after = min(width, size - start), max(0, min(width, size - start - width))
        # Rows of these blocks are columns of A: they hold what is right of the diagonal in the upper factor's order.
        diagonal = band.as_strided((own, own), (width, 1), start * (width + 1)).triu()
        known = right[start : start + own]
        if factors:
            before = following[-1]
            diagonal = diagonal - before.T @ before
            known = known - before.T @ forward[-1]
        factor, info = torch.linalg.cholesky_ex(diagonal, upper=True)
        if int(info) != 0:
            return None
        factors.append(factor)
        forward.append(torch.linalg.solve_triangular(factor.T, known, upper=False))
        if after:
            # Of the next block of rows the band reaches only those up to the own column's number.
            beside = band.as_strided((own, after), (width, 1), start * (width + 1) + width).tril()
            following.append(torch.linalg.solve_triangular(factor.T, beside, upper=False))
    solution = torch.empty_like(right)
    for index in reversed(range(len(factors))):
        start = starts[index]
        known = forward[index]
        if index < len(following):
            known = known - following[index] @ solution[start + width : start + width + following[index].shape[1]]
        solution[start : start + width] = torch.linalg.solve_triangular(factors[index], known, upper=True)
    return solution

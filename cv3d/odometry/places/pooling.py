"""One vector for a picture, from the correlations of its dense descriptors: nothing to learn, so it works at once.

Second-order pooling (Carreira et al., "Semantic segmentation with second-order pooling", ECCV 2012) with the square
root of the matrix (Li et al., "Is second-order information helpful for large-scale visual recognition?", ICCV 2017),
which keeps what fills most of the picture from drowning the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def correlations(cells: Tensor) -> Tensor:
    """Mean outer product of the descriptors of a map: (B, C, H, W) to (B, C, C), on the map's device."""
    flat = cells.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[-1]


def pooled(correlation: NDArray[np.floating]) -> NDArray[np.float32]:
    """The vector of a picture, whose inner product with another's tells how alike they are.

    Args:
        correlation: mean outer product of its descriptors, (C, C).

    Returns:
        (C (C + 1) / 2,) of unit length: the upper triangle of the matrix's square root. The entries off the diagonal
        are multiplied by the square root of two, which makes the inner product that of the matrices.
    """
    values, vectors = np.linalg.eigh(np.asarray(correlation, dtype=np.float64))
    root: Floats = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    rows, columns = np.triu_indices(len(root))
    flat = root[rows, columns] * np.where(rows == columns, 1.0, np.sqrt(2.0))
    length = float(np.linalg.norm(flat))
    return (flat / max(length, float(np.finfo(np.float64).tiny))).astype(np.float32)

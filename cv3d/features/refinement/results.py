"""What refinement of matches gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Refinement:
    """Refined keypoints of the second picture of a pair."""

    keypoints: Floats
    """(n, 2), pixels; as given where rejected."""
    covariance: Floats
    """(n, 2, 2), of the keypoint given the one in the first picture, pixels squared; NaN where rejected. It tells noise
    as measured. On real pictures errors were 1.8 times as large, small deviations and large ones alike, because
    surfaces are not flat and lenses not perfect: what counts is the proportions."""
    affinities: Floats
    """(n, 2, 2), derivatives of the second picture's pixels by the first's, as estimated; as given where rejected."""
    ncc: NDArray[np.float32]
    """(n,), normalised cross-correlation of the surroundings in the end; it means nothing where they cannot be read."""
    shift: NDArray[np.float32]
    """(n,), distance from the start, pixels of the coarser picture."""
    mask: Bools
    """(n,), whether the result is accepted."""

"""The figures that a set of errors is summed up in."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ErrorStatistics:
    """Figures of errors, in the errors' unit."""

    rmse: float
    """Root of the mean square."""
    mean: float
    median: float
    std: float
    """Standard deviation around the mean, with n in the denominator."""
    min: float
    max: float
    sse: float
    """Sum of squares, the unit squared."""

    @classmethod
    def of(cls, errors: NDArray[np.float64]) -> ErrorStatistics:
        """The figures of errors (n,), of which there is one at least."""
        sse = float(errors @ errors)
        return cls(
            rmse=float(np.sqrt(sse / len(errors))),
            mean=float(errors.mean()),
            median=float(np.median(errors)),
            std=float(errors.std()),
            min=float(errors.min()),
            max=float(errors.max()),
            sse=sse,
        )

    def as_dict(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)

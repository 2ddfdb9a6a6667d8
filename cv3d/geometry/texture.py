"""A picture laid over the triangles of a mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture, and where each corner of each triangle lies in it.

    Raises:
        InputError: the shapes are no picture's and no corners'.
    """

    picture: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    corners: NDArray[np.float32]
    """(m, 3, 2), of each corner of each triangle: to the right from the picture's left edge and down from its upper
    edge, as a share of its width and height."""

    def __post_init__(self) -> None:
        if self.picture.ndim != 3 or self.picture.shape[2] != 3:
            raise InputError(f"a texture's picture is (H, W, 3), not {self.picture.shape}")
        if self.corners.shape != (len(self.corners), 3, 2):
            raise InputError(f"a texture has corners (m, 3, 2), not {self.corners.shape}")

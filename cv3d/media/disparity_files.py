"""Files of disparities: pictures whose numbers are steps of a pixel, PFM, NumPy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import PictureError, UsageError
from cv3d.media.sequences.depth_files import read_stored_depth
from cv3d.media.sequences.gray import read_bytes
from cv3d.media.unchanged import decode_unchanged

_FLOAT_SUFFIXES = frozenset([".pfm", ".npy", ".exr"])


def read_disparities(path: Path, steps: float = 1.0) -> NDArray[np.float32]:
    """The disparities of a file.

    Args:
        path: a picture of one channel and 8 or 16 bits; PFM, EXR or `.npy`.
        steps: of its numbers, a pixel: 4 for Middlebury's quarter-size pictures, 256 for KITTI's, 1 for PFM.

    Returns:
        (h, w) pixels; 0 where the file has none: 0, a negative or no finite number.

    Raises:
        PictureError: it cannot be read, or has several channels that differ.
        UsageError: `steps` is not positive.
    """
    if not (np.isfinite(steps) and steps > 0.0):
        raise UsageError(f"steps of a disparity are positive, not {steps:g}")
    stored: NDArray[np.generic]
    if path.suffix.lower() in _FLOAT_SUFFIXES:
        stored = read_stored_depth(path)
    else:
        stored = decode_unchanged(read_bytes(path), str(path))
        if stored.ndim == 3:
            if (stored[..., :1] != stored[..., :3]).any():
                raise PictureError(f"{path}: holds colours, not disparities")
            stored = stored[..., 0]
    values = stored.astype(np.float32) / np.float32(steps)
    return np.where(np.isfinite(values) & (values > 0.0), values, np.float32(0.0))

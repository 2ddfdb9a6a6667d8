"""A pair's geometry as one row of the table `cv3d_two_views`, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.two_view import Degeneracy, FocalEstimate, ModelKind, TwoView

COLUMNS = (
    "verified, model, degeneracy, reason, inlier_count, rows, inliers, errors, "
    "matrix, pose, rotation, alternative, covariance, figures"
)


def to_row(geometry: TwoView) -> tuple[Any, ...]:
    """The values of `COLUMNS`. Errors are kept to float32, everything else as it is."""
    focal = geometry.focal
    figures = {
        "parallax": geometry.parallax,
        "rms": geometry.rms,
        "noise": geometry.noise,
        "log10_false_alarms": geometry.log10_false_alarms,
        "seed": geometry.seed,
        "focal_failure": geometry.focal_failure,
        "focal": focal and [list(focal.focals), list(focal.deviations), focal.covariance.tolist()],
    }
    return (
        int(geometry.verified),
        str(geometry.model),
        str(geometry.degeneracy),
        geometry.reason,
        geometry.inlier_count,
        len(geometry.inliers),
        np.packbits(geometry.inliers).tobytes(),
        geometry.errors.astype("<f4").tobytes(),
        _blob(geometry.matrix),
        _blob(geometry.cam1_from_cam0),
        _blob(geometry.rotation),
        _blob(geometry.alternative),
        _blob(geometry.covariance),
        json.dumps(figures),
    )


def from_row(row: Sequence[Any]) -> TwoView:
    """The geometry of the values of `COLUMNS`."""
    verified, model, degeneracy, reason, _, rows, inliers, errors, *arrays, text = row
    matrix, pose, rotation, alternative, covariance = map(_square, arrays)
    figures = json.loads(text)
    focal = None
    if figures["focal"] is not None:
        focals, deviations, scatter = figures["focal"]
        focal = FocalEstimate((focals[0], focals[1]), (deviations[0], deviations[1]), np.array(scatter))
    return TwoView(
        model=ModelKind(model),
        matrix=matrix,
        inliers=np.unpackbits(np.frombuffer(inliers, np.uint8), count=rows).astype(bool),
        errors=np.frombuffer(errors, "<f4").astype(np.float64),
        cam1_from_cam0=pose,
        rotation=rotation,
        alternative=alternative,
        covariance=covariance,
        focal=focal,
        focal_failure=figures["focal_failure"],
        parallax=figures["parallax"],
        rms=figures["rms"],
        noise=figures["noise"],
        log10_false_alarms=figures["log10_false_alarms"],
        verified=bool(verified),
        degeneracy=Degeneracy(degeneracy),
        reason=reason,
        seed=figures["seed"],
    )


def _blob(matrix: NDArray[np.float64] | None) -> bytes | None:
    return None if matrix is None else np.ascontiguousarray(matrix, dtype="<f8").tobytes()


def _square(blob: bytes | None) -> NDArray[np.float64] | None:
    if blob is None:
        return None
    values = np.frombuffer(blob, "<f8").astype(np.float64)
    side = round(len(values) ** 0.5)
    return values.reshape(side, side)

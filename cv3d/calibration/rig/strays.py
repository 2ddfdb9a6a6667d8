"""Pictures that the rig contradicts, and what they did to the estimation of the camera in whose folder they lie.

Another camera's picture in a camera's folder looks like any other view of the board, as its pose is its own; it passes
as one with somewhat larger residuals, and lens models are chosen by those. Only the rig tells that it does not belong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cv3d.calibration.calibrating import CalibrateOptions
from cv3d.calibration.detecting import BoardSightings
from cv3d.calibration.detection.base import Detection
from cv3d.calibration.rig.alone import CameraAlone, calibrate_alone
from cv3d.calibration.rig.joint import Refused
from cv3d.errors import EstimationError

_CLEARER = 0.9
"""Ratio of noise below which a camera is better off without the pictures in question. Those of another moment, which
are as good as any for the camera itself, change nothing."""
_NONE_OF_ITS = (
    "it is none of this camera's: it contradicts the other cameras at this moment, and this camera's pictures agree "
    "better without it"
)


def without_strays(
    cameras: Sequence[CameraAlone],
    sightings: Sequence[BoardSightings],
    refused: Sequence[Refused],
    options: CalibrateOptions,
) -> list[CameraAlone] | None:
    """The cameras estimated by themselves again, without pictures of theirs that are not.

    Args:
        cameras: each by itself, (C,), all pictures taken for its own.
        sightings: what their pictures show, (C,).
        refused: what the joint estimation took out.
        options: those the cameras were estimated with.

    Returns:
        The cameras, or None where none is clearer without the pictures that contradict the rig.
    """
    result = list(cameras)
    for c, (camera, seen) in enumerate(zip(cameras, sightings, strict=True)):
        strays = {one.picture for one in refused if one.camera == c and one.contradicts}
        if strays and camera.calibration is not None:
            result[c] = _again(camera, seen, strays, options) or camera
    return None if all(new is old for new, old in zip(result, cameras, strict=True)) else result


def _again(
    camera: CameraAlone, seen: BoardSightings, strays: set[int], options: CalibrateOptions
) -> CameraAlone | None:
    """The camera without some of its pictures; None where it is no clearer."""
    pictures = tuple(
        replace(one, detection=Detection.nothing(_NONE_OF_ITS)) if p in strays else one
        for p, one in enumerate(seen.pictures)
    )
    try:
        again = calibrate_alone(camera.name, replace(seen, pictures=pictures), options, None)
    except EstimationError:
        return None  # too few are left to tell
    if not again.finished.solution.noise_px < _CLEARER * camera.finished.solution.noise_px:
        return None
    # What was found in the pictures stays part of the result.
    candidates = tuple(
        replace(old, reason=_NONE_OF_ITS) if p in strays else new
        for p, (old, new) in enumerate(zip(camera.finished.candidates, again.finished.candidates, strict=True))
    )
    return replace(again, finished=replace(again.finished, candidates=candidates))

"""The focal length from a recording itself; and whether the one given can be right.

Pollefeys, Koch, Van Gool, "Self-Calibration and Metric Reconstruction in spite of Varying and Unknown Intrinsic Camera
Parameters", IJCV 32(1), 1999: with square pixels and a known principal point, a few views from different places
determine the focal length. Here the estimator runs with an assumed one, its key frames are adjusted with the focal
length free, and both are repeated, as what the estimator follows depends on what was assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from cv3d.compute import Compute
from cv3d.geometry.cameras import Camera
from cv3d.media.sequences.frame import SequenceFrame
from cv3d.odometry.estimator import Odometry
from cv3d.odometry.focal_fit import FocalFit, fit_focal, refit_focal
from cv3d.odometry.keys import Key
from cv3d.odometry.options import OdometryOptions
from cv3d.odometry.results import Sensor
from cv3d.odometry.turning import Turning, focal_of_turning, follow_turning

Frames = Iterable[SequenceFrame] | Callable[[], Iterable[SequenceFrame]]

DEFAULT_SHARE = 0.85
"""Focal length over the picture's longer side where nothing tells it: a field of view of about 60 degrees."""
_SHARES = (DEFAULT_SHARE, 0.6, 1.2)
"""Assumed one after the other, until one leads to an estimate."""
_STARTS = (1.0, 0.65, 1.5)
"""Factors on an assumed focal length from where adjustment begins."""
_SETTLED = 0.005
"""Relative change at which the estimate no longer depends on what was assumed."""
_ROUNDS = 4
_MOST_UNCERTAIN = 0.15
"""Relative deviation above which a focal length counts as not determined: the default is hardly worse."""
_PLAUSIBLE = (0.25, 5.0)
"""Focal lengths over the longer side: fields of view from 127 to 11 degrees."""
_ENOUGH_FRAMES = 0.5
"""Share of the frames that a good assumption places."""
_FIRST_KEYS = 12
"""Key frames after which a mere assumption has shown what it leads to."""

_CHECKED_KEYS = 40
_WRONG = 0.03
_WRONG_DEVIATIONS = 5.0


@dataclass(frozen=True)
class FocalGuess:
    """What a recording says of its camera."""

    camera: Camera
    """Square pixels, the principal point in the middle of the picture; `brown4` or `kannala_brandt4` with one radial
    term where the recording shows one, else a pinhole."""
    deviation_px: float
    """Standard deviation of the focal length, pixels; infinite where it is not determined."""
    is_determined: bool
    """Whether the recording determines it; else it is :data:`DEFAULT_SHARE` of the picture's longer side."""
    reason: str
    """How it was found, or why it was not."""


@dataclass(frozen=True, eq=False)
class _Round:
    """A run of the estimator with an assumed camera, and the camera that fits what it found."""

    fit: FocalFit
    placed: int
    """Frames of the stretch."""
    share: float
    """Of the frames that were tracked."""
    camera: Camera
    """Of the source's pictures."""
    deviation: float
    """Of its focal length, pixels of the source's pictures."""


def estimate_focal(
    frames: Frames,
    size: tuple[int, int],
    sensor: Sensor = Sensor.MONO,
    compute: Compute | None = None,
    seed: int = 0,
) -> FocalGuess:
    """Estimate the focal length of an unknown camera from some of its frames.

    Args:
        frames: in order, all of one camera, some 200 of them, as a list or as a function that begins anew; of each
            only the grey (or left) picture is used.
        size: width and height, pixels.
        sensor: what the frames bring. Depths are not used, as nothing says how they lie to an unknown camera.
        compute: device and precision.
        seed: of all random samples.

    Returns:
        The camera. Where the recording does not determine it, the default, with the reason.
    """
    del sensor
    held = list(frames() if callable(frames) else frames)
    default = _camera(size, DEFAULT_SHARE * max(size))
    if len(held) < 2:
        return FocalGuess(default, math.inf, False, "there are too few frames")
    turning = follow_turning([frame.gray for frame in held])
    turned = focal_of_turning(turning, size)
    if turned is not None:
        return _of_turning(turned, size, default)
    rounds: list[_Round] = []
    for share in _SHARES:
        found = _run(held, _camera(size, share * max(size)), compute, seed, _STARTS, _FIRST_KEYS)
        if found is None:
            continue
        rounds.append(found)
        if found.share >= _ENOUGH_FRAMES and _is_determined(found, size):
            break
    if not rounds:
        return FocalGuess(default, math.inf, False, "there is too little motion or texture to map anything")
    best = min(
        rounds, key=lambda found: (found.share < _ENOUGH_FRAMES, not _is_determined(found, size), found.fit.cost)
    )
    return _settled(held, best, compute, seed, default)


def check_intrinsics(odometry: Odometry) -> str | None:
    """Whether the focal length that odometry was given fits what it saw.

    Args:
        odometry: after its last frame.

    Returns:
        A sentence for the user where it does not; None where it does, or where the recording does not tell.
    """
    segments = [key.segment for key in odometry.keys]
    if not segments:
        return None
    own = _of_segment(odometry.keys, int(np.bincount(segments).argmax()))
    chosen = np.unique(np.linspace(0, len(own) - 1, min(len(own), _CHECKED_KEYS)).round().astype(int))
    found = refit_focal([own[i] for i in chosen], odometry.points, odometry.camera)
    if found is None:
        return None
    given = odometry.camera.params[0]
    change = abs(found.focal - given)
    if change < _WRONG * given or not change > _WRONG_DEVIATIONS * found.deviation:
        return None
    factor = odometry.factor
    return (
        f"the focal length given, {given / factor:.0f} px, does not fit: "
        f"the recording says {found.focal / factor:.0f} ± {found.deviation / factor:.0f} px"
    )


def _camera(size: tuple[int, int], focal: float, model: str = "pinhole", k1: float = 0.0) -> Camera:
    """Square pixels, the middle of the picture."""
    width, height = size
    pinhole = (focal, focal, (width - 1) / 2.0, (height - 1) / 2.0)
    if model == "pinhole" or (model == "brown4" and k1 == 0.0):
        return Camera("pinhole", width, height, pinhole)
    return Camera(model, width, height, (*pinhole, k1, 0.0, 0.0, 0.0))


def _of_segment(keys: list[Key], segment: int) -> list[Key]:
    return [key for key in keys if key.segment == segment]


def _run(
    held: list[SequenceFrame],
    camera: Camera,
    compute: Compute | None,
    seed: int,
    starts: tuple[float, ...],
    most_keys: int | None = None,
) -> _Round | None:
    """Track with an assumed camera, and fit one to the longest stretch; None where nothing comes of it."""
    options = OdometryOptions(loops=False, seed=seed)
    stretches: list[Odometry] = []
    estimator, is_placed = Odometry(camera, Sensor.MONO, compute, options), False
    tracked = 0
    for frame in held:
        result = estimator.track(frame)
        tracked += 1
        if result.world_from_cam is None and is_placed:
            # What is looked for among the key frames with a wrong camera costs much and finds little.
            stretches.append(estimator)
            estimator, is_placed = Odometry(camera, Sensor.MONO, compute, options), False
        elif result.world_from_cam is not None:
            is_placed = True
        if most_keys is not None and len(estimator.keys) >= most_keys:
            break
    stretches.append(estimator)
    longest = max(stretches, key=_placed)
    placed = _placed(longest)
    fit = fit_focal(longest.keys, longest.points, longest.camera, starts) if placed else None
    if fit is None:
        return None
    size, factor = (camera.width, camera.height), longest.factor
    fitted = _camera(size, fit.focal / factor, fit.camera.model, fit.camera.params[4])
    return _Round(fit, placed, placed / tracked, fitted, fit.deviation / factor)


def _placed(estimator: Odometry) -> int:
    return sum(record.key >= 0 for record in estimator.records)


def _is_determined(found: _Round, size: tuple[int, int]) -> bool:
    return _is_plausible(found.camera, size) and found.deviation < _MOST_UNCERTAIN * found.camera.params[0]


def _is_plausible(camera: Camera, size: tuple[int, int]) -> bool:
    low, high = (share * max(size) for share in _PLAUSIBLE)
    return low < camera.params[0] < high


def _settled(
    held: list[SequenceFrame], best: _Round, compute: Compute | None, seed: int, default: Camera
) -> FocalGuess:
    """Repeat with the camera found until it stays."""
    size, change = (default.width, default.height), math.inf
    for _ in range(_ROUNDS):
        if not _is_plausible(best.camera, size):
            break
        before = best.camera.params[0]
        following = _run(held, best.camera, compute, seed, (1.0,))
        if following is None:
            break
        best, change = following, abs(following.camera.params[0] - before)
        if change < _SETTLED * before:
            break
    focal = best.camera.params[0]
    deviation = math.hypot(best.deviation, change)
    if not (_is_determined(best, size) and deviation < _MOST_UNCERTAIN * focal):
        reason = "the motion does not determine the focal length"
        if math.isfinite(deviation):
            reason += f": {focal:.0f} px would be uncertain by {100.0 * deviation / focal:.0f} %"
        return FocalGuess(default, math.inf, False, reason)
    return FocalGuess(best.camera, deviation, True, f"from {best.placed} frames of the recording itself")


def _of_turning(turned: Turning, size: tuple[int, int], default: Camera) -> FocalGuess:
    camera = _camera(size, turned.focal)
    if _is_plausible(camera, size) and turned.deviation < _MOST_UNCERTAIN * turned.focal:
        return FocalGuess(camera, turned.deviation, True, "from the rotation of a camera that does not move")
    return FocalGuess(
        default, math.inf, False, "the camera hardly moves, and turns too little to tell the focal length"
    )

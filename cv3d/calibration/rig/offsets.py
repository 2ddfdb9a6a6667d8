"""How far the clocks of two cameras are apart, from the board's motion before both.

On a rigid rig the relative attitude of two cameras, R_i(t) R_j(t)^T, is the same at all times. For a wrong difference
of the clocks it varies as the board moves. So every difference is tried at a coarse step, each with the relative
attitude that agrees with most frames, and the best one is refined together with that attitude; compare the temporal
calibration by Furgale et al. (2013, "Unified temporal and spatial calibration for multi-sensor systems").

The refinement does not minimise the deviations. Attitudes interpolated half-way between two sights carry less noise
than those at a sight, so that a minimum would be drawn to half-way. It solves for the difference at which the
deviations are uncorrelated with an angular velocity that was measured from other sights: an instrumental variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.rig.board_motion import AttitudeTrack, conjugate, multiply, quaternions_of, rotation_vectors

_FEWEST_FRAMES = 12
"""Frames that both cameras must have seen the board in."""
_SHORTEST_S = 1.0
"""And the time they must add up to: any two short motions are alike."""
_COARSE_STEP_S = 0.05
"""Hands do not move a board so fast that a coarser search would miss the peak, nor is a finer one of use."""
_MOST_STEPS = 6000
_COARSE_SIGHTS = 160
"""Sights of the first camera that the search looks at, evenly spread."""
_HYPOTHESES = 12
"""Frames whose relative attitude is tried as that of all."""
_FLOOR = np.radians(0.5)
"""Error of one attitude that is always reckoned with, interpolation included, radians."""
_MANY = 0.4
"""Frames that a rival must compare, as a share of the best one's, to be judged by its score per frame."""
_VALLEY = 0.5
"""Two peaks are separate where the score between them falls below this share of the best."""
_ITERATIONS = 12
_TUNING = 2.0
"""Cauchy's loss begins to bend at this many standard deviations."""
_CORRELATED = 6
"""Frames over which errors are taken to be correlated."""


@dataclass(frozen=True)
class PairOffset:
    """The difference of two clocks: first = second + offset + rate * (second - centre)."""

    offset_s: float
    """At `centre_s` of the second clock; with the rate taken to be zero."""
    std_s: float
    rate: float
    """How much faster the first clock runs; about 1e-6 per ppm."""
    rate_std: float
    centre_s: float
    """On the second clock."""
    frames: int
    """Frames compared."""
    residual_rad: float
    """Typical angle by which the relative attitude of one frame differs from that of all."""
    contrast: float
    """Scatter of the board's attitudes over `residual_rad`."""
    score: float
    """Logarithm of the likelihood gained over unrelated motions, about."""
    rival_s: float | None
    """Offset of the second-best peak; None where there is no other."""
    rival_share: float
    """Its score, or its score per frame where it compares many frames too, as a share of the best one's."""


@dataclass(frozen=True)
class _Alignment:
    """Two tracks at one difference of their clocks."""

    frames: NDArray[np.int64]
    """Which sights of the first camera have a counterpart, (k,)."""
    relative: NDArray[np.float64]
    """first_from_second of each under every turn of the board, (k, S, 4)."""
    velocity: NDArray[np.float64]
    """The board's angular velocity in the second camera's frame, (k, 3)."""
    times: NDArray[np.float64]
    """When, on the second clock, (k,)."""


def find_offset(first: AttitudeTrack, second: AttitudeTrack, turns: NDArray[np.float64]) -> PairOffset | None:
    """The difference of two clocks.

    Args:
        first: the board's attitude before the first camera.
        second: the same before the second.
        turns: quaternions of the board's turns onto itself, (S, 4).

    Returns:
        The best difference; None where the cameras have not seen the board move together.
    """
    coarse = find_coarse_offset(first, second, turns)
    return None if coarse is None else _refined(first, second, turns, coarse)


@dataclass(frozen=True)
class CoarseOffset:
    """The difference of two clocks to half a frame."""

    offset_s: float
    attitude: NDArray[np.float64]
    """first_from_second, (4,)."""
    score: float
    """As in :class:`PairOffset`, and so are the rest."""
    rival_s: float | None
    rival_share: float
    contrast: float


def find_coarse_offset(first: AttitudeTrack, second: AttitudeTrack, turns: NDArray[np.float64]) -> CoarseOffset | None:
    """The difference of two clocks to half a frame, for pictures of a board at rest too.

    Arguments and result are those of :func:`find_offset`.
    """
    if min(len(first.times), len(second.times)) < _FEWEST_FRAMES:
        return None
    shifts = _shifts(first, second)
    sights = np.arange(0, len(first.times), -(-len(first.times) // _COARSE_SIGHTS))
    trials = [_try(first, second, turns, float(shift), sights) for shift in shifts]
    best = int(np.argmax([trial.score for trial in trials]))
    if trials[best].score <= 0.0:
        return None
    rival, share = _rival(trials, best)
    chosen = trials[best]
    return CoarseOffset(
        offset_s=float(shifts[best]),
        attitude=chosen.attitude,
        score=chosen.score,
        rival_s=None if rival is None else float(shifts[rival]),
        rival_share=share,
        contrast=chosen.contrast,
    )


def _shifts(first: AttitudeTrack, second: AttitudeTrack) -> NDArray[np.float64]:
    """Differences to try: multiples of half the shorter period, so that equal stamps are met where clocks agree.

    At high frame rates multiples of a whole number of half periods.
    """
    low, high = first.times[0] - second.times[-1], first.times[-1] - second.times[0]
    step = 0.5 * min(first.period, second.period)
    step *= max(1.0, np.floor(_COARSE_STEP_S / step), np.ceil((high - low) / (step * _MOST_STEPS)))
    steps = np.arange(np.ceil(low / step), np.floor(high / step) + 1)
    return np.asarray(steps * step, np.float64)


def _align(
    first: AttitudeTrack,
    second: AttitudeTrack,
    turns: NDArray[np.float64],
    at: NDArray[np.float64],
    sights: NDArray[np.int64],
) -> _Alignment:
    """Compare some of the first camera's sights, (k,), with the second camera's at times `at` of its clock, (k,)."""
    known, attitudes, velocity = second.at(at)
    frames = sights[known]
    turned = multiply(first.quaternions[frames][:, None], turns[None])
    return _Alignment(frames, multiply(turned, conjugate(attitudes)[:, None]), velocity, at[known])


@dataclass(frozen=True)
class _Trial:
    """How well two motions agree at one difference of their clocks."""

    count: float
    """Frames compared, about."""
    gain: float
    """Logarithm of the likelihood gained per frame over unrelated motions."""
    attitude: NDArray[np.float64]
    """first_from_second, (4,)."""
    contrast: float
    """Scatter of the board's attitudes over what is left of it."""

    @property
    def score(self) -> float:
        """The gain of all frames."""
        return self.count * self.gain if self.count else -np.inf


def _try(
    first: AttitudeTrack,
    second: AttitudeTrack,
    turns: NDArray[np.float64],
    shift: float,
    sights: NDArray[np.int64],
) -> _Trial:
    """Compare some sights of the first camera with the second at one difference of the clocks."""
    alignment = _align(first, second, turns, first.times[sights] - shift, sights)
    count = len(alignment.frames) * len(first.times) / len(sights)
    needed = max(_FEWEST_FRAMES, _SHORTEST_S / first.period)
    if count < needed:
        return _Trial(0.0, -np.inf, np.array([1.0, 0.0, 0.0, 0.0]), 0.0)
    places = _spread(len(alignment.frames))
    hypotheses = alignment.relative[places].reshape(-1, 4)
    likeness = np.abs(alignment.relative @ hypotheses.T).max(axis=1)
    medians = np.median(likeness, axis=0)
    best = int(medians.argmax())
    left = 2.0 * np.arccos(min(1.0, float(medians[best])))
    scatter = _scatter(first, alignment.frames, turns)
    gain = np.log((scatter**2 + _FLOOR**2) / (left**2 + _FLOOR**2))
    return _Trial(count, float(gain), hypotheses[best], scatter / max(left, 1e-9))


def _spread(count: int) -> NDArray[np.int64]:
    """Indices of a few of `count` items, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, _HYPOTHESES)).round().astype(np.int64))


def _rival(trials: Sequence[_Trial], best: int) -> tuple[int | None, float]:
    """The second-best peak beyond the valleys about the best one, and its share of the best.

    A motion that repeats itself fits as well when it is shifted by a period, only over fewer frames.
    """
    scores = np.array([trial.score for trial in trials])
    gains = np.array([trial.gain for trial in trials])
    is_long = np.array([trial.count for trial in trials]) >= _MANY * trials[best].count
    shares = np.maximum(scores / scores[best], np.where(is_long, gains / gains[best], -np.inf))
    low = shares < _VALLEY
    before, after = np.flatnonzero(low[:best]), np.flatnonzero(low[best:])
    outside = np.zeros(len(scores), np.bool_)
    if len(before):
        outside[: before[-1] + 1] = True
    if len(after):
        outside[best + after[0] :] = True
    higher = np.maximum(np.append(shares[1:], -np.inf), np.insert(shares[:-1], 0, -np.inf))
    outside &= (shares >= higher) & (shares > 0.0)
    if not outside.any():
        return None, 0.0
    rival = int(np.where(outside, shares, -np.inf).argmax())
    return rival, float(shares[rival])


def _refined(
    first: AttitudeTrack, second: AttitudeTrack, turns: NDArray[np.float64], coarse: CoarseOffset
) -> PairOffset | None:
    """Refine the difference of the clocks and the relative attitude; then once more with a rate."""
    everything = np.arange(len(first.times))
    matched = _align(first, second, turns, first.times - coarse.offset_s, everything).frames
    centre = float(first.times[matched].mean()) - coarse.offset_s
    plain = _fit(first, second, turns, np.array([coarse.offset_s, 0.0]), coarse.attitude, centre, with_rate=False)
    if plain is None:
        return None
    drifting = _fit(first, second, turns, plain.clock, plain.attitude, centre, with_rate=True)
    rate, rate_std = (0.0, np.inf) if drifting is None else (drifting.clock[1], float(drifting.deviations[1]))
    scatter = _scatter(first, plain.frames, turns)
    left = float(np.sqrt(plain.variance))
    return PairOffset(
        offset_s=float(plain.clock[0]),
        std_s=float(plain.deviations[0]),
        rate=float(rate),
        rate_std=rate_std,
        centre_s=centre,
        frames=len(plain.frames),
        residual_rad=left,
        contrast=scatter / max(left, 1e-9),
        score=coarse.score,
        rival_s=coarse.rival_s,
        rival_share=coarse.rival_share,
    )


@dataclass(frozen=True)
class _Fit:
    clock: NDArray[np.float64]
    """Offset, seconds, and rate, (2,)."""
    deviations: NDArray[np.float64]
    """Standard deviations of both, (2,)."""
    attitude: NDArray[np.float64]
    """first_from_second, (4,)."""
    frames: NDArray[np.int64]
    variance: float
    """Of the angle between the relative attitude of one frame and that of all, radians²."""


def _fit(
    first: AttitudeTrack,
    second: AttitudeTrack,
    turns: NDArray[np.float64],
    clock: NDArray[np.float64],
    attitude: NDArray[np.float64],
    centre: float,
    *,
    with_rate: bool,
) -> _Fit | None:
    """Fit clock and attitude to all frames under Cauchy's loss; None where it leaves what is known."""
    about = first.velocity_about()
    sights = np.flatnonzero(np.isfinite(about).all(axis=1))
    count = 5 if with_rate else 4
    for _ in range(_ITERATIONS):
        lapse = (first.times[sights] - clock[0] - centre) / (1.0 + clock[1])
        alignment = _align(first, second, turns, centre + lapse, sights)
        if len(alignment.frames) < _FEWEST_FRAMES:
            return None
        errors, spins = _errors(alignment, attitude)
        squares = (errors**2).sum(axis=1)
        # The median of a chi-square variable with three degrees of freedom is 2.37.
        scale = max(float(np.median(squares)) / 2.37, (0.02 * _FLOOR) ** 2)
        weights = 1.0 / (1.0 + squares / (3.0 * _TUNING**2 * scale))
        since = alignment.times - centre
        jacobian = _jacobian(spins, since, count)
        instruments = _jacobian(about[alignment.frames], since, count)
        normal = np.einsum("kap,k,kaq->pq", instruments, weights, jacobian)
        gradients = np.einsum("kap,k,ka->kp", instruments, weights, errors)
        try:
            inverse = np.linalg.inv(normal)
        except np.linalg.LinAlgError:
            return None
        step = -inverse @ gradients.sum(axis=0)
        limit = 2.0 * max(first.period, second.period)
        step *= min(1.0, limit / max(abs(step[3]), 1e-12))
        attitude = multiply(quaternions_of(step[:3]), attitude)
        clock = clock + np.array([step[3], step[4] if with_rate else 0.0])
        if abs(step[3]) < 1e-7:
            break
    covariance = inverse @ _correlated(gradients) @ inverse.T
    deviations = np.sqrt(np.maximum(np.diag(covariance)[3:], 0.0))
    deviations = np.append(deviations, [] if with_rate else [0.0])
    return _Fit(clock, deviations, attitude, alignment.frames, 3.0 * scale)


def _jacobian(spins: NDArray[np.float64], since: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Derivatives of deviations by attitude, offset and, where `count` is 5, rate, (k, 3, count)."""
    jacobian = np.zeros((len(spins), 3, count))
    jacobian[:, :, :3] = -np.eye(3)
    jacobian[:, :, 3] = spins
    if count == 5:
        jacobian[:, :, 4] = spins * since[:, None]
    return jacobian


def _errors(alignment: _Alignment, attitude: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Deviations of each frame's relative attitude, (k, 3), and their derivatives by the offset, (k, 3)."""
    errors = rotation_vectors(multiply(alignment.relative, conjugate(attitude)))
    best = (errors**2).sum(axis=2).argmin(axis=1)
    errors = errors[np.arange(len(errors)), best]
    pure = np.concatenate([np.zeros((len(errors), 1)), alignment.velocity], axis=1)
    spins = multiply(multiply(attitude[None], pure), conjugate(attitude)[None])[:, 1:]
    return errors, spins


def _correlated(gradients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of the sum of the frames' gradients, whose errors go on for some frames (Newey and West 1987)."""
    total = gradients.T @ gradients
    for lag in range(1, min(_CORRELATED, len(gradients))):
        product = gradients[lag:].T @ gradients[:-lag]
        total = total + (1.0 - lag / _CORRELATED) * (product + product.T)
    return np.asarray(total, np.float64)


def _scatter(track: AttitudeTrack, frames: NDArray[np.int64], turns: NDArray[np.float64]) -> float:
    """Typical angle between the board's attitudes and the most central of them, radians."""
    own = track.quaternions[frames]
    places = _spread(len(own))
    likeness = np.abs(multiply(own[places][None], turns[:, None]) @ own.T).max(axis=0)
    return 2.0 * float(np.arccos(min(1.0, float(np.median(likeness, axis=1).max()))))

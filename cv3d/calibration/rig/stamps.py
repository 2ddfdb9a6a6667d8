"""Pictures of different cameras put together by their time stamps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cv3d.calibration.rig.names import stamp_in_name
from cv3d.media.picture import Picture

_EXIF_IFD = 0x8769
_DATE_TIME_ORIGINAL = 0x9003
_OFFSET_TIME_ORIGINAL = 0x9011
_SUBSEC_TIME_ORIGINAL = 0x9291
_ENOUGH = 0.5
"""Share of the smaller camera's pictures that must find a partner for a difference of clocks to be believed."""
_CLEARLY_LESS = 0.8
"""A second difference of clocks must give at most this share of the partners that the best one gives."""
_SINCE_1970 = 1e8
"""Stamps larger than this, seconds, do not count from the beginning of a recording."""
_MOST_STAMPS = 400
"""Stamps of each camera that are compared with all of another's when the difference of the clocks is looked for."""
_DRIFT_MOMENTS = 6
_DRIFT_FRAMES = 0.25
"""Share of a frame by which stamps run away over a recording before the user hears of it."""
_DRIFT_SIGMAS = 5.0
_RATES_ALIKE = 1.1
_MEDIAN_STD = 1.2533 * 1.4826
"""Standard deviation of a median of n values, over that of the values by their median deviation, times sqrt(n)."""


@dataclass(frozen=True)
class StampMatch:
    """Pictures put together by time."""

    members: NDArray[np.int64]
    """(M, C), for each moment the index of each camera's picture, -1 for none, in the order of time."""
    clock_shifts_s: NDArray[np.float64]
    """(C,), what was added to each camera's stamps to get the first camera's clock, seconds."""
    spreads_s: NDArray[np.float64]
    """(M,), the largest difference of stamps in a moment, shifts applied, seconds; NaN for a single picture."""


def name_stamps(pictures: Sequence[Picture]) -> tuple[float, ...] | None:
    """Stamps in the names of pictures, seconds; None where one has none or they are not all different."""
    return _usable([stamp_in_name(picture.source.stem) for picture in pictures])


def exif_stamps(pictures: Sequence[Picture]) -> tuple[float, ...] | None:
    """When pictures were taken by their EXIF data, seconds; None where one does not say it or two say the same."""
    stamps = []
    for picture in pictures:
        stamp = exif_stamp(picture.source)
        if stamp is None:
            return None
        stamps.append(stamp)
    return _usable(stamps)


def exif_stamp(path: Path) -> float | None:
    """DateTimeOriginal with its fraction of a second and offset from UTC, where there are any, seconds."""
    try:
        with Image.open(path) as image:
            exif = image.getexif().get_ifd(_EXIF_IFD)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Warning):
        return None
    text = str(exif.get(_DATE_TIME_ORIGINAL, "")).strip("\0 ")
    try:
        moment = datetime.strptime(text, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    fraction = re.sub(r"\D", "", str(exif.get(_SUBSEC_TIME_ORIGINAL, "")))
    zone = re.fullmatch(r"([+-])(\d\d):(\d\d)", str(exif.get(_OFFSET_TIME_ORIGINAL, "")).strip("\0 "))
    east_s = 0
    if zone:
        east_s = (60 * int(zone.group(2)) + int(zone.group(3))) * (60 if zone.group(1) == "+" else -60)
    return moment.timestamp() - east_s + (int(fraction) / 10.0 ** len(fraction) if fraction else 0.0)


def _usable(stamps: Sequence[float | None]) -> tuple[float, ...] | None:
    known = [stamp for stamp in stamps if stamp is not None]
    return tuple(known) if len(known) == len(stamps) == len(set(known)) else None


def median_period(times: Sequence[float] | NDArray[np.float64]) -> float:
    """Median difference of successive stamps, seconds; infinite for fewer than two."""
    ordered = np.sort(np.asarray(times, np.float64))
    return float(np.median(np.diff(ordered))) if len(ordered) > 1 else float("inf")


def match_stamps(times: Sequence[Sequence[float]], *, may_shift: bool = True) -> StampMatch | None:
    """Put pictures together whose stamps are nearest to one another.

    Two stamps belong together when each is the other's nearest and they differ by less than half the shorter of the
    two median periods. Clocks may differ by a constant, unless the stamps come so regularly that any whole number of
    periods would do.

    Args:
        times: for each camera its stamps, seconds, in any order.
        may_shift: whether to look for a constant difference where the stamps as they are do not fit.

    Returns:
        The moments; None where the clocks of two cameras cannot be brought together.
    """
    clocks = [np.asarray(own, np.float64) for own in times]
    shifts = np.zeros(len(clocks))
    for index in range(1, len(clocks)):
        shift = _clock_shift(clocks[0], clocks[index], may_shift=may_shift)
        if shift is None:
            return None
        shifts[index] = shift
    members = group_nearest([own + shift for own, shift in zip(clocks, shifts, strict=True)])
    return StampMatch(members, shifts, moment_spreads(members, clocks, shifts))


def group_nearest(
    clocks: Sequence[NDArray[np.float64]], tolerances_s: Sequence[float] | None = None
) -> NDArray[np.int64]:
    """Group stamps on one clock into moments, each of at most one stamp per camera.

    The cameras are joined one after the other to those with most stamps, which settles what a mutual nearest neighbour
    is when there are more than two.

    Args:
        clocks: for each camera its stamps on the common clock, seconds.
        tolerances_s: for each camera half its period or less; by default half of each camera's median period.

    Returns:
        (M, C) indices, -1 for none, in the order of time. Every stamp is in one moment.
    """
    tolerances = [0.5 * median_period(own) for own in clocks] if tolerances_s is None else list(tolerances_s)
    order = sorted(range(len(clocks)), key=lambda index: (-len(clocks[index]), index))
    moments: list[dict[int, int]] = []
    centres = np.zeros(0)
    reach = np.zeros(0)
    for camera in order:
        own = clocks[camera]
        partners = _mutual_nearest(centres, own)
        joined = set()
        for moment, stamp in partners:
            if abs(centres[moment] - own[stamp]) <= min(reach[moment], tolerances[camera]):
                moments[moment][camera] = stamp
                joined.add(stamp)
        alone = [stamp for stamp in range(len(own)) if stamp not in joined]
        moments += [{camera: stamp} for stamp in alone]
        centres = np.concatenate([centres, own[alone]])
        reach = np.concatenate([reach, np.full(len(alone), tolerances[camera])])
    members = np.full((len(moments), len(clocks)), -1, np.int64)
    for row, joined_stamps in zip(members, moments, strict=True):
        for camera, stamp in joined_stamps.items():
            row[camera] = stamp
    return members[np.argsort(centres, kind="stable")]


def moment_spreads(
    members: NDArray[np.int64], clocks: Sequence[NDArray[np.float64]], shifts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(M,), the largest difference of stamps within each moment, seconds; NaN where it has one stamp."""
    stamps = moment_stamps(members, clocks, shifts)
    several = (members >= 0).sum(axis=1) > 1
    spreads = np.full(len(members), np.nan)
    spreads[several] = np.nanmax(stamps[several], axis=1) - np.nanmin(stamps[several], axis=1)
    return spreads


def moment_stamps(
    members: NDArray[np.int64], clocks: Sequence[NDArray[np.float64]], shifts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(M, C), the stamps of each moment on the common clock, seconds; NaN for none."""
    stamps = np.full(members.shape, np.nan)
    for camera, own in enumerate(clocks):
        seen = members[:, camera] >= 0
        stamps[seen, camera] = own[members[seen, camera]] + shifts[camera]
    return stamps


def drifts(stamps: NDArray[np.float64], names: Sequence[str]) -> list[str]:
    """Words on cameras whose stamps run away from the first one's.

    Seen in a line through the differences, or, where these have grown beyond half a frame and begin anew, from moment
    to moment. Cameras of other frame rates are passed over, as their differences come and go.

    Args:
        stamps: of the moments, (M, C), seconds; NaN for none.
        names: the cameras' names, (C,).
    """
    periods = [median_period(own[np.isfinite(own)]) for own in stamps.T]
    said = []
    for camera in range(1, stamps.shape[1]):
        both = stamps[np.isfinite(stamps[:, [0, camera]]).all(axis=1)][:, [0, camera]]
        both = both[np.argsort(both[:, 0], kind="stable")]
        period = max(periods[0], periods[camera])
        if len(both) < _DRIFT_MOMENTS or period > _RATES_ALIKE * min(periods[0], periods[camera]):
            continue
        span = float(both[-1, 0] - both[0, 0])
        for rate, rate_std in (_line(both), _steps(both)):
            if abs(rate) * span >= _DRIFT_FRAMES * period and abs(rate) > _DRIFT_SIGMAS * rate_std:
                said.append(
                    f"the stamps of {names[camera]} run away from those of {names[0]}, by {rate * span:+.3f} s over "
                    f"{span:.1f} s ({1e6 * rate:+.0f} ppm): the clocks drift or the frame rates differ"
                )
                break
    return said


def _line(both: NDArray[np.float64]) -> tuple[float, float]:
    """Slope of the difference of two cameras' stamps (M, 2) over time by least squares, and its deviation."""
    time = both[:, 0] - both[:, 0].mean()
    difference = both[:, 1] - both[:, 0]
    slope = float(time @ difference / (time @ time))
    residual = difference - difference.mean() - slope * time
    return slope, float(np.sqrt(residual @ residual / (len(time) - 2) / (time @ time)))


def _steps(both: NDArray[np.float64]) -> tuple[float, float]:
    """The same as the median over successive moments, which does not mind single jumps."""
    steps = np.diff(both, axis=0)
    steps = steps[steps[:, 0] > 0.0]
    slopes = steps[:, 1] / steps[:, 0] - 1.0
    median = float(np.median(slopes))
    return median, float(_MEDIAN_STD * np.median(np.abs(slopes - median)) / np.sqrt(len(slopes)))


def time_names(times: NDArray[np.float64]) -> list[str]:
    """What moments are called by their times, (M,), seconds; stamps since 1970 are counted from the first moment."""
    start = float(times[0]) if len(times) and abs(times[0]) > _SINCE_1970 else 0.0
    return [f"{time - start:.3f} s" for time in times]


def _mutual_nearest(first: NDArray[np.float64], second: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of which each is the other's nearest."""
    if not len(first) or not len(second):
        return []
    to_second, to_first = _nearest(first, second), _nearest(second, first)
    return [(index, int(to_second[index])) for index in range(len(first)) if to_first[to_second[index]] == index]


def _nearest(queries: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each query the index of the nearest target."""
    order = np.argsort(targets, kind="stable")
    ordered = targets[order]
    right = np.searchsorted(ordered, queries).clip(0, len(targets) - 1)
    left = (right - 1).clip(0)
    is_left = np.abs(ordered[left] - queries) <= np.abs(ordered[right] - queries)
    return np.asarray(order[np.where(is_left, left, right)], np.int64)


def _clock_shift(first: NDArray[np.float64], second: NDArray[np.float64], *, may_shift: bool) -> float | None:
    """What to add to the second clock to get the first; None where nothing fits, or several values fit alike."""
    tolerance = 0.5 * min(median_period(first), median_period(second))
    enough = _ENOUGH * min(len(first), len(second))
    if np.isinf(tolerance):
        return 0.0 if len(first) == len(second) == 1 else None
    as_they_are = _partners(first, second, 0.0, tolerance)
    if len(as_they_are) >= enough:
        return 0.0
    if not may_shift:
        return None
    differences = (_some(first)[:, None] - _some(second)[None, :]).ravel()
    values = _modes(differences, tolerance)
    votes = np.array([len(_partners(first, second, float(value), 0.5 * tolerance)) for value in values])
    if not len(votes) or votes.max() < max(3.0, enough):
        return None
    best = float(values[votes.argmax()])
    rivals = votes[np.abs(values - best) > 2.0 * tolerance]
    if len(rivals) and rivals.max() > _CLEARLY_LESS * votes.max():
        return None
    pairs = _partners(first, second, best, tolerance)
    return float(np.median([first[i] - second[j] for i, j in pairs]))


def _some(times: NDArray[np.float64]) -> NDArray[np.float64]:
    places = np.linspace(0, len(times) - 1, min(len(times), _MOST_STAMPS)).round()
    return np.asarray(times[np.unique(places.astype(int))], np.float64)


def _modes(differences: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """The most frequent differences, at a resolution of half of `width`."""
    cells, counts = np.unique(np.floor(differences / (0.5 * width)).astype(np.int64), return_counts=True)
    frequent = cells[np.argsort(-counts, kind="stable")[:64]]
    return np.asarray((frequent + 0.5) * 0.5 * width, np.float64)


def _partners(
    first: NDArray[np.float64], second: NDArray[np.float64], shift: float, tolerance: float
) -> list[tuple[int, int]]:
    pairs = _mutual_nearest(first, second + shift)
    return [(i, j) for i, j in pairs if abs(first[i] - second[j] - shift) <= tolerance]

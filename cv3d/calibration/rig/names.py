"""What file names tell of a rig: which camera took a picture, which pictures belong together, and when they were taken.

Names are cut into runs of letters, of digits and of anything else: "cam0_0001" is cam, 0, _, 0001.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime

_TOKEN = re.compile(r"\d+|[^\W\d_]+|[\W_]+")
_CAMERA_WORD = re.compile(r"(?:cam(?:era)?|c|view|port|sensor|ch|dev(?:ice)?|video|lens|eye)", re.IGNORECASE)
_SIDES = frozenset(["left", "right", "l", "r", "top", "bottom", "front", "back", "rear", "centre", "center", "middle"])
_MOST_CAMERAS = 64
_COMPLETE = 0.5
"""Share of pictures that must have a counterpart for a way to deal pictures to cameras to be believed."""
_EPOCH_STAMP = re.compile(r"(?<!\d)(\d{13}|\d{16}|\d{19})(?!\d)")
"""Milli-, micro- or nanoseconds since 1970, of the years 2001 to 2286."""
_SECONDS_STAMP = re.compile(r"(?<!\d)(\d{10})[._](\d{3,9})(?!\d)")
_DATE_STAMP = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_.]?(\d\d)[-_.]?(\d\d)[-_.T ]{0,2}"
    r"(\d\d)[-_.:h]?(\d\d)[-_.:m]?(\d\d)(?:[-_.,]?(\d{1,9}))?(?!\d)"
)


def split_cameras(stems: Sequence[str]) -> dict[str, list[int]] | None:
    """Deal pictures of one folder to cameras by the part of their names that is not the running number.

    Args:
        stems: file names without suffix.

    Returns:
        For each camera, by name, the indices of its pictures; None where the names do not tell.
    """
    tokens = [tuple(_TOKEN.findall(stem)) for stem in stems]
    length, count = Counter(len(item) for item in tokens).most_common(1)[0]
    if count == len(tokens):
        places = [
            place for place in range(length) if 2 <= len({item[place].casefold() for item in tokens}) <= _MOST_CAMERAS
        ]
        ranked = sorted(places, key=lambda place: _camera_rank(tokens, place))
        for place in ranked:
            groups: dict[str, list[int]] = {}
            for index, item in enumerate(tokens):
                groups.setdefault(_camera_name(item, place), []).append(index)
            if _completeness(tokens, place) >= _COMPLETE:
                return groups
    by_words: dict[str, list[int]] = {}
    for index, item in enumerate(tokens):
        words = "".join(token for token in item if not token.isdecimal()).strip("_-. ")
        by_words.setdefault(words, []).append(index)
    is_telling = len(by_words) > 1 and all(name and len(members) > 1 for name, members in by_words.items())
    return by_words if is_telling else None


def _camera_rank(tokens: Sequence[tuple[str, ...]], place: int) -> tuple[bool, bool, int, bool, int]:
    """Words for sides first, then words and numbers that follow a word for a camera, few values before many."""
    values = {item[place].casefold() for item in tokens}
    is_word = _is_word(tokens, place)
    is_numbered = place > 0 and all(_CAMERA_WORD.fullmatch(_word_before(item, place)) for item in tokens)
    return (not values <= _SIDES, not (is_word or is_numbered), len(values), not is_word, place)


def _is_word(tokens: Sequence[tuple[str, ...]], place: int) -> bool:
    return not any(item[place].isdecimal() for item in tokens)


def _word_before(tokens: tuple[str, ...], place: int) -> str:
    """The letters just before a token, over one separator."""
    before = tokens[place - 1]
    if not before[0].isalpha() and place > 1:
        before = tokens[place - 2]
    return before if before[0].isalpha() else ""


def _camera_name(tokens: tuple[str, ...], place: int) -> str:
    value = tokens[place]
    if not value.isdecimal():
        return value
    return "".join(tokens[max(0, place - 2) : place + 1]).strip("_-. ") if _word_before(tokens, place) else value


def _completeness(tokens: Sequence[tuple[str, ...]], place: int) -> float:
    """Share of pictures whose name, but for one token, occurs with another value of that token too.

    A number that alone tells the pictures apart counts them, and is no camera.
    """
    rests = [(*item[:place], *item[place + 1 :]) for item in tokens]
    counts = Counter(rests)
    if len(counts) == 1 and not _is_word(tokens, place):
        return 0.0
    return sum(counts[rest] > 1 for rest in rests) / len(rests)


def name_keys(cameras: Sequence[Sequence[str]]) -> list[list[Hashable]]:
    """What each picture's name says besides its camera: equal keys of two cameras are of one moment.

    Either the whole stem, where cameras have stems in common, or its numbers but for those that are the same for all
    pictures of a camera, such as the camera's own number.

    Args:
        cameras: for each camera the stems of its pictures.

    Returns:
        For each camera a key for each picture.
    """
    whole: list[list[Hashable]] = [[stem.casefold() for stem in stems] for stems in cameras]
    numbers = _number_keys(cameras)
    return max((whole, numbers), key=shared_keys) if numbers is not None else whole


def shared_keys(keys: Sequence[Sequence[Hashable]]) -> int:
    """How many pictures have a counterpart of the same key in another camera."""
    holders = Counter(key for own in keys for key in set(own))
    return sum(holders[key] > 1 for own in keys for key in set(own))


def _number_keys(cameras: Sequence[Sequence[str]]) -> list[list[Hashable]] | None:
    """The numbers of each stem, but for those that never change within any camera; None where their count varies."""
    numbers = [[tuple(int(run) for run in re.findall(r"\d+", stem)) for stem in stems] for stems in cameras]
    counts = {len(runs) for own in numbers for runs in own}
    if len(counts) == 1:
        varying = [
            place for place in range(counts.pop()) if any(len({runs[place] for runs in own}) > 1 for own in numbers)
        ]
        if not varying:
            return None
        return [[tuple(runs[place] for place in varying) for runs in own] for own in numbers]
    if 0 in counts:
        return None
    return [[runs[-1] for runs in own] for own in numbers]


def stamp_in_name(stem: str) -> float | None:
    """The time that a name holds, seconds: 13, 16 or 19 digits since 1970, seconds with decimals, or date and time."""
    if match := _EPOCH_STAMP.search(stem):
        digits = match.group(1)
        return int(digits) / 10.0 ** (len(digits) - 10)
    if match := _SECONDS_STAMP.search(stem):
        return int(match.group(1)) + int(match.group(2)) / 10.0 ** len(match.group(2))
    if match := _DATE_STAMP.search(stem):
        *fields, fraction = match.groups()
        try:
            moment = datetime(*(int(field) for field in fields), tzinfo=UTC)  # type: ignore[arg-type, misc]
        except ValueError:
            return None
        return moment.timestamp() + (int(fraction) / 10.0 ** len(fraction) if fraction else 0.0)
    return None

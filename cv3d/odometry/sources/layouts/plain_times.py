"""When the pictures of a folder of no known tool were taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cv3d.formats.recordings.stamps import read_stamps, stamps_of_names
from cv3d.odometry.sources.pairing import numbers_of
from cv3d.odometry.sources.request import ASSUMED_FPS, Request

# fmt: off
_FILES = (
    "times.txt", "timestamps.txt", "timestamp.txt", "time.txt", "stamps.txt", "times.csv", "timestamps.csv",
    "associations.txt", "rgb.txt", "data.csv",
)
# fmt: on
_SPARSE = 10
"""Numbers in names that span so many times as many frames as there are do not count frames."""


@dataclass(frozen=True)
class PictureTimes:
    """The stamps of pictures."""

    times: list[float]
    """Seconds, one for every picture."""
    is_timed: bool
    """Whether they are the source's own."""
    notes: tuple[str, ...]
    file: Path | None = None
    """That they are from, where they are from a file."""


def times_of(folder: Path, pictures: Sequence[Path], request: Request) -> PictureTimes:
    """The stamps of pictures: of a file beside them, of their names, or made from the numbers of frames.

    Args:
        folder: the recording's.
        pictures: in the order of their names.
        request: says the frames per second where nothing else says the time.

    Raises:
        InputError: a file cannot be read.
    """
    notes: tuple[str, ...] = ()
    for place in dict.fromkeys([folder, pictures[0].parent]):
        for path in (place / name for name in _FILES):
            if not path.is_file():
                continue
            stamps = read_stamps(path, pictures)
            if stamps is not None:
                unit = "" if stamps.unit == "seconds" else f", in {stamps.unit}"
                return PictureTimes(stamps.times.tolist(), True, (f"time stamps: {path.name}{unit}",), path)
            notes += (f"{path.name} does not have a time stamp for each of the {len(pictures)} pictures",)
    named = stamps_of_names(pictures)
    if named is not None:
        note = f"time stamps: the pictures' names, in {named.unit}"
        return PictureTimes(named.times.tolist(), True, (*notes, note))
    fps = request.fps or ASSUMED_FPS
    how = "as given" if request.fps else "assumed: --fps says another"
    times = [number / fps for number in _frame_numbers(pictures)]
    return PictureTimes(times, False, (*notes, f"no time stamps: {fps:g} Hz, {how}"))


def _frame_numbers(pictures: Sequence[Path]) -> list[int]:
    """The number of every picture's frame: by the names where they count frames, else by the order."""
    numbers = numbers_of(pictures)
    if numbers is None or numbers != sorted(numbers) or numbers[-1] - numbers[0] >= _SPARSE * len(numbers):
        return list(range(len(pictures)))
    return [number - numbers[0] for number in numbers]

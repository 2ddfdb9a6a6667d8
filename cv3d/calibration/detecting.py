"""From pictures to the points of one board: which board it is, and where it shows in each picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detection import DETECTORS, Family, family_of
from cv3d.calibration.detection.base import Detection, Scan
from cv3d.calibration.journal import Journal, key_of
from cv3d.errors import EstimationError, PictureError
from cv3d.media.decode import Pixels
from cv3d.progress import SILENT, Progress

_DETECTOR_VERSION = 1
_SAMPLE = 6
"""Pictures in which every family is looked for, to find out which one it is."""

T = TypeVar("T")


class Source(Protocol):
    """A picture that can be decoded. `cv3d.media.picture.Picture` is one."""

    @property
    def name(self) -> str:
        """How results call it."""

    def digest(self) -> str:
        """A digest of its content."""

    def read_gray(self) -> Pixels:
        """Decode it to grey."""


@dataclass(frozen=True)
class SeenPicture:
    """One picture and what was found in it."""

    picture: Source
    detection: Detection
    """Empty, with a reason, where the picture is not usable."""
    size: tuple[int, int] | None
    """Width and height as displayed, pixels; None where the picture could not be decoded."""
    exif_orientation: int = 1

    @property
    def name(self) -> str:
        """How results call the picture."""
        return self.picture.name


@dataclass(frozen=True)
class BoardSightings:
    """The board of a set, and its sightings."""

    board: Board
    pictures: tuple[SeenPicture, ...]
    """In the order of the inputs, unreadable and duplicate ones included."""


@dataclass
class _Reader:
    """Decodes pictures once as long as memory allows, and remembers the sizes of all."""

    sources: Sequence[Source]
    limit_bytes: int = 1 << 30
    held: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    held_bytes: int = 0
    meta: dict[int, tuple[tuple[int, int], int]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)

    def gray(self, index: int) -> NDArray[np.uint8] | None:
        """The picture's pixels, or None where it cannot be decoded."""
        if index in self.failures:
            return None
        if index in self.held:
            return self.held[index]
        try:
            pixels = self.sources[index].read_gray()
        except PictureError as error:
            self.failures[index] = str(error)
            return None
        height, width = pixels.array.shape
        self.meta[index] = ((width, height), pixels.exif_orientation)
        if self.held_bytes + pixels.array.nbytes <= self.limit_bytes:
            self.held[index] = pixels.array
            self.held_bytes += pixels.array.nbytes
        return pixels.array


def find_board(
    sources: Sequence[Source],
    board: Board | None = None,
    square_m: float | None = None,
    journal: Journal | None = None,
    progress: Progress = SILENT,
    workers: int | None = None,
) -> BoardSightings:
    """Find out which board the pictures show, and where.

    Args:
        sources: the pictures.
        board: the board, where the user knows it; None: found out.
        square_m: the side of its squares (distance of its circles), metres; None: what `board` says, else unknown.
        journal: keeps what is found, so that nothing is looked for twice.
        progress: told about the course.
        workers: threads; None: one per core.

    Returns:
        The board and what each picture shows of it.

    Raises:
        EstimationError: no picture can be read, or none shows a board.
    """
    finder = _Finder(sources, journal or Journal(), progress, workers or os.cpu_count() or 1)
    return finder.run(board, square_m)


@dataclass
class _Finder:
    sources: Sequence[Source]
    journal: Journal
    progress: Progress
    workers: int

    def __post_init__(self) -> None:
        self.reader = _Reader(self.sources)
        self.digests: dict[int, str] = {}
        self.copies: dict[int, str] = {}

    def run(self, board: Board | None, square_m: float | None) -> BoardSightings:
        """See :func:`find_board`."""
        distinct = self._distinct()
        if board is None:
            family, scans = self._family(distinct)
            scans |= self._scans(family, [i for i in distinct if i not in scans])
            found = DETECTORS[family].identify([scans[i] for i in distinct if i in scans])
            if found is None:
                raise EstimationError(self._nothing_found(len(distinct)))
            board = found
        else:
            family, scans = family_of(board.type), {}
            scans = self._scans(family, distinct)
            board = self._completed(board, [scans[i] for i in distinct if i in scans])
        if square_m is not None:
            board = board.with_square(square_m)
        located = self._locations(family, board, distinct, scans)
        pictures = tuple(self._seen(i, located) for i in range(len(self.sources)))
        if not any(len(p.detection.point_ids) for p in pictures):
            reasons = [p.detection.reason for p in pictures if p.detection.reason]
            common = max(set(reasons), key=reasons.count) if reasons else "nothing was found"
            raise EstimationError(f"the board ({board}) was found in none of {len(pictures)} pictures: {common}")
        return BoardSightings(board, pictures)

    def _distinct(self) -> list[int]:
        """Indices of the pictures that can be read and are no copies of an earlier one."""
        first: dict[str, int] = {}
        kept = []
        for i, source in enumerate(self.sources):
            try:
                digest = source.digest()
            except PictureError as error:
                self.reader.failures[i] = str(error)
                continue
            if digest in first:
                self.copies[i] = self.sources[first[digest]].name
                continue
            first[digest] = i
            self.digests[i] = digest
            kept.append(i)
        return kept

    def _family(self, indices: list[int]) -> tuple[Family, dict[int, Scan]]:
        """The family of boards that the pictures show, judged on a few of them (on all where the few show none)."""
        spread = np.unique(np.linspace(0, len(indices) - 1, min(_SAMPLE, len(indices))).round().astype(int))
        sample = [indices[k] for k in spread] if indices else []
        rest = [i for i in indices if i not in sample]
        collected: dict[Family, dict[int, Scan]] = {family: {} for family in DETECTORS}
        for group in (sample, rest):
            best: tuple[float, Family] | None = None
            for family, detector in DETECTORS.items():
                collected[family] |= self._scans(family, group)
                scans = list(collected[family].values())
                if detector.identify(scans) is None:
                    continue
                support = family.weight * sum(scan.points for scan in scans)
                if family.decisive:
                    return family, collected[family]
                if best is None or support > best[0]:
                    best = (support, family)
            if best is not None:
                return best[1], collected[best[1]]
        raise EstimationError(self._nothing_found(len(indices)))

    def _nothing_found(self, readable: int) -> str:
        unreadable = len(self.reader.failures)
        if unreadable and readable - unreadable <= 0:
            example = next(iter(self.reader.failures.values()))
            return f"none of the {len(self.sources)} pictures can be read ({example})"
        note = f" ({unreadable} could not be read)" if unreadable else ""
        return (
            f"no calibration board found in any of the {len(self.sources)} pictures{note}: looked for checkerboards, "
            "ChArUco boards, AprilGrids and circle grids; is the board sharp, flat and seen with a light margin "
            "around it?"
        )

    def _scans(self, family: Family, indices: Sequence[int]) -> dict[int, Scan]:
        detector = DETECTORS[family]

        def look(index: int) -> Scan | None:
            key = key_of("scan", _DETECTOR_VERSION, family.value, self.digests[index])
            known = self.journal.scan(key)
            if known is not None:
                return known
            gray = self.reader.gray(index)
            if gray is None:
                return None
            scan = detector.scan(gray)
            self.journal.put_scan(key, scan)
            return scan

        return self._on_all(f"look for {family.value}", look, indices)

    def _completed(self, board: Board, scans: Sequence[Scan]) -> Board:
        """A user's board with what was left open (dictionary, ratio, first marker) read off the pictures."""
        found = DETECTORS[family_of(board.type)].identify(scans)
        if found is None or found.type is not board.type:
            return board
        sizes = [(board.rows, board.cols)]
        if board.type in (BoardType.CHECKERBOARD, BoardType.CIRCLES):
            sizes.append((board.cols, board.rows))
        if (found.rows, found.cols) not in sizes:
            return board
        return replace(
            found,
            square_m=board.square_m,
            dictionary=board.dictionary or found.dictionary,
            marker_ratio=board.marker_ratio or found.marker_ratio,
        )

    def _locations(
        self, family: Family, board: Board, indices: Sequence[int], scans: dict[int, Scan]
    ) -> dict[int, Detection]:
        detector = DETECTORS[family]
        unscaled = board.with_square(None)

        def look(index: int) -> Detection | None:
            key = key_of("locate", _DETECTOR_VERSION, repr(unscaled), self.digests[index])
            known = self.journal.detection(key)
            if known is not None:
                return known
            gray = self.reader.gray(index)
            if gray is None:
                return None
            detection = detector.locate(gray, board, scans.get(index))
            self.journal.put_detection(key, detection)
            return detection

        return self._on_all("find corners", look, indices)

    def _on_all(self, stage: str, work: Callable[[int], T | None], indices: Sequence[int]) -> dict[int, T]:
        """Run `work` on pictures in threads; a Ctrl-C waits only for those already begun."""
        results: dict[int, T] = {}
        if not indices:
            return results
        self.progress.start(stage, len(indices))
        pool = ThreadPoolExecutor(min(self.workers, len(indices)))
        try:
            futures: dict[int, Future[T | None]] = {i: pool.submit(work, i) for i in indices}
            for i, future in futures.items():
                value = future.result()
                if value is not None:
                    results[i] = value
                self.progress.advance(stage)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        pool.shutdown()
        self.progress.finish(stage)
        return results

    def _seen(self, index: int, located: dict[int, Detection]) -> SeenPicture:
        picture = self.sources[index]
        if index in self.copies:
            return SeenPicture(picture, Detection.nothing(f"a copy of {self.copies[index]}"), None)
        if index in located and index not in self.reader.meta:
            self.reader.gray(index)
        if index in self.reader.failures:
            return SeenPicture(picture, Detection.nothing(self.reader.failures[index]), None)
        size, orientation = self.reader.meta[index]
        return SeenPicture(picture, located[index], size, orientation)

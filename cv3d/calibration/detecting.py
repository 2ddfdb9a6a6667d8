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
from cv3d.calibration.checks.boards_in_view import may_be, other_board
from cv3d.calibration.checks.mirroring import MIRRORED, mirrored_pictures, refuse_mirrored
from cv3d.calibration.detection import DETECTORS, Family, family_of
from cv3d.calibration.detection.base import Detection, Scan
from cv3d.calibration.journal import Journal, key_of
from cv3d.errors import EstimationError, PictureError
from cv3d.media.decode import Pixels
from cv3d.progress import SILENT, Progress

_DETECTOR_VERSION = 2
_SAMPLE = 6
"""Pictures in which every family is looked for, to find out which one it is."""
_STRAYS = 3
"""Pictures without the board in which other families are looked for, to find out whether another board was shown."""

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
    other_board: Board | None = None
    """Another board that it shows, alone or beside the one that is used."""
    light_on_dark: bool = False
    """Whether its circles are lighter than the board."""

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
    cameras: Sequence[int] | None = None,
) -> BoardSightings:
    """Find out which board the pictures show, and where.

    Args:
        sources: the pictures.
        board: the board, where the user knows it; None: found out.
        square_m: the side of its squares (distance of its circles), metres; None: what `board` says, else unknown.
        journal: keeps what is found, so that nothing is looked for twice.
        progress: told about the course.
        workers: threads; None: one per core.
        cameras: which camera took each picture; None: one took all. A copy of another camera's picture is not passed
            over, as only the geometry can tell whose it is.

    Returns:
        The board and what each picture shows of it.

    Raises:
        EstimationError: no picture can be read, or none shows a board.
    """
    finder = _Finder(sources, journal or Journal(), progress, workers or os.cpu_count() or 1, cameras)
    return finder.run(board, square_m)


@dataclass
class _Finder:
    sources: Sequence[Source]
    journal: Journal
    progress: Progress
    workers: int
    cameras: Sequence[int] | None = None

    def __post_init__(self) -> None:
        self.reader = _Reader(self.sources)
        self.digests: dict[int, str] = {}
        self.copies: dict[int, str] = {}
        self.others: dict[int, Board] = {}
        self.light_on_dark: set[int] = set()

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
        if family.decisive:
            refuse_mirrored(scans, self._names())
        if square_m is not None:
            board = board.with_square(square_m)
        located = self._locations(family, board, distinct, scans)
        self._look_beside(family, board, scans, located)
        pictures = tuple(self._seen(i, located) for i in range(len(self.sources)))
        if not any(len(p.detection.point_ids) for p in pictures):
            reasons = [p.detection.reason for p in pictures if p.detection.reason]
            common = max(set(reasons), key=reasons.count) if reasons else "nothing was found"
            raise EstimationError(f"the board ({board}) was found in none of {len(pictures)} pictures: {common}")
        return BoardSightings(board, pictures)

    def _distinct(self) -> list[int]:
        """Indices of the pictures that can be read and are no copies of an earlier one."""
        first: dict[tuple[int, str], int] = {}
        kept = []
        for i, source in enumerate(self.sources):
            try:
                digest = source.digest()
            except PictureError as error:
                self.reader.failures[i] = str(error)
                continue
            key = (0 if self.cameras is None else self.cameras[i], digest)
            if key in first:
                self.copies[i] = self.sources[first[key]].name
                continue
            first[key] = i
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
                if family.decisive:
                    winner = self._outvoted_by(family, collected) or family
                    return winner, collected[winner]
                support = family.weight * sum(scan.points for scan in scans)
                if best is None or support > best[0]:
                    best = (support, family)
            refuse_mirrored(collected[Family.CHARUCO], self._names())
            if best is not None:
                winner = self._outvoted_by(best[1], collected) or best[1]
                return winner, collected[winner]
        raise EstimationError(self._nothing_found(len(indices)))

    def _outvoted_by(self, family: Family, collected: dict[Family, dict[int, Scan]]) -> Family | None:
        """The family that most of the pictures looked at show, where that is not the one with the clearest points."""
        without = [i for i, scan in collected[family].items() if scan.points == 0]
        shown = len(collected[family]) - len(without)
        if len(without) <= shown:
            return None
        clearest = DETECTORS[family].identify(list(collected[family].values()))
        without = without[:: -(-len(without) // _SAMPLE)]
        for other, detector in DETECTORS.items():
            if other is family:
                continue
            collected[other] |= self._scans(other, [i for i in without if i not in collected[other]])
            scans = [scan for i in without if (scan := collected[other].get(i)) is not None and scan.points > 0]
            found = detector.identify(scans) if len(scans) > min(shown, len(without) // 2) else None
            # The gaps between dots and the squares between markers look like checkerboards.
            with_it = {i for i, scan in collected[family].items() if scan.points > 0}
            beside = [scan for i, scan in collected[other].items() if i in with_it and scan.points > 0]
            same = detector.identify(beside)
            if found is None or clearest is None or may_be(found, clearest):
                continue
            if same is None or not may_be(found, same):
                return other
        return None

    def _names(self) -> list[str]:
        return [source.name for source in self.sources]

    def _look_beside(self, family: Family, board: Board, scans: dict[int, Scan], located: dict[int, Detection]) -> None:
        """Say of pictures without the board what they show instead, and note other boards beside it."""
        for i in mirrored_pictures(scans):
            if i in located and not len(located[i].point_ids):
                located[i] = Detection.nothing(MIRRORED)
        empty = [i for i, found in located.items() if not len(found.point_ids) and found.reason != MIRRORED]
        for i in empty if family is Family.CIRCLES else located:
            self._note_other(i, family, scans.get(i), board)
        if family is Family.CIRCLES:
            self.light_on_dark = {i for i, s in scans.items() if s.points and s.arrays["light"].mean() > 0.5}
        strays = [i for i in empty if i not in self.others]
        sample = [strays[k] for k in sorted({0, len(strays) // 2, len(strays) - 1})] if strays else []
        # A scan for markers of one family has read those of all dictionaries.
        foreign = [one for one in DETECTORS if one is not family and not (one.decisive and family.decisive)]
        for other in foreign if sample else []:
            found = self._scans(other, sample[:_STRAYS])
            if any(other_board(scan, other, board) is not None for scan in found.values()):
                found |= self._scans(other, [i for i in strays if i not in found])
                for i, scan in found.items():
                    self._note_other(i, other, scan, board)
                break
        for i in empty:
            # Of boards of one family the detector has said itself which one it sees.
            if i in self.others and family_of(self.others[i].type) is not family:
                located[i] = Detection.nothing(f"{located[i].reason}: it shows another board ({self.others[i]})")

    def _note_other(self, index: int, family: Family, scan: Scan | None, board: Board) -> None:
        other = None if scan is None else other_board(scan, family, board)
        if other is not None:
            self.others[index] = other

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
        return SeenPicture(
            picture, located[index], size, orientation, self.others.get(index), index in self.light_on_dark
        )

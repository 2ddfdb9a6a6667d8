"""Points followed through the frames of a clip: what odometry and mapping consume."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntFlag
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.formats.atomic import atomic_write_bytes

Indices = NDArray[np.int64]

SCHEMA = "cv3d.tracks/1"
_ARRAYS = {"times": 1, "sizes": 2, "frame": 1, "track": 1, "pixels": 2, "error": 1, "covariance": 2, "flags": 1}


class Flag(IntFlag):
    """What is known about one observation."""

    NONE = 0
    SEED = 1
    """The track begins here; its point is by definition the one at this pixel."""
    ALIGNED = 2
    """Placed by aligning the track's reference patch, so errors of the frames between do not add up."""
    RELINKED = 4
    """The track was lost in the frames before and found again here."""
    REFERENCE = 8
    """The patch at this place became the track's reference: the view had changed too much for the one before."""


@dataclass(frozen=True)
class Covisible:
    """The tracks that two frames share."""

    tracks: Indices
    """(n,) ids, ascending."""
    pixels0: NDArray[np.float32]
    """(n, 2) places in the first frame, pixels."""
    pixels1: NDArray[np.float32]
    """(n, 2) places in the second frame, pixels."""
    rows0: Indices
    """(n,) the observations in the first frame, as rows of the flat arrays."""
    rows1: Indices
    """(n,) the observations in the second frame."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Observations of points over the frames of a clip, as flat arrays, ordered by frame and then by track.

    A track has at most one observation in a frame. It may have gaps where its point was hidden.

    Raises:
        InputError: the arrays do not fit together, or a track has two observations in one frame.
    """

    times: NDArray[np.float64]
    """(F,) the source's own stamp of each frame, seconds."""
    sizes: NDArray[np.int32]
    """(F, 2) width and height of each frame, pixels."""
    frame: NDArray[np.int32]
    """(N,) position of the observation's frame among the F, ascending."""
    track: NDArray[np.int32]
    """(N,) id of the observation's track; ascending within a frame. Ids need not be consecutive."""
    pixels: NDArray[np.float32]
    """(N, 2) x and y, pixels; (0, 0) is the centre of the top-left pixel."""
    error: NDArray[np.float32]
    """(N,) forward-backward error, pixels: how far from its start a point ends that is followed from the frame before
    to this one and back. NaN where nothing was followed: in a track's first frame and where it was found again."""
    covariance: NDArray[np.float32]
    """(N, 3) variances of x and y and their covariance (xx, yy, xy), pixels²; NaN where it is not known."""
    flags: NDArray[np.uint8]
    """(N,) of :class:`Flag`."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """How they were made; JSON-ready."""

    def __post_init__(self) -> None:
        count, frames = len(self.frame), len(self.times)
        wanted = {
            "times": (frames,),
            "sizes": (frames, 2),
            "frame": (count,),
            "track": (count,),
            "pixels": (count, 2),
            "error": (count,),
            "covariance": (count, 3),
            "flags": (count,),
        }
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise InputError(f"tracks: '{name}' has the shape {getattr(self, name).shape}, not {shape}")
        if count == 0:
            return
        if self.frame[0] < 0 or self.frame[-1] >= frames or self.track.min() < 0:
            raise InputError(f"tracks: frames have to be in 0 … {frames - 1} and track ids not negative")
        step_frame, step_track = np.diff(self.frame), np.diff(self.track)
        if (step_frame < 0).any() or ((step_frame == 0) & (step_track < 0)).any():
            raise InputError("tracks: observations have to be ordered by frame and then by track")
        twice = np.flatnonzero((step_frame == 0) & (step_track == 0))
        if len(twice):
            row = int(twice[0])
            raise InputError(f"tracks: track {self.track[row]} has two observations in frame {self.frame[row]}")

    def __len__(self) -> int:
        """The number of observations."""
        return len(self.frame)

    @property
    def frame_count(self) -> int:
        """F, the number of frames, those without an observation included."""
        return len(self.times)

    @cached_property
    def ids(self) -> NDArray[np.int32]:
        """(T,) the ids that occur, ascending."""
        return np.unique(self.track)

    @cached_property
    def lengths(self) -> Indices:
        """(T,) the number of observations of each track of :attr:`ids`."""
        return np.diff(self._track_starts)

    @cached_property
    def first_frames(self) -> NDArray[np.int32]:
        """(T,) the frame in which each track of :attr:`ids` begins."""
        return self.frame[self._by_track[self._track_starts[:-1]]]

    @cached_property
    def last_frames(self) -> NDArray[np.int32]:
        """(T,) the frame in which each track of :attr:`ids` ends."""
        return self.frame[self._by_track[self._track_starts[1:] - 1]]

    def in_frame(self, frame: int) -> slice:
        """The rows of one frame's observations.

        Raises:
            IndexError: there is no such frame.
        """
        if not 0 <= frame < self.frame_count:
            raise IndexError(f"there is no frame {frame} among {self.frame_count}")
        return slice(int(self._frame_starts[frame]), int(self._frame_starts[frame + 1]))

    def of_track(self, track: int) -> Indices:
        """The rows of one track's observations, in order of time; none for an id that does not occur."""
        place = int(np.searchsorted(self.ids, track))
        if place == len(self.ids) or self.ids[place] != track:
            return np.zeros(0, np.int64)
        return self._by_track[self._track_starts[place] : self._track_starts[place + 1]]

    def between(self, frame0: int, frame1: int) -> Covisible:
        """The tracks that both frames observe.

        Raises:
            IndexError: there is no such frame.
        """
        first, second = self.in_frame(frame0), self.in_frame(frame1)
        shared, rows0, rows1 = np.intersect1d(
            self.track[first], self.track[second], assume_unique=True, return_indices=True
        )
        rows0, rows1 = rows0 + first.start, rows1 + second.start
        return Covisible(shared.astype(np.int64), self.pixels[rows0], self.pixels[rows1], rows0, rows1)

    def shared_counts(self, frames: Indices | None = None) -> NDArray[np.int32]:
        """How many tracks each two of some frames share: the covisibility graph.

        Args:
            frames: (n,) the frames, ascending; None takes all.

        Returns:
            (n, n), symmetric; the diagonal holds the number of observations of each frame.
        """
        from scipy.sparse import csr_array

        chosen = np.arange(self.frame_count) if frames is None else np.asarray(frames, np.int64)
        column = np.searchsorted(self.ids, self.track)
        seen = csr_array(
            (np.ones(len(self), np.int32), (self.frame, column)), shape=(self.frame_count, max(1, len(self.ids)))
        )[chosen]
        return np.asarray((seen @ seen.T).toarray(), np.int32)

    def subset(self, keep: NDArray[np.bool_]) -> Tracks:
        """Some of the observations; the frames stay.

        Args:
            keep: (N,) true for those to keep.
        """
        rows = np.flatnonzero(keep)
        parts = {name: getattr(self, name)[rows] for name in ("frame", "track", "pixels", "error", "covariance")}
        return replace(self, **parts, flags=self.flags[rows])

    def at_least(self, length: int) -> Tracks:
        """The tracks with `length` observations or more."""
        return self.subset(self.lengths[np.searchsorted(self.ids, self.track)] >= length)

    def save(self, path: str | Path) -> None:
        """Write a compressed `.npz`, in one step.

        Raises:
            OutputError: the file cannot be written there.
        """
        buffer = io.BytesIO()
        about = json.dumps({**self.about, "schema": SCHEMA}, sort_keys=True)
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        np.savez_compressed(buffer, about=np.frombuffer(about.encode(), np.uint8), **arrays)
        atomic_write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Tracks:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: the file cannot be read, or its arrays do not fit together.
            FormatError: it holds something else.
        """
        try:
            # numpy leaves a file open whose content it cannot make out.
            with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                missing = [name for name in ("about", *_ARRAYS) if name not in content]
                if missing:
                    raise FormatError(f"{path}: no tracks: it lacks {', '.join(missing)}")
                about = json.loads(content["about"].tobytes().decode())
                arrays = {name: content[name] for name in _ARRAYS}
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
        except (ValueError, TypeError, zipfile.BadZipFile, EOFError) as error:
            raise FormatError(f"{path}: no file of tracks, or damaged: {error}") from error
        schema = about.pop("schema", None)
        if schema != SCHEMA:
            raise FormatError(f"{path}: written as '{schema}'; this version reads '{SCHEMA}'")
        kinds = {
            "times": np.float64,
            "sizes": np.int32,
            "frame": np.int32,
            "track": np.int32,
            "pixels": np.float32,
            "error": np.float32,
            "covariance": np.float32,
            "flags": np.uint8,
        }
        return cls(**{name: np.ascontiguousarray(arrays[name], dtype=kinds[name]) for name in kinds}, about=about)

    @cached_property
    def _frame_starts(self) -> Indices:
        """(F + 1,) where each frame's observations begin."""
        return np.searchsorted(self.frame, np.arange(self.frame_count + 1))

    @cached_property
    def _by_track(self) -> Indices:
        """(N,) the rows ordered by track and then by frame."""
        return np.argsort(self.track, kind="stable")

    @cached_property
    def _track_starts(self) -> Indices:
        """(T + 1,) where each track begins in the order by track."""
        return np.append(np.searchsorted(self.track[self._by_track], self.ids), len(self))

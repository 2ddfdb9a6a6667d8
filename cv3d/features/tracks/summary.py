"""What a set of tracks amounts to, in a few numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv3d.features.tracks.tracking import TrackResult
from cv3d.features.tracks.tracks import Flag, Tracks


@dataclass(frozen=True)
class TrackSummary:
    """A clip's tracks in numbers."""

    frames: int
    """Frames that were read."""
    key_frames: int
    """Of these, in how many keypoints were looked for."""
    tracks: int
    """Points seen in two frames or more."""
    observations: int
    """Their observations."""
    median_length: float
    """Frames of a typical track; NaN without any."""
    mean_length: float
    """Frames a track on average; NaN without any."""
    longest: int
    """Frames of the longest track."""
    median_alive: float
    """Points in a typical frame."""
    least_alive: int
    """Points in the frame that has the fewest."""
    relinked: int
    """Times that a lost point was found again."""
    median_error: float
    """Median forward-backward error, pixels; NaN where nothing was followed."""
    median_sigma: float
    """Median standard deviation of a coordinate as the covariances tell it, pixels; NaN where none is known."""
    median_ms: float
    """Wall time of a typical frame, milliseconds."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def summarise(result: TrackResult) -> TrackSummary:
    """The numbers of a result."""
    tracks = result.tracks
    lengths = tracks.lengths
    alive = np.array([one.alive for one in result.statistics])
    covariance = tracks.covariance
    sigma = np.sqrt(0.5 * (covariance[:, 0] + covariance[:, 1]))
    return TrackSummary(
        frames=tracks.frame_count,
        key_frames=len(result.key_frames),
        tracks=len(lengths),
        observations=len(tracks),
        median_length=_median(lengths),
        mean_length=float(lengths.mean()) if len(lengths) else float("nan"),
        longest=int(lengths.max(initial=0)),
        median_alive=_median(alive),
        least_alive=int(alive.min()) if len(alive) else 0,
        relinked=int((tracks.flags & Flag.RELINKED > 0).sum()),
        median_error=_median(tracks.error),
        median_sigma=_median(sigma),
        median_ms=_median(np.array([one.ms for one in result.statistics])),
    )


@dataclass(frozen=True)
class LengthHistogram:
    """How many tracks are how long."""

    edges: tuple[int, ...]
    """(b + 1,) shortest length of each bin, and one more than the longest of the last."""
    counts: tuple[int, ...]
    """(b,) tracks in each."""


def length_histogram(tracks: Tracks) -> LengthHistogram:
    """Track lengths in bins that double: 2, 3, 4–7, 8–15 and so on."""
    longest = int(tracks.lengths.max(initial=2))
    edges = [2, 3]
    while edges[-1] <= longest:
        edges.append(4 if edges[-1] == 3 else 2 * edges[-1])
    counts, _ = np.histogram(tracks.lengths, edges)
    # The last bin of numpy's histogram is closed; lengths never reach the last edge.
    return LengthHistogram(tuple(edges), tuple(int(count) for count in counts))


def median_forward_backward(tracks: Tracks) -> float:
    """Median forward-backward error, pixels; NaN where nothing was followed."""
    return _median(tracks.error)


def _median(values: NDArray[Any]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")

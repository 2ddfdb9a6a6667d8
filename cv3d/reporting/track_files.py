"""What `cv3d match --tracks` leaves and says: a picture of the tracks, the result, a summary for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cv3d.features.tracks import TrackResult, length_histogram, summarise
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.json_text import to_json
from cv3d.reporting.set_pictures import SetPictures
from cv3d.reporting.track_figures import write_track_figure

SCHEMA = "cv3d.match_tracks/1"
RESULT_FILE, TRACKS_FILE, FIGURE_FILE = "result.json", "tracks.npz", "tracks.png"
_BAR = 30
_TRAIL = 20
"""Frames of a track's way that are drawn."""


def tracks_result(result: TrackResult) -> dict[str, Any]:
    """The object that `--json` prints."""
    histogram = length_histogram(result.tracks)
    summary = summarise(result).as_dict()
    return {
        "schema": SCHEMA,
        "source": result.source,
        **{name: _known(value) for name, value in summary.items()},
        "lengths": [
            {"from": low, "to": high - 1, "tracks": count}
            for low, high, count in zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False)
        ],
        "is_reused": result.is_reused,
        "warnings": list(result.problems),
    }


def write_tracks(result: TrackResult, out: Path, load: SetPictures) -> dict[str, Any]:
    """Write the picture of the tracks and, last, `result.json`; the tracks themselves are there already.

    Args:
        result: of :func:`cv3d.features.tracks.track`, which wrote `tracks.npz` into `out`.
        out: the folder.
        load: gives the frames by name.

    Raises:
        OutputError: a file cannot be written.
    """
    files = [TRACKS_FILE]
    telling = _telling_frame(result)
    pixels = load(result.frames[telling])
    if pixels is not None:
        write_track_figure(out / FIGURE_FILE, pixels, result.tracks, telling, _TRAIL)
        files.append(FIGURE_FILE)
    content = {**tracks_result(result), "files": [*files, RESULT_FILE]}
    atomic_write_text(out / RESULT_FILE, to_json(content, indent=2) + "\n")
    return content


def describe_tracks(result: TrackResult, out: Path, files: Sequence[str]) -> str:
    """The tracks for a person, at most 80 columns but for a folder's name that is longer.

    Args:
        result: the tracks.
        out: where they were written.
        files: what was written there.
    """
    summary, histogram = summarise(result), length_histogram(result.tracks)
    most = max(histogram.counts, default=0) or 1
    lines = [
        f"{summary.tracks} points followed through {summary.frames} frames"
        + (" (read from an earlier run)" if result.is_reused else ""),
        "",
        f"alive        {summary.median_alive:.0f} in a typical frame, {summary.least_alive} at least",
        f"length       median {summary.median_length:.0f} frames, mean {summary.mean_length:.1f}, "
        f"longest {summary.longest}",
        f"error        forward-backward {summary.median_error:.3f} px (median)",
        f"found again  {summary.relinked} times after an occlusion",
        f"key frames   {summary.key_frames}; {summary.median_ms:.0f} ms a frame",
        "",
        "frames           tracks",
    ]
    for low, high, count in zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False):
        span = str(low) if high == low + 1 else f"{low} to {high - 1}"
        bar = "#" * round(_BAR * count / most)
        lines.append(f"{span:<14} {count:>8} {bar}".rstrip())
    lines += ["", f"written to {out}:", f"  {', '.join(files)}"]
    return "\n".join(lines)


def _telling_frame(result: TrackResult) -> int:
    """The frame where most of the ways to be drawn are seen."""
    tracks = result.tracks
    if not len(tracks.frame):
        return 0
    ages = tracks.frame - tracks.first_frames[np.searchsorted(tracks.ids, tracks.track)]
    return int(np.argmax(np.bincount(tracks.frame, np.minimum(ages, _TRAIL), len(result.frames))))


def _known(value: object) -> object:
    return None if isinstance(value, float) and not np.isfinite(value) else value

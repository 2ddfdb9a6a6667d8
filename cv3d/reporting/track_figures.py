"""Tracks drawn over a frame, so that a person sees whether they follow what they should."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.errors import OutputError
from cv3d.features.tracks.tracks import Flag, Tracks
from cv3d.formats.atomic import atomic_write_bytes

Image = NDArray[np.uint8]

_DIM = 0.55
"""Brightness of the frame beneath, so that lines stand out."""
_LEAST_SHOWN = 960
"""Longest side of a drawing at least, pixels: smaller frames are enlarged."""
_SHIFT = 4
"""Fractional bits of OpenCV's drawing coordinates."""
_OLD = 60
"""Age from which on all tracks have the last colour, frames."""


def draw_tracks(image: Image, tracks: Tracks, frame: int, trail: int = 20) -> Image:
    """Each point of a frame with the way it came.

    Colours go from violet for a new track to yellow for one of 60 frames or more. A ring marks a point that was lost
    and found again within the trail, a hollow square one that goes on by flow alone, a dot any other.

    Args:
        image: (H, W) grey or (H, W, 3) RGB, the frame.
        tracks: all of the clip.
        frame: its position among the clip's frames.
        trail: how many frames back to draw.

    Returns:
        (H', W', 3) RGB; small frames are enlarged by a whole factor.

    Raises:
        IndexError: there is no such frame.
    """
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = max(1, -(-_LEAST_SHOWN // max(gray.shape)))
    size = (gray.shape[1] * scale, gray.shape[0] * scale)
    canvas = np.repeat((cv2.resize(gray, size) * _DIM).astype(np.uint8)[..., None], 3, axis=2)
    present = tracks.in_frame(frame)
    palette = _palette()
    places = np.searchsorted(tracks.ids, tracks.track[present])
    ages = frame - tracks.first_frames[places]
    # The old on top: they are the ones to look at.
    for row in np.argsort(ages, kind="stable").tolist():
        history = tracks.of_track(int(tracks.track[present][row]))
        history = history[(tracks.frame[history] <= frame) & (tracks.frame[history] >= frame - trail)]
        colour = palette[min(int(ages[row]), _OLD)]
        _draw_way(canvas, tracks, history, colour, scale)
    return canvas


def write_track_figure(path: str | Path, image: Image, tracks: Tracks, frame: int, trail: int = 20) -> None:
    """Write what :func:`draw_tracks` draws as a PNG, in one step.

    Raises:
        IndexError: there is no such frame.
        OutputError: the file cannot be written there.
    """
    drawn = cv2.cvtColor(draw_tracks(image, tracks, frame, trail), cv2.COLOR_RGB2BGR)
    is_encoded, content = cv2.imencode(".png", drawn)
    if not is_encoded:
        raise OutputError(f"{path}: the drawing cannot be encoded as PNG")
    atomic_write_bytes(path, content.tobytes())


def _draw_way(
    canvas: Image, tracks: Tracks, history: NDArray[np.int64], colour: tuple[int, int, int], scale: int
) -> None:
    """One track's way to its last observation among `history`."""
    # The centre of a pixel stays the centre of its enlarged square.
    ways = np.rint(((tracks.pixels[history] + 0.5) * scale - 0.5) * (1 << _SHIFT)).astype(np.int32)
    breaks = np.flatnonzero(np.diff(tracks.frame[history]) > 1) + 1
    for part in np.split(ways, breaks):
        cv2.polylines(canvas, [part.reshape(-1, 1, 2)], False, colour, 1, cv2.LINE_AA, _SHIFT)
    x, y = ways[-1].tolist()
    unit = 1 << _SHIFT
    flags = tracks.flags[history]
    if (flags & Flag.RELINKED).any():
        cv2.circle(canvas, (x, y), 5 * unit, colour, 1, cv2.LINE_AA, _SHIFT)
    elif flags[-1] & (Flag.ALIGNED | Flag.SEED):
        cv2.circle(canvas, (x, y), 2 * unit, colour, -1, cv2.LINE_AA, _SHIFT)
    else:
        corner = (x - 3 * unit, y - 3 * unit), (x + 3 * unit, y + 3 * unit)
        cv2.rectangle(canvas, *corner, colour, 1, cv2.LINE_AA, _SHIFT)


def _palette() -> list[tuple[int, int, int]]:
    """RGB for each age up to :data:`_OLD`."""
    ramp = np.linspace(60, 255, _OLD + 1).astype(np.uint8)[:, None]
    coloured = cv2.cvtColor(cv2.applyColorMap(ramp, cv2.COLORMAP_PLASMA), cv2.COLOR_BGR2RGB)
    return [(int(r), int(g), int(b)) for r, g, b in coloured[:, 0]]

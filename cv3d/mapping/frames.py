"""The first stage: which pictures a scene is made from, and the note that keeps the choice for the next run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cv3d.errors import InputError
from cv3d.formats.atomic import atomic_write_text
from cv3d.media.inputs import Pictures, Video, find_pictures
from cv3d.media.key_choice import KeyFrameChoice, choose_key_frames
from cv3d.media.picture import Picture
from cv3d.progress import Progress

FRAMES_FILE = "frames.json"
_SCHEMA = "cv3d.key_frames/1"
_WANTED = 16
"""Key frames of a clip below which they are chosen closer together."""
_CLOSEST = 0.005
"""Motion between them, share of the diagonal, below which they would show the same."""


@dataclass(frozen=True)
class SceneFrames:
    """The pictures of a scene."""

    pictures: tuple[Picture, ...]
    is_video: bool
    """Whether all of them are frames of clips, in order of time."""
    warnings: tuple[str, ...]


def list_frames(
    inputs: str | Path | Sequence[str | Path], max_frames: int, folder: Path, *, anew: bool, progress: Progress
) -> SceneFrames:
    """List pictures, and choose the key frames of clips; what an earlier run chose of the same clip is taken.

    Args:
        inputs: folders, globs, pictures or videos.
        max_frames: most key frames of each clip.
        folder: where the choice is kept.
        anew: whether to choose anew.
        progress: told of the frames.

    Raises:
        InputError: nothing is there, there are fewer than two pictures, or nothing moves in a clip.
        PictureError: a clip cannot be decoded.
    """
    found: Pictures = find_pictures(inputs)
    pictures, warnings = list(found), list[str]()
    kept = [] if anew else _kept(folder / FRAMES_FILE)
    notes = []
    for video in found.videos:
        key = _key(video, max_frames)
        note = next((one for one in kept if one["video"] == key), None)
        if note is None:
            chosen = _choose(video, max_frames, progress)
            if chosen.is_still:
                raise InputError(
                    f"{video.name}: nothing moves in its {chosen.frame_count} frames; a scene needs a camera that moves"
                )
            of_video = list(chosen.pictures)
            note = {
                "video": key,
                "damaged": chosen.damaged,
                "frames": [[picture.name, picture.frame, picture.time] for picture in of_video],
            }
        else:
            of_video = [Picture(name, video.source, frame, time) for name, frame, time in note["frames"]]
        if note["damaged"]:
            warnings.append(f"{video.name}: {note['damaged']}")
            progress.warn(warnings[-1])
        notes.append(note)
        pictures.extend(of_video)
    if notes:
        atomic_write_text(folder / FRAMES_FILE, json.dumps({"schema": _SCHEMA, "videos": notes}))
    if len(pictures) < 2:
        what = pictures[0].name if pictures else "nothing"
        raise InputError(f"there is {what} alone; poses need two pictures of one scene at least, from different places")
    return SceneFrames(tuple(pictures), bool(found.videos) and not len(found), tuple(warnings))


def _choose(video: Video, max_frames: int, progress: Progress) -> KeyFrameChoice:
    """Key frames of a clip, closer together where it moves so little that there would be only a few."""
    chosen = choose_key_frames(video.source, max_frames=max_frames, name=video.name, progress=progress)
    count, wanted = len(chosen.pictures), min(_WANTED, max_frames)
    if chosen.is_still or count >= wanted or chosen.frame_count < 2 * wanted:
        return chosen
    step = max(chosen.step * (count - 1) / (wanted - 1), _CLOSEST)
    return choose_key_frames(video.source, max_frames=max_frames, step=step, name=video.name, progress=progress)


def _key(video: Video, max_frames: int) -> list[Any]:
    """What a choice of key frames depends on, as it is after a passage through JSON."""
    status = video.source.stat()
    return [str(video.source.resolve()), status.st_size, status.st_mtime_ns, max_frames, video.name]


def _kept(path: Path) -> list[dict[str, Any]]:
    """The choices of an earlier run; none where there was none, or its note is no longer readable."""
    try:
        whole = json.loads(path.read_text())
    except (OSError, ValueError):
        return []
    return list(whole["videos"]) if isinstance(whole, dict) and whole.get("schema") == _SCHEMA else []

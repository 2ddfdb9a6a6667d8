"""The key frames of a clip as picture files: `cv3d frames`."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cv3d.errors import InputError, OutputError, PictureError, UsageError
from cv3d.media.inputs import find_pictures
from cv3d.media.key_choice.choosing import STEP, choose_key_frames
from cv3d.media.key_choice.result import KeyFrameChoice
from cv3d.media.picture import Picture
from cv3d.media.video import probe_video
from cv3d.media.writing import write_picture
from cv3d.progress import SILENT, Progress

SCHEMA = "cv3d.frames/1"
FORMS = ("png", "jpg")
"""Picture formats that frames are written in."""
IMAGES_FOLDER = "images"
_OWN_NAME = re.compile(rf".*_\d{{6,}}_\d+\.\d{{3}}s\.({'|'.join(FORMS)})")


@dataclass(frozen=True)
class FramesResult:
    """The key frames of one clip, and the files that hold them."""

    clip: Path
    choice: KeyFrameChoice
    files: tuple[str | None, ...]
    """One for each picture of the choice, relative to the folder; None where it was not written."""
    size: tuple[int, int]
    """Width and height of the pictures, pixels."""
    warnings: tuple[str, ...]
    """Doubts, in sentences for the user."""
    seconds: float
    """Wall time."""

    def as_result(self) -> dict[str, object]:
        """The object that `--json` prints; its schema is `cv3d.frames/1`."""
        choice = self.choice
        return {
            "schema": SCHEMA,
            "clip": str(self.clip),
            "size": list(self.size),
            "frames": {
                "total": choice.frame_count,
                "chosen": len(choice.pictures),
                "passed_over": {reason.value: count for reason, count in choice.passed_over.items()},
            },
            "step": choice.step,
            "scenes": choice.cuts + 1,
            "is_still": choice.is_still,
            "damaged": choice.damaged,
            "pictures": self.rows(),
            "warnings": list(self.warnings),
            "seconds": round(self.seconds, 3),
        }

    def rows(self) -> list[dict[str, object]]:
        """Of each picture: its file, its place in the clip, and how it was chosen."""
        choice = self.choice
        rows = zip(self.files, choice.pictures, choice.sharpness, choice.motion, choice.scenes, strict=True)
        return [
            {
                "file": file,
                "frame": picture.frame,
                "time": picture.time,
                "sharpness": sharp,
                "motion": motion,
                "scene": scene,
            }
            for file, picture, sharp, motion, scene in rows
        ]


def frames(
    clip: str | Path,
    output: str | Path | None = None,
    *,
    max_frames: int = 300,
    step: float = STEP,
    form: str = "png",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> FramesResult:
    """Choose the key frames of a clip and write them as picture files, upright and in colour.

    The files are named by index and time, such as `clip_000123_4.920s.png`, and lie in `OUT/images`.

    Args:
        clip: the video.
        output: a folder; None chooses only.
        max_frames: the most frames.
        step: motion between neighbours, share of the picture's diagonal; see
            :func:`cv3d.media.key_choice.choose_key_frames`.
        form: one of :data:`FORMS`.
        overwrite: replace pictures that are there.
        progress: told about the course.

    Raises:
        InputError: the clip does not exist or is no video.
        PictureError: none of its frames can be decoded.
        UsageError: the options make no sense.
        OutputError: the pictures cannot be written, or some are there already.
    """
    if form not in FORMS:
        raise UsageError(f"frames are written as one of {', '.join(FORMS)}, not '{form}'")
    started = time.perf_counter()
    path = _one_video(clip)
    if output is not None:
        _check_folder(Path(output) / IMAGES_FOLDER, overwrite)
    choice = choose_key_frames(path, max_frames=max_frames, step=step, progress=progress)
    info = probe_video(path)
    warnings = _warnings(path, choice)
    files: tuple[str | None, ...] = (None,) * len(choice.pictures)
    if output is not None:
        files = _write_all(choice.pictures, Path(output) / IMAGES_FOLDER, form, progress, warnings)
    return FramesResult(path, choice, files, (info.width, info.height), tuple(warnings), time.perf_counter() - started)


def _one_video(clip: str | Path) -> Path:
    found = find_pictures(clip)
    if len(found.videos) != 1 or found.pictures:
        raise InputError(f"{clip}: is not one video; name a clip, such as walk.mp4")
    return found.videos[0].source


def _check_folder(folder: Path, overwrite: bool) -> None:
    """See that a folder may be filled: it holds nothing, or what an earlier run wrote and is to be replaced."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used: {error.strerror or error}") from error
    foreign = next((name for name in names if not _OWN_NAME.fullmatch(name)), None)
    if foreign is not None:
        raise OutputError(f"{folder}: holds other files, such as {foreign}; choose another folder with -o")
    if names and not overwrite:
        raise OutputError(f"{folder}: holds frames already; --overwrite replaces them")


def _warnings(path: Path, choice: KeyFrameChoice) -> list[str]:
    warnings = []
    if choice.damaged is not None:
        warnings.append(f"{path.name}: {choice.damaged}; the {choice.frame_count} frames that are whole were looked at")
    if choice.is_still:
        warnings.append(f"{path.name}: the view does not move, so one frame says all; move the camera for more")
    return warnings


def _write_all(
    pictures: Sequence[Picture], folder: Path, form: str, progress: Progress, warnings: list[str]
) -> tuple[str | None, ...]:
    """Write the pictures and take away what an earlier run left; an error or an interruption leaves none of them.

    Returns:
        The path of each relative to the output, None and a warning where one cannot be read.
    """
    stage = "write frames"
    progress.start(stage, len(pictures))
    written: list[str | None] = []
    try:
        for picture in pictures:
            written.append(_write(picture, folder, form, warnings))
            progress.advance(stage)
    except BaseException:
        for name in filter(None, written):
            (folder / name).unlink(missing_ok=True)
        raise
    for path in folder.glob("*"):
        if path.name not in written and _OWN_NAME.fullmatch(path.name):
            path.unlink(missing_ok=True)
    progress.finish(stage)
    return tuple(None if name is None else f"{IMAGES_FOLDER}/{name}" for name in written)


def _write(picture: Picture, folder: Path, form: str, warnings: list[str]) -> str | None:
    """Write one picture; its file's name, None and a warning where it cannot be read."""
    name = f"{picture.source.stem}_{picture.frame:06d}_{picture.time:.3f}s.{form}"
    try:
        rgb = picture.read_rgb().array
    except PictureError as error:
        warnings.append(f"{error}; left out")
        return None
    write_picture(folder / name, np.ascontiguousarray(rgb[..., ::-1]))
    return name

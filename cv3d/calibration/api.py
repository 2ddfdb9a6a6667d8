"""`cv3d.calibrate`: the library function behind the command of the same name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cv3d
from cv3d.calibration.board_text import parse_board, parse_length
from cv3d.calibration.boards import Board
from cv3d.calibration.calibrating import BoardWarp, CalibrateOptions, calibrate_sources
from cv3d.calibration.detecting import Source
from cv3d.calibration.journal import Journal
from cv3d.calibration.models import AUTO, resolve_model
from cv3d.calibration.result import Calibration
from cv3d.errors import InputError, PictureError, UsageError
from cv3d.media.decode import Pixels
from cv3d.media.inputs import Pictures, find_pictures
from cv3d.media.keyframes import pick_sharp_frames
from cv3d.media.picture import Picture
from cv3d.progress import SILENT, Progress

MAX_FRAMES = 60
"""Frames taken from each video, unless told otherwise."""

ImageInput = str | Path | NDArray[np.uint8]


def calibrate(
    images: ImageInput | Sequence[ImageInput],
    *,
    board: str | Board | None = None,
    square: str | float | None = None,
    model: str = AUTO,
    board_warp: str | BoardWarp = BoardWarp.AUTO,
    seed: int = 0,
    max_frames: int = MAX_FRAMES,
    workers: int | None = None,
    journal: Path | None = None,
    progress: Progress = SILENT,
) -> Calibration:
    """Calibrate a camera from pictures or videos of a calibration board.

    The board is found out from the pictures, the lens model is chosen by the data, and every picture ends as used or
    rejected with its reason.

    Args:
        images: folders, globs, picture files, videos, or decoded pictures (H, W) or (H, W, 3) uint8, RGB; one or
            several.
        board: the board, e.g. "checkerboard:9x6"; None: found out.
        square: side of a square, side of a tag or distance of circles, as "25mm" or in metres; None: the result is
            up to scale. Of a board that turns out to be stretched it is the geometric mean of both directions.
        model: a lens model, or "auto".
        board_warp: "auto", "on" or "off": whether the board's bending is estimated, and, where the pictures show it
            and this is not "off", that its rows and columns differ in scale.
        seed: deals the views to cross-validation folds.
        max_frames: most frames taken from each video.
        workers: threads for detection; None: one per core.
        journal: a file that keeps detections, so that an interrupted run goes on where it was.
        progress: told about the course.

    Returns:
        The calibration; see :class:`Calibration`. `verdict.level` is `unobservable` where the pictures do not
        determine the camera.

    Raises:
        InputError: nothing to read.
        EstimationError: no board, or in one picture only.
        QualityError: all pictures are copies of one.
        UsageError: an option cannot be understood.
    """
    options = make_options(board, square, model, board_warp, seed, workers)
    gathered = gather(images, max_frames, progress)
    with Journal(journal) as kept:
        result = calibrate_sources(gathered.sources, options, kept, progress)
    return gathered.annotate(result)


def make_options(
    board: str | Board | None,
    square: str | float | None,
    model: str,
    board_warp: str | BoardWarp,
    seed: int,
    workers: int | None = None,
) -> CalibrateOptions:
    """The options of :func:`calibrate`, parsed and checked.

    Raises:
        UsageError: one cannot be understood.
    """
    try:
        warp = BoardWarp(board_warp)
    except ValueError:
        raise UsageError(f"board_warp is one of {', '.join(BoardWarp)}, not '{board_warp}'") from None
    known = parse_board(board) if isinstance(board, str) else board
    size = parse_length(square) if isinstance(square, str) else square
    if size is None and known is not None:
        size = known.square_m
    if size is not None and not (math.isfinite(size) and size > 0.0):
        raise UsageError(f"the side of a square is a length in metres, not {size:g}")
    return CalibrateOptions(known, size, resolve_model(model), warp, seed, workers)


@dataclass(frozen=True)
class Gathered:
    """The pictures of all inputs, frames of videos included."""

    sources: tuple[Source, ...]
    warnings: tuple[str, ...]

    def annotate(self, result: Calibration) -> Calibration:
        """The result with what was noticed while reading the inputs."""
        return replace(result, warnings=(*self.warnings, *result.warnings)) if self.warnings else result


def gather(
    images: ImageInput | Sequence[ImageInput], max_frames: int = MAX_FRAMES, progress: Progress = SILENT
) -> Gathered:
    """Find the pictures that the inputs name, and pick sharp frames of the videos among them.

    A video that cannot be decoded is passed over with a warning, unless there is nothing else.

    Raises:
        InputError: there is nothing to read.
    """
    if isinstance(images, str | Path | np.ndarray):
        images = [images]
    paths = [item for item in images if isinstance(item, str | Path)]
    arrays = [item for item in images if not isinstance(item, str | Path)]
    held: list[Source] = [_ArrayPicture(f"image {i}", _as_gray(array)) for i, array in enumerate(arrays)]
    found = find_pictures(paths) if paths or not held else Pictures((), ())
    sources: list[Source] = [*held, *found]
    warnings: list[str] = []
    for video in found.videos:
        try:
            frames = pick_sharp_frames(video.source, max_frames, name=video.name, progress=progress)
        except PictureError as error:
            if not sources and len(found.videos) == 1:
                raise InputError(str(error)) from error
            warnings.append(str(error))
            continue
        sources.extend(frames.pictures)
        if frames.damaged:
            warnings.append(f"{video.name}: {frames.damaged}; the frames before that are used")
    for warning in warnings:
        progress.warn(warning)
    if not sources:
        raise InputError(f"nothing can be decoded: {'; '.join(warnings)}")
    return Gathered(tuple(sources), tuple(warnings))


def inputs_digest(inputs: Sequence[str | Path], options: CalibrateOptions, max_frames: int) -> str:
    """A digest of everything that a calibration depends on: contents of the inputs, options, version.

    Raises:
        InputError: there is nothing to read.
    """
    found = find_pictures(list(inputs))
    parts = [cv3d.__version__, repr(options), str(max_frames)]
    for picture in (*found, *(Picture(video.name, video.source) for video in found.videos)):
        parts += [picture.name, digest_or_fault(picture)]
    return sha256("\x1f".join(parts).encode()).hexdigest()


def digest_or_fault(picture: Source) -> str:
    """What a run depends on of one picture: its digest, or why it cannot be read."""
    try:
        return picture.digest()
    except PictureError as error:
        return str(error)


@dataclass(frozen=True)
class _ArrayPicture:
    """A picture that is already decoded."""

    name: str
    gray: NDArray[np.uint8] = field(repr=False)

    def digest(self) -> str:
        return sha256(repr(self.gray.shape).encode() + self.gray.tobytes()).hexdigest()

    def read_gray(self) -> Pixels:
        return Pixels(self.gray, 1, 8)


def _as_gray(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    array = np.asarray(array)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise InputError(f"a picture is (H, W) or (H, W, 3) uint8, not {array.shape} {array.dtype}")
    if array.ndim == 2:
        return np.ascontiguousarray(array)
    import cv2

    return np.asarray(cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_RGB2GRAY), np.uint8)

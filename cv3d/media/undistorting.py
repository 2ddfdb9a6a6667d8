"""`cv3d.undistort` and `cv3d.rectify_pair`: pictures and videos as an ideal camera would have taken them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from cv3d.errors import PictureError, UsageError
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig
from cv3d.geometry.views.framing import choose_view
from cv3d.geometry.views.rectification import Rectification, RectifiedCamera, rectify
from cv3d.geometry.views.remapping import Window, largest_window, pixel_map
from cv3d.geometry.views.view import Projection
from cv3d.media.inputs import find_pictures
from cv3d.media.resampling import Interpolation
from cv3d.media.sized_views import SizedViews, camera_at, say_scaled
from cv3d.media.undistort_result import SizedView, UndistortResult, Written
from cv3d.media.undistort_writing import WriteOptions, first_size, write_inputs
from cv3d.media.writing import check_codec
from cv3d.progress import SILENT, Progress

Inputs = str | Path | Sequence[str | Path]
Choice = TypeVar("Choice", Projection, Interpolation)


def undistort(
    inputs: Inputs,
    camera: Camera,
    output: str | Path,
    *,
    to: str | Projection = Projection.PINHOLE,
    alpha: float = 0.0,
    crop: bool = False,
    size: tuple[int, int] | None = None,
    interpolation: str | Interpolation = Interpolation.LINEAR,
    codec: str = "h264",
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> UndistortResult:
    """Write pictures and videos as an ideal camera would have taken them.

    Pictures keep their names, channels and bit depth and are turned upright; HEIC becomes JPEG. Videos keep their
    stamps, are turned upright and lose their sound. What cannot be read is skipped and told. Every file appears whole.

    Args:
        inputs: folders, globs, pictures, videos; one or several.
        camera: what they were taken with. Inputs of another size, but the same shape, are taken to be resized.
        output: folder for the results.
        to: "pinhole", "fisheye" (equidistant) or "equirect" (longitude and latitude).
        alpha: 0: only pixels that the camera saw; 1: all that it saw; see :func:`choose_view`.
        crop: keep the largest rectangle of valid pixels.
        size: width and height of the view before cropping, pixels; None: see :func:`choose_view`.
        interpolation: "linear", "cubic" or "lanczos".
        codec: of videos, "h264" or "mpeg4".
        workers: threads for pictures; None: one per core.
        overwrite: replace files that are there.
        progress: told about the course.

    Returns:
        What was written, and the new camera.

    Raises:
        InputError: nothing to read, no input could be used, or none has the camera's shape.
        OutputError: a file cannot be written, is there already, or would replace its own input.
        UsageError: an option is out of range.
    """
    projection = _choice(Projection, to, "to")
    how = _how(interpolation, codec, workers, overwrite, progress)
    views = SizedViews(lambda at, is_video: _sized_view(at, projection, alpha, crop, size, is_video), camera, progress)
    started = time.perf_counter()
    written = write_inputs(find_pictures(inputs), Path(output), views, how)
    return UndistortResult(views.made, written, time.perf_counter() - started)


def rectify_pair(
    left: Inputs,
    right: Inputs,
    rig: Rig,
    output: str | Path,
    *,
    cameras: tuple[int, int] = (0, 1),
    alpha: float = 0.0,
    crop: bool = False,
    size: tuple[int, int] | None = None,
    interpolation: str | Interpolation = Interpolation.LINEAR,
    codec: str = "h264",
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> UndistortResult:
    """Write the pictures and videos of a pair so that a point has the same row in both, into `left/` and `right/`.

    Args:
        left: folders, globs, pictures, videos of the first camera.
        right: those of the second.
        rig: two or more posed cameras.
        output: folder for the results.
        cameras: which two of them, by index.
        alpha: 0: only pixels that both cameras saw; 1: all that either saw.
        crop: keep the largest rectangle that is valid in both.
        size: width and height before cropping, pixels; None: the first camera's.
        interpolation: see :func:`undistort`.
        codec: see :func:`undistort`.
        workers: see :func:`undistort`.
        overwrite: replace files that are there.
        progress: told about the course.

    Returns:
        What was written, with the rectification. A column's baseline is in the rig's unit.

    Raises:
        InputError: nothing to read, or an unposed camera.
        EstimationError: this pair cannot be rectified.
        OutputError: a file cannot be written, is there already, or would replace its own input.
        UsageError: an option is out of range.
    """
    how = _how(interpolation, codec, workers, overwrite, progress)
    if len(set(cameras)) != 2 or not all(0 <= index < len(rig.cameras) for index in cameras):
        raise UsageError(f"a pair is two different cameras of {len(rig.cameras)}, not {cameras[0]} and {cameras[1]}")
    started = time.perf_counter()
    found = [find_pictures(side) for side in (left, right)]
    at_size = []
    for pictures, index in zip(found, cameras, strict=True):
        name, width, height = first_size(pictures)
        calibrated = rig.cameras[index].camera
        at_size.append(camera_at(calibrated, width, height, name))
        say_scaled(at_size[-1], calibrated, name, progress)
    has_video = any(pictures.videos for pictures in found)
    second_from_first = rig.cam_from_cam(cameras[1], cameras[0])
    pair = rectify(at_size[0], at_size[1], second_from_first, alpha, size, crop=crop, is_even=has_video)
    written: list[Written] = []
    made: list[SizedView] = []
    for side, pictures, half in zip(("left", "right"), found, (pair.first, pair.second), strict=True):
        views = SizedViews(_one_size(pair, half), half.camera, progress)
        outcomes = write_inputs(pictures, Path(output) / side, views, how)
        written += [_below(side, outcome) for outcome in outcomes]
        made += views.made
    return UndistortResult(tuple(made), tuple(written), time.perf_counter() - started, pair)


def _how(interpolation: str, codec: str, workers: int | None, overwrite: bool, progress: Progress) -> WriteOptions:
    check_codec(codec)
    threads = workers or os.cpu_count() or 1
    return WriteOptions(_choice(Interpolation, interpolation, "interpolation"), codec, threads, overwrite, progress)


def _choice(kind: type[Choice], value: str, name: str) -> Choice:
    try:
        return kind(value)
    except ValueError:
        raise UsageError(f"{name} is one of {', '.join(kind)}, not '{value}'") from None


def _sized_view(
    camera: Camera, projection: Projection, alpha: float, crop: bool, size: tuple[int, int] | None, is_video: bool
) -> SizedView:
    view = choose_view(camera, projection, alpha, size)
    pixels = pixel_map(camera, view)
    window = largest_window(pixels.valid) if crop else Window(0, 0, view.width, view.height)
    window = window.even() if is_video else window
    if (window.width, window.height) != (view.width, view.height):
        view, pixels = view.cropped(window.left, window.top, window.width, window.height), pixels.cropped(window)
    return SizedView(camera, view, pixels)


def _one_size(pair: Rectification, half: RectifiedCamera) -> Callable[[Camera, bool], SizedView]:
    """The view of one camera of a pair, whose size is settled."""

    def view(camera: Camera, is_video: bool) -> SizedView:
        del is_video
        if camera != half.camera:
            raise PictureError(
                f"is {camera.width}x{camera.height}, but the pair is rectified at "
                f"{half.camera.width}x{half.camera.height}"
            )
        return SizedView(half.camera, pair.view, half.map, half.view_from_cam)

    return view


def _below(side: str, outcome: Written) -> Written:
    output = None if outcome.output is None else f"{side}/{outcome.output}"
    return replace(outcome, name=f"{side}/{outcome.name}", output=output)

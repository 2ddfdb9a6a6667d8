"""The ideal views of inputs of several sizes: each is chosen once, when the first input of its size comes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from cv3d.errors import PictureError
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.views.view import View
from cv3d.media.undistort_result import SizedView
from cv3d.progress import Progress


class SizedViews:
    """The views made so far, by size of the input. Safe from any thread."""

    def __init__(self, make: Callable[[Camera, bool], SizedView], camera: Camera, progress: Progress) -> None:
        self._make = make
        self._camera = camera
        self._progress = progress
        self._lock = threading.Lock()
        self._made: dict[tuple[int, int, bool], SizedView] = {}

    @property
    def made(self) -> tuple[SizedView, ...]:
        """In the order of their first use; pictures and videos of one size may share theirs."""
        distinct: dict[View, SizedView] = {}
        for view in self._made.values():
            distinct.setdefault(view.view, view)
        return tuple(distinct.values())

    def at(self, width: int, height: int, name: str, is_video: bool) -> SizedView:
        """The view for an input of this size.

        Raises:
            PictureError: it has another shape than the camera's pictures.
        """
        key = (width, height, is_video)
        with self._lock:
            if key not in self._made:
                is_new_size = (width, height, not is_video) not in self._made
                camera = camera_at(self._camera, width, height, name)
                self._made[key] = self._make(camera, is_video)
                if is_new_size:
                    say_scaled(camera, self._camera, name, self._progress)
            return self._made[key]


def camera_at(camera: Camera, width: int, height: int, name: str) -> Camera:
    """The camera for pictures resized to the given size.

    Raises:
        PictureError: their shape is another, so they were cropped or are not this camera's.
    """
    if (width, height) == (camera.width, camera.height):
        return camera
    factor = width / camera.width
    if abs(height - camera.height * factor) > 1.0:
        is_turned = abs(width * camera.width - height * camera.height) <= max(width, height)
        turned = "; it may have been turned by 90 degrees" if is_turned else ""
        raise PictureError(
            f"{name}: is {width}x{height}, but the camera was calibrated at {camera.width}x{camera.height}, "
            f"another shape{turned}"
        )
    return replace(camera.scaled(factor), width=width, height=height)


def say_scaled(camera: Camera, calibrated: Camera, name: str, progress: Progress) -> None:
    """Tell the user where an input has another size than the camera was calibrated at."""
    if (camera.width, camera.height) != (calibrated.width, calibrated.height):
        progress.warn(
            f"{name}: is {camera.width}x{camera.height}, calibrated at {calibrated.width}x{calibrated.height}: "
            "the camera is scaled"
        )

"""The pictures of a scene for other tools and for the report: where they lie, those that no file holds, thumbnails."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.errors import PictureError
from cv3d.formats.posed_pictures import PosedPicture
from cv3d.mapping.scene import Scene, SceneModel
from cv3d.media.jpeg import is_jpeg, jpeg_structure
from cv3d.media.picture import Picture
from cv3d.media.writing import write_picture
from cv3d.reporting.set_pictures import LoadPixels

IMAGES_FOLDER, OTHER_FOLDER = "images", "images_upright"
"""Where pictures are written; the second one where the inputs themselves lie in the first."""
MOST_THUMBNAILS = 600
"""Pictures shown in a report; of larger sets, all that were left out come first."""
_THUMBNAIL_BYTES = 4_000_000
"""Of all together."""
_MOST_BYTES = 14_000
_SIDES = ((120, 280), (300, 200), (MOST_THUMBNAILS, 150))
"""Up to how many pictures a thumbnail's longer side is so many pixels."""
_QUALITIES = (78, 60, 40)
_FOREIGN_SUFFIXES = frozenset([".heic", ".heif"])
_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


@dataclass(frozen=True, eq=False)
class ScenePictures:
    """Where the pictures of a scene are, and what they look like."""

    root: Path
    """The folder to which `names` are relative: what COLMAP calls its image path."""
    names: Mapping[str, str]
    """Of every registered picture, by its own name: as COLMAP's model calls it."""
    files: Mapping[str, Path]
    """Of every registered picture: a file that other tools open and see upright."""
    written: tuple[str, ...]
    """Those of the files that were written for this, relative to the output."""
    thumbnails: Mapping[str, bytes]
    """Small JPEG files by the pictures' names; those that could not be read are absent."""

    def posed(self, model: SceneModel) -> list[PosedPicture]:
        """The pictures of a model with their files, cameras and poses."""
        return [
            PosedPicture(
                image.picture.name,
                self.files[image.picture.name],
                model.cameras[image.camera].camera,
                image.cam_from_world,
            )
            for image in model.images
        ]


def hand_over(scene: Scene, out: Path, load: LoadPixels | None) -> ScenePictures:
    """Find a file for every registered picture, and make the thumbnails.

    Frames of videos have no file, HEIF pictures one that few tools open, and pictures with an EXIF orientation one that
    many tools see lying on its side: where there is one of these, the registered pictures are written to
    `OUT/images/`, as JPEG at quality 95, so that all of them lie in one folder. An input is never written over.

    Args:
        scene: with its pictures; each is decoded at most once.
        out: the folder of all results.
        load: the pixels of the pictures that were left out.

    Raises:
        OutputError: a file cannot be written.
    """
    registered = {image.picture.name: image.picture for model in scene.models for image in model.images}
    sizes = {
        image.picture.name: (model.cameras[image.camera].camera.width, model.cameras[image.camera].camera.height)
        for model in scene.models
        for image in model.images
    }
    taken = (out / IMAGES_FOLDER).resolve()
    is_taken = any(taken in picture.source.resolve().parents for picture in registered.values())
    own_folder = OTHER_FOLDER if is_taken else IMAGES_FOLDER
    folder = out / own_folder
    names = _own_names(registered) if any(map(_needs_a_file, registered.values())) else {}
    shown = _shown(scene)
    side = next((side for count, side in _SIDES if len(shown) <= count), _SIDES[-1][1])
    room = min(_MOST_BYTES, _THUMBNAIL_BYTES // max(len(shown), 1))
    thumbnails: dict[str, bytes] = {}
    # In the order of the inputs: frames of a video are decoded in one pass.
    for name in scene.graph.names:
        picture = registered.get(name)
        pixels: NDArray[np.uint8] | None = None
        if picture is not None and name in names:
            pixels = _pixels(picture)
            if pixels is not None:
                write_picture(folder / names[name], _bgr(pixels))
        elif picture is not None and name in shown:
            pixels = _reduced(picture, max(sizes[name]) // side)
        elif name in shown and load is not None:
            pixels = load(name)
        if pixels is not None and pixels.size and name in shown:
            thumbnails[name] = _thumbnail(pixels, side, room)
    if names:
        files = {name: folder / own for name, own in names.items()}
        written = tuple(f"{own_folder}/{own}" for own in names.values() if (folder / own).is_file())
        return ScenePictures(folder, names, files, written, thumbnails)
    files = {name: picture.source for name, picture in registered.items()}
    root = _common_folder(list(files.values()))
    relative = {name: Path(os.path.relpath(file.absolute(), root)).as_posix() for name, file in files.items()}
    return ScenePictures(root, relative, files, (), thumbnails)


def _shown(scene: Scene) -> set[str]:
    """The pictures that the report shows: those left out first, then the registered ones, evenly picked."""
    left_out = [one.name for one in scene.left_out][:MOST_THUMBNAILS]
    registered = [image.picture.name for model in scene.models for image in model.images]
    room = MOST_THUMBNAILS - len(left_out)
    if len(registered) > room:
        registered = [registered[i] for i in np.unique(np.linspace(0, len(registered) - 1, room).astype(int)).tolist()]
    return {*left_out, *registered}


def _needs_a_file(picture: Picture) -> bool:
    """Whether other tools could not open a picture, or not see it upright."""
    if picture.frame is not None or picture.source.suffix.lower() in _FOREIGN_SUFFIXES:
        return True
    try:
        content = picture.source.read_bytes()
    except OSError:
        return False
    return is_jpeg(content) and jpeg_structure(content).orientation != 1


def _own_names(pictures: Mapping[str, Picture]) -> dict[str, str]:
    """A file name for every picture, no two alike: "clip.mp4#000123" becomes "clip_000123.jpg"."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for name, picture in pictures.items():
        plain = name if picture.frame is None else name.rpartition("#")[0]
        parts = [part for part in Path(plain).with_suffix("").parts if part not in ("..", os.sep)]
        # A blank ends a name in COLMAP's text.
        base = "_".join("/".join(parts).split()) + ("" if picture.frame is None else f"_{picture.frame:06d}")
        own, number = f"{base}.jpg", 1
        while own in taken:
            number += 1
            own = f"{base}_{number}.jpg"
        names[name] = own
        taken.add(own)
    return names


def _common_folder(files: list[Path]) -> Path:
    """The innermost folder that holds all files; where there are none, the one where the program runs."""
    folders = [str(file.absolute().parent) for file in files]
    return Path(os.path.commonpath(folders)) if folders else Path.cwd()


def _pixels(picture: Picture) -> NDArray[np.uint8] | None:
    try:
        return picture.read_rgb().array
    except PictureError:
        return None


def _reduced(picture: Picture, factor: int) -> NDArray[np.uint8] | None:
    """The pixels, about `factor` times smaller where the decoder of the file can do that at once; upright."""
    if picture.frame is None and factor >= 2:
        flag = _REDUCED[max(step for step in _REDUCED if step <= factor)]
        try:
            small = cv2.imdecode(np.frombuffer(picture.source.read_bytes(), np.uint8), flag)
        except (OSError, cv2.error):
            small = None
        if small is not None:
            return np.ascontiguousarray(small[:, :, ::-1]).astype(np.uint8, copy=False)
    return _pixels(picture)


def _bgr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])


def _thumbnail(pixels: NDArray[np.uint8], side: int, room: int) -> bytes:
    """A picture as JPEG of at most `side` pixels, and about `room` bytes."""
    factor = min(1.0, side / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    small = cv2.resize(_bgr(pixels), size, interpolation=cv2.INTER_AREA)
    for quality in _QUALITIES:
        _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(jpeg) <= room:
            break
    return jpeg.tobytes()

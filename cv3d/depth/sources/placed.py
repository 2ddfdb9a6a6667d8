"""Pictures with poses as a source on the disk has them: reconstructions in COLMAP's layout, and folders of poses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.depth.posed import PosedView
from cv3d.depth.result import LeftOutView
from cv3d.depth.sources.pictures import open_picture
from cv3d.depth.sources.sights import Sights
from cv3d.errors import InputError, PictureError
from cv3d.formats import colmap_text
from cv3d.formats.colmap_reconstruction import IMAGES_FILE, Reconstruction, read_reconstruction
from cv3d.formats.posed_pictures import has_posed_pictures, read_posed_pictures
from cv3d.geometry.cameras.camera import Camera

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

_MODELS = ("sparse/0", "sparse", ".")
_POSES_FILE = "transforms.json"
_RESULT_FILE = "result.json"
_IMAGES = "images"
_NO_POINTS: Ints = np.zeros(0, np.intp)


@dataclass(frozen=True, eq=False)
class Placed:
    """What a source says, before anybody has looked whether it is true."""

    views: tuple[PosedView, ...]
    """Without points."""
    points: Floats
    """(m, 3)."""
    sights: Sights
    """Of the views and the points."""
    left_out: tuple[LeftOutView, ...]
    """Pictures that cannot be used, and why."""
    warnings: tuple[str, ...]
    is_metric: bool


@dataclass(frozen=True, eq=False)
class _Entry:
    """One picture of a source."""

    name: str
    file: Path
    camera: Camera
    cam_from_world: Floats
    pixels: Floats
    points: Ints


def read_placed(source: Path, camera: Camera | None, images: Path | None) -> Placed:
    """Read a source of any known kind.

    Args:
        source: a folder of `cv3d reconstruct`, a project or workspace of COLMAP, a folder with transforms.json or
            Strecha's `.camera` files; or the model's folder or the transforms.json itself.
        camera: of all pictures, instead of the source's own.
        images: where the pictures are; None: where the source has them.

    Raises:
        InputError: the source is none of these, or none of its pictures is there or can be used.
        FormatError: a file holds something else.
    """
    if source.name == _POSES_FILE and source.is_file():
        return _of_poses(source.parent, camera, images)
    if not source.is_dir():
        raise InputError(f"{source}: is no folder; name one with pictures and their poses, such as of cv3d reconstruct")
    model = find_model(source)
    if model is not None:
        return _of_model(source, model, camera, images)
    if has_posed_pictures(source):
        return _of_poses(source, camera, images)
    raise InputError(
        f"{source}: holds no poses: neither sparse/0 of cv3d reconstruct or COLMAP, nor transforms.json, nor .camera "
        "files; cv3d reconstruct finds the poses of pictures"
    )


def find_model(source: Path) -> Path | None:
    """The folder of the sparse model of a source; None where there is none."""
    for name in _MODELS:
        folder = source / name
        if (folder / IMAGES_FILE).is_file() or (folder / colmap_text.IMAGES_FILE).is_file():
            return folder
    return None


def _of_model(source: Path, model: Path, camera: Camera | None, images: Path | None) -> Placed:
    is_binary = (model / IMAGES_FILE).is_file()
    said = read_reconstruction(model) if is_binary else colmap_text.read_text(model)
    names = [image.name for image in said.images]
    if not names:
        raise InputError(f"{model}: holds no pictures")
    result = _result(source)
    root = images or _root(_candidates(source, model, result), names)
    entries = [
        _Entry(
            image.name,
            root / image.name,
            camera or said.cameras[image.camera],
            image.cam_from_world,
            image.pixels[image.points >= 0],
            image.points[image.points >= 0],
        )
        for image in sorted(said.images, key=lambda one: one.name)
    ]
    own = {image.name: said.cameras[image.camera] for image in said.images}
    views, rows, left_out = _opened(entries)
    if not views:
        raise InputError(_nothing(source, root, left_out))
    sights = _sights(views, [entries[row] for row in rows], own)
    is_metric = result.get("scale", "arbitrary") != "arbitrary"
    return Placed(views, said.points, sights, left_out, _others(model, said), is_metric)


def _of_poses(folder: Path, camera: Camera | None, images: Path | None) -> Placed:
    posed = read_posed_pictures(folder)
    entries = [
        _Entry(
            one.name,
            one.file if images is None else images / one.file.name,
            camera or one.camera,
            one.cam_from_world,
            np.zeros((0, 2)),
            _NO_POINTS,
        )
        for one in {one.name: one for one in posed.pictures}.values()
    ]
    views, _, left_out = _opened(entries)
    absent = tuple(LeftOutView(name, "there is no such file") for name in posed.missing)
    if not views:
        raise InputError(_nothing(folder, folder if images is None else images, left_out))
    nothing = Sights(_NO_POINTS, _NO_POINTS, np.zeros((0, 2)))
    return Placed(views, np.zeros((0, 3)), nothing, left_out + absent, (), False)


def _result(source: Path) -> dict[str, object]:
    """What `cv3d reconstruct` has written about its own folder; empty for other sources."""
    try:
        content = json.loads((source / _RESULT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_own = isinstance(content, dict) and str(content.get("schema", "")).startswith("cv3d.reconstruct/")
    return content if is_own else {}


def _candidates(source: Path, model: Path, result: dict[str, object]) -> list[Path]:
    """Where the pictures of a model may be, the likeliest first."""
    said = result.get("images")
    places = [Path(str(said["folder"]))] if isinstance(said, dict) and "folder" in said else []
    # A folder of results may have been moved with the pictures that it holds.
    places += [source / place.name for place in places]
    places += [folder / _IMAGES for folder in (source, model, model.parent, model.parent.parent)]
    return [*places, source, source.parent / _IMAGES]


def _root(places: Sequence[Path], names: Sequence[str]) -> Path:
    """The place where most of the pictures are, the first of equal ones."""
    counts = []
    for place in places:
        counts.append(sum((place / name).is_file() for name in names))
        if counts[-1] == len(names):
            return place
    best = max(range(len(places)), key=lambda index: counts[index])
    if not counts[best]:
        tried = ", ".join(dict.fromkeys(str(place) for place in places))
        raise InputError(f"{names[0]} and the model's other pictures are in none of {tried}; say where with --images")
    return places[best]


def _opened(entries: Sequence[_Entry]) -> tuple[tuple[PosedView, ...], list[int], tuple[LeftOutView, ...]]:
    """Views of the pictures that can be used and their places among the entries; the others with their reasons."""
    views, rows, left_out = [], [], []
    for row, entry in enumerate(entries):
        if not entry.file.is_file():
            left_out.append(LeftOutView(entry.name, f"{entry.file} is not there"))
            continue
        try:
            picture, camera = open_picture(entry.name, entry.file, entry.camera)
        except PictureError as error:
            left_out.append(LeftOutView(entry.name, str(error).removeprefix(f"{entry.name}: ")))
            continue
        views.append(PosedView(picture, camera, entry.cam_from_world, _NO_POINTS))
        rows.append(row)
    return tuple(views), rows, tuple(left_out)


def _sights(views: Sequence[PosedView], entries: Sequence[_Entry], own: dict[str, Camera]) -> Sights:
    """The observations of a model, in pixels of the pictures as they are."""
    parts = []
    for number, (view, entry) in enumerate(zip(views, entries, strict=True)):
        factor = np.array([view.camera.width, view.camera.height]) / (own[entry.name].width, own[entry.name].height)
        pixels = (entry.pixels + 0.5) * factor - 0.5
        parts.append((np.full(len(pixels), number, np.intp), entry.points, pixels))
    seen, points, pixels = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((seen, points))
    return Sights(seen[order], points[order], pixels[order])


def _others(model: Path, said: Reconstruction) -> tuple[str, ...]:
    """A sentence where the source has further models, whose pictures are not in this one's world."""
    if model.name != "0":
        return ()
    others = sorted(folder.name for folder in model.parent.iterdir() if folder.name != "0" and folder.name.isdigit())
    if not others:
        return ()
    listed = ", ".join(f"sparse/{name}" for name in others)
    return (f"these are the {len(said.images)} pictures of {model}; {listed} are worlds of their own",)


def _nothing(source: Path, root: Path, left_out: Sequence[LeftOutView]) -> str:
    first, count = left_out[0], len(left_out)
    return f"{source}: none of its {count} pictures can be used, looked for in {root}: {first.name}: {first.reason}"

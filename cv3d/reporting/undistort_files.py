"""What `cv3d undistort` leaves beside the pictures: the new camera, the rectification, the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cv3d.errors import FormatError, OutputError
from cv3d.formats import CAMERA_FORMATS
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.json_text import to_json
from cv3d.formats.opencv_stereo import dumps_rectification, rectification_dict
from cv3d.geometry.cameras.camera import Camera
from cv3d.media.inputs import find_pictures
from cv3d.media.undistort_result import RESULT_SCHEMA, UndistortResult
from cv3d.media.writing import replacing
from cv3d.reporting.result_folder import files_digest

RESULT_FILE = "result.json"
PAIR_FILE = "rectification.json"
PAIR_YAML_FILE = "rectification.yaml"
MAPS_FILE = "maps.npz"


def run_digest(inputs: list[str], *options: object) -> str:
    """What tells one run from another: the files by name, size and time of change, the options, the version.

    Raises:
        InputError: an input does not exist or holds nothing usable.
    """
    found = find_pictures(inputs)
    sources = [item.source for item in found.pictures] + [item.source for item in found.videos]
    return files_digest(sources, *options)


def look_at_output(out: Path, digest: str, overwrite: bool) -> Mapping[str, object] | None:
    """The result of an identical run that `out` holds; None where the job is to be done.

    Raises:
        OutputError: `out` is a file or cannot be read, or holds something else and `overwrite` is off.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file, not a folder")
    path = out / RESULT_FILE
    try:
        if overwrite or not out.is_dir() or not any(out.iterdir()):
            path.unlink(missing_ok=True)
            return None
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        earlier = None
    except ValueError:
        earlier = None
    except OSError as error:
        raise OutputError(f"{out}: cannot be used: {error.strerror or error}") from error
    if isinstance(earlier, dict) and earlier.get("schema") == RESULT_SCHEMA and earlier.get("run_digest") == digest:
        outputs = [item.get("output") for item in earlier.get("inputs", [])] + earlier.get("files", [])
        if all(output is None or (out / output).is_file() for output in outputs):
            return earlier
    raise OutputError(f"{out}: is not empty and holds no finished run like this one; --overwrite replaces it")


def write_files(result: UndistortResult, out: Path, digest: str, is_metric: bool, with_maps: bool) -> dict[str, object]:
    """Write everything but the pictures; `result.json` comes last, so that its presence means that all is there.

    Args:
        result: the pictures' and videos' result.
        out: the folder they are in.
        digest: of the run, see :func:`run_digest`.
        is_metric: whether a pair's baseline is in metres.
        with_maps: write the pixel maps as well.

    Returns:
        The result as `result.json` holds it.

    Raises:
        OutputError: a file cannot be written.
    """
    pair = result.rectification
    files: list[str] = []
    if pair is not None:
        atomic_write_text(out / PAIR_FILE, to_json(rectification_dict(pair, is_metric), indent=2) + "\n")
        atomic_write_text(out / PAIR_YAML_FILE, dumps_rectification(pair))
        files += [PAIR_FILE, PAIR_YAML_FILE]
    views = result.views if pair is None else result.views[:1]
    for index, sized in enumerate(views):
        camera = sized.view.camera
        if camera is not None:
            files += _write_camera(camera, out, "" if index == 0 else f"_{camera.width}x{camera.height}")
    if with_maps:
        names = ("left", "right") if pair is not None else [f"{v.camera.width}x{v.camera.height}" for v in views]
        maps: dict[str, Any] = {}
        for name, sized in zip(names, result.views, strict=True):
            maps |= {f"{name}_map": sized.map.source, f"{name}_valid": sized.map.valid}
        with replacing(out / MAPS_FILE) as temporary:
            np.savez(temporary, **maps)
        files.append(MAPS_FILE)
    content = result.as_dict() | {"is_metric": is_metric, "files": [*files, RESULT_FILE], "run_digest": digest}
    atomic_write_text(out / RESULT_FILE, to_json(content, indent=2) + "\n")
    return content


def _write_camera(camera: Camera, out: Path, ending: str) -> list[str]:
    """The camera as cv3d's file and, where OpenCV has the model, as its yaml: the names of the files."""
    files = []
    for name in ("cv3d", "opencv"):
        camera_format = CAMERA_FORMATS[name]
        file = Path(camera_format.file_name)
        try:
            text = camera_format.dumps(camera)
        except FormatError:
            continue
        files.append(f"{file.stem}{ending}{file.suffix}")
        atomic_write_text(out / files[-1], text)
    return files

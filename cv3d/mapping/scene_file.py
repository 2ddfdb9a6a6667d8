"""A scene in a file, bit for bit, so that what comes after the mapping can go on without mapping again.

The form is that of :mod:`cv3d.formats.array_file`. Pictures are kept as references: their pixels stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import Cv3dError, FormatError
from cv3d.formats.array_file import read_arrays, write_arrays
from cv3d.geometry.cameras.camera import Camera
from cv3d.mapping.scene import (
    IntrinsicsSource,
    LeftOut,
    ScaleSource,
    Scene,
    SceneCamera,
    SceneImage,
    SceneModel,
    ViewGraph,
)
from cv3d.media.picture import Picture

SCHEMA = "cv3d.scene/1"
_MODEL_ARRAYS = ("points", "colors", "errors", "deviations", "poses", "covariances", "known", "pixels", "shown", "rms")

Arrays = dict[str, NDArray[Any]]


def save_scene(scene: Scene, path: str | Path, *, digest: str) -> None:
    """Write a scene, in one step.

    Args:
        scene: all of it is kept, except pixels that its pictures hold.
        path: the file.
        digest: of what the scene was made of; see :func:`load_scene`.

    Raises:
        OutputError: the file cannot be written there.
    """
    arrays: Arrays = {"pairs": scene.graph.pairs, "inliers": scene.graph.inliers, "used": scene.graph.used}
    for number, model in enumerate(scene.models):
        arrays |= {f"{number}_{name}": array for name, array in _model_arrays(model).items()}
    write_arrays(path, SCHEMA, _about(scene) | {"digest": digest}, arrays)


def load_scene(path: str | Path, *, digest: str) -> Scene | None:
    """Read what :func:`save_scene` wrote.

    Args:
        path: the file.
        digest: what the scene is to be made of.

    Returns:
        The same scene; None where there is no file, or one of another digest or another version.

    Raises:
        FormatError: the file cannot be read, is none of these, or is damaged.
    """
    kept = read_arrays(path, SCHEMA)
    if kept is None:
        return None
    try:
        return _scene(kept.about, kept.arrays) if kept.about["digest"] == digest else None
    except (ValueError, KeyError, TypeError, IndexError, Cv3dError) as error:
        raise FormatError(f"{path}: is no scene that this version can read: {error}; remove it") from error


def _about(scene: Scene) -> dict[str, Any]:
    """All of a scene that is not in arrays."""
    return {
        "models": [_model_about(model) for model in scene.models],
        "left_out": [[one.name, one.reason, one.advice] for one in scene.left_out],
        "names": list(scene.graph.names),
        "mapper": scene.mapper,
        "scale": scene.scale.value,
        "is_upright": scene.is_upright,
        "geodetic_origin": scene.geodetic_origin,
        "warnings": list(scene.warnings),
        "seconds": dict(scene.seconds),
        "interrupted": scene.interrupted,
        "seed": scene.seed,
        "device": scene.device,
        "folder": None if scene.folder is None else str(scene.folder),
    }


def _model_about(model: SceneModel) -> dict[str, Any]:
    return {
        "cameras": [
            {"camera": one.camera.as_dict(), "source": one.source.value, "free": list(one.free)}
            for one in model.cameras
        ],
        "pictures": [
            [one.picture.name, str(one.picture.source), one.picture.frame, one.picture.time] for one in model.images
        ],
        "camera_of_picture": [image.camera for image in model.images],
        "keypoints": [len(image.points) for image in model.images],
        "is_oriented_only": model.is_oriented_only,
    }


def _model_arrays(model: SceneModel) -> Arrays:
    images = model.images
    none = np.zeros((6, 6))
    covariances = [none if image.covariance is None else image.covariance for image in images]
    return {
        "points": model.points,
        "colors": model.colors,
        "errors": model.errors,
        "deviations": np.concatenate([np.zeros(0), *(np.array(one.deviations) for one in model.cameras)]),
        "poses": np.stack([image.cam_from_world for image in images]) if images else np.zeros((0, 4, 4)),
        "covariances": np.stack(covariances) if images else np.zeros((0, 6, 6)),
        "known": np.array([image.covariance is not None for image in images], np.bool_),
        "pixels": np.concatenate([np.zeros((0, 2)), *(image.pixels for image in images)]),
        "shown": np.concatenate([np.zeros(0, np.intp), *(image.points for image in images)]),
        "rms": np.array([image.rms_px for image in images], np.float64),
    }


def _scene(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Scene:
    models = [
        _model(model, {name: arrays[f"{number}_{name}"] for name in _MODEL_ARRAYS})
        for number, model in enumerate(about["models"])
    ]
    origin = about["geodetic_origin"]
    return Scene(
        tuple(models),
        tuple(LeftOut(*one) for one in about["left_out"]),
        ViewGraph(tuple(about["names"]), arrays["pairs"], arrays["inliers"], arrays["used"]),
        about["mapper"],
        ScaleSource(about["scale"]),
        about["is_upright"],
        None if origin is None else (origin[0], origin[1], origin[2]),
        tuple(about["warnings"]),
        about["seconds"],
        about["interrupted"],
        about["seed"],
        about["device"],
        None if about["folder"] is None else Path(about["folder"]),
    )


def _model(about: Mapping[str, Any], arrays: Arrays) -> SceneModel:
    cameras: list[SceneCamera] = []
    begin = 0
    for one in about["cameras"]:
        camera = Camera.from_dict(one["camera"])
        deviations = arrays["deviations"][begin : begin + len(camera.params)].tolist()
        begin += len(camera.params)
        cameras.append(SceneCamera(camera, IntrinsicsSource(one["source"]), tuple(one["free"]), tuple(deviations)))
    return SceneModel(
        tuple(cameras),
        _images(about, arrays),
        arrays["points"],
        arrays["colors"],
        arrays["errors"],
        about["is_oriented_only"],
    )


def _images(about: Mapping[str, Any], arrays: Arrays) -> tuple[SceneImage, ...]:
    counts: Sequence[int] = about["keypoints"]
    ends = np.cumsum([0, *counts])
    rms = arrays["rms"].tolist()
    images = []
    for i, (name, source, frame, time) in enumerate(about["pictures"]):
        some = slice(int(ends[i]), int(ends[i + 1]))
        images.append(
            SceneImage(
                Picture(name, Path(source), frame, time),
                about["camera_of_picture"][i],
                arrays["poses"][i],
                arrays["covariances"][i] if arrays["known"][i] else None,
                arrays["pixels"][some],
                arrays["shown"][some],
                rms[i],
            )
        )
    return tuple(images)

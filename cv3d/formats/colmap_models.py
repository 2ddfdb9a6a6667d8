"""COLMAP's camera models (src/colmap/sensor/models.h) in terms of cv3d's.

Its pixel origin is the corner of the top-left pixel (same file: "the upper left image corner has the coordinate
(0, 0)"): its principal point is cv3d's plus one half. Its DIVISION maps image to ray as (m, 1 + k |m|^2), cv3d's
`division`; its EUCM is Khomutenko's, cv3d's `eucm`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from cv3d.formats.camera_file import ReadOptions, StandIn
from cv3d.formats.fields import Fields
from cv3d.formats.foreign_lens import read_foreign
from cv3d.formats.foreign_projections import (
    project_fov,
    project_rad_tan_thin_prism_fisheye,
    project_thin_prism_fisheye,
)
from cv3d.geometry.cameras.camera import Camera

_CORNER = 0.5


@dataclass(frozen=True)
class ColmapModel:
    """One of COLMAP's models."""

    id: int
    """Its number in binary files."""
    model: str
    """cv3d's, "" where it has none."""
    focal_count: int
    """1 where fx = fy."""
    coefficient_count: int
    """How many parameters follow the principal point."""
    zeros: int = 0
    """How many of cv3d's parameters it lacks at the end, all of them zero."""
    project: Callable[[Sequence[float], Tensor], Tensor] | None = None
    """The projection, where cv3d has no such model."""

    @property
    def param_count(self) -> int:
        """Number of parameters in a file."""
        return self.focal_count + 2 + self.coefficient_count


COLMAP_MODELS: dict[str, ColmapModel] = {
    "SIMPLE_PINHOLE": ColmapModel(0, "pinhole", 1, 0),
    "PINHOLE": ColmapModel(1, "pinhole", 2, 0),
    "SIMPLE_RADIAL": ColmapModel(2, "brown4", 1, 1, zeros=3),
    "RADIAL": ColmapModel(3, "brown4", 1, 2, zeros=2),
    "OPENCV": ColmapModel(4, "brown4", 2, 4),
    "OPENCV_FISHEYE": ColmapModel(5, "kannala_brandt4", 2, 4),
    "FULL_OPENCV": ColmapModel(6, "brown8", 2, 8),
    "FOV": ColmapModel(7, "", 2, 1, project=project_fov),
    "SIMPLE_RADIAL_FISHEYE": ColmapModel(8, "kannala_brandt4", 1, 1, zeros=3),
    "RADIAL_FISHEYE": ColmapModel(9, "kannala_brandt4", 1, 2, zeros=2),
    "THIN_PRISM_FISHEYE": ColmapModel(10, "", 2, 8, project=project_thin_prism_fisheye),
    "RAD_TAN_THIN_PRISM_FISHEYE": ColmapModel(11, "", 2, 12, project=project_rad_tan_thin_prism_fisheye),
    "SIMPLE_DIVISION": ColmapModel(12, "division", 1, 1),
    "DIVISION": ColmapModel(13, "division", 2, 1),
    "SIMPLE_FISHEYE": ColmapModel(14, "kannala_brandt4", 1, 0, zeros=4),
    "FISHEYE": ColmapModel(15, "kannala_brandt4", 2, 0, zeros=4),
    "EUCM": ColmapModel(16, "eucm", 2, 2),
}
NAME_OF_ID = {known.id: name for name, known in COLMAP_MODELS.items()} | {17: "EQUIRECTANGULAR"}
_NAME_OF_MODEL = {
    "pinhole": "PINHOLE",
    "division": "DIVISION",
    "eucm": "EUCM",
    "brown4": "OPENCV",
    "kannala_brandt4": "OPENCV_FISHEYE",
    "brown5": "FULL_OPENCV",
    "brown8": "FULL_OPENCV",
}
MODELS = tuple(_NAME_OF_MODEL)


def to_colmap(camera: Camera) -> tuple[str, tuple[float, ...]]:
    """Name and parameters of a camera whose model is among `MODELS`."""
    fx, fy, cx, cy = camera.params[:4]
    shape = camera.shape + (0.0,) * 3 if camera.model == "brown5" else camera.shape
    return _NAME_OF_MODEL[camera.model], (fx, fy, cx + _CORNER, cy + _CORNER, *shape)


def from_colmap(
    name: str, width: int, height: int, params: Sequence[float], fields: Fields, source: str, options: ReadOptions
) -> tuple[Camera, StandIn | None]:
    """The camera of a model's name and parameters; FULL_OPENCV without k4, k5, k6 is `brown5`.

    Raises:
        FormatError: there is no such model, or it has another number of parameters, or it is not a camera's.
    """
    known = known_model(name, fields)
    if len(params) != known.param_count:
        fields.fail(f"{name} has {known.param_count} parameters, here are {len(params)}")
    fields.agreed_size((width, height), options.size)
    fx, fy = params[0], params[known.focal_count - 1]
    cx, cy, *given = params[known.focal_count :]
    affine = (fx, fy, cx - _CORNER, cy - _CORNER)
    if known.project is not None:
        fields.camera("pinhole", width, height, affine)
        return read_foreign(partial(known.project, (*affine, *given)), width, height, name, source, options)
    model, shape = known.model, (*given, *(0.0,) * known.zeros)
    if model == "brown8" and not any(shape[5:]):
        model, shape = "brown5", shape[:5]
    return fields.camera(model, width, height, (*affine, *shape)), None


def known_model(name: str, fields: Fields) -> ColmapModel:
    """The model of a name.

    Raises:
        FormatError: there is none, or it is no camera that cv3d can say.
    """
    if name not in COLMAP_MODELS:
        reason = ": a panorama has no focal length" if name == "EQUIRECTANGULAR" else ""
        fields.fail(f"cv3d has no equal of COLMAP's camera model {name}{reason}; it reads {', '.join(COLMAP_MODELS)}")
    return COLMAP_MODELS[name]

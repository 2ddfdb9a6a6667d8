"""Every camera model by its name."""

from __future__ import annotations

from cv3d.errors import UsageError
from cv3d.geometry.cameras.base import CameraModel
from cv3d.geometry.cameras.brown import Brown
from cv3d.geometry.cameras.division import Division
from cv3d.geometry.cameras.double_sphere import DoubleSphere
from cv3d.geometry.cameras.kannala_brandt import KannalaBrandt4
from cv3d.geometry.cameras.omni import Omnidirectional
from cv3d.geometry.cameras.pinhole import Pinhole
from cv3d.geometry.cameras.unified import ExtendedUnified, Unified

MODELS: dict[str, CameraModel] = {
    "pinhole": Pinhole(),
    "brown4": Brown.named("brown4"),
    "brown5": Brown.named("brown5"),
    "brown8": Brown.named("brown8"),
    "brown12": Brown.named("brown12"),
    "kannala_brandt4": KannalaBrandt4(),
    "ucm": Unified(),
    "omni": Omnidirectional(),
    "eucm": ExtendedUnified(),
    "double_sphere": DoubleSphere(),
    "division": Division(),
}


def get_model(name: str) -> CameraModel:
    """The camera model of the given name.

    Raises:
        UsageError: no model has this name.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise UsageError(f"unknown camera model '{name}'; known models: {', '.join(MODELS)}") from None

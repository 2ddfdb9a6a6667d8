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
from cv3d.geometry.cameras.splined import SplinedStereographic
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
"""The models without a configuration."""


def get_model(name: str) -> CameraModel:
    """The camera model of the given name, always the same instance.

    The name of a splined model carries its configuration, `splined_stereographic_o3_30x20_fov150` being the cubic one
    of 30 by 20 control points that covers 150 degrees.

    Raises:
        UsageError: no model has this name.
    """
    if name in MODELS:
        return MODELS[name]
    splined = SplinedStereographic.from_name(name)
    if splined is None:
        known = ", ".join([*MODELS, "splined_stereographic_o3_30x20_fov150 (order, control points, degrees)"])
        raise UsageError(f"unknown camera model '{name}'; known models: {known}")
    return splined

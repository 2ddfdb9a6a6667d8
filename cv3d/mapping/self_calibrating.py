"""A camera's intrinsics from pictures of any scene, without a board: what the reconstruction of the scene says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cv3d.calibration.quality import Level, Verdict
from cv3d.compute import Compute
from cv3d.geometry.cameras.camera import Camera
from cv3d.mapping.options import MapOptions, SharedCamera
from cv3d.mapping.running import reconstruct
from cv3d.mapping.scene import Scene, SceneCamera, SceneModel
from cv3d.progress import SILENT, Progress

SELF_SCHEMA = "cv3d.self_calibration/1"
_GOOD, _USABLE = 0.003, 0.015
"""Relative standard deviation of the focal length up to which a result is good, and usable."""
_ENOUGH = 8
"""Pictures without which a result is not called good, however sure it is of itself."""
_LARGEST_RMS_PX = 1.5
"""Reprojection error from which the lens model does not fit, pixels of a picture 1000 pixels wide."""
_CENTRE = ("cx", "cy")


@dataclass(frozen=True, eq=False)
class SelfCalibration:
    """The camera that took most of the pictures, as the scene determines it."""

    scene: Scene
    model: SceneModel | None
    """The model that the camera is from; None where there is none."""
    estimated: SceneCamera | None
    """The camera; None where the pictures do not determine one."""
    used: int
    """Pictures of it that have a place."""
    rms_px: float
    """Root mean square reprojection error in them, pixels; NaN without points."""
    verdict: Verdict

    @property
    def camera(self) -> Camera | None:
        """The intrinsics."""
        return None if self.estimated is None else self.estimated.camera

    @property
    def params(self) -> dict[str, float]:
        """Every camera parameter by name; empty without a camera."""
        camera = self.camera
        return {} if camera is None else dict(zip(camera.lens.param_names, camera.params, strict=True))

    @property
    def params_std(self) -> dict[str, float]:
        """Standard deviation of every parameter that was estimated."""
        if self.estimated is None:
            return {}
        deviations = dict(zip(self.params, self.estimated.deviations, strict=True))
        return {name: deviations[name] for name in self.params if name in self.estimated.free}

    def as_dict(self) -> dict[str, object]:
        """The result as plain data, as `--json` prints it, with the keys of a board calibration where they apply."""
        camera, scene = self.camera, self.scene
        return {
            "schema": SELF_SCHEMA,
            "camera": None
            if camera is None or self.estimated is None
            else {
                "model": camera.model,
                "width": camera.width,
                "height": camera.height,
                "params": self.params,
                "std": self.params_std,
                "free": list(self.estimated.free),
                "source": self.estimated.source.value,
            },
            "rms_px": self.rms_px,
            "points": 0 if self.model is None else len(self.model.points),
            "views": {
                "total": scene.total,
                "used": self.used,
                "rejected": [{"file": item.name, "reason": item.reason} for item in scene.left_out],
            },
            "verdict": self.verdict.level.value,
            "sentence": self.verdict.sentence,
            "advice": list(self.verdict.advice),
            "warnings": list(scene.warnings),
            "seed": scene.seed,
            "seconds": dict(scene.seconds),
        }


def self_calibrate(
    source: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    options: MapOptions | None = None,
    compute: Compute | None = None,
    progress: Progress = SILENT,
) -> SelfCalibration:
    """The intrinsics of the camera that took pictures or a clip of a scene that stands still.

    The scene is reconstructed with intrinsics unknown, one camera for all pictures of one size; what of them the
    pictures determine is estimated, the rest held, and deviations are those of the last adjustment.

    Args:
        source: folders, globs, pictures or videos.
        output: keeps what every stage finds, for a later run to go on from; None: nothing is kept.
        options: of the reconstruction; cameras are shared, and the frame of the world is not looked for, in any case.
        compute: where dense work runs.
        progress: told of every stage.

    Raises:
        Cv3dError: as :func:`cv3d.mapping.running.reconstruct`.
    """
    chosen = replace(options or MapOptions(), shared_camera=SharedCamera.YES, up=False, gps=False, scale=None)
    scene = reconstruct(source, output, options=chosen, compute=compute, progress=progress)
    return of_scene(scene)


def of_scene(scene: Scene) -> SelfCalibration:
    """The camera of most pictures of a scene that was reconstructed, and how far it can be trusted."""
    counted = [
        (count, -number, -index)
        for number, model in enumerate(scene.models)
        for index, count in Counter(image.camera for image in model.images).items()
        if not model.is_oriented_only
    ]
    if not counted:
        turned = any(model.is_oriented_only for model in scene.models)
        reason = "the camera only turned" if turned else "not enough pictures hang together"
        advice = ("walk sideways around something with texture while filming",)
        verdict = Verdict(Level.UNOBSERVABLE, f"Not determined: {reason}.", advice)
        return SelfCalibration(scene, None, None, 0, math.nan, verdict)
    used, number, index = max(counted)
    model = scene.models[-number]
    estimated = model.cameras[-index]
    rms = _rms(model, -index)
    return SelfCalibration(scene, model, estimated, used, rms, _judge(estimated, used, rms))


def _rms(model: SceneModel, camera: int) -> float:
    """Root mean square reprojection error of one camera's pictures, pixels."""
    own = replace(model, images=tuple(image for image in model.images if image.camera == camera))
    errors = own.reprojection_errors()
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else math.nan


def _judge(estimated: SceneCamera, used: int, rms_px: float) -> Verdict:
    camera = estimated.camera
    focal, deviation = camera.params[0], estimated.deviations[0]
    if camera.lens.param_names[0] not in estimated.free or not 0.0 < deviation < math.inf:
        return Verdict(
            Level.UNOBSERVABLE,
            "Not determined: the pictures do not say the focal length.",
            ("take pictures from more directions, turned by a quarter for some",),
        )
    relative = deviation / focal
    advice = []
    if used < _ENOUGH:
        advice.append(f"take more pictures: {used} have a place")
    if relative > _GOOD:
        advice.append("walk around the scene and tilt the camera; a long straight path says little about the lens")
    is_off = rms_px * 1000.0 / max(camera.width, camera.height) > _LARGEST_RMS_PX
    if is_off:
        advice.append("points are off by more than noise: hold zoom and focus, keep out what moves")
    held = [name for name in _CENTRE if name in camera.lens.param_names and name not in estimated.free]
    middle = "; the principal point is held at the centre" if held else ""
    level = Level.GOOD if relative <= _GOOD else Level.USABLE if relative <= _USABLE else Level.POOR
    if level is Level.GOOD and (used < _ENOUGH or is_off):
        level = Level.USABLE
    sentence = (
        f"{level.value.capitalize()}: focal length {focal:.1f} px, known to {100.0 * relative:.2g} %, from {used} "
        f"pictures{middle}."
    )
    return Verdict(level, sentence, tuple(advice))

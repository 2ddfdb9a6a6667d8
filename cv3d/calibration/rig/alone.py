"""Each camera of a rig by itself: what the joint estimation starts from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cv3d.calibration.assembling import Finished, assemble
from cv3d.calibration.calibrating import CalibrateOptions, estimate
from cv3d.calibration.deformation import Deformation
from cv3d.calibration.detecting import BoardSightings
from cv3d.calibration.framing import AS_IS
from cv3d.calibration.problem import CalibrationProblem, Observations
from cv3d.calibration.result import Calibration
from cv3d.calibration.rig.placed import PlacedCamera
from cv3d.calibration.rig.problem import IntrinsicsPrior
from cv3d.calibration.solving import solve, start_from
from cv3d.errors import EstimationError, InputError, QualityError
from cv3d.geometry.cameras import get_model
from cv3d.geometry.cameras.camera import Camera

_LEAST_NOISE = 0.02
"""Pixels; residuals below that are rounding or chance."""


@dataclass(frozen=True)
class CameraAlone:
    """One camera's own estimation."""

    name: str
    finished: Finished
    calibration: Calibration | None
    """None where the intrinsics were given."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its image frame, pixels."""
        return self.finished.size

    @property
    def noise_px(self) -> float:
        """Standard deviation of a coordinate of a corner by this camera's own fit, pixels."""
        noise = self.finished.solution.noise_px
        return max(noise, _LEAST_NOISE) if math.isfinite(noise) else _LEAST_NOISE

    def pictures(self) -> list[int]:
        """Of each view that took part in the fit, which of the camera's pictures it is."""
        index = {id(candidate): i for i, candidate in enumerate(self.finished.candidates)}
        return [index[id(candidate)] for candidate in self.finished.views]

    def placed(self, frames: Sequence[int]) -> PlacedCamera:
        """The camera with its views placed.

        Args:
            frames: which frame each view belongs to, (V,).
        """
        solution = self.finished.solution
        detections = tuple(
            (view.seen.detection.point_ids, (view.framing or AS_IS).apply(view.seen.detection.pixels))
            for view in self.finished.views
        )
        return PlacedCamera(
            name=self.name,
            model=get_model(solution.model),
            params=solution.state.params,
            size=max(self.size),
            scale_px=self.noise_px,
            held=self.calibration is None,
            detections=detections,
            observations=Observations.gather(torch.from_numpy(self.finished.board.points_m()), detections),
            frames=torch.tensor(list(frames), dtype=torch.int64),
            cam_from_board=solution.state.cam_from_board(),
        )


def own_prior(
    camera: CameraAlone, model: str, deformation: Deformation, unit_px: float
) -> tuple[Tensor, IntrinsicsPrior]:
    """What a camera knows of its intrinsics from its own views, each with the board's pose to itself.

    Args:
        camera: the camera, its intrinsics not given.
        model: the lens model wanted.
        deformation: which modes of the board's deformation the rig estimates. Where either is another than the
            camera's own choice, the camera is solved anew.
        unit_px: standard deviation of a weighted residual in the problem that the prior is for, pixels.

    Returns:
        The intrinsics (P,), and the prior of the free ones.
    """
    solution, observations = camera.finished.solution, camera.finished.observations
    if solution.model != model or solution.state.deformation != deformation:
        start = start_from(observations, solution.state, solution.model, model)
        start = replace(start, warp=torch.where(deformation.mask, start.warp, 0.0))
        solution = solve(observations, model, start, deformation=deformation)
    free = CalibrationProblem(get_model(model), observations).free_indices()
    information = solution.system.reduced()
    size = len(free)
    if information.shape[0] > size:
        across, warp = information[:size, size:], information[size:, size:]
        information = information[:size, :size] - across @ torch.linalg.solve(warp, across.T)
    scale = (unit_px / camera.noise_px) ** 2
    return solution.state.params, IntrinsicsPrior(solution.state.params[free], scale * information)


def calibrate_alone(
    name: str, sightings: BoardSightings, options: CalibrateOptions, given: Camera | None
) -> CameraAlone:
    """Estimate one camera by itself, or only its poses where its intrinsics are given.

    Raises:
        EstimationError: its pictures do not suffice, or contradict each other; the message names the camera.
        InputError: its pictures are of another size than the camera that is given.
        QualityError: all of its pictures are copies of one.
    """
    try:
        finished = estimate(sightings, options, given)
    except (EstimationError, InputError, QualityError) as error:
        raise type(error)(f"camera {name}: {error}") from error
    calibration = None if given is not None else assemble(finished, options.seed)
    return CameraAlone(name, finished, calibration)


def alone_noise(cameras: Sequence[CameraAlone]) -> float:
    """Standard deviation of a coordinate of a corner, over all cameras' own fits, pixels; NaN without redundancy."""
    solutions = [camera.finished.solution for camera in cameras]
    freedom = sum(2 * solution.count - solution.unknowns for solution in solutions)
    squares = sum(float((solution.residuals**2).sum()) for solution in solutions)
    return math.sqrt(squares / freedom) if freedom > 0 else math.nan

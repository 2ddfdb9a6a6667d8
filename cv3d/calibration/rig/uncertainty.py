"""How sure the parts of a rig's solution are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.calibration.deformation import STRETCH, Deformation
from cv3d.calibration.deforming import clear_stretch
from cv3d.calibration.problem import POSE_SIZE
from cv3d.calibration.rig.problem import Layout, RigState
from cv3d.calibration.rig.solving import RigSolution
from cv3d.errors import EstimationError
from cv3d.geometry.cameras.base import CameraModel
from cv3d.geometry.transforms.algebra import skew


@dataclass(frozen=True)
class RigCovariance:
    """Covariance of what a rig's frames share."""

    models: tuple[CameraModel, ...]
    state: RigState
    layout: Layout
    free: tuple[tuple[int, ...], ...]
    """Positions of each camera's free intrinsics."""
    shared: Tensor
    """Covariance of the shared unknowns in the layout's order, (K, K); NaN where the data do not determine them."""

    def params(self, camera: int) -> Tensor:
        """Covariance of one camera's intrinsics, (P, P); zero for held ones."""
        size = len(self.state.params[camera])
        full = torch.zeros(size, size, dtype=torch.float64)
        free = torch.tensor(self.free[camera], dtype=torch.int64)
        own = self.layout.intrinsics[camera]
        full[free[:, None], free] = self.shared[own, own]
        return full

    def pose(self, camera: int) -> Tensor:
        """Covariance of the perturbation `exp(rotation) cam_from_cam0 + translation`, (6, 6); zero for the first."""
        if camera == 0:
            return torch.zeros(POSE_SIZE, POSE_SIZE, dtype=torch.float64)
        own = self.layout.poses[camera]
        return self.shared[own, own]

    def baseline_std(self, first: int, second: int) -> float:
        """Standard deviation of the distance between two cameras' centres, in the unit of the poses.

        The centre -R^T t moves by -R^T d when the pose is perturbed by the translation d, whatever the rotation.
        """
        centres = [-self.state.rotation[c].T @ self.state.translation[c] for c in (first, second)]
        apart = centres[1] - centres[0]
        length = float(torch.linalg.vector_norm(apart))
        if length == 0.0:
            return math.nan
        gradient = torch.zeros(self.shared.shape[0], dtype=torch.float64)
        for camera, sign in ((first, 1.0), (second, -1.0)):
            if camera > 0:
                moved = slice(self.layout.poses[camera].start + 3, self.layout.poses[camera].stop)
                gradient[moved] = sign * self.state.rotation[camera] @ apart / length
        return math.sqrt(max(float(gradient @ self.shared @ gradient), 0.0))

    def transfer_std(self, first: int, second: int, points: Tensor) -> Tensor:
        """How well it is known where a point that one camera sees appears in another.

        Pixel and distance in the first camera are held; both cameras' intrinsics and poses are uncertain. What trades
        off between them, such as a principal point and a rotation, cancels.

        Args:
            first: the camera that sees the point.
            second: the other.
            points: in the first camera's frame, (n, 3), in the unit of the poses.

        Returns:
            Standard deviation in the worst direction, (n,), pixels of the second camera.
        """
        state = self.state
        second_from_first = state.rotation[second] @ state.rotation[first].T
        shift = state.translation[second] - second_from_first @ state.translation[first]
        moved = points @ second_from_first.T + shift
        _, first_by_point, first_by_params = self.models[first].project_with_jacobians(state.params[first], points)
        _, by_point, by_params = self.models[second].project_with_jacobians(state.params[second], moved)
        carried = by_point @ second_from_first
        jacobian = torch.zeros(len(points), 2, self.shared.shape[0], dtype=torch.float64)
        held_pixel = -carried @ torch.linalg.pinv(first_by_point) @ first_by_params
        jacobian[..., self.layout.intrinsics[first]] += held_pixel[..., list(self.free[first])]
        jacobian[..., self.layout.intrinsics[second]] += by_params[..., list(self.free[second])]
        if first > 0:
            jacobian[..., self.layout.poses[first]] -= carried @ _by_pose(points)
        if second > 0:
            jacobian[..., self.layout.poses[second]] += by_point @ _by_pose(moved)
        covariance = jacobian @ self.shared @ jacobian.transpose(-1, -2)
        if not bool(torch.isfinite(covariance).all()):
            return torch.full((len(points),), math.nan, dtype=torch.float64)
        return torch.sqrt(torch.clamp(torch.linalg.eigvalsh(covariance)[:, -1], min=0.0))

    def warp_std(self) -> Tensor:
        """Standard deviations of the coefficients of the board's deformation that were estimated, (k,)."""
        return torch.sqrt(torch.clamp(torch.diagonal(self.shared)[self.layout.warp], min=0.0))


def stretch_stands(solution: RigSolution) -> bool:
    """Whether the stretch of the board that a solution has, if any, is clear by all cameras together."""
    if Deformation.STRETCHED not in solution.problem.deformation:
        return True
    covariance, _ = rig_covariance(solution)
    return clear_stretch(float(solution.state.warp[STRETCH]), float(covariance.warp_std()[-1]))


def _by_pose(points: Tensor) -> Tensor:
    """How points (n, 3) of a camera move with its pose's perturbation, (n, 3, 6)."""
    return torch.cat([-skew(points), torch.eye(3, dtype=points.dtype).expand(len(points), 3, 3)], dim=-1)


def rig_covariance(solution: RigSolution, inflation: float = 1.0) -> tuple[RigCovariance, tuple[str, ...]]:
    """The covariance of a solution by plain least squares, scaled by the residual variance.

    Args:
        solution: the solution.
        inflation: by what the covariance exceeds that of independent residuals.

    Returns:
        The covariance and warnings: where the data do not determine the rig its values are NaN, and a warning says so.
    """
    problem = solution.problem
    warnings: tuple[str, ...] = ()
    try:
        shared = solution.system.covariance().shared * solution.unit_variance * inflation
    except EstimationError as error:
        shared = torch.full_like(solution.system.shared, math.nan)
        warnings = (str(error),)
    free = tuple(tuple(problem.camera_problem(c).free_indices()) for c in range(len(solution.cameras)))
    models = tuple(views.model for views in solution.cameras)
    return RigCovariance(models, solution.state, problem.layout(), free, shared), warnings

"""How sure the calibration is, as pixels over the image.

The projection uncertainty is mrcal's (D. Kogan, mrcal documentation, "Projection uncertainty"): take the point that
a pixel sees at some range; every estimated board pose holds that point in its own frame; perturb everything estimated,
carry the point back to the camera by each perturbed pose, average, project with the perturbed intrinsics. The spread of
that pixel under the covariance of the solution is what a user of the calibration has to expect, the freedom to trade
intrinsics against poses taken out. Where the model is a spline, poses that are known better weigh more in the average.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.calibration.problem import POSE_SIZE, free_by_default
from cv3d.calibration.solving import Solution
from cv3d.geometry.arrow import ArrowCovariance
from cv3d.geometry.cameras import get_model
from cv3d.geometry.cameras.splined import SplinedStereographic


@dataclass(frozen=True)
class CameraCovariance:
    """Joint covariance of the intrinsics and of the mean pose perturbation."""

    model: str
    params: Tensor
    """(P,)."""
    joint: Tensor
    """Covariance of [intrinsics (P), mean rotation (3), mean translation (3)], (P + 6, P + 6); zero for held
    parameters."""
    noise_px: float
    """Standard deviation of one corner coordinate that it rests on, pixels."""

    @property
    def params_covariance(self) -> Tensor:
        """Covariance of the intrinsics, (P, P)."""
        size = len(self.params)
        return self.joint[:size, :size]

    @property
    def params_std(self) -> Tensor:
        """Standard deviation of every intrinsic, (P,)."""
        return torch.sqrt(torch.clamp(torch.diagonal(self.params_covariance), min=0.0))

    @property
    def focal_std_share(self) -> float:
        """Standard deviation of the focal length in effect on the optical axis, along x, relative to it.

        That of the parameter fx, but where fx is held and a surface does its work.
        """
        model = get_model(self.model)
        if not isinstance(model, SplinedStereographic):
            return float(self.params_std[0]) / abs(float(self.params[0]))
        gradient = torch.cat([self.params.new_zeros(4), model.central_focal_gradient()[0]])
        deviation = math.sqrt(max(float(gradient @ self.params_covariance @ gradient), 0.0))
        return deviation / abs(1.0 + float(gradient @ self.params))

    def projection_covariance(self, pixels: Tensor, range_m: float = math.inf) -> Tensor:
        """Covariance of where the points seen by `pixels` project, (M, 2, 2), square pixels.

        Args:
            pixels: image positions, (M, 2).
            range_m: distance of the points from the camera, in the unit of the poses; infinity: directions.

        Returns:
            One 2x2 covariance a pixel; NaN where the pixel lies outside the model's domain.
        """
        model = get_model(self.model)
        rays = model.unproject(self.params, pixels)
        distance = 1.0 if math.isinf(range_m) else range_m
        points = rays * distance
        _, by_point, by_params = model.project_with_jacobians(self.params, points)
        x, y, z = points[:, None, :].unbind(dim=-1)
        gx, gy, gz = by_point.unbind(dim=-1)
        by_rotation = torch.stack([y * gz - z * gy, z * gx - x * gz, x * gy - y * gx], dim=-1)
        by_translation = torch.zeros_like(by_rotation) if math.isinf(range_m) else by_point
        jacobian = torch.cat([by_params, by_rotation, by_translation], dim=-1)
        covariance = jacobian @ self.joint @ jacobian.transpose(-1, -2)
        valid = model.valid_pixels(self.params, pixels)
        return torch.where(valid[:, None, None], covariance, torch.full_like(covariance, math.nan))

    def projection_std(self, pixels: Tensor, range_m: float = math.inf) -> Tensor:
        """Standard deviation in the worst direction, (M,), pixels. Arguments as in :meth:`projection_covariance`."""
        covariance = self.projection_covariance(pixels, range_m)
        a, b, c = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
        largest = 0.5 * (a + c) + torch.sqrt(torch.clamp(0.25 * (a - c) ** 2 + b * b, min=0.0))
        return torch.sqrt(torch.clamp(largest, min=0.0))


def camera_covariance(solution: Solution, free: tuple[bool, ...] | None = None) -> CameraCovariance:
    """Covariance of a solution's intrinsics and mean pose.

    Args:
        solution: a calibration solved with the squared loss.
        free: the mask of free intrinsics it was solved with; None: the model's own.

    Returns:
        The covariance, scaled by the residual variance.

    Raises:
        EstimationError: the views do not determine the parameters.
    """
    size = len(solution.state.params)
    mask = free_by_default(get_model(solution.model)) if free is None else free
    indices = [i for i in range(size) if mask[i]]
    noise = solution.noise_px
    covariance = solution.system.covariance()
    full = covariance.shared_and_mean_block(_pose_weights(covariance, solution.model)) * noise**2
    shared = solution.system.shared.shape[0]
    keep = [*range(len(indices)), *range(shared, shared + POSE_SIZE)]
    target = [*indices, *range(size, size + POSE_SIZE)]
    joint = torch.zeros(size + POSE_SIZE, size + POSE_SIZE, dtype=torch.float64)
    joint[torch.tensor(target)[:, None], torch.tensor(target)[None, :]] = full[
        torch.tensor(keep)[:, None], torch.tensor(keep)[None, :]
    ]
    return CameraCovariance(solution.model, solution.state.params, joint, noise)


def _pose_weights(covariance: ArrowCovariance, model_name: str) -> Tensor | None:
    """Weights of the poses in their mean, (V,); None: all alike.

    Under a spline a board at the border can turn and bend the surface beneath it alike: its pose is loose, and would
    make the mean loose. Poses count by how well their rotation is known.
    """
    if not isinstance(get_model(model_name), SplinedStereographic):
        return None
    rotation = torch.diagonal(covariance.blocks(), dim1=-2, dim2=-1)[:, :3].sum(dim=-1)
    weights = 1.0 / rotation.clamp(min=torch.finfo(rotation.dtype).tiny)
    return weights / weights.sum()

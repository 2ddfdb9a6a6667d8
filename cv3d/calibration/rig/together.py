"""The joint solution of a rig: under which lens models, which deformation of the board and which idea of time.

Frames are taken for instants unless they agree far worse between cameras than within each: see
:meth:`JointSolver.solve`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.calibration.calibrating import BoardWarp
from cv3d.calibration.deformation import UNDEFORMED, Deformation
from cv3d.calibration.models import AUTO, resolve_model
from cv3d.calibration.problem import POSE_SIZE
from cv3d.calibration.rig.alone import CameraAlone, own_prior
from cv3d.calibration.rig.choosing import choose_together, is_sound, with_models
from cv3d.calibration.rig.in_motion import Clocked, Timing, fit_in_motion
from cv3d.calibration.rig.joint import JointFit, Refused, Standing, fit_jointly, fit_poses, together_px
from cv3d.calibration.rig.moments import Followed
from cv3d.calibration.rig.options import RigOptions
from cv3d.calibration.rig.uncertainty import stretch_stands
from cv3d.calibration.solving import start_from
from cv3d.geometry.cameras import get_model
from cv3d.progress import Progress

_ASYNCHRONOUS = 2.0
"""Ratio of the residuals in common frames to the cameras' own noise beyond which frames are not taken for instants."""
_ALIKE = 1.04
"""Ratio of noise up to which the simpler lens models are taken: errors of corners are alike within a view, so that a
few per cent over a few dozen views mean nothing."""


class JointSolver:
    """Solves a rig whose cameras have been calibrated by themselves."""

    def __init__(
        self, alone: Sequence[CameraAlone], followed: Followed | None, options: RigOptions, progress: Progress
    ) -> None:
        """Of cameras calibrated by themselves, the board's motion in each (where pictures have times), and options."""
        self.alone = alone
        self.followed = followed
        self.options = options
        self.progress = progress

    def solve(self, standing: Standing) -> tuple[JointFit, Timing | None]:
        """The joint solution, with the lens models that serve all cameras best where the user left them open.

        Where the frames agree far worse between cameras than within each, the board moved between their exposures:
        then its motion is part of the solution where pictures have times, and elsewhere what a camera knows of itself
        from single views is not sacrificed to common frames.
        """
        noise, deformation = [camera.noise_px for camera in self.alone], self._deformation()
        if self.followed is not None and self.followed.clocks is not None:
            posed, refused = fit_poses(standing)
            if _is_asynchronous(posed, noise):
                return self._fit_in_motion(posed, tuple(refused), deformation)
        fit = fit_jointly(standing, noise, deformation)
        if not stretch_stands(fit.solution):
            deformation &= ~Deformation.STRETCHED
            fit = fit_jointly(standing, noise, deformation)
        if self.followed is not None and _is_asynchronous(fit.standing, noise):
            return self._fit_in_motion(fit.standing, fit.refused, deformation)
        own = tuple(views.model.name for views in fit.solution.cameras)
        models = own
        if resolve_model(self.options.model) == AUTO:
            models = choose_together(fit.solution, np.random.default_rng(self.options.seed))
        if models != own:
            self._tell_models(models)
            changed = with_models(fit.solution, models)
            standing = replace(
                standing,
                cameras=tuple(
                    replace(views, model=new.model)
                    for views, new in zip(standing.cameras, changed.cameras, strict=True)
                ),
                state=replace(
                    standing.state,
                    params=changed.state.params,
                    rotation=changed.state.rotation,
                    translation=changed.state.translation,
                ),
            )
            fit = fit_jointly(standing, noise, deformation)
        if not _is_asynchronous(fit.standing, noise):
            return fit, None
        together = np.array(together_px(fit.standing))
        typical = np.where(np.isfinite(together), together, noise)
        return self._fit_asynchronous(standing, typical, deformation), None

    def _fit_in_motion(
        self,
        standing: Standing,
        refused: tuple[Refused, ...],
        deformation: Deformation,
    ) -> tuple[JointFit, Timing]:
        """The joint solution with the board's motion, under the simplest of the lens models that explain it alike.

        Cameras that were judged alone came to models that their few pictures may not bear, so each of these models on
        all cameras competes with the mixture.
        """
        assert self.followed is not None
        own = tuple(views.model.name for views in standing.cameras)
        held = [views.held for views in standing.cameras]
        tried = [own]
        if resolve_model(self.options.model) == AUTO:
            names = sorted({name for name, is_held in zip(own, held, strict=True) if not is_held})
            tried += [tuple(old if is_held else name for old, is_held in zip(own, held, strict=True)) for name in names]
        pictures = [one.tolist() for one in standing.pictures]
        tracks = self.followed.tracks(pictures, self.alone)
        noise = tuple(camera.noise_px for camera in self.alone)
        found: list[tuple[JointFit, Timing]] = []
        for models in dict.fromkeys(tried):
            start = self._under(models, standing)
            one = fit_in_motion(Clocked(start, tracks, noise), deformation)
            if not stretch_stands(one[0].solution):
                deformation &= ~Deformation.STRETCHED
                one = fit_in_motion(Clocked(start, tracks, noise), deformation)
            if is_sound(one[0].solution) or not found:
                found.append(one)
        least = min(one.solution.noise_px for one, _ in found)
        alike = [one for one in found if one[0].solution.noise_px <= _ALIKE * least]
        moving, timing = min(alike, key=lambda one: one[0].solution.system.shared.shape[0])
        self._tell_models([views.model.name for views in moving.solution.cameras])
        return replace(moving, refused=(*refused, *moving.refused)), timing

    def _under(self, models: Sequence[str], standing: Standing) -> Standing:
        """The views under given lens models, their intrinsics as each camera by itself has them."""
        cameras, params = [], []
        for views, camera, name in zip(standing.cameras, self.alone, models, strict=True):
            known = camera.finished.solution
            began = start_from(camera.finished.observations, known.state, known.model, name)
            cameras.append(replace(views, model=get_model(name)))
            params.append(began.params)
        return replace(standing, cameras=tuple(cameras), state=replace(standing.state, params=tuple(params)))

    def _fit_asynchronous(self, standing: Standing, noise: NDArray[np.float64], deformation: Deformation) -> JointFit:
        """The joint solution under the noise (C,) of common frames, with each camera's own knowledge of itself."""
        unit = float(np.median(noise))
        inflation = _inflation(standing)
        known = [
            None if views.held else own_prior(camera, views.model.name, deformation, unit * math.sqrt(inflation))
            for camera, views in zip(self.alone, standing.cameras, strict=True)
        ]
        held = zip(standing.state.params, known, strict=True)
        cameras = tuple(
            replace(views, weight=unit / float(own)) for views, own in zip(standing.cameras, noise, strict=True)
        )
        standing = replace(
            standing,
            cameras=cameras,
            state=replace(standing.state, params=tuple(p if one is None else one[0] for p, one in held)),
        )
        priors = tuple(None if one is None else one[1] for one in known)
        return replace(fit_jointly(standing, noise.tolist(), deformation, priors), inflation=inflation)

    def _tell_models(self, models: Sequence[str]) -> None:
        for camera, name in zip(self.alone, models, strict=True):
            if name != camera.finished.solution.model:
                self.progress.info(
                    f"camera {camera.name}: {name} serves the rig better than {camera.finished.solution.model}, which "
                    "fits this camera alone best"
                )

    def _deformation(self) -> Deformation:
        """Which modes of the board's deformation are estimated, one board for all cameras.

        Bending as asked for, else as most corners tell their own cameras; a stretch where any camera by itself sees
        one, as few views of a camera turn the board enough to show it.
        """
        if self.options.board_warp is BoardWarp.OFF:
            return UNDEFORMED
        seen = [camera.finished.solution for camera in self.alone if camera.calibration is not None]
        bent = sum(one.count for one in seen if Deformation.BENT in one.state.deformation)
        stretched = any(Deformation.STRETCHED in one.state.deformation for one in seen)
        bends = self.options.board_warp is BoardWarp.ON or 2 * bent > sum(one.count for one in seen)
        result = Deformation.BENT if bends else UNDEFORMED
        return result | Deformation.STRETCHED if stretched else result


def _is_asynchronous(standing: Standing, noise_px: Sequence[float]) -> bool:
    """Whether frames agree far worse between cameras than the cameras' noise, (C,), explains."""
    return bool(np.nanmedian(np.array(together_px(standing)) / np.array(noise_px)) > _ASYNCHRONOUS)


def _inflation(standing: Standing) -> float:
    """Corners of a view whose errors are all those of one pose, in place of as many independent ones.

    A board that moved since another camera's exposure shifts all corners of a view at once: n corners then are worth
    the six numbers of a pose, not 2 n.
    """
    corners = [
        views.observations.seen[shared].sum(dim=-1).to(torch.float64)
        for views, shared in zip(standing.cameras, standing.shares(), strict=True)
    ]
    return max(1.0, 2.0 * float(torch.cat(corners).mean()) / POSE_SIZE)

"""The cost of a bundle problem at a state, its derivatives and its normal equations."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.geometry.bundle import kernels
from cv3d.geometry.bundle.normal import Linearization, NormalEquations, PriorTerms, State, prior_terms
from cv3d.geometry.bundle.preparing import chunks, depth_weights, whitening
from cv3d.geometry.bundle.problem import BundleProblem
from cv3d.geometry.bundle.projection_kernels import PARAMS, PROJECTIONS, TORCH
from cv3d.geometry.bundle.structure import POSE, Structure
from cv3d.geometry.robust import Loss, LossKind

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]
Bools: TypeAlias = NDArray[np.bool_]

_LOSSES = {LossKind.SQUARED: kernels.SQUARED, LossKind.HUBER: kernels.HUBER, LossKind.CAUCHY: kernels.CAUCHY}


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Linearises one problem again and again."""

    problem: BundleProblem
    structure: Structure
    losses: tuple[int, float, int, float]
    chunks: list[tuple[int, int]]
    """Ranges of points, one for each thread."""
    pool: ThreadPoolExecutor | None
    pixels: Floats
    whitening: Floats
    depths: Floats
    active: Bools
    pose: Ints
    camera: Ints
    offsets: Floats
    model: Ints
    bases: Floats
    free: Ints
    projected: tuple[Floats, Floats, Floats]
    """Filled by the lens models that have no kernel."""
    projected_cameras: list[tuple[int, Ints]]
    """These cameras with their sorted observations."""
    lengths: tuple[int, ...]
    """Number of parameters of each camera."""

    @staticmethod
    def of(
        problem: BundleProblem,
        structure: Structure,
        loss: Loss,
        depth_loss: Loss,
        threads: int = 1,
        pool: ThreadPoolExecutor | None = None,
    ) -> Evaluator:
        """Prepare a problem."""
        seen, order, count = problem.observations, structure.order, len(structure.order)
        lengths = tuple(len(camera.params) for camera in problem.cameras)
        padded = max(PARAMS, *lengths) if lengths else PARAMS
        widest = structure.columns.widest
        bases = np.zeros((len(lengths), padded, widest))
        for index, basis in enumerate(structure.columns.bases):
            bases[index, : basis.shape[0], : basis.shape[1]] = basis
        model = np.array([PROJECTIONS.get(camera.model, TORCH) for camera in problem.cameras], np.intp)
        # Copies: a kernel is compiled anew for every layout, and for arrays that may not be written to.
        pose, camera = np.array(problem.views.pose, np.intp), np.array(problem.views.camera, np.intp)
        taken_by = camera[structure.view]
        by_torch = [(int(c), np.flatnonzero(taken_by == c)) for c in np.flatnonzero(model == TORCH)]
        rest = count if by_torch else 0
        offsets = problem.views.cam_from_rig
        return Evaluator(
            problem,
            structure,
            (_LOSSES[loss.kind], loss.scale, _LOSSES[depth_loss.kind], depth_loss.scale),
            chunks(structure.point_start, threads),
            pool,
            pixels=np.ascontiguousarray(seen.pixels[order], np.float64),
            whitening=whitening(problem, order),
            depths=depth_weights(problem, order),
            active=np.ones(count, np.bool_),
            pose=pose,
            camera=camera,
            offsets=np.zeros((0, 4, 4)) if offsets is None else np.array(offsets, np.float64, order="C"),
            model=model,
            bases=bases,
            free=np.array([basis.shape[1] for basis in structure.columns.bases], np.intp),
            projected=(np.zeros((rest, 2)), np.zeros((rest, 2, 3)), np.zeros((rest, 2, widest))),
            projected_cameras=by_torch,
            lengths=lengths,
        )

    def start(self) -> State:
        """The problem's own state."""
        params = np.zeros((len(self.lengths), self.bases.shape[1]))
        for index, camera in enumerate(self.problem.cameras):
            params[index, : self.lengths[index]] = camera.params
        poses, points = self.problem.poses, self.problem.points
        return State(np.array(poses, np.float64, order="C"), np.array(points, np.float64, order="C"), params)

    def room(self) -> Linearization:
        """Arrays to linearise into."""
        count, rows = len(self.pixels), 3 if len(self.depths) else 2
        wide = POSE + self.bases.shape[2]
        return Linearization(
            np.inf,
            np.empty((count, rows)),
            np.empty(count, np.bool_),
            np.empty((count, rows)),
            np.zeros((count, rows, wide)),
            np.empty((count, rows, 3)),
        )

    def linearize(self, state: State, into: Linearization) -> None:
        """Residuals and derivatives at a state; the cost is infinite where a camera makes no sense."""
        if not self._is_sensible(state.params):
            into.cost = np.inf
            return
        self._project_others(state)
        structure = self.structure

        def chunk(first: int, last: int) -> float:
            start = structure.point_start
            cost: float = kernels.linearize(
                int(start[first]),
                int(start[last]),
                structure.view,
                structure.point,
                self.pixels,
                self.whitening,
                self.depths,
                self.active,
                self.pose,
                self.camera,
                self.offsets,
                len(self.offsets) > 0,
                self.model,
                self.bases,
                self.free,
                self.losses,
                state.poses,
                state.points,
                state.params,
                *self.projected,
                into.errors,
                into.visible,
                into.residuals,
                into.by_columns,
                into.by_point,
            )
            return cost

        into.cost = sum(self.each(chunk))
        into.priors = []
        for prior in self.problem.priors:
            cost, terms = prior_terms(prior, state, structure.columns)
            into.cost += cost
            into.priors.append(terms)
        points = self.problem.point_priors
        if points is not None:
            away = state.points[points.points] - points.at
            into.cost += 0.5 * float(np.einsum("ni,nij,nj->", away, points.information, away))

    def normal_equations(self, at: Linearization, state: State) -> NormalEquations:
        """The normal equations of a linearisation, `state` being where it was made."""
        structure = self.structure
        views, wide = len(structure.blocks), at.by_columns.shape[2]
        parts = len(self.chunks)
        of_views = np.zeros((parts, views, wide, wide))
        view_gradients = np.zeros((parts, views, wide))
        of_points = np.zeros((len(structure.point_free), 6))
        point_gradients = np.zeros((len(structure.point_free), 3))
        coupling = np.zeros(structure.slot_numbers)
        targets = iter(range(parts))
        part_of = {chunk: next(targets) for chunk in self.chunks}

        def chunk(first: int, last: int) -> None:
            part = part_of[first, last]
            kernels.accumulate(
                first,
                last,
                structure.point_start,
                structure.view,
                structure.point_free,
                structure.blocks,
                structure.slots,
                structure.observation_slots,
                structure.slot_start,
                at.residuals,
                at.by_columns,
                at.by_point,
                of_views[part],
                view_gradients[part],
                of_points,
                point_gradients,
                coupling,
            )

        self.each(chunk)
        priors = self.problem.point_priors
        if priors is not None:
            h = priors.information
            of_points[priors.points] += np.stack(
                [h[:, 0, 0], h[:, 1, 0], h[:, 1, 1], h[:, 2, 0], h[:, 2, 1], h[:, 2, 2]], axis=1
            )
            away = state.points[priors.points] - priors.at
            point_gradients[priors.points] += np.einsum("nij,nj->ni", h, away)
        own = of_views[0] if parts == 1 else of_views.sum(axis=0)
        own_gradients = view_gradients[0] if parts == 1 else view_gradients.sum(axis=0)
        gradient, diagonal = self._columns(own, own_gradients, at.priors)
        return NormalEquations(
            structure, own, own_gradients, of_points, point_gradients, coupling, at.priors, gradient, diagonal
        )

    def moved(self, state: State, step: Floats, point_steps: Floats) -> State:
        """The state after a step of the columns (n,) and the points (M, 3)."""
        columns = self.structure.columns
        poses = np.empty_like(state.poses)
        kernels.retract_poses(state.poses, columns.pose_offset, step, poses)
        params = state.params
        free = np.flatnonzero((columns.camera_offset >= 0) & (self.free > 0))
        if len(free):
            params = params.copy()
            unknowns = np.arange(self.bases.shape[2])
            used = unknowns < self.free[free, None]
            at = np.where(used, columns.camera_offset[free, None] + unknowns, 0)
            params[free] += np.einsum("cpf,cf->cp", self.bases[free], np.where(used, step[at], 0.0))
        return State(poses, state.points + point_steps, params)

    def each(self, work: Callable[[int, int], float | None]) -> list[float]:
        """Run `work` on every chunk, on as many threads; what it returned, in the order of the chunks."""
        if self.pool is None or len(self.chunks) == 1:
            return [work(*chunk) or 0.0 for chunk in self.chunks]
        return [result or 0.0 for result in self.pool.map(lambda chunk: work(*chunk), self.chunks)]

    def _columns(self, of_views: Floats, view_gradients: Floats, priors: list[PriorTerms]) -> tuple[Floats, Floats]:
        """Gradient and diagonal of the columns, (n,)."""
        size, blocks = self.structure.columns.total, self.structure.blocks
        wide = of_views.shape[1]
        lane = np.arange(wide)
        place = np.where(lane < blocks[:, 1:2], blocks[:, 0:1] + lane, -1)
        own = (lane >= POSE) & (lane < POSE + blocks[:, 3:4])
        place = np.where(own, blocks[:, 2:3] + lane - POSE, place)
        used = place >= 0
        at = place[used]
        curvature = np.diagonal(of_views, axis1=1, axis2=2)[used]
        gradient: Floats = np.bincount(at, view_gradients[used], minlength=size).astype(np.float64)
        diagonal: Floats = np.bincount(at, curvature, minlength=size).astype(np.float64)
        for prior in priors:
            gradient[prior.columns] += prior.gradient
            diagonal[prior.columns] += np.diagonal(prior.information)
        return gradient, np.where(diagonal > 0.0, diagonal, 1.0)

    def _is_sensible(self, params: Floats) -> bool:
        for index in np.flatnonzero(self.free):
            camera = self.problem.cameras[index]
            if not min(params[index, 0], params[index, 1]) > 0.0:
                return False
            for value, (low, high) in zip(params[index, 4:], camera.lens.shape_bounds, strict=False):
                if not low < value < high:
                    return False
        return True

    def _project_others(self, state: State) -> None:
        """Project the observations of cameras whose model has no kernel."""
        if not self.projected_cameras:
            return
        pixels, by_point, by_free = self.projected
        structure = self.structure
        for index, mine in self.projected_cameras:
            seen = np.empty((len(mine), 3))
            kernels.camera_points(
                structure.view[mine],
                structure.point[mine],
                self.pose,
                self.offsets,
                len(self.offsets) > 0,
                state.poses,
                state.points,
                seen,
            )
            params = torch.from_numpy(state.params[index, : self.lengths[index]])
            lens = self.problem.cameras[index].lens
            projected, jacobian, by_params = lens.project_with_jacobians(params, torch.from_numpy(seen))
            pixels[mine], by_point[mine] = projected.numpy(), jacobian.numpy()
            basis = self.structure.columns.bases[index]
            if basis.shape[1]:
                by_free[mine, :, : basis.shape[1]] = by_params.numpy() @ basis

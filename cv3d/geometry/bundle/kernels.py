"""Fused kernels: residuals with derivatives, and the normal equations of one chunk of points.

All run without the interpreter's lock, so that two chunks share two cores. `cv3d.geometry.bundle.reference` has the
same sums as plain array expressions, to which the tests hold them.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.bundle.projection_kernels import BROWN, KANNALA_BRANDT, PARAMS, project_brown, project_kannala_brandt
from cv3d.geometry.bundle.structure import POSE
from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]
Bools: TypeAlias = NDArray[np.bool_]

SQUARED, HUBER, CAUCHY = 0, 1, 2


@fused
def rho(kind: int, scale: float, squared: float) -> tuple[float, float]:
    """Robust cost and weight of a squared norm; see `cv3d.geometry.robust.Loss`."""
    s = squared / (scale * scale)
    if kind == HUBER:
        if s <= 1.0:
            return squared, 1.0
        root = math.sqrt(s)
        return (2.0 * root - 1.0) * scale * scale, 1.0 / root
    if kind == CAUCHY:
        return math.log1p(s) * scale * scale, 1.0 / (1.0 + s)
    return squared, 1.0


@fused
def camera_points(
    view: Ints, point: Ints, pose: Ints, offsets: Floats, is_offset: bool, poses: Floats, points: Floats, out: Floats
) -> None:
    """Points of observations in their cameras' frames, (N, 3), for projection by another than these kernels."""
    for k in range(len(view)):
        rigid = poses[pose[view[k]]]
        x = points[point[k]]
        for i in range(3):
            out[k, i] = rigid[i, 0] * x[0] + rigid[i, 1] * x[1] + rigid[i, 2] * x[2] + rigid[i, 3]
        if is_offset:
            rigid = offsets[view[k]]
            a, b, c = out[k, 0], out[k, 1], out[k, 2]
            for i in range(3):
                out[k, i] = rigid[i, 0] * a + rigid[i, 1] * b + rigid[i, 2] * c + rigid[i, 3]


@fused
def linearize(  # noqa: PLR0912, PLR0915
    first: int,
    last: int,
    view: Ints,
    point: Ints,
    pixels: Floats,
    whitening: Floats,
    depths: Floats,
    active: Bools,
    pose: Ints,
    camera: Ints,
    offsets: Floats,
    is_offset: bool,
    model: Ints,
    bases: Floats,
    free: Ints,
    loss: tuple[int, float, int, float],
    poses: Floats,
    points: Floats,
    params: Floats,
    projected: Floats,
    projected_by_point: Floats,
    projected_by_free: Floats,
    errors: Floats,
    visible: Bools,
    residuals: Floats,
    by_columns: Floats,
    by_point: Floats,
) -> float:
    """Residuals and derivatives of the sorted observations `first` to `last`; returns their cost.

    Args:
        first: first observation.
        last: the one behind the last.
        view: (N,); `point` likewise.
        point: (N,).
        pixels: (N, 2).
        whitening: u00, u01, u11 of the upper triangular root of each inverse covariance, (N, 3).
        depths: measured depth and one over its deviation, (N, 2), the latter 0 where there is none; (0, 2) without any.
        active: which observations count, (N,).
        pose: of each view, (V,); `camera` likewise.
        camera: (V,).
        offsets: cam_from_rig, (V, 4, 4).
        is_offset: whether `offsets` count.
        model: kernel of each camera's model, (C,).
        bases: change of a camera's parameters by its unknowns, (C, PARAMS, F).
        free: number of unknowns of each camera, (C,).
        loss: kind and scale of the pixels' loss, kind and scale of the depths'.
        poses: (P, 4, 4).
        points: (M, 3).
        params: (C, PARAMS).
        projected: pixels of observations whose model has no kernel, (N, 2).
        projected_by_point: their derivatives by the point in the camera's frame, (N, 2, 3).
        projected_by_free: their derivatives by the camera's unknowns, (N, 2, F).
        errors: filled with projected minus measured: pixels, and depth where there is a third row, (N, R).
        visible: filled with whether the point lies where the lens sees it, once and the right way round, (N,).
        residuals: filled with weighted residuals, (N, R).
        by_columns: filled with their derivatives by pose and intrinsics, (N, R, 6 + F).
        by_point: filled with their derivatives by the point in the world, (N, R, 3).
    """
    rows = errors.shape[1]
    jacobian = np.empty((2, 3))
    by_params = np.zeros((2, PARAMS))
    rigged = np.empty(3)
    seen = np.empty(3)
    weighted = np.empty((3, 3))
    total = 0.0
    for k in range(first, last):
        v, p = view[k], point[k]
        c, t = camera[v], pose[v]
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        for i in range(3):
            rigged[i] = poses[t, i, 0] * x + poses[t, i, 1] * y + poses[t, i, 2] * z + poses[t, i, 3]
        x, y, z = rigged[0], rigged[1], rigged[2]
        for i in range(3):
            seen[i] = rigged[i]
            if is_offset:
                seen[i] = offsets[v, i, 0] * x + offsets[v, i, 1] * y + offsets[v, i, 2] * z + offsets[v, i, 3]
        unknowns = free[c]
        if model[c] == BROWN:
            u0, u1 = project_brown(params[c], seen[0], seen[1], seen[2], unknowns > 0, jacobian, by_params)
        elif model[c] == KANNALA_BRANDT:
            u0, u1 = project_kannala_brandt(params[c], seen[0], seen[1], seen[2], unknowns > 0, jacobian, by_params)
        else:
            u0, u1 = projected[k, 0], projected[k, 1]
            for i in range(3):
                jacobian[0, i], jacobian[1, i] = projected_by_point[k, 0, i], projected_by_point[k, 1, i]
        a0, a1, a2 = jacobian[0, 0], jacobian[0, 1], jacobian[0, 2]
        b0, b1, b2 = jacobian[1, 0], jacobian[1, 1], jacobian[1, 2]
        # The rows of the derivative span the plane across the ray: their product points along it, unless the point is
        # behind the camera or beyond a fold of the lens. Where a model clamps, moving along z changes nothing.
        along = (a1 * b2 - a2 * b1) * seen[0] + (a2 * b0 - a0 * b2) * seen[1] + (a0 * b1 - a1 * b0) * seen[2]
        clamped = a2 == 0.0 and b2 == 0.0 and (seen[0] != 0.0 or seen[1] != 0.0)
        visible[k] = along > 0.0 and not clamped
        errors[k, 0], errors[k, 1] = u0 - pixels[k, 0], u1 - pixels[k, 1]
        if rows == 3:
            errors[k, 2] = seen[2] - depths[k, 0]
        if not active[k]:
            for r in range(rows):
                residuals[k, r] = 0.0
                for i in range(by_columns.shape[2]):
                    by_columns[k, r, i] = 0.0
                for i in range(3):
                    by_point[k, r, i] = 0.0
            continue

        w00, w01, w11 = whitening[k, 0], whitening[k, 1], whitening[k, 2]
        e0, e1 = w00 * errors[k, 0] + w01 * errors[k, 1], w11 * errors[k, 1]
        cost, weight = rho(loss[0], loss[1], e0 * e0 + e1 * e1)
        total += 0.5 * cost
        root = math.sqrt(weight) if visible[k] else 0.0
        w00, w01, w11 = root * w00, root * w01, root * w11
        residuals[k, 0], residuals[k, 1] = root * e0, root * e1
        weighted[0, 0], weighted[0, 1], weighted[0, 2] = w00 * a0 + w01 * b0, w00 * a1 + w01 * b1, w00 * a2 + w01 * b2
        weighted[1, 0], weighted[1, 1], weighted[1, 2] = w11 * b0, w11 * b1, w11 * b2
        for j in range(unknowns):
            if model[c] == BROWN or model[c] == KANNALA_BRANDT:
                g0 = g1 = 0.0
                for i in range(PARAMS):
                    g0 += by_params[0, i] * bases[c, i, j]
                    g1 += by_params[1, i] * bases[c, i, j]
            else:
                g0, g1 = projected_by_free[k, 0, j], projected_by_free[k, 1, j]
            by_columns[k, 0, POSE + j] = w00 * g0 + w01 * g1
            by_columns[k, 1, POSE + j] = w11 * g1
        if rows == 3:
            e2 = errors[k, 2] * depths[k, 1]
            cost, weight = rho(loss[2], loss[3], e2 * e2)
            total += 0.5 * cost
            root = math.sqrt(weight) * depths[k, 1]
            residuals[k, 2] = root * errors[k, 2]
            weighted[2, 0], weighted[2, 1], weighted[2, 2] = 0.0, 0.0, root
            for j in range(unknowns):
                by_columns[k, 2, POSE + j] = 0.0

        for r in range(rows):
            a0, a1, a2 = weighted[r, 0], weighted[r, 1], weighted[r, 2]
            if is_offset:
                b0 = a0 * offsets[v, 0, 0] + a1 * offsets[v, 1, 0] + a2 * offsets[v, 2, 0]
                b1 = a0 * offsets[v, 0, 1] + a1 * offsets[v, 1, 1] + a2 * offsets[v, 2, 1]
                b2 = a0 * offsets[v, 0, 2] + a1 * offsets[v, 1, 2] + a2 * offsets[v, 2, 2]
                a0, a1, a2 = b0, b1, b2
            by_columns[k, r, 0], by_columns[k, r, 1], by_columns[k, r, 2] = a0, a1, a2
            by_columns[k, r, 3], by_columns[k, r, 4] = y * a2 - z * a1, z * a0 - x * a2
            by_columns[k, r, 5] = x * a1 - y * a0
            for i in range(3):
                by_point[k, r, i] = a0 * poses[t, 0, i] + a1 * poses[t, 1, i] + a2 * poses[t, 2, i]
    return total


@fused
def accumulate(
    first: int,
    last: int,
    start: Ints,
    view: Ints,
    point_free: Bools,
    blocks: Ints,
    slots: Ints,
    observation_slots: Ints,
    slot_start: Ints,
    residuals: Floats,
    by_columns: Floats,
    by_point: Floats,
    of_views: Floats,
    view_gradients: Floats,
    of_points: Floats,
    point_gradients: Floats,
    coupling: Floats,
) -> None:
    """Normal equations of the points `first` to `last`, added to arrays of zeros.

    Args:
        first: first point.
        last: the one behind the last.
        start: first observation of each point, (M + 1,).
        view: (N,).
        point_free: (M,).
        blocks: (V, 4), `slots`, `observation_slots` and `slot_start`: see `Structure`.
        slots: (S, 3).
        observation_slots: (N, 2).
        slot_start: (M + 1,).
        residuals: (N, R).
        by_columns: (N, R, 6 + F).
        by_point: (N, R, 3).
        of_views: J^T J of each view's pose and intrinsics, lower triangles, (V, 6 + F, 6 + F).
        view_gradients: J^T r, (V, 6 + F).
        of_points: xx yx yy zx zy zz of J^T J of each point, (M, 6).
        point_gradients: (M, 3).
        coupling: the slots' numbers, the rows being the point's three coordinates.
    """
    rows, wide = by_columns.shape[1], by_columns.shape[2]
    for p in range(first, last):
        free = point_free[p]
        for k in range(start[p], start[p + 1]):
            v = view[k]
            pose_width, own_width = blocks[v, 1], blocks[v, 3]
            low = 0 if pose_width > 0 else POSE
            high = wide if own_width > 0 or pose_width > POSE else POSE
            slot, own_slot = observation_slots[k, 0], observation_slots[k, 1]
            # Rows in pairs, so that every sum is loaded and stored once for both: the pixel's, then the depth's.
            for r in range(0, rows, 2):
                q = r + 1 if r + 1 < rows else r
                both = 1.0 if q > r else 0.0
                e0, e1 = residuals[k, r], both * residuals[k, q]
                for i in range(low, high):
                    g0, g1 = by_columns[k, r, i], both * by_columns[k, q, i]
                    view_gradients[v, i] += g0 * e0 + g1 * e1
                    for j in range(low, i + 1):
                        of_views[v, i, j] += g0 * by_columns[k, r, j] + g1 * by_columns[k, q, j]
                if not free:
                    continue
                a0, b0, c0 = by_point[k, r, 0], by_point[k, r, 1], by_point[k, r, 2]
                a1, b1, c1 = both * by_point[k, q, 0], both * by_point[k, q, 1], both * by_point[k, q, 2]
                of_points[p, 0] += a0 * a0 + a1 * a1
                of_points[p, 1] += b0 * a0 + b1 * a1
                of_points[p, 2] += b0 * b0 + b1 * b1
                of_points[p, 3] += c0 * a0 + c1 * a1
                of_points[p, 4] += c0 * b0 + c1 * b1
                of_points[p, 5] += c0 * c0 + c1 * c1
                point_gradients[p, 0] += a0 * e0 + a1 * e1
                point_gradients[p, 1] += b0 * e0 + b1 * e1
                point_gradients[p, 2] += c0 * e0 + c1 * e1
                if slot >= 0:
                    at = slots[slot, 2]
                    for i in range(pose_width):
                        g0, g1 = by_columns[k, r, i], by_columns[k, q, i]
                        coupling[at + i] += a0 * g0 + a1 * g1
                        coupling[at + pose_width + i] += b0 * g0 + b1 * g1
                        coupling[at + 2 * pose_width + i] += c0 * g0 + c1 * g1
                if own_slot >= 0:
                    at = slots[own_slot, 2]
                    for i in range(own_width):
                        g0, g1 = by_columns[k, r, POSE + i], by_columns[k, q, POSE + i]
                        coupling[at + i] += a0 * g0 + a1 * g1
                        coupling[at + own_width + i] += b0 * g0 + b1 * g1
                        coupling[at + 2 * own_width + i] += c0 * g0 + c1 * g1


@fused
def retract_poses(poses: Floats, pose_offset: Ints, step: Floats, out: Floats) -> None:
    """exp(x) T for every free pose, (P, 4, 4), x being its six entries of `step`; the held ones are copied.

    The reference is `SE3.exp`.
    """
    hat, turn, mean = np.zeros((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    for p in range(len(poses)):
        at = pose_offset[p]
        for m in range(4):
            for i in range(4):
                out[p, i, m] = poses[p, i, m]
        if at < 0:
            continue
        a, b, c = step[at + 3], step[at + 4], step[at + 5]
        squared = a * a + b * b + c * c
        if squared < 1e-4:
            c1 = 1.0 - squared / 6.0 * (1.0 - squared / 20.0 * (1.0 - squared / 42.0))
            c2 = 0.5 - squared / 24.0 * (1.0 - squared / 30.0 * (1.0 - squared / 56.0))
            c3 = 1.0 / 6.0 - squared / 120.0 * (1.0 - squared / 42.0 * (1.0 - squared / 72.0))
        else:
            angle = math.sqrt(squared)
            c1 = math.sin(angle) / angle
            c2 = 2.0 * (math.sin(0.5 * angle) / angle) ** 2
            c3 = (1.0 - c1) / squared
        hat[0, 1], hat[0, 2], hat[1, 2] = -c, b, -a
        hat[1, 0], hat[2, 0], hat[2, 1] = c, -b, a
        for i in range(3):
            for j in range(3):
                square = hat[i, 0] * hat[0, j] + hat[i, 1] * hat[1, j] + hat[i, 2] * hat[2, j]
                identity = 1.0 if i == j else 0.0
                turn[i, j] = identity + c1 * hat[i, j] + c2 * square
                mean[i, j] = identity + c2 * hat[i, j] + c3 * square
        for i in range(3):
            for m in range(4):
                out[p, i, m] = turn[i, 0] * poses[p, 0, m] + turn[i, 1] * poses[p, 1, m] + turn[i, 2] * poses[p, 2, m]
            out[p, i, 3] += mean[i, 0] * step[at] + mean[i, 1] * step[at + 1] + mean[i, 2] * step[at + 2]

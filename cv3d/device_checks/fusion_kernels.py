"""Voxels: integration, extraction of the surface, ray casting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cv3d.compute import Compute
from cv3d.device_checks.kernels import Case, Difference, Kernel, Limit, Outputs, Work, at_once, numbers_within
from cv3d.fusion import DepthFrame, GridOptions, VoxelGrid
from cv3d.fusion.block_finding import LOCAL_BITS, LOCAL_REACH, Search
from cv3d.fusion.block_store import BlockStore
from cv3d.fusion.engines import engine_for
from cv3d.fusion.layout import DISTANCE_STEPS, pack_keys
from cv3d.fusion.motions import anchor_of
from cv3d.geometry.cameras import Camera

_COMMANDS = ("fuse",)
_VOXEL_M = 0.03


def _camera(height: int, width: int) -> Camera:
    """Of no round numbers: voxels that lie on the border of two pixels are decided by the last bit."""
    return Camera("pinhole", width, height, (0.913 * width, 0.917 * width, 0.507 * width, 0.489 * height))


def _frames(seed: int, height: int, width: int, count: int, has_color: bool = True) -> list[DepthFrame]:
    """A wavy wall with a step and with holes, seen from poses beside each other."""
    rng = np.random.default_rng(seed)
    camera = _camera(height, width)
    v, u = np.mgrid[0:height, 0:width]
    frames = []
    for i in range(count):
        depth = 1.2 + 0.1 * np.sin(7.0 * u / width) * np.cos(5.0 * v / height) + 0.002 * rng.normal(size=u.shape)
        depth[:, 3 * width // 4 :] += 0.5
        depth[rng.random(u.shape) < 0.02] = 0.0
        depth[0, 0] = np.nan
        pose = _pose(0.03 + 0.011 * i, (0.0213 * i, -0.0107 * i, 0.0031))
        color = rng.integers(0, 256, (height, width, 3), dtype=np.uint8) if has_color else None
        frames.append(DepthFrame(depth.astype(np.float32), color, camera, pose))
    return frames


def _pose(angle: float, translation: tuple[float, float, float]) -> NDArray[np.float64]:
    """(4, 4) turned about the second axis."""
    pose = np.eye(4)
    pose[::2, ::2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    pose[:3, 3] = translation
    return pose


def _grid(frames: Sequence[DepthFrame], compute: Compute) -> VoxelGrid:
    grid = VoxelGrid(_VOXEL_M, compute=compute)
    grid.integrate_batch(frames)
    return grid


def _integration(seed: int) -> list[Case]:
    truncation = 4.0 * _VOXEL_M

    def case(height: int, width: int, count: int, has_color: bool) -> Case:
        frames = _frames(seed, height, width, count, has_color)
        anchors = [anchor_of(frame.cam_from_world, _VOXEL_M) for frame in frames]

        def run(compute: Compute) -> Outputs:
            options = GridOptions()
            batch = engine_for(compute, _VOXEL_M, truncation, options).prepare(frames)
            search = Search.of(_VOXEL_M, truncation, options.max_depth_m, min(frames[0].camera.params[:2]))
            found = batch.find_all(anchors, [search] * count)
            seen = [_blocks(keys) + anchor for keys, anchor in zip(found, anchors, strict=True)]
            blocks = np.unique(np.concatenate(seen), axis=0).astype(np.int32)
            bits = np.full(len(blocks), (1 << count) - 1, np.uint32)
            store = BlockStore(compute.device, has_color, None, None)
            store.add(blocks)
            numbers = store.index.numbers(pack_keys(blocks))
            batch.integrate(store, store.rows(numbers), blocks, bits, anchors, 1)
            fields = store.gather(numbers)
            weight = fields.weights.astype(np.float64)
            outputs = {
                "kept": np.array(batch.kept),
                "blocks": blocks,
                "distance": fields.sums / (DISTANCE_STEPS * np.maximum(weight, 1.0)),
                "weight": weight / 255.0,
                "count": fields.counts,
            }
            return outputs if fields.colors is None else {**outputs, "colour": fields.colors}

        return Case(f"{count} frames of {width}×{height}", at_once(run), at_once(run))

    return [case(61, 83, 2, True), case(60, 81, 1, True), case(120, 160, 3, True)]


def _blocks(keys: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n, 3) coordinates from the anchor of local keys."""
    mask = (1 << LOCAL_BITS) - 1
    parts = keys & mask, (keys >> LOCAL_BITS) & mask, keys >> (2 * LOCAL_BITS)
    return np.stack(parts, 1).astype(np.int32) - LOCAL_REACH


def _surface(seed: int) -> list[Case]:
    def case(height: int, width: int, count: int, has_color: bool) -> Case:
        frames = _frames(seed, height, width, count, has_color)

        def start(compute: Compute) -> Work:
            grid = _grid(frames, compute)

            def run() -> Outputs:
                mesh = grid.extract_mesh(1)
                outputs = {"vertices": mesh.vertices, "triangles": mesh.triangles}
                return outputs if mesh.normals is None else {**outputs, "normals": mesh.normals}

            return run

        return Case(f"{count} frames of {width}×{height}", start, start)

    return [case(61, 83, 2, True), case(60, 81, 3, False), case(120, 160, 3, True)]


def _same_surface(found: Outputs, expected: Outputs) -> list[Difference]:
    """Voxels on the verge of a bound add or lack a triangle; the others have to be where they are expected."""
    one, other = found["vertices"], expected["vertices"]
    if not len(one) or not len(other):
        return [Difference("vertices", float("inf"), 0.0)]
    distance, nearest = cKDTree(other).query(one)
    back, _ = cKDTree(one).query(other)
    counts = len(found["triangles"]), len(expected["triangles"])
    off = 1.0 - (found["normals"] * expected["normals"][nearest]).sum(1)
    return [
        Difference("number of triangles, share", abs(counts[0] - counts[1]) / max(counts), 0.005),
        Difference("vertex, voxels", float(np.quantile(distance, 0.99)) / _VOXEL_M, 0.01),
        Difference("missing vertex, voxels", float(np.quantile(back, 0.99)) / _VOXEL_M, 0.01),
        Difference("normal, 1 - cosine", float(np.quantile(off, 0.98)), 1e-3),
    ]


def _ray_casting(seed: int) -> list[Case]:
    def case(height: int, width: int, count: int, has_color: bool) -> Case:
        frames = _frames(seed, height, width, count, has_color)
        pose = _pose(-0.041, (0.0507, 0.0203, 0.1011))

        def start(compute: Compute) -> Work:
            grid = _grid(frames, compute)

            def run() -> Outputs:
                seen = grid.ray_cast(_camera(height, width), pose, 1)
                outputs = {"depth": seen.depth, "normals": seen.normals}
                return outputs if seen.color is None else {**outputs, "colour": seen.color}

            return run

        return Case(f"{count} frames of {width}×{height}", start, start)

    return [case(61, 83, 2, True), case(44, 58, 1, True), case(75, 100, 3, True)]


FUSION_KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "voxel integration",
        _COMMANDS,
        _integration,
        numbers_within(
            kept=Limit(2.0),
            blocks=Limit(0.0),
            distance=Limit(2e-3, strays=0.005),
            weight=Limit(0.02, strays=0.005),
            count=Limit(0.0, strays=0.005),
            colour=Limit(1.0, strays=0.01),
        ),
    ),
    Kernel("extraction of the surface", _COMMANDS, _surface, _same_surface),
    Kernel(
        "ray casting",
        _COMMANDS,
        _ray_casting,
        numbers_within(
            depth=Limit(2e-4, strays=0.01), normals=Limit(2e-3, strays=0.01), colour=Limit(1.0, strays=0.01)
        ),
    ),
)
"""What fusion runs on a device."""

"""Free space: blocks that a picture looks through as a whole, to something farther.

What is noted is one number a block, so it costs no pass over voxels and blocks on disk are carved like others. It
counts as that much weight at the full distance, when a surface is taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.block_store import BlockStore
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.fused_engine import Workers
from cv3d.fusion.layout import MAX_FREE, SIDE, WEIGHT_STEPS, Number
from cv3d.fusion.motions import cam_from_anchor
from cv3d.fusion.options import DepthNoise
from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float32]
Levels: TypeAlias = tuple[Floats, Floats, Floats, Floats, Floats]

TILE = 8
"""Pixels along a tile of the finest level."""
LEVELS = 5
_STEP = 4096
"""Blocks that a thread takes at a time."""
_TRUSTED = 0.5
"""Weight of a depth, where frames bring weights, from which on it counts as looking through what lies before it."""
_HALF_DIAGONAL = SIDE * np.sqrt(3.0) / 2.0
_CENTRE = (SIDE - 1) / 2.0


def look_through(
    store: BlockStore,
    frames: Sequence[DepthFrame],
    anchors: Sequence[NDArray[np.int32]],
    known: Sequence[int],
    lengths: tuple[float, float],
    noise: DepthNoise,
    sign: int,
    workers: Workers,
) -> None:
    """Weaken the blocks that pinhole frames look through, or undo it.

    Args:
        store: the blocks.
        frames: of one batch.
        anchors: (3,) by frame: the block that it is placed from.
        known: by frame, how many of the first blocks it can look through: those that were there when it came.
        lengths: edge of a voxel and truncation, metres.
        noise: of the depth.
        sign: 1 or -1.
        workers: threads.
    """
    voxel, truncation = lengths
    levels = workers.map(lambda frame: nearest_depths(_trusted(frame)), frames)
    cameras = [np.array(frame.camera.params[:4], np.float32) for frame in frames]
    motions = [
        cam_from_anchor(frame.cam_from_world, anchor, voxel) for frame, anchor in zip(frames, anchors, strict=True)
    ]
    spread = np.array([noise.base_m, noise.quadratic], np.float32)
    blocks, free = store.index.blocks, store.free

    def some(first: int, last: int) -> None:
        for k, frame in enumerate(frames):
            here = slice(first, min(last, known[k]))
            size = frame.camera.width, frame.camera.height
            room = np.float32(voxel), np.float32(truncation)
            carve(blocks[here], anchors[k], cameras[k], motions[k], levels[k], size, *room, spread, sign, free[here])

    workers.over(max(known), _STEP, some)


def _trusted(frame: DepthFrame) -> Floats:
    """The depth that is good enough to look through what lies before it."""
    if frame.weight is None:
        return frame.depth
    trusted: Floats = np.where(frame.weight >= _TRUSTED, frame.depth, np.float32(0.0))
    return trusted


def nearest_depths(depth: Floats) -> Levels:
    """The least depth of tiles of 8, 16, 32, ... pixels; 0 where a pixel of the tile has none, and at the border.

    Args:
        depth: (h, w) metres, 0 or not finite where there is none.

    Returns:
        Five levels, (h / 8, w / 8) and so on, rounded up.
    """
    height, width = depth.shape
    level = np.zeros((-(-height // TILE), -(-width // TILE)), np.float32)
    least_of_tiles(np.ascontiguousarray(depth), level)
    levels = [level]
    for _ in range(LEVELS - 1):
        padded = np.pad(level, ((0, level.shape[0] % 2), (0, level.shape[1] % 2)), mode="edge")
        level = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).min((1, 3))
        levels.append(level)
    return levels[0], levels[1], levels[2], levels[3], levels[4]


@fused
def least_of_tiles(depth: Floats, tiles: Floats) -> None:
    """Fill `tiles` with the least depth of tiles of 8 pixels."""
    height, width = depth.shape
    for tv in range(tiles.shape[0]):
        for tu in range(tiles.shape[1]):
            least = np.float32(np.inf)
            for v in range(tv * TILE, min(tv * TILE + TILE, height)):
                for u in range(tu * TILE, min(tu * TILE + TILE, width)):
                    d = depth[v, u]
                    least = min(least, d) if np.isfinite(d) else np.float32(0.0)
                    if least <= np.float32(0.0):
                        break
                if least <= np.float32(0.0):
                    break
            tiles[tv, tu] = max(least, np.float32(0.0))


@fused
def carve(
    blocks: NDArray[np.int32],
    anchor: NDArray[np.int32],
    camera: Floats,
    motion: Floats,
    levels: Levels,
    size: tuple[int, int],
    voxel: Number,
    room: Number,
    noise: Floats,
    sign: Number,
    free: NDArray[np.int32],
) -> None:
    """Add to the free weight of the blocks that a picture looks through.

    Args:
        blocks: (n, 3).
        anchor: (3,) the block that the motion is from.
        camera: fx, fy, cx, cy.
        motion: (3, 4) cam_from_anchor.
        levels: as :func:`nearest_depths` gives them.
        size: width and height of the picture.
        voxel: edge, metres.
        room: metres that have to be free behind a block.
        noise: base and quadratic part.
        sign: 1 or -1.
        free: (n,), changed in place.
    """
    fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
    radius = np.float32(_HALF_DIAGONAL) * voxel
    width, height = size
    farthest = levels[0].max()
    for n in range(blocks.shape[0]):
        x = (np.float32((blocks[n, 0] - anchor[0]) * SIDE) + np.float32(_CENTRE)) * voxel
        y = (np.float32((blocks[n, 1] - anchor[1]) * SIDE) + np.float32(_CENTRE)) * voxel
        z = (np.float32((blocks[n, 2] - anchor[2]) * SIDE) + np.float32(_CENTRE)) * voxel
        depth = motion[2, 0] * x + motion[2, 1] * y + motion[2, 2] * z + motion[2, 3]
        far = depth + radius + room
        if depth <= np.float32(2.0) * radius or far >= farthest:
            continue
        near = depth - radius
        side = (motion[0, 0] * x + motion[0, 1] * y + motion[0, 2] * z + motion[0, 3]) / depth
        up = (motion[1, 0] * x + motion[1, 1] * y + motion[1, 2] * z + motion[1, 3]) / depth
        across = fx * radius / near * (np.float32(1.0) + abs(side))
        down = fy * radius / near * (np.float32(1.0) + abs(up))
        left, right = fx * side + cx - across, fx * side + cx + across
        top, bottom = fy * up + cy - down, fy * up + cy + down
        if left < 0 or top < 0 or right > width - 1 or bottom > height - 1:
            continue
        # The finest level at which three tiles span the block.
        level, tile = 0, np.float32(TILE)
        while level < LEVELS - 1 and max(across, down) > tile:
            level += 1
            tile *= np.float32(2.0)
        tiles = levels[level]
        is_free = True
        for v in range(int(top / tile), int(bottom / tile) + 1):
            for u in range(int(left / tile), int(right / tile) + 1):
                is_free = is_free and tiles[v, u] > far
        if not is_free:
            continue
        growing = noise[1] * depth * depth
        base = noise[0] * noise[0]
        weight = max(1, int(np.float32(WEIGHT_STEPS) * base / (base + growing * growing) + np.float32(0.5)))
        free[n] = min(max(free[n] + sign * weight, 0), MAX_FREE)

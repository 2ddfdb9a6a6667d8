"""The twin on the CPU of :func:`cv3d.fusion.integration.integrate`: all frames of a batch while a block is cached.

Each step is a loop without branches over the 512 voxels of a block, which the compiler turns into vector instructions.
What passes from step to step lies in one flat array at fixed distances: of separate arrays the compiler would have to
fear that they overlap.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.integration import FULL_SPREADS, REACH_SPREADS
from cv3d.fusion.layout import DISTANCE_STEPS, MAX_COUNT, MAX_WEIGHT, SIDE, VOXELS, Number
from cv3d.fusion.prepared import DEPTH_STEPS, GRADIENT_STEP_M, SLOPE_STEPS
from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int32]

_0, _1, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_GRADIENT = np.float32(GRADIENT_STEP_M)
_SLOPE = np.float32(1.0 / SLOPE_STEPS)
_STEPS = np.float32(DISTANCE_STEPS)
_REACH, _FULL = np.float32(REACH_SPREADS), np.float32(FULL_SPREADS)
_METRES = np.float32(1.0 / DEPTH_STEPS)
_8, _16, _BYTE, _LOW = np.int32(8), np.int32(16), np.int32(0xFF), np.int32(0xFFFF)
_X, _Y, _Z = 0, VOXELS, 2 * VOXELS
_ACROSS, _DOWN, _AHEAD = 3 * VOXELS, 4 * VOXELS, 5 * VOXELS
_SCRATCH = 6 * VOXELS
_FAR, _QUALITY, _GRADIENTS, _RGB, _NEAR = 0, VOXELS, 2 * VOXELS, 3 * VOXELS, 4 * VOXELS
_WHOLE = 5 * VOXELS


@fused
def fill_lattice(scratch: Floats, voxel: Number) -> None:
    """Lay the places of a block's voxels in the block, metres, into the scratch array."""
    for i in range(VOXELS):
        scratch[_X + i] = np.float32(i % SIDE) * voxel
        scratch[_Y + i] = np.float32(i // SIDE % SIDE) * voxel
        scratch[_Z + i] = np.float32(i // SIDE**2) * voxel


@fused
def project_block(
    block: Ints,
    anchor: Ints,
    camera: Floats,
    motion: Floats,
    voxel: Number,
    width: int,
    height: int,
    scratch: Floats,
    pixels: NDArray[np.uint32],
) -> Number:
    """Where the voxels of a block are in a picture: its pixel, the offset from it, and the depth.

    Args:
        block: (3,) coordinates.
        anchor: (3,) the block that the motion is from.
        camera: fx, fy, cx, cy.
        motion: (3, 4) cam_from_anchor.
        voxel: edge, metres.
        width: of the picture.
        height: of the picture.
        scratch: what :func:`fill_lattice` gave; offsets and depth are laid there.
        pixels: (512,), filled with flat indices; the one behind the picture's last for those outside.

    Returns:
        How many are inside.
    """
    fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
    m00, m01, m02, m10, m11, m12 = motion[0, 0], motion[0, 1], motion[0, 2], motion[1, 0], motion[1, 1], motion[1, 2]
    m20, m21, m22 = motion[2, 0], motion[2, 1], motion[2, 2]
    bx, by, bz = (
        np.float32((block[0] - anchor[0]) * SIDE) * voxel,
        np.float32((block[1] - anchor[1]) * SIDE) * voxel,
        np.float32((block[2] - anchor[2]) * SIDE) * voxel,
    )
    x0 = m00 * bx + m01 * by + m02 * bz + motion[0, 3]
    y0 = m10 * bx + m11 * by + m12 * bz + motion[1, 3]
    z0 = m20 * bx + m21 * by + m22 * bz + motion[2, 3]
    columns, right, bottom = np.float32(width), np.float32(width), np.float32(height)
    outside = np.float32(width * height)
    count = np.int32(0)
    for i in range(VOXELS):
        px, py, pz = scratch[_X + i], scratch[_Y + i], scratch[_Z + i]
        z = m20 * px + m21 * py + m22 * pz + z0
        per_z = _1 / max(z, voxel)
        u = fx * (m00 * px + m01 * py + m02 * pz + x0) * per_z + cx
        v = fy * (m10 * px + m11 * py + m12 * pz + y0) * per_z + cy
        column, row = np.floor(u + _HALF), np.floor(v + _HALF)
        inside = (z > voxel) & (column >= _0) & (column < right) & (row >= _0) & (row < bottom)
        # Whole numbers up to 2^24 are exact.
        pixels[i] = np.uint32(np.int32(row * columns + column if inside else outside))
        scratch[_ACROSS + i] = u - column
        scratch[_DOWN + i] = v - row
        scratch[_AHEAD + i] = z
        count += np.int32(inside)
    return count


@fused
def integrate_blocks(
    first: int,
    last: int,
    rows: NDArray[np.int64],
    blocks: Ints,
    anchors: Ints,
    frames: NDArray[np.uint32],
    cameras: Floats,
    motions: Floats,
    records: NDArray[np.int32],
    size: tuple[int, int],
    lengths: Floats,
    sign: Number,
    sums: Ints,
    weights: Ints,
    counts: NDArray[np.int8],
    colors: NDArray[np.int16],
) -> None:
    """Add the frames of a batch to some blocks, or take them away.

    Args:
        first: first block.
        last: the one behind the last.
        rows: (n,) where the blocks lie in the fields.
        blocks: (n, 3) coordinates.
        anchors: (K, 3) the blocks that the motions are from.
        frames: (n,) bit k: frame k has to do with the block.
        cameras: (K, 4) fx, fy, cx, cy.
        motions: (K, 3, 4) cam_from_anchor.
        records: (K, h w + 1, 4), as :func:`cv3d.fusion.prepared.prepare` gives them; 0 at the end.
        size: width and height.
        lengths: edge of a voxel, truncation, base and quadratic part of the noise.
        sign: 1 or -1.
        sums: and
        weights: and
        counts: and
        colors: the fields, changed in place; colours (n, 1536), or (1, 0) where there are none.
    """
    width, height = size
    scratch, whole = np.empty(_SCRATCH, np.float32), np.empty(_WHOLE, np.int32)
    pixels = np.empty(VOXELS, np.uint32)
    voxel = lengths[0]
    fill_lattice(scratch, voxel)
    has_color = colors.shape[1] > 0
    sign = np.int32(sign)
    for n in range(first, last):
        r = rows[n]
        for k in range(cameras.shape[0]):
            if not (frames[n] >> np.uint32(k)) & np.uint32(1):
                continue
            if project_block(blocks[n], anchors[k], cameras[k], motions[k], voxel, width, height, scratch, pixels):
                gather(records[k], pixels, whole)
                add_distances(scratch, whole, lengths, sign, sums[r], weights[r])
                add_colors(whole, sign, has_color, counts[r], colors[r if has_color else 0])


@fused
def gather(records: Ints, pixels: NDArray[np.uint32], whole: Ints) -> None:
    """Fetch the records of pixels."""
    for i in range(VOXELS):
        p = pixels[i]
        whole[_FAR + i] = records[p, 0]
        whole[_QUALITY + i] = records[p, 1]
        whole[_GRADIENTS + i] = records[p, 2]
        whole[_RGB + i] = records[p, 3]


@fused
def add_distances(scratch: Floats, whole: Ints, lengths: Floats, sign: Number, sums: Ints, weights: Ints) -> None:
    """Add one picture's distances to a block, and note which voxels are near its surface."""
    voxel, truncation, base, quadratic = lengths[0], lengths[1], lengths[2], lengths[3]
    per_truncation = _1 / truncation
    for i in range(VOXELS):
        far, quality, gradients = whole[_FAR + i], whole[_QUALITY + i], whole[_GRADIENTS + i]
        depth = np.float32(far) * _METRES
        change = np.float32(gradients >> _16) * scratch[_ACROSS + i]
        change += np.float32(np.int32(gradients << _16) >> _16) * scratch[_DOWN + i]
        distance = (depth - scratch[_AHEAD + i] + _GRADIENT * change) * (np.float32(quality & _LOW) * _SLOPE)
        spread = base + quadratic * depth * depth
        reach, full = max(truncation, _REACH * spread), max(voxel, _FULL * spread)
        counts = (far > 0) & (distance > -reach)
        fading = min((reach + distance) / (reach - full), _1)
        given = np.floor(np.float32(quality >> _16) * fading + _HALF) if counts else _0
        clipped = max(min(distance * per_truncation, _1), -_1)
        steps = np.floor(clipped * _STEPS + _HALF) if counts else _0
        weight = weights[i] + sign * np.int32(given)
        value = sums[i] + sign * np.int32(given * steps)
        shift = np.int32(1 if weight > MAX_WEIGHT else 0)
        weight, value = weight >> shift, value >> shift
        weights[i] = weight if weight > 0 else 0
        sums[i] = value if weight > 0 else 0
        whole[_NEAR + i] = 1 if counts & (distance < reach) else 0


@fused
def add_colors(whole: Ints, sign: Number, has_color: bool, counts: NDArray[np.int8], colors: NDArray[np.int16]) -> None:
    """Count the voxels near the surface, and add its colour to them."""
    most = np.int8(0)
    for i in range(VOXELS):
        most = max(most, counts[i])
    if sign > 0 and most < MAX_COUNT:
        add_simply(whole, has_color, counts, colors)
        return
    if has_color:
        for i in range(VOXELS):
            near, rgb = sign * whole[_NEAR + i], whole[_RGB + i]
            shift = np.int32(1 if counts[i] + near > MAX_COUNT else 0)
            red = (np.int32(colors[i]) + near * (rgb & _BYTE)) >> shift
            green = (np.int32(colors[VOXELS + i]) + near * ((rgb >> _8) & _BYTE)) >> shift
            blue = (np.int32(colors[2 * VOXELS + i]) + near * (rgb >> _16)) >> shift
            colors[i] = red if red > 0 else 0
            colors[VOXELS + i] = green if green > 0 else 0
            colors[2 * VOXELS + i] = blue if blue > 0 else 0
    for i in range(VOXELS):
        count = np.int32(counts[i]) + sign * whole[_NEAR + i]
        count = count >> np.int32(1 if count > MAX_COUNT else 0)
        counts[i] = count if count > 0 else 0


@fused
def add_simply(whole: Ints, has_color: bool, counts: NDArray[np.int8], colors: NDArray[np.int16]) -> None:
    """The same where a frame is added and no voxel of the block is full."""
    if has_color:
        for i in range(VOXELS):
            rgb = whole[_RGB + i] & -whole[_NEAR + i]
            colors[i] += np.int16(rgb & _BYTE)
            colors[VOXELS + i] += np.int16((rgb >> _8) & _BYTE)
            colors[2 * VOXELS + i] += np.int16(rgb >> _16)
    for i in range(VOXELS):
        counts[i] += np.int8(whole[_NEAR + i])

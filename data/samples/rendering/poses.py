"""Rigid transforms as 4x4 matrices named `b_from_a`, and rotations about the axes."""

from __future__ import annotations

import math

import numpy as np

from rendering.lens import Floats


def rotation(axis: str, angle_deg: float) -> Floats:
    """Rotation matrix (3, 3) by `angle_deg` about the axis "x", "y" or "z", right-handed."""
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = c
    matrix[first, second], matrix[second, first] = -s, s
    return matrix


def rigid(rotation_matrix: Floats, translation: Floats) -> Floats:
    """The 4x4 matrix of x -> R x + t."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix
    matrix[:3, 3] = translation
    return matrix


def inverse(b_from_a: Floats) -> Floats:
    """`a_from_b` of a rigid 4x4 matrix."""
    turned = b_from_a[:3, :3].T
    return rigid(turned, -turned @ b_from_a[:3, 3])


def transform(b_from_a: Floats, points: Floats) -> Floats:
    """Points (3, n) carried from frame a to frame b."""
    moved: Floats = b_from_a[:3, :3] @ points + b_from_a[:3, 3:]
    return moved

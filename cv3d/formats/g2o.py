"""Pose graphs in g2o's text format (Kuemmerle et al., "g2o: A general framework for graph optimization", ICRA 2011).

    VERTEX_SE3:QUAT id x y z qx qy qz qw
    EDGE_SE3:QUAT id_i id_j x y z qx qy qz qw   and the upper triangle of a 6x6 information matrix, row by row
    FIX id …

A vertex is world_from_node, an edge i_from_j, the quaternion's real part is last. g2o's information is that of the
translation and of the imaginary part of the quaternion, which is half a rotation vector; GTSAM and SE-Sync read the
same numbers as information about the rotation vector. A reader has to be told which of them a file is meant for. Loops
are edges between vertices whose numbers do not follow each other.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.formats.atomic import atomic_write_text
from cv3d.geometry.pose_graph import PoseGraph, RotationError
from cv3d.geometry.transforms import SE3, SO3

Floats = NDArray[np.float64]

_VERTEX, _EDGE, _FIX = "VERTEX_SE3:QUAT", "EDGE_SE3:QUAT", "FIX"
_VERTEX_FIELDS, _EDGE_FIELDS = 8, 30
_UPPER = np.triu_indices(6)
_UNIT = 5e-3
_SHOWN = 40


@dataclass(frozen=True, eq=False)
class G2oFile:
    """A pose graph with the numbers that a file has for its frames."""

    graph: PoseGraph[SE3]
    ids: NDArray[np.int64]
    """The number of each frame, (N,), in the file's order."""


def read_g2o(path: str | os.PathLike[str], information_of: RotationError = RotationError.QUATERNION) -> G2oFile:
    """A pose graph from a file.

    Args:
        path: the file.
        information_of: what the file's information is about: g2o's quaternions, or rotation vectors.

    Raises:
        InputError: the file cannot be read.
        FormatError: a line is wrong, or of a type that cv3d does not know.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: is no g2o file: it is no text") from error
    return decode(text, str(path), information_of)


def write_g2o(
    path: str | os.PathLike[str],
    graph: PoseGraph[SE3],
    ids: NDArray[np.int64] | None = None,
    information_of: RotationError = RotationError.QUATERNION,
) -> None:
    """Write a pose graph; `ids` are the frames' numbers, their index where None.

    Raises:
        OutputError: the file cannot be written.
    """
    atomic_write_text(path, encode(graph, ids, information_of))


def encode(
    graph: PoseGraph[SE3],
    ids: NDArray[np.int64] | None = None,
    information_of: RotationError = RotationError.QUATERNION,
) -> str:
    """The text of a pose graph."""
    names = np.arange(len(graph)) if ids is None else ids
    poses, motions = _xyz_xyzw(graph.world_from_node), _xyz_xyzw(graph.first_from_second)
    factor = _factor(information_of)
    information = (factor[:, None] * graph.information.numpy() * factor)[:, *_UPPER]
    lines = [f"{_VERTEX} {name} {_numbers(pose)}" for name, pose in zip(names.tolist(), poses, strict=True)]
    lines += [f"{_FIX} {name}" for name in names[graph.fixed].tolist()]
    ends = zip(names[graph.first].tolist(), names[graph.second].tolist(), motions, information, strict=True)
    lines += [f"{_EDGE} {a} {b} {_numbers(motion)} {_numbers(numbers)}" for a, b, motion, numbers in ends]
    return "\n".join(lines) + "\n"


def decode(text: str, source: str, information_of: RotationError = RotationError.QUATERNION) -> G2oFile:
    """The pose graph of a text; arguments as of :func:`read_g2o`, `source` is how messages call it.

    Raises:
        FormatError: a line is wrong, or of a type that cv3d does not know.
    """
    index: dict[int, int] = {}
    vertices: list[list[float]] = []
    edges: list[tuple[int, int, int]] = []
    measured: list[list[float]] = []
    fixed: list[tuple[int, int]] = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        where = f"{source}:{number}"
        if fields[0] == _VERTEX:
            name, values = _whole(fields[1:2], where)[0], _finite(fields[2:], _VERTEX_FIELDS - 1, _VERTEX, where)
            if name in index:
                raise FormatError(f"{where}: vertex {name} is there already")
            index[name] = len(vertices)
            vertices.append(_unit(values, where))
        elif fields[0] == _EDGE:
            first, second = _whole(fields[1:3], where, 2)
            values = _finite(fields[3:], _EDGE_FIELDS - 2, _EDGE, where)
            edges.append((first, second, number))
            measured.append(_unit(values[:7], where) + values[7:])
        elif fields[0] == _FIX:
            fixed += [(name, number) for name in _whole(fields[1:], where, len(fields) - 1)]
        else:
            raise FormatError(
                f"{where}: '{fields[0][:_SHOWN]}' is none of {_VERTEX}, {_EDGE}, {_FIX}, which cv3d reads"
            )
    if not vertices:
        raise FormatError(f"{source}: holds no vertices")
    ends = [(_known(index, a, source, line), _known(index, b, source, line)) for a, b, line in edges]
    same = next((edges[k][2] for k, (a, b) in enumerate(ends) if a == b), None)
    if same is not None:
        raise FormatError(f"{source}:{same}: is of a vertex and itself")
    mask = np.zeros(len(vertices), dtype=np.bool_)
    mask[[_known(index, name, source, line) for name, line in fixed]] = True
    names = np.array(list(index), dtype=np.int64)
    graph = _graph(
        np.array(vertices), np.array(ends, dtype=np.int64).reshape(-1, 2), measured, mask, names, information_of
    )
    return G2oFile(graph, names)


def _graph(
    vertices: Floats,
    ends: NDArray[np.int64],
    measured: list[list[float]],
    fixed: NDArray[np.bool_],
    names: NDArray[np.int64],
    information_of: RotationError,
) -> PoseGraph[SE3]:
    numbers = np.array(measured, dtype=np.float64).reshape(-1, _EDGE_FIELDS - 2)
    information = np.zeros((len(numbers), 6, 6))
    information[:, *_UPPER] = numbers[:, 7:]
    information = information + np.triu(information, 1).transpose(0, 2, 1) if len(numbers) else information
    factor = 1.0 / _factor(information_of)
    first, second = ends[:, 0].copy(), ends[:, 1].copy()
    return PoseGraph(
        _poses(vertices),
        first,
        second,
        _poses(numbers[:, :7]),
        torch.from_numpy(factor[:, None] * information * factor),
        is_loop=np.abs(names[second] - names[first]) != 1,
        fixed=fixed if fixed.any() else np.zeros(0, dtype=np.bool_),
    )


def _factor(information_of: RotationError) -> Floats:
    """What a rotation vector is multiplied with to be the error that the file's information is about, (6,), inverse."""
    factor = np.ones(6)
    if information_of is RotationError.QUATERNION:
        factor[3:] = 2.0
    return factor


def _poses(xyz_xyzw: Floats) -> SE3:
    quat_wxyz = torch.from_numpy(np.ascontiguousarray(xyz_xyzw[:, [6, 3, 4, 5]]))
    return SE3.from_rotation_and_translation(SO3.from_wxyz(quat_wxyz), torch.from_numpy(xyz_xyzw[:, :3].copy()))


def _xyz_xyzw(poses: SE3) -> Floats:
    wxyz_xyz = poses.parameters.numpy()
    return wxyz_xyz[:, [4, 5, 6, 1, 2, 3, 0]]


def _numbers(values: Floats) -> str:
    return " ".join(map(repr, values.tolist()))


def _whole(fields: list[str], where: str, count: int = 1) -> list[int]:
    try:
        numbers = [int(field) for field in fields]
    except ValueError:
        raise FormatError(f"{where}: a vertex is known by a whole number, not '{' '.join(fields)[:_SHOWN]}'") from None
    if len(numbers) != count:
        raise FormatError(f"{where}: ends before it says which vertices it is of")
    return numbers


def _finite(fields: list[str], count: int, tag: str, where: str) -> list[float]:
    if len(fields) != count:
        raise FormatError(f"{where}: {tag} has {count} numbers after its vertices, not {len(fields)}")
    try:
        values = [float(field) for field in fields]
    except ValueError:
        raise FormatError(f"{where}: holds something that is not a number") from None
    if not np.isfinite(values).all():
        raise FormatError(f"{where}: holds a number that is not finite")
    return values


def _unit(values: list[float], where: str) -> list[float]:
    length = float(np.linalg.norm(values[3:7]))
    if abs(length * length - 1.0) > _UNIT:
        raise FormatError(f"{where}: its quaternion has the length {length:.4g}, and a rotation's has 1")
    return values


def _known(index: dict[int, int], name: int, source: str, line: int) -> int:
    if name not in index:
        raise FormatError(f"{source}:{line}: there is no vertex {name}")
    return index[name]

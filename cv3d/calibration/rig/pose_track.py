"""How the board moved before one camera, told by this camera alone, and how well that is known between its pictures.

Between pictures the pose is the polynomial through up to four neighbouring ones: of the rotation vector from the
nearest picture, and of the position of the board's middle. Its error is the next divided difference times the product
of the distances to the nodes (the remainder of Lagrange's formula), and the divided differences of the same track say
how large that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cv3d.calibration.rig.stamps import median_period

_LONGEST_GAP = 2.6
"""Periods apart, up to which neighbouring pictures tell of the motion between them."""
_LONGEST_TURN = np.radians(35.0)
"""Turn from one picture to the next, likewise."""
_NODES = 4


@dataclass(frozen=True)
class Carry:
    """The board's displacement from other times to those of a camera's pictures, x -> rotation @ x + translation."""

    rotation: NDArray[np.float64]
    """(V, 3, 3)."""
    translation: NDArray[np.float64]
    """(V, 3), board units."""
    velocity: NDArray[np.float64]
    """Derivative by the picture's time of the perturbation `exp(rotation) pose + translation`, (V, 6), per second."""
    turn_error: NDArray[np.float64]
    """How far the displacement may be off, per axis, (V,), radians."""
    shift_error: NDArray[np.float64]
    """The same of the position of the board's middle, (V,), board units."""
    middle: NDArray[np.float64]
    """Where the board's middle is at the picture's time, (V, 3), in the camera's frame."""


@dataclass(frozen=True)
class PoseTrack:
    """The poses of a board before one camera at the times of its pictures."""

    times: NDArray[np.float64]
    """(V,), any order, seconds."""
    rotation: NDArray[np.float64]
    """Of cam_from_board, (V, 3, 3)."""
    middle: NDArray[np.float64]
    """The board's middle in the camera's frame, (V, 3), board units."""

    @classmethod
    def of(
        cls,
        times: NDArray[np.float64],
        cam_from_board: NDArray[np.float64],
        middle: NDArray[np.float64],
        turns: Sequence[NDArray[np.float64]],
    ) -> PoseTrack:
        """The track of a camera, free of flips between the labellings that a symmetric board allows.

        Args:
            times: of the pictures, (V,), seconds.
            cam_from_board: poses, (V, 4, 4).
            middle: the board's middle, (3,).
            turns: motions of the board onto itself, (4, 4) each, the identity among them.
        """
        rotation = cam_from_board[:, :3, :3].copy()
        order = np.argsort(times, kind="stable")
        for before, now in pairwise(order):
            options = [rotation[now] @ turn[:3, :3] for turn in turns]
            rotation[now] = max(options, key=lambda option: float((option * rotation[before]).sum()))
        return cls(times, rotation, cam_from_board[:, :3, :3] @ middle + cam_from_board[:, :3, 3])

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(self.times, kind="stable")

    @cached_property
    def _runs(self) -> NDArray[np.int64]:
        """Of each picture in the order of time, which stretch without gaps it is in, (V,)."""
        times, rotation = self.times[self._order], Rotation.from_matrix(self.rotation[self._order])
        steps = np.diff(times)
        turned = (rotation[1:] * rotation[:-1].inv()).magnitude() if len(times) > 1 else np.zeros(0)
        joined = (steps > 0.0) & (steps <= _LONGEST_GAP * median_period(times)) & (turned <= _LONGEST_TURN)
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(~joined)])

    @cached_property
    def _bends(self) -> dict[int, NDArray[np.float64]]:
        """By number of nodes n, the n-th divided differences of turn and shift, squared, per axis: (V, 2).

        NaN where a stretch is too short. Of each picture in the order of time, the mean over the windows that hold it.
        """
        result = {}
        for n in range(1, _NODES + 1):
            total, count = np.zeros((len(self.times), 2)), np.zeros(len(self.times))
            for start in range(len(self.times) - n):
                window = np.arange(start, start + n + 1)
                if self._runs[start] != self._runs[start + n]:
                    continue
                values = _divided(self.times[self._order[window]], self._relative(window, start + n // 2))
                total[window] += [float((values[:3] ** 2).mean()), float((values[3:] ** 2).mean())]
                count[window] += 1.0
            with np.errstate(invalid="ignore"):
                result[n] = total / count[:, None]
        return result

    def _relative(self, positions: NDArray[np.int64], origin: int) -> NDArray[np.float64]:
        """Rotation vectors from the picture at `origin`, and the middles' distances to its own, (k, 6)."""
        index, base = self._order[positions], self._order[origin]
        turned = Rotation.from_matrix(self.rotation[index] @ self.rotation[base].T).as_rotvec()
        return np.concatenate([turned, self.middle[index] - self.middle[base]], axis=1)

    def carry(self, times: NDArray[np.float64]) -> Carry:
        """The board's displacement from given times to those of the pictures.

        Args:
            times: for each picture another time, (V,), seconds.

        Returns:
            The displacements; none, with the error of that, for pictures that no neighbour tells about.
        """
        count = len(self.times)
        rotation, translation = np.empty((count, 3, 3)), np.empty((count, 3))
        velocity, errors = np.zeros((count, 6)), np.zeros((count, 2))
        for position, i in enumerate(self._order):
            window = self._window(position, times[i])
            nodes = self.times[self._order[window]]
            values = self._relative(window, position)
            weights, _ = _lagrange(nodes, times[i])
            _, rates = _lagrange(nodes, self.times[i])
            moved, speed = weights @ values, rates @ values
            back = Rotation.from_rotvec(-moved[:3]).as_matrix()
            rotation[i] = back
            translation[i] = self.middle[i] - back @ (self.middle[i] + moved[3:])
            velocity[i, :3] = speed[:3]
            velocity[i, 3:] = speed[3:] + np.cross(self.middle[i], speed[:3])
            reach = abs(float(np.prod(times[i] - nodes)))
            errors[i] = reach * np.sqrt(self._bend(len(window), position))
        return Carry(rotation, translation, velocity, errors[:, 0], errors[:, 1], self.middle)

    def _bend(self, nodes: int, position: int) -> NDArray[np.float64]:
        """Squared divided differences of turn and shift next to a picture, of all pictures where none is next to it."""
        known = self._bends[nodes]
        if np.isfinite(known[position]).all():
            return np.asarray(known[position], np.float64)
        rows = known[np.isfinite(known).all(axis=1)]
        return np.asarray(rows.mean(axis=0), np.float64) if len(rows) else np.zeros(2)

    def _window(self, position: int, time: float) -> NDArray[np.int64]:
        """Positions of up to four pictures about a time, the picture at `position` among them."""
        run = self._runs
        first = last = position
        ordered = self.times[self._order]
        while last - first + 1 < _NODES:
            left = first > 0 and run[first - 1] == run[position]
            right = last + 1 < len(ordered) and run[last + 1] == run[position]
            if not (left or right):
                break
            if left and (not right or abs(ordered[first - 1] - time) <= abs(ordered[last + 1] - time)):
                first -= 1
            else:
                last += 1
        return np.arange(first, last + 1)


def _lagrange(nodes: NDArray[np.float64], time: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of values at nodes in the polynomial through them and in its derivative, (n,) each."""
    n = len(nodes)
    scale = float(np.ptp(nodes)) or 1.0
    powers = np.vander((nodes - time) / scale, n, increasing=True)
    # The polynomial about `time` has its value and its slope as the first coefficients.
    inverse = np.linalg.inv(powers)
    return inverse[0], inverse[1] / scale if n > 1 else np.zeros(n)


def _divided(nodes: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divided difference over all nodes, (d,), of values (n, d)."""
    apart = nodes[:, None] - nodes[None, :] + np.eye(len(nodes))
    return np.asarray((values / apart.prod(axis=1)[:, None]).sum(axis=0), np.float64)

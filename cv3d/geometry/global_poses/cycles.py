"""Which relative rotations contradict those around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.global_poses.cycle_kernels import triangle_angles
from cv3d.geometry.global_poses.rotation_graph import check_rotations

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_LEAST = 3
_FEW = 0.25
_AT_A_TIME = 0.25


@dataclass(frozen=True, eq=False)
class CycleErrors:
    """The triangles that each edge is in."""

    triplets: Ints
    """How many there are, (e,)."""
    good: Ints
    """Those whose three rotations turn by no more than the limit, (e,)."""
    lowest_deg: Floats
    """Angle of the best, (e,), degrees; NaN for edges in no triangle."""
    median_deg: Floats
    """Angle of the one in the middle, (e,), degrees; NaN for edges in no triangle."""

    @property
    def good_share(self) -> Floats:
        """Share of good ones, (e,), drawn towards one half by one triangle of which nothing is known."""
        share: Floats = (self.good + 0.5) / (self.triplets + 1.0)
        return share

    def suspects(self, least: int = _LEAST, few: float = _FEW) -> Bools:
        """Edges in several triangles of which few are good, (e,).

        So are edges between places that look alike; and right ones among many wrong ones, which is why
        :func:`consistent_edges` takes out the worst first.

        Args:
            least: fewest triangles that say something.
            few: share of good ones below which an edge is suspect.
        """
        suspects: Bools = (self.triplets >= least) & (self.good < few * self.triplets)
        return suspects


def cycle_errors(edges: Ints, rotations_1_from_0: Floats, count: int, *, limit_deg: float = 5.0) -> CycleErrors:
    """How well the relative rotations of a graph agree in its triangles.

    Around a triangle rotations come to none (Zach, Klopschitz and Pollefeys 2010, "Disambiguating visual relations
    using loop constraints").

    Args:
        edges: nodes a and b, (e, 2). Of repeated edges one counts as a side of the others' triangles.
        rotations_1_from_0: b_from_a, (e, 3, 3).
        count: number of nodes, n.
        limit_deg: largest angle of a good triangle, degrees.

    Returns:
        Statistics for each edge.

    Raises:
        InputError: shapes do not match, an index is out of range, or a matrix is not a rotation.
    """
    edges = check_rotations(edges, rotations_1_from_0, count)
    ends = np.concatenate([edges[:, 0], edges[:, 1]])
    others = np.concatenate([edges[:, 1], edges[:, 0]])
    number = np.tile(np.arange(len(edges)), 2)
    order = np.lexsort((others, ends))
    start = np.searchsorted(ends[order], np.arange(count + 1))
    counts, angles = np.zeros((len(edges), 2), dtype=np.int64), np.full((len(edges), 2), np.nan)
    rotations = np.ascontiguousarray(rotations_1_from_0, dtype=np.float64)
    triangle_angles(edges, rotations, start, others[order], number[order], np.radians(limit_deg), counts, angles)
    lowest, median = np.degrees(angles).T
    return CycleErrors(counts[:, 0], counts[:, 1], lowest, median)


def consistent_edges(
    edges: Ints,
    rotations_1_from_0: Floats,
    count: int,
    *,
    limit_deg: float = 5.0,
    least: int = _LEAST,
    few: float = _FEW,
    rounds: int = 30,
) -> Bools:
    """Edges that are left when those that contradict the others are taken out, the worst first.

    A wrong edge spoils triangles of right ones. So only the worst quarter of the suspects goes at a time.

    Args:
        edges: nodes a and b, (e, 2).
        rotations_1_from_0: b_from_a, (e, 3, 3).
        count: number of nodes, n.
        limit_deg: largest angle of a good triangle, degrees.
        least: fewest triangles that say something of an edge.
        few: share of good ones below which an edge is suspect.
        rounds: how often at most.

    Returns:
        (e,): which stay. Edges in few triangles do: nothing speaks against them.

    Raises:
        InputError: shapes do not match, an index is out of range, or a matrix is not a rotation.
    """
    stay = np.ones(len(edges), dtype=np.bool_)
    judged = cycle_errors(edges, rotations_1_from_0, count, limit_deg=limit_deg).triplets >= least
    for _ in range(rounds):
        left = np.flatnonzero(stay)
        errors = cycle_errors(edges[left], rotations_1_from_0[left], count, limit_deg=limit_deg)
        # What had triangles enough stays judged when others have gone.
        suspects = np.flatnonzero(errors.suspects(1, few) & judged[left])
        if not len(suspects):
            break
        share = errors.good_share[suspects]
        stay[left[suspects[share <= np.quantile(share, _AT_A_TIME)]]] = False
    return stay

"""Which depth other views bear out, how sure it is, and the mean of what they say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from cv3d.compute import Compute
from cv3d.depth.problem import Problem
from cv3d.depth.sweepers import make_sweeper

_DOUBT_VIEWS = 1.5
"""Views that bear a depth out by which doubt falls to 1 / e. Of pixels that two, three and four bear out, 75, 87 and
95 % are right within a per cent on rendered scenes."""
_EVIDENCE = 1
"""Sources whose windows have to be like the picture's."""
_UNLIKE = 0.65
"""Mean cost of these, there or around, from which on nothing speaks for a depth but its neighbours: a wall without
texture, a sky."""
_AROUND = 5
"""Pixels, of the square over which the mean is taken."""


@dataclass(frozen=True)
class Tolerance:
    """What bears a depth out."""

    least_views: int
    reprojection_px: float
    relative_depth: float


@dataclass(frozen=True, eq=False)
class Checked:
    """A map that others bear out."""

    inverse: Tensor
    """Inverse depth, (h, w), a mean over the views that agree; 0 where too few do."""
    confidence: Tensor
    """(h, w), 0 to 1."""


def borne_out(
    problem: Problem, planes: Tensor, inverses: Sequence[Tensor], tolerance: Tolerance, compute: Compute
) -> Checked:
    """What of a map its sources bear out.

    A pixel goes to a source by its depth, and back by the source's. Where it comes back near to its place and at nearly
    the same depth, the source bears it out. That alone could be an agreement to err: the windows of a source have to be
    like the picture's, too.

    Args:
        problem: the picture and its sources.
        planes: of the picture, (3, h, w).
        inverses: of each source, of its size.
        tolerance: what agrees, and how many have to.
        compute: where it runs.
    """
    inverse = planes[0]
    height, width = inverse.shape
    v, u = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=compute.device),
        torch.arange(width, dtype=torch.float32, device=compute.device),
        indexing="ij",
    )
    count, total = torch.zeros_like(inverse), inverse.clone()
    for lens, back, theirs in zip(problem.lenses, problem.backs, inverses, strict=True):
        returned, off = _and_back(lens.tolist(), back.tolist(), inverse, theirs, u, v)
        apart = (returned - inverse).abs()
        agrees = (off <= tolerance.reprojection_px) & (apart <= tolerance.relative_depth * inverse)
        count += agrees
        total += torch.where(agrees, returned, 0.0)
    needed = min(tolerance.least_views, len(inverses))
    evidence = replace(problem, geometric=0.0, best=min(_EVIDENCE, len(inverses)), unlike=2.0)
    costs = make_sweeper(evidence, compute).evaluate(planes)
    # A window between others that are like the picture's may itself show too little to be.
    around = avg_pool2d(costs[None, None], _AROUND, 1, _AROUND // 2, count_include_pad=False)[0, 0]
    costs = torch.minimum(costs, around)
    stays = (count >= needed) & (inverse > 0.0) & (costs < _UNLIKE)
    mean = total / (count + 1.0)
    doubt = torch.exp(-count / _DOUBT_VIEWS)
    likeness = (1.0 - 0.5 * costs).clamp(0.0, 1.0)
    return Checked(torch.where(stays, mean, 0.0), torch.where(stays, (1.0 - doubt) * likeness, 0.0))


def _and_back(
    lens: list[float], back: list[float], inverse: Tensor, theirs: Tensor, u: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """The inverse depth that a source gives pixels, and how far from their places they come back, pixels."""
    h, w = theirs.shape
    x, y, z = (lens[3 * r] * u + lens[3 * r + 1] * v + lens[3 * r + 2] + inverse * lens[9 + r] for r in range(3))
    ahead = z.clamp(min=1e-6)
    x, y = x / ahead, y / ahead
    i, j = torch.round(x).clamp(-1.0, float(w)), torch.round(y).clamp(-1.0, float(h))
    inside = (z >= 1e-6) & (i >= 0.0) & (j >= 0.0) & (i < w) & (j < h)
    at = j.clamp(0, h - 1).long() * w + i.clamp(0, w - 1).long()
    there = theirs.reshape(-1)[at.reshape(-1)].reshape(at.shape)
    x2, y2, z2 = (back[3 * r] * i + back[3 * r + 1] * j + back[3 * r + 2] + there * back[9 + r] for r in range(3))
    ahead = z2.clamp(min=1e-6)
    off = torch.sqrt((x2 / ahead - u) ** 2 + (y2 / ahead - v) ** 2)
    known = inside & (there > 0.0) & (z2 >= 1e-6)
    # Homogeneous coordinates scale with the depth: z in the one picture is z2 / there.
    return torch.where(known, there / ahead, 0.0), torch.where(known, off, torch.inf)

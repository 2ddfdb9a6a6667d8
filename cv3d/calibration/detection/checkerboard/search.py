"""All checkerboard lattices of one picture: candidates at every resolution, growth, completion, verification."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from cv3d.calibration.detection.checkerboard.completion import complete
from cv3d.calibration.detection.checkerboard.growth import grow_lattices
from cv3d.calibration.detection.checkerboard.lattice import Lattice
from cv3d.calibration.detection.checkerboard.pyramid import Float64, Pyramid
from cv3d.calibration.detection.checkerboard.saddles import find_candidates
from cv3d.calibration.detection.checkerboard.verify import (
    corner_frames,
    lattice_scores,
    median_spacing,
    score_corners,
    verified,
)

MOST_TRIED = 8
"""At most so many grown lattices are completed in one level."""
MUCH_SMALLER = 0.25
"""Lattices of less than this part of the best one's size (corners times spacing) are not followed up."""
AMPLE_PIXELS = 3_300_000
"""Levels larger than this are looked at only where the smaller ones show no board."""
ENOUGH_CORNERS = 12
NEARBY = 0.25
"""How far a corner may be moved at the end, relative to the shortest step to a neighbour."""
TRIED = 3
"""Nearest maxima tried at the end for each corner."""
DOUBTFUL = 0.08
"""Corners whose correlation is lower than the median by more are looked for again at finer levels."""


@dataclass(frozen=True)
class Findings:
    """What the search of one picture gave."""

    lattices: list[Lattice]
    """Every verified lattice, best first."""
    linked: int
    """The largest number of corners that were linked into closed squares in one level, verified or not."""


def find_lattices(pyramid: Pyramid) -> Findings:
    """Search a picture at every resolution."""
    found: list[Lattice] = []
    linked = 0
    maxima: list[Float64] = []
    everywhere = np.zeros((0, 2))
    for scale in pyramid.scales():
        enough = any(len(lattice) >= ENOUGH_CORNERS for lattice in found)
        if enough and pyramid.gray.size / scale**2 > AMPLE_PIXELS:
            break
        level = pyramid.level(scale)
        candidates = find_candidates(level)
        maxima.append(candidates.maxima)
        everywhere = np.concatenate(maxima)
        found = [_improved(pyramid, lattice, everywhere) for lattice in found]
        fragments = grow_lattices(level, candidates.saddles)
        linked = max(linked, sum(len(fragment) for fragment in fragments))
        for grown in fragments[:MOST_TRIED]:
            if found and _size(grown) < MUCH_SMALLER * max(_size(known) for known in found):
                continue
            if any(_overlap(grown, known) for known in found):
                continue
            start = verified(pyramid, grown)
            if start is None:
                continue
            found.append(_improved(pyramid, start, everywhere))
    found = [_sharpened(pyramid, lattice, everywhere) for lattice in found]
    found.sort(key=lambda lattice: (-_size(lattice), *lattice.pixels[0]))
    return Findings(found, linked)


def _sharpened(pyramid: Pyramid, lattice: Lattice, maxima: Float64) -> Lattice:
    """Move corners first seen at a coarse level to nearby maxima that match the pattern better."""
    frame, light = corner_frames(lattice), lattice.light(lattice.cells)
    reach = NEARBY * np.linalg.norm(frame, axis=2).min(axis=1)
    merit = score_corners(pyramid, lattice.pixels, frame, light).correlation
    pixels = lattice.pixels.copy()
    distance, index = cKDTree(maxima).query(lattice.pixels, k=min(TRIED, len(maxima)))
    distance, index = distance.reshape(len(pixels), -1), index.reshape(len(pixels), -1)
    for slot in range(distance.shape[1]):
        places = maxima[index[:, slot]]
        away = (places - lattice.pixels)[:, None]
        scores = score_corners(pyramid, places, frame - away, light)
        better = (distance[:, slot] < reach) & (scores.correlation > merit)
        pixels[better], merit[better] = places[better], scores.correlation[better]
    return Lattice(lattice.cells, pixels, lattice.light_origin)


def _size(lattice: Lattice) -> float:
    """Corners times their spacing: a board in the hand outranks its thumbnail on a screen and the weave of a cloth."""
    return len(lattice) * median_spacing(lattice)


def _improved(pyramid: Pyramid, lattice: Lattice, maxima: Float64) -> Lattice:
    """Complete a lattice, looking again for those of its corners that look worse than the rest."""
    scores = lattice_scores(pyramid, lattice)
    firm = scores.correlation > scores.typical().correlation - DOUBTFUL
    base = lattice if firm.all() else verified(pyramid, lattice.take(firm)) or lattice
    better = verified(pyramid, complete(pyramid, base, maxima))
    if better is None:
        return lattice
    return better if len(better) > len(lattice) or base is not lattice else lattice


def _overlap(one: Lattice, other: Lattice) -> bool:
    """Whether a third of the corners of `one` are corners of `other`."""
    distance, nearest = cKDTree(other.pixels).query(one.pixels)
    near = 0.4 * np.linalg.norm(corner_frames(other), axis=2).min(axis=1)
    return bool((distance < near[nearest]).mean() > 1 / 3)

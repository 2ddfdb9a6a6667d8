"""Lattices of dots: which of the ellipses of a picture lie on one regular grid, and at which integer coordinates.

Every ellipse is the image of a circle, so it carries its own local metric: in the frame in which it is the unit
circle, its neighbours lie as on the printed board, up to rotation, at distances in units of the dot's radius,
whatever the tilt. The same metric tells a square lattice from a hexagonal one, which the positions alone, all planar
lattices being affinely equivalent, cannot. Growth extrapolates from the neighbours already found, so perspective and
lens distortion only need to be smooth over a few dots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.circles.blobs import Ellipses
from cv3d.calibration.detection.circles.edges import nearest_neighbours

NEIGHBOURS = 14
FARTHEST = 14.0
"""Largest distance of neighbouring dots in units of the dot's radius."""
TOLERANCE = 0.22
"""How far from its prediction a dot may lie, as a fraction of the shorter lattice step (both in the dot's metric)."""
MIN_DOTS = 9
SHAPE_TOLERANCE, SHAPE_SPREADS = 0.2, 6.0
"""Departure of the squared axes of a dot's ellipse from those that the lattice predicts: as a fraction, and in
medians."""
MAX_SEEDS = 12

_Cell = tuple[int, int]
_STEPS: tuple[_Cell, ...] = ((1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True)
class Lattice:
    """Ellipses at integer coordinates.

    The two lattice directions are the shortest ones in the dots' own metric, and the first turns to the second as the
    picture's x axis does to its y axis.
    """

    members: NDArray[np.intp]
    """Which ellipse, (n,)."""
    cells: NDArray[np.int64]
    """Its lattice coordinates (a, b), (n, 2)."""
    gram: NDArray[np.float64]
    """(2, 2): scalar products of the two steps on the board, in units of the dot's radius squared."""

    def __len__(self) -> int:
        return len(self.members)


def find_lattice(ellipses: Ellipses) -> Lattice | None:
    """The largest lattice among `ellipses` (n), None where no :data:`MIN_DOTS` of them form one."""
    count = len(ellipses)
    if count < MIN_DOTS:
        return None
    graph = _Graph.build(ellipses)
    best: dict[_Cell, int] = {}
    used: set[int] = set()
    tried = 0
    for seed in graph.seeds():
        if int(seed) in used:
            continue
        cells = graph.grow(int(seed))
        tried += 1
        used.add(int(seed))
        if len(cells) > len(best):
            best = cells
        if len(cells) >= MIN_DOTS:
            used.update(cells.values())
        if tried >= MAX_SEEDS or 2 * len(best) > count - len(used) + len(best):
            break
    return arrange(ellipses, best)


def arrange(ellipses: Ellipses, assigned: dict[_Cell, int]) -> Lattice | None:
    """The lattice of `assigned` (cell to ellipse) without misfits, in its reduced basis."""
    assigned = _without_misfits(ellipses, assigned)
    if len(assigned) < MIN_DOTS:
        return None
    cells = np.array(list(assigned), np.int64)
    members = np.array(list(assigned.values()), np.intp)
    steps, known = local_steps(ellipses.centres[members], cells)
    if known.sum() < 4:
        return None
    precision = np.linalg.inv(ellipses.shapes[members[known]])
    grams = np.einsum("nik,nij,njl->nkl", steps[known], precision, steps[known])
    gram = np.asarray(np.median(grams, axis=0), np.float64)
    basis = _reduced_basis(gram)
    # Steps transform with the basis, coordinates with its inverse (an integer matrix of determinant 1).
    cells = cells @ np.rint(np.linalg.inv(basis)).astype(np.int64).T
    order = np.lexsort((cells[:, 0], cells[:, 1]))
    gram = basis.T @ gram @ basis
    if min(gram[0, 0], gram[1, 1]) < 3.0:
        return None  # dots of a radius above half their distance would overlap (4.0 where they touch)
    return Lattice(members[order], (cells - cells.min(axis=0))[order], gram)


def local_steps(
    centres: NDArray[np.float64], cells: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The image of both lattice steps at each dot, (n, 2, 2) as columns, and where both could be measured.

    Central differences where both neighbours are there, else one-sided ones, of second order where three dots are in
    line.
    """
    index = {(int(a), int(b)): i for i, (a, b) in enumerate(cells)}
    steps = np.zeros((len(cells), 2, 2))
    known = np.ones(len(cells), np.bool_)
    for axis, (da, db) in enumerate(((1, 0), (0, 1))):
        table = np.array(
            [[index.get((int(a) + k * da, int(b) + k * db), -1) for k in (-2, -1, 1, 2)] for a, b in cells], np.intp
        )
        present = table >= 0
        before2, before, after, after2 = (centres[table[:, k]] for k in range(4))
        central = 0.5 * (after - before)
        forward = np.where(present[:, 3, None], -1.5 * centres + 2.0 * after - 0.5 * after2, after - centres)
        backward = np.where(present[:, 0, None], 1.5 * centres - 2.0 * before + 0.5 * before2, centres - before)
        both = present[:, 1] & present[:, 2]
        steps[:, :, axis] = np.where(both[:, None], central, np.where(present[:, 2, None], forward, backward))
        known &= present[:, 1] | present[:, 2]
    return steps, known


def consistent_shapes(ellipses: Ellipses, lattice: Lattice) -> NDArray[np.bool_]:
    """Which dots of `lattice` have the shape that the lattice around them gives a circle, (n,).

    The lattice steps at a dot, with the board's Gram matrix, predict its ellipse. A dot that is partly covered, or
    cut by the picture's border, is another ellipse, with its centre off. Dots without neighbours in both directions
    pass.
    """
    dots = ellipses[lattice.members]
    steps, known = local_steps(dots.centres, lattice.cells)
    predicted = steps @ np.linalg.inv(lattice.gram) @ steps.transpose(0, 2, 1)
    predicted[~known] = dots.shapes[~known]
    whitener = np.linalg.inv(np.linalg.cholesky(dots.shapes))
    ratios = np.linalg.eigvalsh(whitener @ predicted @ whitener.transpose(0, 2, 1))
    departure = np.abs(np.log(np.maximum(ratios, 1e-6)))
    typical = np.median(departure[known], axis=0)
    return np.asarray((departure <= np.maximum(SHAPE_TOLERANCE, SHAPE_SPREADS * typical)).all(axis=1))


def predict_empty(ellipses: Ellipses, lattice: Lattice, shape: tuple[int, int]) -> tuple[list[_Cell], Ellipses]:
    """Where the empty cells beside dots of `lattice` should show theirs, within a picture (height, width)."""
    centres = ellipses.centres[lattice.members]
    at = {(int(a), int(b)): i for i, (a, b) in enumerate(lattice.cells)}
    steps, known = local_steps(centres, lattice.cells)
    wanted: dict[_Cell, list[NDArray[np.float64]]] = {}
    source: dict[_Cell, int] = {}
    for (a, b), i in at.items():
        if not known[i]:
            continue
        for da, db in _STEPS:
            cell = (a + da, b + db)
            if cell in at:
                continue
            behind, further = at.get((a - da, b - db)), at.get((a - 2 * da, b - 2 * db))
            offset = steps[i] @ np.array([da, db], np.float64) if behind is None else centres[i] - centres[behind]
            if behind is not None and further is not None:
                previous = float(np.linalg.norm(centres[behind] - centres[further]))
                offset = offset * _next_ratio(float(np.linalg.norm(offset)), previous)
            wanted.setdefault(cell, []).append(centres[i] + offset)
            source[cell] = i
    height, width = shape
    cells: list[_Cell] = []
    places = []
    for cell, guesses in wanted.items():
        place = np.mean(guesses, axis=0)
        if 0 < place[0] < width - 1 and 0 < place[1] < height - 1:
            cells.append(cell)
            places.append(place)
    origin = lattice.members[np.array([source[cell] for cell in cells], np.intp)]
    return cells, Ellipses(np.array(places).reshape(-1, 2), ellipses.shapes[origin], ellipses.light[origin])


@dataclass(frozen=True)
class _Graph:
    """Each ellipse's neighbours, as seen in its own metric."""

    centres: list[complex]
    neighbours: NDArray[np.intp]
    whitened: NDArray[np.complex128]
    """Neighbours in the frame in which the ellipse is the unit circle; infinite where incompatible, (n, k)."""
    whitener: NDArray[np.float64]
    opposite: NDArray[np.bool_]
    """(n, k): whether the neighbour has a counterpart on the other side."""

    @staticmethod
    def build(ellipses: Ellipses) -> _Graph:
        count = len(ellipses)
        neighbours = nearest_neighbours(ellipses.centres, min(NEIGHBOURS, count - 1))
        whitener = np.linalg.inv(np.linalg.cholesky(ellipses.shapes))
        offset = ellipses.centres[neighbours] - ellipses.centres[:, None, :]
        local = np.einsum("nij,nkj->nki", whitener, offset)
        whitened = local[..., 0] + 1j * local[..., 1]
        area = np.sqrt(np.linalg.det(ellipses.shapes))
        ratio = area[neighbours] / area[:, None]
        compatible = (ellipses.light[neighbours] == ellipses.light[:, None]) & (ratio > 0.4) & (ratio < 2.5)
        compatible &= (np.abs(whitened) < FARTHEST) & (np.abs(whitened) > 1.7)
        whitened = np.where(compatible, whitened, np.inf)
        with np.errstate(invalid="ignore"):
            gap = np.abs(whitened[:, :, None] + whitened[:, None, :])
            opposite = (gap < 0.25 * np.abs(whitened)[:, :, None]).any(axis=2) & compatible
        return _Graph(list(ellipses.centres @ np.array([1, 1j])), neighbours, whitened, whitener, opposite)

    def seeds(self) -> NDArray[np.intp]:
        """Ellipses with the most complete surroundings first."""
        score = self.opposite.sum(axis=1)
        order = np.argsort(-score, kind="stable")
        return np.asarray(order[score[order] >= 4], np.intp)

    def grow(self, seed: int) -> dict[_Cell, int]:
        """The lattice through `seed`, cell to ellipse."""
        start = self._basis(seed)
        if start is None:
            return {}
        cells: dict[_Cell, int] = {(0, 0): seed}
        taken = {seed}
        basis: dict[int, tuple[complex, complex]] = {seed: start}
        queue: list[_Cell] = [(0, 0)]
        position = 0
        centres = self.centres
        while position < len(queue):
            a, b = queue[position]
            position += 1
            here = cells[a, b]
            u, v = basis[here]
            white = self.whitener[here]
            reach = TOLERANCE * min(_norm(white, u), _norm(white, v))
            for da, db in _STEPS:
                cell = (a + da, b + db)
                if cell in cells:
                    continue
                place = self._predict(cells, cell, (da, db), centres[here] + da * u + db * v)
                chosen, distance = -1, np.inf
                for k, other in enumerate(self.neighbours[here].tolist()):
                    if other in taken or not np.isfinite(self.whitened[here, k].real):
                        continue
                    gap = abs(centres[other] - place)
                    if gap < distance:
                        chosen, distance = other, gap
                if chosen < 0 or _norm(white, centres[chosen] - place) > reach:
                    continue
                cells[cell] = chosen
                taken.add(chosen)
                step = centres[chosen] - centres[here]
                if da:
                    basis[chosen] = (da * step, self._cross_step(cells, cell, (0, 1), v))
                else:
                    basis[chosen] = (self._cross_step(cells, cell, (1, 0), u), db * step)
                queue.append(cell)
        return cells

    def _basis(self, seed: int) -> tuple[complex, complex] | None:
        """The two shortest independent steps to neighbours that have a counterpart; x turns into y."""
        local = np.where(self.opposite[seed], self.whitened[seed], np.inf)
        order = np.argsort(np.abs(local))
        first = order[0]
        if not np.isfinite(local[first].real):
            return None
        for second in order[1:]:
            if not np.isfinite(local[second].real):
                break
            sine = (np.conj(local[first]) * local[second]).imag / abs(local[first] * local[second])
            if abs(sine) > 0.5:
                u = self.centres[self.neighbours[seed, first]] - self.centres[seed]
                v = self.centres[self.neighbours[seed, second]] - self.centres[seed]
                return (u, v) if sine > 0 else (u, -v)
        return None

    def _predict(self, cells: dict[_Cell, int], cell: _Cell, step: _Cell, default: complex) -> complex:
        """Where `cell` should be: from three dots in line with it, else the mean of what its surroundings say."""
        a, b = cell
        da, db = step
        guesses = [default]
        line = [cells.get((a - k * da, b - k * db)) for k in (1, 2, 3)]
        before = line[0]
        if before is not None and line[1] is not None:
            last = self.centres[before] - self.centres[line[1]]
            if line[2] is not None:
                previous = abs(self.centres[line[1]] - self.centres[line[2]])
                return self.centres[before] + last * _next_ratio(abs(last), previous)
            guesses.append(self.centres[before] + last)
        for side in (1, -1):
            ea, eb = side * db, side * da
            beside, corner = cells.get((a + ea, b + eb)), cells.get((a - da + ea, b - db + eb))
            if before is not None and beside is not None and corner is not None:
                guesses.append(self.centres[before] + self.centres[beside] - self.centres[corner])
        return sum(guesses) / len(guesses)

    def _cross_step(self, cells: dict[_Cell, int], cell: _Cell, step: _Cell, default: complex) -> complex:
        """The step across the direction of growth at `cell`, from its neighbours where they are known."""
        a, b = cell
        da, db = step
        here = self.centres[cells[cell]]
        ahead, behind = cells.get((a + da, b + db)), cells.get((a - da, b - db))
        found = []
        if ahead is not None:
            found.append(self.centres[ahead] - here)
        if behind is not None:
            found.append(here - self.centres[behind])
        return sum(found) / len(found) if found else default


def _next_ratio(last: float, previous: float) -> float:
    """By what factor the next of equal steps along a line is longer than the last one, under perspective.

    Points at equal steps k of a line appear at k / (1 - c k) up to scale, so that steps grow as 1 / (1 - 2 c) and
    then as (1 - c) / (1 - 3 c).
    """
    c = float(np.clip(0.5 * (1.0 - previous / max(last, 1e-9)), -0.2, 0.2))
    return (1.0 - c) / (1.0 - 3.0 * c)


def _norm(whitener: NDArray[np.float64], vector: complex) -> float:
    """Length of `vector` in the metric of `whitener` (lower triangular)."""
    x = whitener[0, 0] * vector.real
    y = whitener[1, 0] * vector.real + whitener[1, 1] * vector.imag
    return float((x * x + y * y) ** 0.5)


def _without_misfits(ellipses: Ellipses, assigned: dict[_Cell, int]) -> dict[_Cell, int]:
    """Keeps the largest connected set of dots that lie where the dots around them say."""
    places = (ellipses.centres @ np.array([1, 1j])).tolist()
    kept = {cell: places[i] for cell, i in assigned.items()}
    for _ in range(3):
        bad = []
        for (a, b), place in kept.items():
            error, length = np.inf, np.inf
            for da, db in ((1, 0), (0, 1)):
                ahead, behind = kept.get((a + da, b + db)), kept.get((a - da, b - db))
                if ahead is not None and behind is not None:
                    error = min(error, abs(place - 0.5 * (ahead + behind)))
                    length = min(length, 0.5 * abs(ahead - behind))
            if np.isfinite(error) and error > 0.2 * length:
                bad.append((a, b))
        if not bad:
            break
        for cell in bad:
            del kept[cell]
    return {cell: assigned[cell] for cell in _largest_component(set(kept))}


def _largest_component(remaining: set[_Cell]) -> list[_Cell]:
    """The cells of the largest set that hangs together, in order; empties `remaining`."""
    best: list[_Cell] = []
    while remaining:
        stack = [remaining.pop()]
        component = []
        while stack:
            cell = stack.pop()
            component.append(cell)
            for da, db in _STEPS:
                beside = (cell[0] + da, cell[1] + db)
                if beside in remaining:
                    remaining.remove(beside)
                    stack.append(beside)
        if len(component) > len(best):
            best = component
    return sorted(best)


def _reduced_basis(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integer matrix of determinant 1 whose columns are the shortest lattice steps under `gram` (Lagrange)."""
    u, v = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    for _ in range(50):
        if v @ gram @ v < u @ gram @ u:
            u, v = v, -u
        turns = np.rint((u @ gram @ v) / (u @ gram @ u))
        if turns == 0:
            break
        v = v - turns * u
    return np.stack([u, v], axis=1)

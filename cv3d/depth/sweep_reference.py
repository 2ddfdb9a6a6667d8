"""Checkerboard PatchMatch with slanted planes as torch says it, on every device.

Pixels of one colour of a checkerboard try the planes of pixels of the other, then some by chance, and keep what costs
least (Galliani, Lasinger and Schindler 2015; Xu and Tao 2019). The cost of a plane in a source is one minus the
correlation of the windows, weighted by nearness and likeness of tone (Schönberger et al. 2016), and, where the depth of
the source is known, the reprojection error (Xu and Tao 2019); that of a plane is the mean over the best sources.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cv3d.compute import Compute
from cv3d.depth.problem import Problem, window

_WORST = 2.0
_NEAREST = 1e-6
_LESS = 1e-6
"""By how much a better plane has to cost less: rounding decides nothing."""
_INSIDE = 1e-3
_CHUNK = 1 << 15
"""Pixels at a time: bounds the memory of their windows."""


class TorchSweeper:
    """One problem on a device."""

    def __init__(self, problem: Problem, compute: Compute) -> None:
        def there(array: object) -> Tensor:
            return torch.as_tensor(array).to(compute.device)

        places, near = window()
        self.height, self.width = problem.reference.shape
        self.reference = there(problem.reference).float()
        self.images = there(problem.images).float()[:, None]
        self.inverses = there(problem.inverses)
        self.lenses, self.backs = there(problem.lenses), there(problem.backs)
        self.camera, self.near, self.places = there(problem.camera), there(near), there(places)
        self.sizes = [(int(h), int(w)) for h, w in problem.sizes]
        self.scalars = [float(one) for one in problem.scalars]
        self.best, self.is_narrow = problem.best, problem.is_narrow
        self.regions = there(problem.regions.astype("int64"))
        v, u = torch.meshgrid(torch.arange(self.height), torch.arange(self.width), indexing="ij")
        self.colours = [there(((u + v) % 2 == parity).reshape(-1).nonzero()[:, 0]) for parity in (0, 1)]
        self.u, self.v = there(u.reshape(-1)), there(v.reshape(-1))

    def evaluate(self, planes: Tensor) -> Tensor:
        """The cost of every pixel's plane.

        Args:
            planes: (3, h, w) inverse depth and its changes.

        Returns:
            (h, w).
        """
        flat = planes.reshape(3, -1)
        parts = []
        for first in range(0, flat.shape[1], _CHUNK):
            chunk = slice(first, first + _CHUNK)
            u, v = self.u[chunk], self.v[chunk]
            parts.append(self._cost(flat[:, chunk], u.float(), v.float(), self._window(u, v)))
        return torch.cat(parts).reshape(self.height, self.width)

    def sweep(self, planes: Tensor, costs: Tensor, parity: int, chances: Tensor, tries: Tensor) -> None:
        """Better planes for the pixels of one colour, in place.

        Args:
            planes: (3, h, w).
            costs: of the planes, (h, w).
            parity: the colour, 0 or 1.
            chances: between -1 and 1, (3 k, h, w), for k tries.
            tries: what is made of them, (k, 5): see :func:`cv3d.depth.propagating.tries_of`.
        """
        flat, cost = planes.view(3, -1), costs.view(-1)
        drawn = chances.reshape(len(chances), -1)
        # Pixels of the other colour stay as they are meanwhile, so what is read does not depend on the chunks.
        for index in torch.split(self.colours[parity], _CHUNK):
            u, v = self.u[index], self.v[index]
            own, least = flat[:, index], cost[index]
            places, windows = (u.float(), v.float()), self._window(u, v)
            asked: Tensor | None = None
            if self.is_narrow:
                costs_, order = self._source_costs(own, *places, windows).sort(dim=0, stable=True)
                least, asked = costs_[: self.best].mean(dim=0), order[: self.best]
            for region in self.regions:
                own, least = self._tried(self._taken(flat, cost, u, v, region), own, least, *places, windows, asked)
            for k, (keeps, middle, step, slant, lean) in enumerate(tries.tolist()):
                c0, c1, c2 = drawn[3 * k : 3 * k + 3, index]
                w = keeps * own[0] + middle + step * c0
                slope = slant + lean * w
                moved = torch.stack([w, keeps * own[1] + slope * c1, keeps * own[2] + slope * c2])
                own, least = self._tried(moved, own, least, *places, windows, asked)
            flat[:, index], cost[index] = own, least

    def _taken(self, flat: Tensor, cost: Tensor, u: Tensor, v: Tensor, region: Tensor) -> Tensor:
        """The cheapest plane of a region, at the pixels, (3, n); no plane where the region lies outside."""
        i, j = u + region[:, 0, None], v + region[:, 1, None]
        inside = (i >= 0) & (i < self.width) & (j >= 0) & (j < self.height)
        at = j.clamp(0, self.height - 1) * self.width + i.clamp(0, self.width - 1)
        offered = torch.where(inside, cost[at], torch.inf)
        least, which = offered.min(dim=0)
        chosen = at.gather(0, which[None])[0]
        w, a, b = flat[:, chosen]
        w = w + a * (u - chosen % self.width) + b * (v - torch.div(chosen, self.width, rounding_mode="floor"))
        return torch.stack([torch.where(torch.isfinite(least), w, -1.0), a, b])

    def _tried(
        self,
        tried: Tensor,
        own: Tensor,
        least: Tensor,
        u: Tensor,
        v: Tensor,
        windows: tuple[Tensor, ...],
        asked: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """The better of two planes for each pixel."""
        change = (tried - own).abs()
        apart = change[0] + self.scalars[8] * (change[1] + change[2])
        cost = self._cost(tried, u, v, windows, asked)
        is_better = (apart >= self.scalars[7]) & self._is_plane(tried, u, v) & (cost < least - _LESS)
        return torch.where(is_better, tried, own), torch.where(is_better, cost, least)

    def _is_plane(self, planes: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Whether planes lie in the range of depth and are not seen too grazingly."""
        w, a, b = planes
        fx, fy, cx, cy = self.camera
        x, y = (u - cx) / fx, (v - cy) / fy
        nx, ny = a * fx, b * fy
        nz = w - nx * x - ny * y
        steep = self.scalars[5] * (nx * nx + ny * ny + nz * nz) * (x * x + y * y + 1.0)
        is_one: Tensor = (w >= self.scalars[3]) & (w <= self.scalars[4]) & (w * w >= steep)
        return is_one

    def _window(self, u: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        """Values and shares of the samples around pixels, (n, 32), their mean and variance, (n,)."""
        du, dv = self.places.long()
        i = (u[:, None] + du).clamp(0, self.width - 1)
        j = (v[:, None] + dv).clamp(0, self.height - 1)
        values = self.reference.view(-1)[j * self.width + i]
        difference = values - self.reference.view(-1)[v * self.width + u][:, None]
        shares = self.near * torch.exp(-difference * difference * self.scalars[6])
        shares = shares / shares.sum(dim=1, keepdim=True)
        mean = (shares * values).sum(dim=1)
        spread = ((shares * values * values).sum(dim=1) - mean * mean).clamp(min=0.0)
        return values, shares, mean, spread

    def _cost(
        self, planes: Tensor, u: Tensor, v: Tensor, windows: tuple[Tensor, ...], asked: Tensor | None = None
    ) -> Tensor:
        """Mean of the costs in the sources that are asked, (k, n), or in the best of all, (n,)."""
        costs = self._source_costs(planes, u, v, windows)
        if asked is not None:
            return costs.gather(0, asked).mean(dim=0)
        return costs.sort(dim=0).values[: self.best].mean(dim=0)

    def _source_costs(self, planes: Tensor, u: Tensor, v: Tensor, windows: tuple[Tensor, ...]) -> Tensor:
        """What planes cost in each source, (s, n)."""
        costs = []
        for s in range(len(self.lenses)):
            cost = self._matching_cost(planes, u, v, windows, s).clamp(max=self.scalars[9])
            if self.scalars[1] > 0.0:
                cost = cost + self.scalars[1] * self._reprojection_error(planes[0], u, v, s)
            costs.append(cost)
        return torch.stack(costs)

    def _matching_cost(self, planes: Tensor, u: Tensor, v: Tensor, windows: tuple[Tensor, ...], source: int) -> Tensor:
        """One minus the correlation of the windows, (n,)."""
        values, shares, mean, spread = windows
        lens, (height, width) = self.lenses[source], self.sizes[source]
        w, a, b = planes
        x, y, z = self._seen(lens, w, u, v)
        right, bottom = width - 1.0, height - 1.0
        outside = (z < _NEAREST) | (x < 0.0) | (y < 0.0) | (x > right * z) | (y > bottom * z)
        du, dv = self.places[0], self.places[1]
        across = [lens[3 * r] + a * lens[9 + r] for r in range(3)]
        down = [lens[3 * r + 1] + b * lens[9 + r] for r in range(3)]
        xs, ys, zs = (
            at[:, None] + du * right_[:, None] + dv * down_[:, None]
            for at, right_, down_ in zip((x, y, z), across, down, strict=True)
        )
        inverse = 1.0 / zs.clamp(min=_NEAREST)
        xs, ys = (xs * inverse).clamp(0.0, right - _INSIDE), (ys * inverse).clamp(0.0, bottom - _INSIDE)
        image = self.images[source][None]
        # The coordinates that grid_sample expects, of the padded picture's outermost pixel centres.
        grid = torch.stack(
            [xs * (2.0 / max(image.shape[3] - 1, 1)) - 1.0, ys * (2.0 / max(image.shape[2] - 1, 1)) - 1.0], dim=2
        )
        seen = functional.grid_sample(image, grid[None], "bilinear", "zeros", align_corners=True)[0, 0]
        total = (shares * seen).sum(dim=1)
        squares = ((shares * seen * seen).sum(dim=1) - total * total).clamp(min=0.0)
        products = (shares * seen * values).sum(dim=1) - total * mean
        cost = 1.0 - products / torch.sqrt((spread + self.scalars[0]) * (squares + self.scalars[0]))
        return torch.where(outside, _WORST, cost)

    def _reprojection_error(self, w: Tensor, u: Tensor, v: Tensor, source: int) -> Tensor:
        """How far pixels come out of their places when they go to a source and back by its depth, bounded, (n,)."""
        limit, (height, width) = self.scalars[2], self.sizes[source]
        x, y, z = self._seen(self.lenses[source], w, u, v)
        ahead = z.clamp(min=_NEAREST)
        x, y = x / ahead, y / ahead
        i, j = torch.floor(x + 0.5).clamp(-1.0, width), torch.floor(y + 0.5).clamp(-1.0, height)
        inside = (z >= _NEAREST) & (i >= 0.0) & (j >= 0.0) & (i < width) & (j < height)
        inverses = self.inverses[source]
        at = j.clamp(0, height - 1).long() * inverses.shape[1] + i.clamp(0, width - 1).long()
        there = inverses.reshape(-1)[at]
        x2, y2, z2 = self._seen(self.backs[source], there, x, y)
        ahead = z2.clamp(min=_NEAREST)
        error = torch.sqrt((x2 / ahead - u) ** 2 + (y2 / ahead - v) ** 2).clamp(max=limit)
        return torch.where(inside & (there > 0.0) & (z2 >= _NEAREST), error, limit)

    @staticmethod
    def _seen(lens: Tensor, w: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where pixels with inverse depth lie in the other picture, homogeneous."""
        x, y, z = (lens[3 * r] * u + lens[3 * r + 1] * v + lens[3 * r + 2] + w * lens[9 + r] for r in range(3))
        return x, y, z

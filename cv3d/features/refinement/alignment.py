"""Photometric alignment of patches: the place in one view that looks like a place in another, to a fraction of a pixel.

The unknowns are a translation, then an affinity too, always with gain and bias. The reference patch is the one that
moves (Baker and Matthews, "Lucas-Kanade 20 years on: a unifying framework", 2004, inverse compositional), so that its
derivatives and their normal matrix are computed once, with gain and bias projected out of them. A step reads the target
and takes a few inner products. The affinity is held near the given one by a prior, which a flat or small patch obeys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.features.refinement.options import Alignment, RefinementOptions
from cv3d.features.refinement.pyramid import Pyramid
from cv3d.features.refinement.template import LEAST_GAIN, Template, square_offsets

SETTLED = 2e-3
"""Step below which a patch stays where it is, samples."""
LARGEST_STEP = 2.0
LARGEST_CHANGE = 0.2
SMALLEST_SCALE = 1.0 / 64.0
FLOOR = 1e-6
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class ReferencePatches:
    """Patches as read in reference views, maybe several."""

    patches: Tensor
    """(n, (side + 2)²) float32."""
    inside: Tensor
    """(n,) bool, whether the patch lies inside its picture."""

    def __getitem__(self, index: Tensor | slice) -> ReferencePatches:
        """Some of them."""
        return ReferencePatches(self.patches[index], self.inside[index])

    @staticmethod
    def join(parts: Sequence[ReferencePatches]) -> ReferencePatches:
        """Those of several views, one after the other."""
        return ReferencePatches(torch.cat([p.patches for p in parts]), torch.cat([p.inside for p in parts]))


@torch.no_grad()
def read_patches(reference: Pyramid, positions: Tensor, warps: Tensor, options: RefinementOptions) -> ReferencePatches:
    """Read the surroundings of places, to be aligned by :func:`align_read_patches`.

    Args:
        reference: the view.
        positions: (n, 2) float32, pixels.
        warps: (n, 2, 2) float32, derivatives of target pixels by pixels of this view.
        options: the side of a patch, and how many at once.
    """
    parts = [
        _read(reference, positions[chunk], warps[chunk], options)
        for start in range(0, max(len(positions), 1), options.chunk)
        for chunk in [slice(start, start + options.chunk)]
    ]
    return parts[0] if len(parts) == 1 else ReferencePatches.join(parts)


@torch.no_grad()
def align_read_patches(
    references: ReferencePatches, target: Pyramid, positions: Tensor, warps: Tensor, options: RefinementOptions
) -> Alignment:
    """Find patches that were read in other views in a target view.

    Args:
        references: n patches, read with these warps and options.
        target: the view, of any size.
        positions: (n, 2) float32, the start, pixels of the target.
        warps: (n, 2, 2) float32, derivatives of target pixels by reference pixels. What is not finite is rejected.
        options: patch, iterations, and what is accepted.

    Returns:
        A result for each, in order. All tensors are on one device, and nothing waits for it.
    """
    parts = [
        _align(references[chunk], target, positions[chunk], warps[chunk], options)
        for start in range(0, max(len(positions), 1), options.chunk)
        for chunk in [slice(start, start + options.chunk)]
    ]
    if len(parts) == 1:
        return parts[0]
    names = ("positions", "covariance", "warps", "ncc", "shift", "mask")
    return Alignment(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def align_patches(
    reference: Pyramid,
    target: Pyramid,
    positions0: Tensor,
    positions1: Tensor,
    warps: Tensor,
    options: RefinementOptions | None = None,
) -> Alignment:
    """Find where the surroundings of places in the reference are in the target, from a start nearby.

    Args:
        reference: the view whose places are held.
        target: the other view, of any size.
        positions0: (n, 2) float32, pixels of the reference.
        positions1: (n, 2) float32, the start, pixels of the target.
        warps: (n, 2, 2) float32, derivatives of target pixels by reference pixels. What is not finite is rejected.
        options: patch, iterations, and what is accepted.

    Returns:
        A result for each, in order. All tensors are on one device, and nothing waits for it.
    """
    options = options or RefinementOptions()
    references = read_patches(reference, positions0, warps, options)
    return align_read_patches(references, target, positions1, warps, options)


def _read(reference: Pyramid, positions: Tensor, warps: Tensor, options: RefinementOptions) -> ReferencePatches:
    finite = positions.isfinite().all(1)
    places = torch.where(finite[:, None], positions, 0.0)
    step = _step(_usable(warps)[1])
    own = step[:, None, None] * torch.eye(2, device=step.device)
    levels = reference.levels_for(step)
    patches = reference.sample(places, own, square_offsets(options.patch + 2, step.device), levels)
    return ReferencePatches(patches, finite & reference.contains(places, own, options.patch // 2 + 1, levels))


def _usable(warps: Tensor) -> tuple[Tensor, Tensor]:
    """Whether warps can be used, (n,), and the warps (n, 2, 2) with the identity where not."""
    finite = warps.isfinite().all(2).all(1)
    finite = finite & (_determinant(warps).abs() > SMALLEST_SCALE**2)
    return finite, torch.where(finite[:, None, None], warps, torch.eye(2, device=warps.device))


def _step(warps: Tensor) -> Tensor:
    """(n,), reference pixels between samples: a sample is a pixel of the coarser view.

    So what only the finer one can show stays out.
    """
    return (1.0 / _determinant(warps).abs().sqrt()).clamp(min=1.0)


def _align(
    references: ReferencePatches, target: Pyramid, start: Tensor, given: Tensor, options: RefinementOptions
) -> Alignment:
    usable, warps = _usable(given)
    usable = usable & start.isfinite().all(1)
    place = torch.where(usable[:, None], start, 0.0)
    step = _step(warps)
    local = warps * step[:, None, None]
    levels = target.levels_for(_determinant(local).abs().sqrt())
    template = Template(references.patches, options.patch, options.window * options.patch)

    inverse, conditioning = _inverse_symmetric(template.normal)
    moved = _translate(template, target, place, local, levels, inverse, options.iterations)
    estimated, fields = local, template.fields
    if options.affine_iterations:
        moved, estimated, fields, inverse = _deform(template, target, moved, local, levels, options)
    residuals, ncc = template.residuals(target.sample(moved, estimated, template.offsets, levels))
    covariance = template.noise_of_step(fields, inverse, residuals)
    covariance = covariance + options.min_deviation**2 * torch.eye(2, device=moved.device)

    shift = (_inverse(local) @ (moved - place)[:, :, None])[..., 0].norm(dim=1)
    deviation = _largest_eigenvalue(covariance).clamp(min=0.0).sqrt()
    mask = usable & references.inside & target.contains(moved, estimated, options.patch // 2, levels)
    mask = mask & (ncc >= options.min_ncc) & (shift <= options.max_shift)
    mask = mask & (conditioning >= options.min_conditioning) & (deviation <= options.max_deviation)
    keep = mask[:, None]
    return Alignment(
        torch.where(keep, moved, start),
        torch.where(keep[..., None], estimated @ covariance @ estimated.mT, 0.0),
        torch.where(keep[..., None], estimated / step[:, None, None], given),
        ncc,
        shift,
        mask,
    )


def _translate(
    template: Template,
    target: Pyramid,
    moved: Tensor,
    local: Tensor,
    levels: Tensor,
    inverse: Tensor,
    iterations: int,
) -> Tensor:
    """The translated places (n, 2) in the target, pixels."""
    weighted = torch.cat((template.fields, template.values[:, None]), 1) * template.window
    moving = torch.ones_like(levels, dtype=torch.bool)
    for _ in range(iterations):
        patches = target.sample(moved, local, template.offsets, levels)
        products = (weighted @ patches[:, :, None])[..., 0]
        gain = (products[:, 2] / template.energy).clamp(min=LEAST_GAIN)
        shift = (inverse @ products[:, :2, None])[..., 0] / gain[:, None]
        length = shift.norm(dim=1)
        shift = shift * (LARGEST_STEP / length.clamp(min=LARGEST_STEP))[:, None]
        moved = torch.where(moving[:, None], moved - (local @ shift[:, :, None])[..., 0], moved)
        moving = moving & (length > SETTLED)
    return moved


def _deform(
    template: Template, target: Pyramid, moved: Tensor, local: Tensor, levels: Tensor, options: RefinementOptions
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Places (n, 2) and affinities (n, 2, 2) in the target, and what tells the noise of the places.

    That is the derivatives (n, 2, m) of the patch by the place, less what a change of the affinity explains, and the
    inverse of their normal matrix (n, 2, 2).
    """
    residuals, _ = template.residuals(target.sample(moved, local, template.offsets, levels))
    slopes = (template.gradients[:, :, None] * template.offsets.T).flatten(1, 2)
    fields = torch.cat((template.fields, template.net(slopes)), 1)
    weighted = fields * template.window
    normal = weighted @ fields.mT
    # The normal matrix is a weighted mean over samples; so many of equal weight would tell as much.
    samples = 1.0 / template.window.square().sum()
    prior = template.variance(residuals) / (samples * options.affine_deviation**2)
    prior = prior + FLOOR * normal.diagonal(dim1=1, dim2=2).sum(1) + _TINY
    held = torch.zeros(6, device=moved.device)
    held[2:] = 1.0
    damped = normal + prior[:, None, None] * torch.diag(held) + _TINY * torch.eye(6, device=moved.device)
    factor = torch.linalg.cholesky_ex(damped)[0]
    inverse = torch.cholesky_inverse(factor)

    estimated, change = local, torch.zeros_like(local)
    moving = torch.ones_like(levels, dtype=torch.bool)
    for _ in range(options.affine_iterations):
        residuals, _ = template.residuals(target.sample(moved, estimated, template.offsets, levels))
        right = (weighted @ residuals[:, :, None])[..., 0]
        right = torch.cat((right[:, :2], right[:, 2:] - prior[:, None] * change.flatten(1)), 1)
        update = (inverse @ right[:, :, None])[..., 0]
        length = update[:, :2].norm(dim=1)
        largest = torch.maximum(length / LARGEST_STEP, update[:, 2:].abs().amax(1) / LARGEST_CHANGE)
        update = torch.where(moving[:, None], update / largest.clamp(min=1.0)[:, None], 0.0)
        turn = update[:, 2:].view(-1, 2, 2)
        # The reference moved by x + turn x + shift looks like the target, so the target is read at the inverse.
        estimated = estimated @ _inverse(turn + torch.eye(2, device=turn.device))
        moved = moved - (estimated @ update[:, :2, None])[..., 0]
        change = change + turn
        moving = moving & (length > SETTLED)
    # What is left of the places' derivatives when the affinity takes its share: the Schur complement of its block.
    across = torch.linalg.cholesky_ex(damped[:, 2:, 2:])[0]
    shares = torch.cholesky_solve(damped[:, 2:, :2].contiguous(), across)
    return moved, estimated, fields[:, :2] - shares.mT @ fields[:, 2:], inverse[:, :2, :2]


def _determinant(matrices: Tensor) -> Tensor:
    return matrices[:, 0, 0] * matrices[:, 1, 1] - matrices[:, 0, 1] * matrices[:, 1, 0]


def _inverse(matrices: Tensor) -> Tensor:
    a, b, c, d = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 0], matrices[:, 1, 1]
    determinant = a * d - b * c
    determinant = torch.where(determinant.abs() < _TINY, _TINY, determinant)
    return torch.stack((d, -b, -c, a), 1).view(-1, 2, 2) / determinant[:, None, None]


def _inverse_symmetric(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Inverses of normal matrices (n, 2, 2), and the ratios (n,) of their eigenvalues."""
    largest = _largest_eigenvalue(matrices).clamp(min=_TINY)
    smallest = matrices[:, 0, 0] + matrices[:, 1, 1] - largest
    return _inverse(matrices), smallest / largest


def _largest_eigenvalue(matrices: Tensor) -> Tensor:
    a, b, d = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 1]
    return 0.5 * (a + d) + (0.25 * (a - d).square() + b.square()).sqrt()

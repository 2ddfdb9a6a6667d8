"""Normal equations with the arrow structure of calibration and bundle adjustment.

Unknowns are `K` shared parameters (intrinsics, board shape) and `V` blocks of `B` parameters (one pose per view, or one
point) that meet no other block in any residual. The Hessian is then

    H = [ S   C^T ]      S (K, K) shared,  D block diagonal (V, B, B),  C (V, B, K) the coupling,
        [ C   D   ]

so that the reduced system in the shared parameters is the Schur complement S - C^T D^-1 C, and every part of H^-1
has a closed form (Triggs et al. 2000, sections 6 and 9). Cost and memory are linear in V.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.errors import EstimationError


@dataclass(frozen=True)
class ArrowSystem:
    """Gauss-Newton normal equations `H x = -g` of the cost `0.5 * sum(w * r^2)`. float64."""

    cost: float
    """The robust cost, half the sum of squares for the squared loss."""
    shared: Tensor
    """S, (K, K)."""
    shared_gradient: Tensor
    """(K,)."""
    blocks: Tensor
    """D, (V, B, B)."""
    block_gradients: Tensor
    """(V, B)."""
    coupling: Tensor
    """C, (V, B, K)."""

    def gradient_norm(self) -> float:
        """Largest absolute component of the gradient."""
        parts = [self.shared_gradient.abs().flatten(), self.block_gradients.abs().flatten()]
        return float(torch.cat(parts).max()) if sum(p.numel() for p in parts) else 0.0

    def solve(self, damping: float) -> tuple[Tensor, Tensor] | None:
        """The Levenberg-Marquardt step with Marquardt's scaling: `(H + damping * diag(H)) x = -g`.

        Returns:
            `(shared_step (K,), block_steps (V, B))`, or None where the damped system is not positive definite.
        """
        blocks = _damped(self.blocks, damping)
        factor, info = torch.linalg.cholesky_ex(blocks)
        if bool((info != 0).any()):
            return None
        right = torch.cat([self.coupling, self.block_gradients[..., None]], dim=-1)
        solved = torch.cholesky_solve(right, factor)
        by_coupling, by_gradient = solved[..., :-1], solved[..., -1]
        shared_size = self.shared.shape[0]
        if shared_size:
            coupling = self.coupling.flatten(0, 1)
            reduced = _damped(self.shared, damping) - coupling.T @ by_coupling.flatten(0, 1)
            gradient = self.shared_gradient - coupling.T @ by_gradient.reshape(-1)
            shared_step = _solve_scaled(reduced, -gradient)
            if shared_step is None:
                return None
        else:
            shared_step = self.shared_gradient
        block_steps = -by_gradient - (by_coupling @ shared_step[:, None])[..., 0]
        return shared_step, block_steps

    def predicted_decrease(self, shared_step: Tensor, block_steps: Tensor) -> float:
        """How much the quadratic model says the cost falls along a step."""
        linear = self.shared_gradient @ shared_step + (self.block_gradients * block_steps).sum()
        quadratic = shared_step @ self.shared @ shared_step
        quadratic = quadratic + torch.einsum("vi,vij,vj->", block_steps, self.blocks, block_steps)
        quadratic = quadratic + 2.0 * torch.einsum("vi,vik,k->", block_steps, self.coupling, shared_step)
        return float(-(linear + 0.5 * quadratic))

    def reduced(self) -> Tensor:
        """The Schur complement S - C^T D^-1 C, (K, K): the information about the shared parameters alone.

        NaN where a block is singular.
        """
        factor, info = torch.linalg.cholesky_ex(self.blocks)
        if bool((info != 0).any()):
            return torch.full_like(self.shared, torch.nan)
        by_coupling = torch.cholesky_solve(self.coupling, factor)
        return self.shared - self.coupling.flatten(0, 1).T @ by_coupling.flatten(0, 1)

    def covariance(self) -> ArrowCovariance:
        """The inverse of H, in the parts that are ever asked for.

        Multiply by the residual variance to get the covariance of the estimate.

        Raises:
            EstimationError: H is singular: the data do not determine all parameters.
        """
        factor, info = torch.linalg.cholesky_ex(self.blocks)
        if bool((info != 0).any()):
            raise EstimationError("the data do not determine the pose of every view")
        identity = torch.eye(self.blocks.shape[-1], dtype=self.blocks.dtype).expand_as(self.blocks)
        block_inverse = torch.cholesky_solve(identity, factor)
        by_coupling = torch.cholesky_solve(self.coupling, factor)
        shared_size = self.shared.shape[0]
        reduced = self.shared - self.coupling.flatten(0, 1).T @ by_coupling.flatten(0, 1)
        scale = torch.sqrt(torch.clamp(torch.diagonal(self.shared), min=torch.finfo(reduced.dtype).tiny))
        normalised = reduced / (scale[:, None] * scale[None, :])
        values, vectors = torch.linalg.eigh(0.5 * (normalised + normalised.T))
        if shared_size and float(values[0]) < _SINGULAR * float(values[-1]):
            raise EstimationError("the data do not determine all intrinsics: the pictures are too much alike")
        shared = (vectors / values) @ vectors.T / (scale[:, None] * scale[None, :])
        return ArrowCovariance(shared, block_inverse, by_coupling)


@dataclass(frozen=True)
class ArrowCovariance:
    """H^-1 of an :class:`ArrowSystem`, held in factors whose size is linear in the number of blocks."""

    shared: Tensor
    """Inverse of the Schur complement: the shared parameters' part, (K, K)."""
    _block_inverse: Tensor
    """D^-1, (V, B, B)."""
    _by_coupling: Tensor
    """Y = D^-1 C, (V, B, K)."""

    def block(self, index: int) -> Tensor:
        """Covariance of one block, (B, B)."""
        y = self._by_coupling[index]
        return self._block_inverse[index] + y @ self.shared @ y.T

    def blocks(self) -> Tensor:
        """Covariance of every block, (V, B, B)."""
        y = self._by_coupling
        return self._block_inverse + y @ self.shared @ y.transpose(-1, -2)

    def cross(self, index: int) -> Tensor:
        """Covariance between the shared parameters and one block, (K, B)."""
        return -self.shared @ self._by_coupling[index].T

    def between_blocks(self, first: int, second: int) -> Tensor:
        """Covariance between two different blocks, (B, B)."""
        return self._by_coupling[first] @ self.shared @ self._by_coupling[second].T

    def shared_and_mean_block(self, weights: Tensor | None = None) -> Tensor:
        """Joint covariance of the shared parameters and the mean of all blocks' parameters, (K + B, K + B).

        Args:
            weights: of the blocks in the mean, (V,), summing to 1; None: all alike.
        """
        count = self._by_coupling.shape[0]
        if weights is None:
            mean_y = self._by_coupling.mean(dim=0)
            own = self._block_inverse.sum(dim=0) / count**2
        else:
            mean_y = torch.einsum("v,vbk->bk", weights, self._by_coupling)
            own = torch.einsum("v,vbc->bc", weights * weights, self._block_inverse)
        cross = -self.shared @ mean_y.T
        mean = own + mean_y @ self.shared @ mean_y.T
        return torch.cat([torch.cat([self.shared, cross], dim=1), torch.cat([cross.T, mean], dim=1)], dim=0)


_SINGULAR = 1e-15


def _damped(matrix: Tensor, damping: float) -> Tensor:
    diagonal = torch.diagonal(matrix, dim1=-2, dim2=-1)
    floor = 1e-12 * torch.clamp(diagonal.amax(dim=-1, keepdim=True), min=1e-30) if diagonal.numel() else diagonal
    return matrix + torch.diag_embed(damping * torch.maximum(diagonal, floor))


def _solve_scaled(matrix: Tensor, right: Tensor) -> Tensor | None:
    """Solve a positive definite system whose unknowns have very different units (pixels beside distortion)."""
    scale = torch.sqrt(torch.clamp(torch.diagonal(matrix), min=1e-300))
    factor, info = torch.linalg.cholesky_ex(matrix / (scale[:, None] * scale[None, :]))
    if int(info) != 0:
        return None
    return torch.cholesky_solve((right / scale)[:, None], factor)[:, 0] / scale

"""What every group of transforms has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import EllipsisType
from typing import ClassVar, Self, overload

import torch
from torch import Tensor

BatchIndex = int | slice | EllipsisType | Tensor | Sequence[int] | None


class LieGroup(ABC):
    """A group of transforms of space whose members `b_from_a` take points of frame a to frame b.

    A member holds one tensor, (..., parameter_dim), of any floating dtype on any device; leading axes are the batch.
    Batches broadcast against each other as tensors do, in composition and in every other operation on two members.
    """

    parameter_dim: ClassVar[int]
    """Numbers that a member is stored in."""
    tangent_dim: ClassVar[int]
    """Degrees of freedom."""
    matrix_dim: ClassVar[int]
    """Rows of the matrix form."""

    @abstractmethod
    def __init__(self, parameters: Tensor) -> None: ...

    def __post_init__(self) -> None:
        shape = tuple(self.parameters.shape)
        if not shape or shape[-1] != self.parameter_dim:
            raise ValueError(f"{type(self).__name__} is stored as (..., {self.parameter_dim}), got {shape}")
        if not self.parameters.is_floating_point():
            raise ValueError(f"{type(self).__name__} needs a floating dtype, got {self.parameters.dtype}")

    @property
    @abstractmethod
    def parameters(self) -> Tensor:
        """The tensor that is stored, (..., parameter_dim)."""

    @classmethod
    @abstractmethod
    def identity(
        cls,
        batch: Sequence[int] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Self:
        """The transform that moves nothing, `batch` times."""

    @classmethod
    @abstractmethod
    def from_matrix(cls, matrix: Tensor) -> Self:
        """From the matrix form, (..., matrix_dim, matrix_dim)."""

    @classmethod
    @abstractmethod
    def exp(cls, tangent: Tensor) -> Self:
        """The exponential map of tangent vectors, (..., tangent_dim)."""

    @abstractmethod
    def log(self) -> Tensor:
        """The tangent vector, (..., tangent_dim), of smallest rotation angle whose exponential this is."""

    @abstractmethod
    def as_matrix(self) -> Tensor:
        """The matrix form, (..., matrix_dim, matrix_dim)."""

    @abstractmethod
    def inverse(self) -> Self:
        """`a_from_b`, given `b_from_a`."""

    @abstractmethod
    def adjoint(self) -> Tensor:
        """The matrix Ad, (..., tangent_dim, tangent_dim), for which T @ exp(x) == exp(Ad x) @ T."""

    @abstractmethod
    def normalized(self) -> Self:
        """The same transform with its quaternion back at unit norm, which long products drift away from."""

    @abstractmethod
    def apply(self, points: Tensor) -> Tensor:
        """Transform points.

        The batch broadcasts against the leading axes of `points`: a batch (B,) takes (B, 3) points one each. To move N
        points by every one of B transforms give it a point axis, `b_from_a[..., None].apply(points)` with (B, N, 3).

        Args:
            points: (..., 3) in frame a.

        Returns:
            (..., 3) in frame b, with the broadcast leading axes.
        """

    @abstractmethod
    def _compose(self, other: Self) -> Self:
        """`c_from_a`, given `c_from_b` and `b_from_a`."""

    @overload
    def __matmul__(self, other: Self) -> Self: ...
    @overload
    def __matmul__(self, other: Tensor) -> Tensor: ...
    def __matmul__(self, other: Self | Tensor) -> Self | Tensor:
        """Compose with a member of the same group, or transform points as :meth:`apply` does."""
        if isinstance(other, Tensor):
            return self.apply(other)
        if isinstance(other, type(self)):
            return self._compose(other)
        return NotImplemented

    def interpolate(self, other: Self, alpha: Tensor | float) -> Self:
        """The point a fraction `alpha` along the geodesic from `self` (0) to `other` (1), at constant velocity.

        Args:
            other: where `alpha` = 1 arrives; the batches broadcast.
            alpha: (...), broadcast against the batch; values outside [0, 1] extrapolate.

        Returns:
            self @ exp(alpha log(self^-1 @ other)), with the broadcast batch.
        """
        step = (self.inverse() @ other).log()
        scaled = alpha[..., None] * step if isinstance(alpha, Tensor) else alpha * step
        return self @ type(self).exp(scaled)

    @property
    def batch_shape(self) -> torch.Size:
        """Shape of the leading axes."""
        return self.parameters.shape[:-1]

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of the stored tensor."""
        return self.parameters.dtype

    @property
    def device(self) -> torch.device:
        """Device of the stored tensor."""
        return self.parameters.device

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The same transforms on another device or in another dtype."""
        return type(self)(self.parameters.to(device=device, dtype=dtype))

    def expand(self, *batch: int) -> Self:
        """The batch broadcast to `batch` without copying."""
        return type(self)(self.parameters.expand(*batch, self.parameter_dim))

    @classmethod
    def stack(cls, members: Sequence[Self], dim: int = 0) -> Self:
        """Join members of equal batch along a new batch axis."""
        return cls(torch.stack([m.parameters for m in members], dim if dim >= 0 else dim - 1))

    @classmethod
    def cat(cls, members: Sequence[Self], dim: int = 0) -> Self:
        """Join members along an existing batch axis."""
        return cls(torch.cat([m.parameters for m in members], dim if dim >= 0 else dim - 1))

    def __getitem__(self, index: BatchIndex | tuple[BatchIndex, ...]) -> Self:
        """Index the batch axes as a tensor's: `T[3]`, `T[mask]`, `T[:, None]`, `T[..., None]`."""
        entries = index if isinstance(index, tuple) else (index,)
        if not any(entry is Ellipsis for entry in entries):
            entries = (*entries, Ellipsis)
        return type(self)(self.parameters[(*entries, slice(None))])

    def __len__(self) -> int:
        if not self.batch_shape:
            raise TypeError(f"a single {type(self).__name__} has no length")
        return self.batch_shape[0]

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

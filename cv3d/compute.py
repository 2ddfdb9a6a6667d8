"""The device and precision policy: decided once, at the edge, and passed down.

Nothing below asks a tensor which device it is on in order to choose an algorithm; it is handed a :class:`Compute`,
so the CPU exercises the very path that a GPU runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cv3d.errors import DeviceError

if TYPE_CHECKING:
    import torch

_MPS_FALLBACK = "PYTORCH_ENABLE_MPS_FALLBACK"


class DeviceName(StrEnum):
    """The devices that can be asked for."""

    AUTO = "auto"
    CPU = "cpu"
    MPS = "mps"
    CUDA = "cuda"


class Precision(StrEnum):
    """The floating-point types that dense work can be asked to run in."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    """For networks on a GPU. On the CPU it finds 98.4 to 99.8 % of the matches again that float32 finds (XFeat, ALIKED
    and DISK with their matchers on two frames of the sample room; bfloat16 85 to 97 %). It is nowhere the default: its
    results have not been measured on a GPU."""


@dataclass(frozen=True)
class Compute:
    """Where work runs, and in which precision.

    Dense work (networks, warping, cost volumes, voxels) runs in `dtype` on `device`. Minimal solvers and bundle
    adjustment run in `solver_dtype` on `solver_device`, always float64 on the CPU: no other device has float64 and
    the factorisations that they need.
    """

    device: torch.device
    """Device of dense work."""
    dtype: torch.dtype
    """Floating-point type of dense work."""

    @property
    def solver_device(self) -> torch.device:
        """Device of minimal solvers and nonlinear least squares."""
        import torch

        return torch.device("cpu")

    @property
    def solver_dtype(self) -> torch.dtype:
        """Floating-point type of minimal solvers and nonlinear least squares."""
        import torch

        return torch.float64

    @staticmethod
    def choose(
        device: str = DeviceName.AUTO, allow_cpu_fallback: bool = False, precision: str = Precision.FLOAT32
    ) -> Compute:
        """The policy for a device by name: dense work in `precision`, solvers in float64 on the CPU.

        Args:
            device: "cpu", "mps", "cuda", or "auto" for the first of CUDA, Metal and CPU that this machine has.
            allow_cpu_fallback: let torch move operations without a Metal kernel to the CPU. Off, such an operation
                is an error. The switch is process-wide and torch reads it when it is loaded, so it has to be asked
                for before anything imports torch.
            precision: "float32", or "float16" for networks alone: half the memory, and faster where the device has it.

        Raises:
            DeviceError: the device or the precision is unknown, the device is not available, or torch was loaded before
                the fallback was allowed.
        """
        try:
            name = DeviceName(device)
        except ValueError:
            raise DeviceError(f"unknown device '{device}': one of {', '.join(DeviceName)}") from None
        try:
            kind = Precision(precision)
        except ValueError:
            raise DeviceError(f"unknown precision '{precision}': one of {', '.join(Precision)}") from None
        if allow_cpu_fallback:
            _allow_mps_fallback()

        import torch

        if name is DeviceName.AUTO:
            name = _best_available()
        elif name is DeviceName.CUDA and not torch.cuda.is_available():
            raise DeviceError(f"no CUDA device: {_why_no_cuda()}; use --device auto or --device cpu")
        elif name is DeviceName.MPS and not torch.backends.mps.is_available():
            raise DeviceError(f"no Metal (MPS) device: {_why_no_mps()}; use --device auto or --device cpu")
        return Compute(torch.device(name.value), torch.float16 if kind is Precision.FLOAT16 else torch.float32)


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run a block with torch limited to `count` threads, and restore the process's setting after it.

    Small float64 problems run no faster on several threads, and on a busy machine far slower: the threads of each
    little operation wait for one another.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def usable_cores() -> int:
    """How many cores this process may use, which a container or a batch system may have narrowed."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def _best_available() -> DeviceName:
    import torch

    if torch.cuda.is_available():
        return DeviceName.CUDA
    if torch.backends.mps.is_available():
        return DeviceName.MPS
    return DeviceName.CPU


def _why_no_cuda() -> str:
    import torch

    if torch.version.cuda is None:
        return f"the installed torch {torch.__version__} is built without CUDA"
    return "torch finds no NVIDIA GPU with a working driver (does nvidia-smi run?)"


def _why_no_mps() -> str:
    import torch

    if not torch.backends.mps.is_built():
        return f"the installed torch {torch.__version__} is built without Metal, which only macOS builds have"
    return "it needs an Apple GPU and macOS 14 or newer"


def _allow_mps_fallback() -> None:
    if os.environ.get(_MPS_FALLBACK) == "1":
        return
    if "torch" in sys.modules:
        raise DeviceError(f"the CPU fallback has to be allowed before torch is loaded: set {_MPS_FALLBACK}=1")
    os.environ[_MPS_FALLBACK] = "1"

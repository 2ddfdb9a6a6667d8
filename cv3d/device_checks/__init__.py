"""Whether a device computes what the CPU computes: every dense kernel there is, on odd shapes and strides.

A kernel may be missing on a device, which raises, or be there and give wrong numbers, which nothing but a comparison on
that very machine can find. `cv3d doctor --device NAME` runs it.
"""

from cv3d.device_checks.catalogue import KERNELS
from cv3d.device_checks.result import DeviceReport, KernelVerdict, Verdict
from cv3d.device_checks.running import check_device

__all__ = ["KERNELS", "DeviceReport", "KernelVerdict", "Verdict", "check_device"]

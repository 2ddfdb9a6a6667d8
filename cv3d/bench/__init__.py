"""How fast the stages are on a machine, with the shipped samples, and beside peers that are installed."""

from cv3d.bench.comparing import Comparison, compare_with, read_bench
from cv3d.bench.result import BenchResult, Timing
from cv3d.bench.running import bench
from cv3d.bench.stages import STAGES

__all__ = ["STAGES", "BenchResult", "Comparison", "Timing", "bench", "compare_with", "read_bench"]

"""How near a surface is to the true one, and to depth that was measured."""

from cv3d.evaluation.surface.depth_error import DepthErrors, depth_errors
from cv3d.evaluation.surface.evaluating import SurfaceOptions, evaluate_surface
from cv3d.evaluation.surface.observed import SurfaceView
from cv3d.evaluation.surface.result import SurfaceEvaluation, measure_names

__all__ = [
    "DepthErrors",
    "SurfaceEvaluation",
    "SurfaceOptions",
    "SurfaceView",
    "depth_errors",
    "evaluate_surface",
    "measure_names",
]

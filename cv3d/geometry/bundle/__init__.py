"""Bundle adjustment: poses, points and intrinsics that agree best with what was seen."""

from cv3d.geometry.bundle.covariance import BundleCovariance, bundle_covariance
from cv3d.geometry.bundle.marginalizing import Marginalized, marginalize
from cv3d.geometry.bundle.options import BundleOptions, LinearSolver, Termination
from cv3d.geometry.bundle.priors import GaussianPrior, PointPriors
from cv3d.geometry.bundle.problem import BundleProblem, FreeIntrinsics, Observations, Views
from cv3d.geometry.bundle.result import BundleResult, BundleTimes
from cv3d.geometry.bundle.solving import adjust_bundle

__all__ = [
    "BundleCovariance",
    "BundleOptions",
    "BundleProblem",
    "BundleResult",
    "BundleTimes",
    "FreeIntrinsics",
    "GaussianPrior",
    "LinearSolver",
    "Marginalized",
    "Observations",
    "PointPriors",
    "Termination",
    "Views",
    "adjust_bundle",
    "bundle_covariance",
    "marginalize",
]

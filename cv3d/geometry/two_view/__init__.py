"""Two-view geometry: the model that relates two pictures, and the motion between their cameras."""

from cv3d.geometry.two_view.decomposition import decompose_essential, decompose_homography, ray_depths, recover_pose
from cv3d.geometry.two_view.estimating import estimate_two_view
from cv3d.geometry.two_view.locality import locally_consistent
from cv3d.geometry.two_view.residuals import sampson_distances, symmetric_epipolar_distances, transfer_errors
from cv3d.geometry.two_view.result import (
    Degeneracy,
    FocalEstimate,
    ModelKind,
    TwoView,
    TwoViewOptions,
    UnknownFocal,
)

__all__ = [
    "Degeneracy",
    "FocalEstimate",
    "ModelKind",
    "TwoView",
    "TwoViewOptions",
    "UnknownFocal",
    "decompose_essential",
    "decompose_homography",
    "estimate_two_view",
    "locally_consistent",
    "ray_depths",
    "recover_pose",
    "sampson_distances",
    "symmetric_epipolar_distances",
    "transfer_errors",
]

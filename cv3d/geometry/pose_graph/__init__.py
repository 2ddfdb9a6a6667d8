"""Pose graphs: poses of many frames, rigid or with scales of their own, from measured motions between pairs of them."""

from cv3d.geometry.pose_graph.graph import PoseGraph
from cv3d.geometry.pose_graph.optimizing import PoseGraphOptions, Start, optimize_pose_graph
from cv3d.geometry.pose_graph.residuals import RotationError
from cv3d.geometry.pose_graph.solution import PoseGraphSolution
from cv3d.geometry.pose_graph.switched import SwitchedLoss

__all__ = [
    "PoseGraph",
    "PoseGraphOptions",
    "PoseGraphSolution",
    "RotationError",
    "Start",
    "SwitchedLoss",
    "optimize_pose_graph",
]

"""Boards with numbered markers: ChArUco boards and grids of tags."""

from cv3d.calibration.detection.markers.aprilgrid import AprilGridDetector
from cv3d.calibration.detection.markers.charuco import CharucoDetector

__all__ = ["AprilGridDetector", "CharucoDetector"]

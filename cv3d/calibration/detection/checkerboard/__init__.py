"""Checkerboards of any size."""

from cv3d.calibration.detection.checkerboard.detector import CheckerboardDetector

__all__ = ["CheckerboardDetector"]

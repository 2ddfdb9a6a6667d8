"""Boards of dots: regular, asymmetric and hexagonal grids of circles."""

from cv3d.calibration.detection.circles.detector import CirclesDetector

__all__ = ["CirclesDetector"]

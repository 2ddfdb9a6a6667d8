"""Camera models: from points in the camera frame to pixels and back."""

from cv3d.geometry.cameras.base import CameraModel
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.registry import MODELS, get_model

__all__ = ["MODELS", "Camera", "CameraModel", "get_model"]

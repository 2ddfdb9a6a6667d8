"""Views: the pictures that an ideal camera at the same place would have taken, and how to resample into them."""

from cv3d.geometry.views.framing import choose_view
from cv3d.geometry.views.rectification import Rectification, RectifiedCamera, rectify
from cv3d.geometry.views.remapping import PixelMap, Window, largest_window, pixel_map
from cv3d.geometry.views.view import Projection, View

__all__ = [
    "PixelMap",
    "Projection",
    "Rectification",
    "RectifiedCamera",
    "View",
    "Window",
    "choose_view",
    "largest_window",
    "pixel_map",
    "rectify",
]

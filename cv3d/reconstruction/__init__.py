"""The whole road from pictures or a clip to a surface: stages, quality, what a later run goes on from."""

from cv3d.reconstruction.options import ReconstructOptions, Stage
from cv3d.reconstruction.running import reconstruct
from cv3d.reconstruction.scene import DenseScene

__all__ = ["DenseScene", "ReconstructOptions", "Stage", "reconstruct"]

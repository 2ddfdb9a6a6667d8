"""Rotations, rigid motions and similarities of space, on tensors with leading batch axes.

A transform is named after the frames it joins, destination first, so that neighbouring frames cancel in a product:
`cam_from_world @ world_from_body` is `cam_from_body`, and `cam_from_world @ points_world` lie in the camera frame.

Tangent vectors are ordered [rho, phi] for :class:`SE3` and [rho, phi, sigma] for :class:`Sim3`: rho is the translation
part, phi the rotation vector (radians), sigma the logarithm of the scale; see Solà, Deray and Atchuthan 2018, "A micro
Lie theory for state estimation in robotics", which the adjoints and Jacobians follow too.
"""

from cv3d.geometry.transforms.base import LieGroup
from cv3d.geometry.transforms.se3 import SE3
from cv3d.geometry.transforms.sim3 import Sim3
from cv3d.geometry.transforms.so3 import SO3

__all__ = ["SE3", "SO3", "LieGroup", "Sim3"]

"""Files of meshes and point clouds: PLY, OBJ, glTF's binary form (GLB) and USDZ.

In all of them vertices stay in cv3d's own world. Formats that prescribe which axis is up get a turn above the mesh;
see :class:`Up`.
"""

from cv3d.formats.meshes.files import MESH_SUFFIXES, read_mesh, write_mesh
from cv3d.formats.meshes.up import Up, up_of_cameras

__all__ = ["MESH_SUFFIXES", "Up", "read_mesh", "up_of_cameras", "write_mesh"]

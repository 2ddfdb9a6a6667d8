"""USDZ, which Apple's Quick Look opens: a USD stage in an uncompressed archive (OpenUSD, USDZ specification).

Needs the package usd-core. The stage is metres, y up; vertices are cv3d's world as it is, under a node that turns them
up and whose custom data name the axis. Colours are linear light. A texture's second coordinate goes up from the lower
edge.
"""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cv3d.errors import DependencyError, FormatError, InputError
from cv3d.formats.atomic import atomic_write_bytes
from cv3d.formats.meshes.colours import linear_from_srgb, srgb_from_linear
from cv3d.formats.meshes.up import Up, y_up_from_world
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.texture import Texture

_JPEG_QUALITY = 92
_Usd: TypeAlias = Any
"""What usd-core gives, which has no types."""


def write_usdz(path: Path, mesh: Mesh, texture: Texture | None = None, up: Up = Up.MINUS_Y) -> None:
    """Write a mesh or point cloud.

    Args:
        path: of the file.
        mesh: metres.
        texture: a picture over its triangles, in the place of its vertices' colours.
        up: the axis of the mesh's world that shall be up.

    Raises:
        OutputError: the file cannot be written.
        DependencyError: the package usd-core is missing.
    """
    usd = _usd()
    with tempfile.TemporaryDirectory(prefix="cv3d-usdz-") as name:
        folder = Path(name)
        picture = folder / "texture.jpg"
        if texture is not None:
            Image.fromarray(texture.picture).save(picture, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        stage = usd.Usd.Stage.CreateNew(str(folder / "mesh.usdc"))
        usd.UsdGeom.SetStageUpAxis(stage, usd.UsdGeom.Tokens.y)
        usd.UsdGeom.SetStageMetersPerUnit(stage, 1.0)
        root = usd.UsdGeom.Xform.Define(stage, "/world")
        stage.SetDefaultPrim(root.GetPrim())
        root.GetPrim().SetCustomDataByKey("up", up.value)
        turn = np.eye(4)
        turn[:3, :3] = y_up_from_world(up)
        # USD multiplies row vectors from the left.
        root.AddTransformOp().Set(usd.Gf.Matrix4d(*turn.T.ravel().tolist()))
        surface = _define_points(usd, stage, mesh) if not len(mesh.triangles) else _define_mesh(usd, stage, mesh)
        if texture is not None:
            _lay(usd, surface, texture)
        elif mesh.colors is not None:
            colours = surface.CreateDisplayColorPrimvar(usd.UsdGeom.Tokens.vertex)
            colours.Set(usd.Vt.Vec3fArray.FromNumpy(linear_from_srgb(mesh.colors)))
        if len(mesh.triangles):
            _bind_material(usd, stage, surface, mesh.colors is not None, texture is not None)
        stage.GetRootLayer().Save()
        package = folder / "mesh.usdz"
        if not usd.UsdUtils.CreateNewUsdzPackage(str(folder / "mesh.usdc"), str(package)):
            raise FormatError(f"{path}: usd-core could not pack the stage")
        atomic_write_bytes(path, package.read_bytes())


def check_usd() -> None:
    """See that USDZ can be written.

    Raises:
        DependencyError: the package usd-core is missing.
    """
    _usd()


def _usd() -> _Usd:
    """The package of usd-core with the modules that are used here."""
    try:
        for name in ("Gf", "Sdf", "Tf", "Usd", "UsdGeom", "UsdShade", "UsdUtils", "Vt"):
            import_module(f"pxr.{name}")
    except ImportError as error:
        raise DependencyError("USDZ needs the package usd-core: pip install 'cv3d[usd]'") from error
    return import_module("pxr")


def _define_points(usd: _Usd, stage: _Usd, mesh: Mesh) -> _Usd:
    points = usd.UsdGeom.Points.Define(stage, "/world/points")
    points.CreatePointsAttr(usd.Vt.Vec3fArray.FromNumpy(mesh.vertices))
    points.CreateWidthsAttr(usd.Vt.FloatArray(1, 0.005))
    points.SetWidthsInterpolation(usd.UsdGeom.Tokens.constant)
    if mesh.normals is not None:
        points.CreateNormalsAttr(usd.Vt.Vec3fArray.FromNumpy(mesh.normals))
    _set_extent(usd, points, mesh)
    return points


def _define_mesh(usd: _Usd, stage: _Usd, mesh: Mesh) -> _Usd:
    surface = usd.UsdGeom.Mesh.Define(stage, "/world/mesh")
    surface.CreatePointsAttr(usd.Vt.Vec3fArray.FromNumpy(mesh.vertices))
    surface.CreateFaceVertexCountsAttr(usd.Vt.IntArray(len(mesh.triangles), 3))
    surface.CreateFaceVertexIndicesAttr(usd.Vt.IntArray.FromNumpy(mesh.triangles.reshape(-1)))
    surface.CreateSubdivisionSchemeAttr(usd.UsdGeom.Tokens.none)
    surface.CreateDoubleSidedAttr(True)
    if mesh.normals is not None:
        surface.CreateNormalsAttr(usd.Vt.Vec3fArray.FromNumpy(mesh.normals))
        surface.SetNormalsInterpolation(usd.UsdGeom.Tokens.vertex)
    _set_extent(usd, surface, mesh)
    return surface


def _set_extent(usd: _Usd, shape: _Usd, mesh: Mesh) -> None:
    if len(mesh.vertices):
        bounds = np.stack([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)])
        shape.CreateExtentAttr(usd.Vt.Vec3fArray.FromNumpy(bounds))


def _lay(usd: _Usd, surface: _Usd, texture: Texture) -> None:
    corners = texture.corners.reshape(-1, 2).astype(np.float32)
    corners[:, 1] = 1.0 - corners[:, 1]
    primvars = usd.UsdGeom.PrimvarsAPI(surface)
    st = primvars.CreatePrimvar("st", usd.Sdf.ValueTypeNames.TexCoord2fArray, usd.UsdGeom.Tokens.faceVarying)
    st.Set(usd.Vt.Vec2fArray.FromNumpy(corners))


def _bind_material(usd: _Usd, stage: _Usd, surface: _Usd, has_colors: bool, has_texture: bool) -> None:
    """A dull surface whose colour comes from the picture or the vertices."""
    kinds = usd.Sdf.ValueTypeNames
    material = usd.UsdShade.Material.Define(stage, "/world/material")
    shader = usd.UsdShade.Shader.Define(stage, "/world/material/surface")
    shader.CreateIdAttr("UsdPreviewSurface")
    shader.CreateInput("roughness", kinds.Float).Set(1.0)
    shader.CreateInput("metallic", kinds.Float).Set(0.0)
    colour = shader.CreateInput("diffuseColor", kinds.Color3f)
    if has_texture or has_colors:
        reader = usd.UsdShade.Shader.Define(stage, "/world/material/reader")
        reader.CreateIdAttr("UsdPrimvarReader_float2" if has_texture else "UsdPrimvarReader_float3")
        reader.CreateInput("varname", kinds.String).Set("st" if has_texture else "displayColor")
        if has_texture:
            place = reader.CreateOutput("result", kinds.Float2)
            picture = usd.UsdShade.Shader.Define(stage, "/world/material/picture")
            picture.CreateIdAttr("UsdUVTexture")
            picture.CreateInput("file", kinds.Asset).Set("./texture.jpg")
            picture.CreateInput("sourceColorSpace", kinds.Token).Set("sRGB")
            picture.CreateInput("wrapS", kinds.Token).Set("clamp")
            picture.CreateInput("wrapT", kinds.Token).Set("clamp")
            picture.CreateInput("st", kinds.Float2).ConnectToSource(place)
            colour.ConnectToSource(picture.CreateOutput("rgb", kinds.Float3))
        else:
            colour.ConnectToSource(reader.CreateOutput("result", kinds.Float3))
    material.CreateSurfaceOutput().ConnectToSource(shader.CreateOutput("surface", kinds.Token))
    usd.UsdShade.MaterialBindingAPI.Apply(surface.GetPrim()).Bind(material)


def read_usdz(path: Path) -> Mesh:
    """All meshes and points of a stage as one, in cv3d's world and metres.

    A file that cv3d wrote comes back in the world it was in; of others the axis that is up becomes cv3d's -y.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no USD stage, or holds no vertices.
        DependencyError: the package usd-core is missing.
    """
    usd = _usd()
    try:
        stage = usd.Usd.Stage.Open(str(path))
    except usd.Tf.ErrorException as error:
        raise FormatError(f"{path}: is no USD stage") from error
    if stage is None:
        raise InputError(f"{path}: cannot be read as a USD stage")
    root = stage.GetDefaultPrim()
    named = root.GetCustomDataByKey("up") if root else None
    up = Up(named) if named in tuple(Up) else Up.MINUS_Y
    y_up = np.eye(3) if usd.UsdGeom.GetStageUpAxis(stage) != usd.UsdGeom.Tokens.z else y_up_from_world(Up.PLUS_Z)
    world_from_stage = y_up_from_world(up).T @ y_up * usd.UsdGeom.GetStageMetersPerUnit(stage)
    parts = []
    for prim in stage.Traverse():
        if prim.IsA(usd.UsdGeom.Mesh) or prim.IsA(usd.UsdGeom.Points):
            parts.append(_part(usd, prim, world_from_stage))
    if not sum(len(vertices) for vertices, *_ in parts):
        raise FormatError(f"{path}: holds no vertices")
    starts = np.cumsum([0, *(len(part[0]) for part in parts)]).tolist()
    normals = [part[2] for part in parts if part[2] is not None]
    colors = [part[3] for part in parts if part[3] is not None]
    return Mesh(
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] + start for part, start in zip(parts, starts[:-1], strict=True)]).astype(np.int32),
        np.concatenate(normals) if len(normals) == len(parts) else None,
        np.concatenate(colors) if len(colors) == len(parts) else None,
    )


def _part(
    usd: _Usd, prim: _Usd, world_from_stage: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32] | None, NDArray[np.uint8] | None]:
    """Vertices, triangles, normals and colours of one prim in cv3d's world."""
    shape = usd.UsdGeom.Mesh(prim) if prim.IsA(usd.UsdGeom.Mesh) else usd.UsdGeom.Points(prim)
    stage_from_prim = np.array(usd.UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(usd.Usd.TimeCode.Default())).T
    linear = world_from_stage @ stage_from_prim[:3, :3]
    points = np.array(shape.GetPointsAttr().Get() or [], np.float64).reshape(-1, 3)
    vertices = (points @ linear.T + world_from_stage @ stage_from_prim[:3, 3]).astype(np.float32)
    triangles = np.zeros((0, 3), np.int32)
    if prim.IsA(usd.UsdGeom.Mesh):
        counts = np.array(shape.GetFaceVertexCountsAttr().Get() or [], np.int64)
        corners = np.array(shape.GetFaceVertexIndicesAttr().Get() or [], np.int64)
        triangles = _fans(counts, corners)
        if (np.linalg.det(linear) < 0.0) != (shape.GetOrientationAttr().Get() == usd.UsdGeom.Tokens.leftHanded):
            triangles = triangles[:, ::-1]
    normals = None
    given = np.array(shape.GetNormalsAttr().Get() or [], np.float64).reshape(-1, 3)
    if len(given) == len(points) and len(given):
        turned = given @ np.linalg.inv(linear)
        lengths = np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-30)
        normals = (turned / lengths).astype(np.float32)
    colors = None
    light = np.array(shape.GetDisplayColorAttr().Get() or [], np.float64).reshape(-1, 3)
    if len(light) in (1, len(points)) and len(light):
        colors = srgb_from_linear(np.broadcast_to(light, (len(points), 3)))
    return vertices, triangles, normals, colors


def _fans(counts: NDArray[np.int64], corners: NDArray[np.int64]) -> NDArray[np.int32]:
    """Triangles of polygons that follow one another, each cut into a fan."""
    starts = np.cumsum(counts) - counts
    pieces = [np.zeros((0, 3), np.int64)]
    for k in range(1, int(counts.max(initial=0)) - 1):
        first = starts[counts > k + 1]
        pieces.append(np.stack([corners[first], corners[first + k], corners[first + k + 1]], axis=1))
    return np.concatenate(pieces).astype(np.int32)

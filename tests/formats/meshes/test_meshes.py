"""Meshes written, read back, and read by other tools."""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cv3d.errors import DependencyError, FormatError, InputError, UsageError
from cv3d.formats.meshes import Up, read_mesh, write_mesh
from cv3d.formats.meshes.colours import linear_from_srgb, srgb_from_linear
from cv3d.formats.meshes.files import MESH_FORMATS
from cv3d.formats.meshes.glb import _QUAT_XYZW
from cv3d.formats.meshes.up import y_up_from_world
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.texture import Texture

SUFFIXES = [".obj", ".glb", ".usdz"]


def _needs(suffix: str) -> None:
    if suffix == ".usdz":
        pytest.importorskip("pxr", reason="usd-core is not installed")


@pytest.fixture
def mesh() -> Mesh:
    """A wavy patch of 6x7 vertices with colours and normals."""
    rng = np.random.default_rng(3)
    x, y = np.meshgrid(np.linspace(-1.0, 1.0, 7), np.linspace(-0.5, 2.0, 6))
    vertices = np.stack([x, y, 3.0 + 0.2 * np.sin(3.0 * x + y)], axis=-1).reshape(-1, 3).astype(np.float32)
    a = (np.arange(5)[:, None] * 7 + np.arange(6)).reshape(-1)
    triangles = np.concatenate([np.stack([a, a + 7, a + 1], 1), np.stack([a + 1, a + 7, a + 8], 1)]).astype(np.int32)
    normals = rng.normal(size=vertices.shape)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    colors = rng.integers(0, 256, vertices.shape).astype(np.uint8)
    return Mesh(vertices, triangles, normals.astype(np.float32), colors)


@pytest.fixture
def texture(mesh: Mesh) -> Texture:
    """Red above, green below; each triangle has a place of its own."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32, :, 0] = 250
    picture[32:, :, 1] = 250
    corners = np.random.default_rng(1).random((len(mesh.triangles), 3, 2)).astype(np.float32)
    return Texture(picture, corners)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("up", list(Up))
def test_what_is_written_comes_back(mesh: Mesh, tmp_path: Path, suffix: str, up: Up) -> None:
    _needs(suffix)
    assert write_mesh(tmp_path / f"a{suffix}", mesh, up=up) == (tmp_path / f"a{suffix}",)
    back = read_mesh(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-6)
    np.testing.assert_array_equal(back.triangles, mesh.triangles)
    assert back.normals is not None
    np.testing.assert_allclose(back.normals, mesh.normals, atol=2e-6)
    np.testing.assert_array_equal(back.colors, mesh.colors)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_clouds_and_bare_meshes(mesh: Mesh, tmp_path: Path, suffix: str) -> None:
    _needs(suffix)
    cloud = replace(mesh, triangles=np.zeros((0, 3), np.int32))
    write_mesh(tmp_path / f"cloud{suffix}", cloud)
    back = read_mesh(tmp_path / f"cloud{suffix}")
    assert len(back.triangles) == 0
    np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-6)
    np.testing.assert_array_equal(back.colors, mesh.colors)
    assert back.normals is not None
    write_mesh(tmp_path / f"bare{suffix}", Mesh(mesh.vertices, mesh.triangles))
    bare = read_mesh(tmp_path / f"bare{suffix}")
    assert bare.normals is None
    assert bare.colors is None
    np.testing.assert_array_equal(bare.triangles, mesh.triangles)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_texture_leaves_the_surface_as_it_is(mesh: Mesh, texture: Texture, tmp_path: Path, suffix: str) -> None:
    _needs(suffix)
    files = write_mesh(tmp_path / f"a{suffix}", mesh, texture)
    assert all(path.is_file() for path in files)
    back = read_mesh(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(back.vertices[back.triangles], mesh.vertices[mesh.triangles], atol=1e-6)


def test_up_is_a_rotation_into_y() -> None:
    for up, axis in ((Up.MINUS_Y, (0, -1, 0)), (Up.PLUS_Z, (0, 0, 1)), (Up.PLUS_Y, (0, 1, 0))):
        turn = y_up_from_world(up)
        np.testing.assert_array_equal(turn @ np.array(axis), (0, 1, 0))
        np.testing.assert_array_equal(turn @ turn.T, np.eye(3))
        assert np.linalg.det(turn) == pytest.approx(1.0)


def test_the_quaternions_of_glb_are_these_rotations() -> None:
    from scipy.spatial.transform import Rotation

    for up, quat in _QUAT_XYZW.items():
        np.testing.assert_allclose(Rotation.from_quat(quat).as_matrix(), y_up_from_world(up), atol=1e-12)


def test_srgb_survives_sixteen_bits_of_linear_light() -> None:
    every = np.arange(256, dtype=np.uint8)
    stored = np.round(65535.0 * linear_from_srgb(every)).astype(np.uint16)
    np.testing.assert_array_equal(srgb_from_linear(stored / 65535.0), every)
    assert linear_from_srgb(np.array([188], np.uint8))[0] == pytest.approx(0.5029, abs=1e-4)


def test_glb_is_laid_out_as_the_specification_says(mesh: Mesh, texture: Texture, tmp_path: Path) -> None:
    write_mesh(tmp_path / "a.glb", mesh, texture)
    data = (tmp_path / "a.glb").read_bytes()
    magic, version, total, length, kind = struct.unpack_from("<IIIII", data)
    assert (magic, version, total, kind) == (0x46546C67, 2, len(data), 0x4E4F534A)
    assert length % 4 == 0
    document = json.loads(data[20 : 20 + length])
    size, kind = struct.unpack_from("<II", data, 20 + length)
    assert kind == 0x004E4942
    assert size == document["buffers"][0]["byteLength"]
    assert 28 + length + size == total
    for accessor in document["accessors"]:
        view = document["bufferViews"][accessor["bufferView"]]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        item = {5126: 4, 5125: 4, 5123: 2}[accessor["componentType"]]
        assert view["byteOffset"] % 4 == 0
        assert accessor["count"] * width * item == view["byteLength"]
        assert view["byteOffset"] + view["byteLength"] <= size
    positions = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    np.testing.assert_allclose(positions["min"], mesh.vertices.min(axis=0))
    assert "KHR_materials_unlit" in document["extensionsUsed"]


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
def test_open3d_reads_the_same(mesh: Mesh, tmp_path: Path, suffix: str) -> None:
    o3d = pytest.importorskip("open3d")
    write_mesh(tmp_path / f"a{suffix}", mesh, up=Up.PLUS_Z)
    read = o3d.io.read_triangle_mesh(str(tmp_path / f"a{suffix}"))
    vertices, expected = np.asarray(read.vertices), mesh.vertices.astype(np.float64)
    if suffix == ".glb":
        expected = expected @ y_up_from_world(Up.PLUS_Z).T
    np.testing.assert_allclose(vertices[np.asarray(read.triangles)], expected[mesh.triangles], atol=1e-5)
    assert mesh.colors is not None
    colors = mesh.colors / 255.0 if suffix == ".obj" else linear_from_srgb(mesh.colors)
    corners = np.asarray(read.vertex_colors)[np.asarray(read.triangles)]
    np.testing.assert_allclose(corners, colors[mesh.triangles], atol=3e-3)


def test_open3d_finds_the_texture_of_an_obj_the_right_way_up(mesh: Mesh, texture: Texture, tmp_path: Path) -> None:
    o3d = pytest.importorskip("open3d")
    write_mesh(tmp_path / "a.obj", mesh, texture)
    read = o3d.io.read_triangle_mesh(str(tmp_path / "a.obj"), enable_post_processing=False)
    uvs = np.asarray(read.triangle_uvs)
    upwards = texture.corners.reshape(-1, 2) * (1.0, -1.0) + (0.0, 1.0)
    assert {tuple(uv) for uv in np.round(uvs, 4).tolist()} == {tuple(uv) for uv in np.round(upwards, 4).tolist()}
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.size == (64, 64)
        red, green, _ = picture.getpixel((8, 8))
    assert red > 240
    assert green < 10


def test_usd_reads_the_same(mesh: Mesh, texture: Texture, tmp_path: Path) -> None:
    pytest.importorskip("pxr", reason="usd-core is not installed")
    from pxr import Usd, UsdGeom, UsdShade, UsdUtils

    write_mesh(tmp_path / "a.usdz", mesh)
    stage = Usd.Stage.Open(str(tmp_path / "a.usdz"))
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    prim = stage.GetPrimAtPath("/world/mesh")
    turned = np.array(
        [
            UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(Usd.TimeCode.Default()).Transform(point)
            for point in UsdGeom.Mesh(prim).GetPointsAttr().Get()
        ]
    )
    np.testing.assert_allclose(turned, mesh.vertices * (1, -1, -1), atol=1e-6)
    write_mesh(tmp_path / "t.usdz", mesh, texture)
    stage = Usd.Stage.Open(str(tmp_path / "t.usdz"))
    bound, _ = UsdShade.MaterialBindingAPI(stage.GetPrimAtPath("/world/mesh")).ComputeBoundMaterial()
    assert bound.GetPath() == "/world/material"
    _, assets, missing = UsdUtils.ComputeAllDependencies(str(tmp_path / "t.usdz"))
    assert not missing
    assert any("texture.jpg" in str(asset) for asset in assets)


def test_usdz_without_its_package_says_how_to_get_it(
    mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pxr.Gf", None)
    with pytest.raises(DependencyError, match=r"pip install 'cv3d\[usd\]'"):
        write_mesh(tmp_path / "a.usdz", mesh)
    assert not list(tmp_path.iterdir())


def test_obj_of_other_tools(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text(
        "# a square and a triangle\nmtllib none.mtl\no square\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
        "vt 0 0\nvn 0 0 1\ns off\nf -4/1/-1 -3/1/-1 -2/1/-1 -1/1/-1\no other\nv 0 0 5\nv 1 0 5\nv 0 1 5\n"
        "f 5//1 6//1 \\\n7//1\n"
    )
    mesh = read_mesh(tmp_path / "a.obj")
    np.testing.assert_array_equal(mesh.triangles, [[0, 1, 2], [0, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(mesh.normals, np.tile([0, 0, 1], (7, 1)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no vertices"),
        ("v 0 0\n", "same number"),
        ("v 0 0 x\n", "not all numbers"),
        ("v 0 0 nan\n", "not finite"),
        ("v 0 0 0\nf 1 2 3\n", "beyond the 1"),
        ("v 0 0 0\nf 1 1\n", "fewer than three"),
        ("v 0 0 0\nf a b c\n", "no index"),
    ],
)
def test_bad_objs(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.obj").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_mesh(tmp_path / "a.obj")


def test_bad_glbs(mesh: Mesh, tmp_path: Path) -> None:
    write_mesh(tmp_path / "a.glb", mesh)
    data = (tmp_path / "a.glb").read_bytes()
    for content, message in (
        (b"solid", "no binary glTF"),
        (data[:500], "cut off"),
        (data[:4] + struct.pack("<I", 1) + data[8:], "glTF 1"),
        (data.replace(b'"accessors"', b'"successor"'), "cannot be read"),
        (data.replace(b'"doubleSided":true', b'"d":1             '), None),
        (
            data.replace(b'"extensionsUsed":["KHR_materials_unlit"]', b'"extensionsRequired":["KHR_draco_mesh"] '),
            "draco",
        ),
    ):
        (tmp_path / "b.glb").write_bytes(content)
        if message is None:
            read_mesh(tmp_path / "b.glb")
            continue
        with pytest.raises(FormatError, match=message):
            read_mesh(tmp_path / "b.glb")


def test_names_that_are_no_meshes(mesh: Mesh, texture: Texture, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.usdz"):
        write_mesh(tmp_path / "a.stl", mesh)
    with pytest.raises(UsageError, match="no textures here"):
        write_mesh(tmp_path / "a.ply", mesh, texture)
    with pytest.raises(InputError, match="no such file"):
        read_mesh(tmp_path / "a.obj")
    (tmp_path / "a.stl").write_text("solid")
    with pytest.raises(FormatError, match="no mesh that cv3d reads"):
        read_mesh(tmp_path / "a.stl")


def test_every_format_can_be_loaded() -> None:
    for known in MESH_FORMATS.values():
        if known.name == "ply":
            pytest.importorskip("cv3d.formats.ply")
        assert callable(known.function("read"))
        assert callable(known.function("write"))

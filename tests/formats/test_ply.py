"""PLY files: written and read back, read by another tool, and what is wrong with a bad one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cv3d.errors import FormatError, InputError
from cv3d.formats.ply import decode, encode, read_ply, write_ply
from cv3d.geometry.mesh import Mesh

HEADER = "ply\nformat {} 1.0\nelement vertex 4\nproperty double x\nproperty float y\nproperty float z\n"
SQUARE = "0 0 0\n1 0 0\n1 1 0\n0 1 0.5\n"


def sphere(count: int = 50, faces: int = 80) -> Mesh:
    generator = np.random.default_rng(0)
    vertices = generator.normal(size=(count, 3)).astype(np.float32)
    normals = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    triangles = generator.integers(0, count, (faces, 3)).astype(np.int32)
    return Mesh(vertices, triangles, normals, generator.integers(0, 256, (count, 3)).astype(np.uint8))


def assert_same(ours: Mesh, theirs: Mesh) -> None:
    np.testing.assert_array_equal(ours.vertices, theirs.vertices)
    np.testing.assert_array_equal(ours.triangles, theirs.triangles)
    for a, b in ((ours.normals, theirs.normals), (ours.colors, theirs.colors)):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


@pytest.mark.parametrize("with_normals", [False, True])
@pytest.mark.parametrize("with_colors", [False, True])
@pytest.mark.parametrize("faces", [0, 80])
def test_what_is_written_is_read_back(with_normals: bool, with_colors: bool, faces: int, tmp_path: Path) -> None:
    full = sphere(faces=faces)
    mesh = Mesh(
        full.vertices,
        full.triangles,
        full.normals if with_normals else None,
        full.colors if with_colors else None,
    )
    write_ply(tmp_path / "a.ply", mesh)
    assert_same(read_ply(tmp_path / "a.ply"), mesh)


def test_nothing_is_written_and_read_back() -> None:
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), None, np.zeros((0, 3), np.uint8))
    assert_same(decode(encode(empty), "a"), empty)


def test_open3d_reads_what_is_written_and_the_other_way_round(tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d")
    mesh = sphere()
    write_ply(tmp_path / "ours.ply", mesh)
    theirs = open3d.io.read_triangle_mesh(str(tmp_path / "ours.ply"))
    np.testing.assert_array_equal(np.asarray(theirs.vertices, np.float32), mesh.vertices)
    np.testing.assert_array_equal(np.asarray(theirs.triangles), mesh.triangles)
    np.testing.assert_allclose(np.asarray(theirs.vertex_colors), np.asarray(mesh.colors) / 255.0)
    for name, is_text in (("text.ply", True), ("binary.ply", False)):
        open3d.io.write_triangle_mesh(str(tmp_path / name), theirs, write_ascii=is_text)
        back = read_ply(tmp_path / name)
        np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-5)
        np.testing.assert_array_equal(back.triangles, mesh.triangles)
        np.testing.assert_array_equal(np.asarray(back.colors), np.asarray(mesh.colors))
    write_ply(tmp_path / "points.ply", Mesh(mesh.vertices, np.zeros((0, 3), np.int32), None, mesh.colors))
    cloud = open3d.io.read_point_cloud(str(tmp_path / "points.ply"))
    np.testing.assert_array_equal(np.asarray(cloud.points, np.float32), mesh.vertices)


def test_text_with_polygons_and_unknown_elements() -> None:
    text = (
        HEADER.format("ascii")
        + "property float red\nproperty float green\nproperty float blue\n"
        + "element face 3\nproperty list uchar uint vertex_index\nproperty int material\n"
        + "element edge 1\nproperty int vertex1\nproperty int vertex2\nend_header\n"
        + "".join(f"{line} 0 0.5 1\n" for line in SQUARE.splitlines())
        + "3 0 1 2 7\n4 0 1 2 3 7\n3 3 2 1 7\n0 1\n"
    )
    mesh = decode(text.encode(), "a")
    np.testing.assert_array_equal(mesh.triangles, [[0, 1, 2], [0, 1, 2], [0, 2, 3], [3, 2, 1]])
    np.testing.assert_array_equal(np.asarray(mesh.colors), [[0, 128, 255]] * 4)
    np.testing.assert_allclose(mesh.vertices[3], [0.0, 1.0, 0.5])


@pytest.mark.parametrize(("name", "order"), [("binary_little_endian", "<"), ("binary_big_endian", ">")])
def test_binary_of_both_byte_orders_with_polygons_of_two_lengths(name: str, order: str) -> None:
    header = HEADER.format(name) + "element face 2\nproperty list uchar int vertex_indices\nend_header\n"
    rows = np.zeros(4, np.dtype([("x", f"{order}f8"), ("y", f"{order}f4"), ("z", f"{order}f4")]))
    rows["x"], rows["y"] = [0, 1, 1, 0], [0, 0, 1, 1]
    faces = b"\x04" + np.array([0, 1, 2, 3], f"{order}i4").tobytes()
    faces += b"\x03" + np.array([1, 2, 3], f"{order}i4").tobytes()
    mesh = decode(header.encode() + rows.tobytes() + faces, "a")
    np.testing.assert_array_equal(mesh.triangles, [[0, 1, 2], [0, 2, 3], [1, 2, 3]])
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"solid cube\n", "is no PLY file"),
        (b"", "is no PLY file"),
        (b"ply\nelement vertex 1\nend_header\n", "names no format"),
        (b"ply\nformat middle_endian 1.0\nend_header\n", "a.ply:2: the format 'middle_endian'"),
        (b"ply\nformat ascii 1.0\nelement vertex many\nend_header\n", "a.ply:3"),
        (b"ply\nformat ascii 1.0\nproperty float x\nend_header\n", "before any element"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty quad x\nend_header\n", "a.ply:4"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "no vertices with x, y and z"),
        ((HEADER.format("ascii") + "end_header\n0 0 0\n").encode(), "is cut off: it should hold 4 of vertex"),
        ((HEADER.format("ascii") + "end_header\n" + SQUARE + "7\n").encode(), "more numbers"),
        ((HEADER.format("ascii") + "end_header\n" + SQUARE.replace("0.5", "half")).encode(), "not a number"),
        ((HEADER.format("binary_little_endian") + "end_header\n").encode() + bytes(63), "is cut off"),
        ((HEADER.format("binary_little_endian") + "end_header\n").encode() + bytes(65), "1 bytes more"),
        (
            (
                HEADER.format("ascii")
                + "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
                + SQUARE
                + "3 0 1 4\n"
            ).encode(),
            "beyond the 4",
        ),
    ],
)
def test_what_is_wrong_is_said(data: bytes, says: str) -> None:
    with pytest.raises(FormatError) as caught:
        decode(data, "a.ply")
    assert says in str(caught.value)
    assert str(caught.value).startswith("a.ply")


def test_a_mesh_that_is_cut_off_anywhere_is_refused() -> None:
    data = encode(sphere(5, 4))
    for length in range(len(data)):
        with pytest.raises(FormatError):
            decode(data[:length], "a.ply")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.ply"):
        read_ply(tmp_path / "gone.ply")

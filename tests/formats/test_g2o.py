"""g2o files: written and read back, their conventions, and what is wrong with a bad one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cv3d.errors import FormatError, InputError
from cv3d.formats.g2o import decode, encode, read_g2o, write_g2o
from cv3d.geometry.pose_graph import PoseGraph, RotationError
from cv3d.geometry.transforms import SE3

EYE = "1 0 0 0 0 0 1 0 0 0 0 1 0 0 0 4 0 0 4 0 4"
VERTEX = "VERTEX_SE3:QUAT {} 0 0 0 0 0 0 1\n"
EDGE = "EDGE_SE3:QUAT {} {} 1 2 3 0 0 0 1 " + EYE + "\n"
TWO = VERTEX.format(7) + VERTEX.format(9)


def random_graph() -> PoseGraph[SE3]:
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(6, 6, 6, generator=generator, dtype=torch.float64)
    poses = SE3.exp(torch.randn(5, 6, generator=generator, dtype=torch.float64))
    motions = SE3.exp(torch.randn(6, 6, generator=generator, dtype=torch.float64))
    information = half @ half.transpose(-1, -2) + torch.eye(6, dtype=torch.float64)
    first, second = np.array([0, 1, 2, 3, 0, 1]), np.array([1, 2, 3, 4, 4, 3])
    return PoseGraph(poses, first, second, motions, information, fixed=np.array([False, True, False, True, False]))


@pytest.mark.parametrize("information_of", list(RotationError))
def test_what_is_written_is_read_back(information_of: RotationError, tmp_path: Path) -> None:
    graph = random_graph()
    ids = np.array([3, 4, 5, 6, 12])
    write_g2o(tmp_path / "a.g2o", graph, ids, information_of)
    back = read_g2o(tmp_path / "a.g2o", information_of)
    np.testing.assert_array_equal(back.ids, ids)
    np.testing.assert_array_equal(back.graph.first, graph.first)
    np.testing.assert_array_equal(back.graph.second, graph.second)
    np.testing.assert_array_equal(back.graph.fixed, graph.fixed)
    # Vertex 12 does not follow 6.
    np.testing.assert_array_equal(back.graph.is_loop, [False, False, False, True, True, True])
    torch.testing.assert_close(back.graph.information, graph.information, rtol=1e-14, atol=1e-14)
    for ours, theirs in (
        (graph.world_from_node, back.graph.world_from_node),
        (graph.first_from_second, back.graph.first_from_second),
    ):
        torch.testing.assert_close(ours.as_matrix(), theirs.as_matrix(), rtol=1e-14, atol=1e-14)


def test_the_conventions_are_those_of_the_format() -> None:
    quarter = np.sqrt(0.5)
    text = f"VERTEX_SE3:QUAT 0 1 2 3 0 0 {quarter} {quarter}\n" + VERTEX.format(1) + EDGE.format(0, 1)
    graph = decode(text, "a").graph
    x = graph.world_from_node[0].apply(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(x, torch.tensor([1.0, 3.0, 3.0], dtype=torch.float64))
    torch.testing.assert_close(
        graph.first_from_second.translation()[0], torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    )
    # Half a rotation vector has four times the information.
    torch.testing.assert_close(graph.information[0], torch.eye(6, dtype=torch.float64))
    other = decode(text, "a", RotationError.VECTOR).graph.information[0]
    torch.testing.assert_close(torch.diagonal(other), torch.tensor([1, 1, 1, 4, 4, 4], dtype=torch.float64))


def test_the_first_vertex_is_fixed_where_the_file_fixes_none() -> None:
    assert decode(TWO + EDGE.format(7, 9), "a").graph.fixed.tolist() == [True, False]
    assert decode(TWO + EDGE.format(7, 9) + "FIX 9\n# the end\n", "a").graph.fixed.tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a: holds no vertices"),
        ("VERTEX_SE2 0 0 0 0\n", r"a:1: 'VERTEX_SE2' is none of"),
        (VERTEX.format("x"), r"a:1: a vertex is known by a whole number, not 'x'"),
        ("VERTEX_SE3:QUAT 0 0 0 0 0 0 1\n", r"a:1: .* has 7 numbers after its vertices, not 6"),
        (TWO + VERTEX.format(7), r"a:3: vertex 7 is there already"),
        (TWO + EDGE.format(7, 8), r"a:3: there is no vertex 8"),
        (TWO + EDGE.format(7, 7), r"a:3: is of a vertex and itself"),
        (TWO + EDGE.format(7, 9).replace("1 2 3", "1 nan 3"), r"a:3: holds a number that is not finite"),
        (TWO + EDGE.format(7, 9).replace("1 2 3", "1 two 3"), r"a:3: holds something that is not a number"),
        (TWO + EDGE.format(7, 9).replace("0 0 0 1 1", "0 0 0 2 1"), r"a:3: its quaternion has the length 2"),
        (TWO + "EDGE_SE3:QUAT 7\n", r"a:3: ends before"),
        (TWO + "FIX 8\n", r"a:3: there is no vertex 8"),
    ],
)
def test_a_bad_file_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        decode(text, "a")


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_g2o(tmp_path / "none.g2o")
    (tmp_path / "b.g2o").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="no text"):
        read_g2o(tmp_path / "b.g2o")


@pytest.mark.parametrize(("name", "nodes", "edges"), [("sphere2500", 2500, 4949), ("parking-garage", 1661, 6275)])
def test_files_of_the_field(name: str, nodes: int, edges: int, data_root: Path) -> None:
    file = read_g2o(data_root / "graphs" / f"{name}.g2o")
    assert (len(file.graph), len(file.graph.first)) == (nodes, edges)
    again = decode(encode(file.graph, file.ids), "copy").graph
    torch.testing.assert_close(again.information, file.graph.information, rtol=1e-13, atol=1e-13)

"""`cv3d evaluate surface` as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cv3d.cli.quantities import parse_length, parse_memory
from cv3d.errors import UsageError
from cv3d.formats.meshes import read_mesh, write_mesh
from cv3d.geometry.mesh import Mesh

Cv3d = Callable[..., SimpleNamespace]


@pytest.fixture
def files(tmp_path: Path) -> SimpleNamespace:
    """A square metre, and the same 3 mm above."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    mesh = Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    write_mesh(tmp_path / "ref.ply", mesh)
    write_mesh(tmp_path / "mesh.obj", replace(mesh, vertices=corners + np.float32([0, 0, 0.003])))
    return SimpleNamespace(mesh=str(tmp_path / "mesh.obj"), ref=str(tmp_path / "ref.ply"), tmp=tmp_path)


def test_figures_and_gates(cv3d_main: Cv3d, files: SimpleNamespace) -> None:
    few = ("--samples", "2000")
    done = cv3d_main("evaluate", "surface", files.mesh, files.ref, *few, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["schema"] == "cv3d.evaluate_surface/1"
    assert result["chamfer_m"] == pytest.approx(0.003, rel=1e-4)
    assert result["scores"][0] == {"threshold_m": 0.005, "fscore": 1.0, "precision": 1.0, "recall": 1.0}
    person = cv3d_main("evaluate", "surface", files.mesh, files.ref, *few, "--threshold", "2mm")
    assert "chamfer 3 mm" in person.out
    gate = ("--threshold", "2mm", "--require", "fscore>0.9")
    below = cv3d_main("evaluate", "surface", files.mesh, files.ref, *few, *gate)
    assert below.code == 3
    assert "fscore>0.9 is required, but fscore is 0" in below.err
    assert cv3d_main("evaluate", "surface", files.mesh, files.ref, *few, "--require", "fscore_5mm>0.9").code == 0


def test_a_folder_with_a_report(cv3d_main: Cv3d, files: SimpleNamespace) -> None:
    out = files.tmp / "out"
    arguments = ("evaluate", "surface", files.mesh, files.ref, "--samples", "2000", "-o", str(out))
    done = cv3d_main(*arguments, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == json.loads((out / "result.json").read_text())
    page = (out / "report.html").read_text()
    assert "mesh, by distance from the reference" in page
    assert "mesh.obj against" in page
    assert cv3d_main(*arguments).code == 1
    assert cv3d_main(*arguments, "--overwrite").code == 0


def test_frames_say_what_is_compared(cv3d_main: Cv3d, project_root: Path) -> None:
    samples = project_root / "data" / "samples"
    truth = str(samples / "room_mesh.ply")
    done = cv3d_main(
        "evaluate", "surface", truth, truth, "--frames", str(samples / "rgbd"), "--samples", "5000", "--json"
    )
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert 0.2 < result["observed_share"] < 0.9
    assert result["scores"][0]["fscore"] == 1.0
    assert result["depth"]["frames"] == 30
    assert result["depth"]["median_abs_m"] < 0.006
    assert result["depth"]["covered"] > 0.99
    assert read_mesh(truth).triangles.shape[1] == 3


def test_failures(cv3d_main: Cv3d, files: SimpleNamespace) -> None:
    base = ("evaluate", "surface", files.mesh, files.ref)
    assert cv3d_main(*base, "--threshold", "5 furlongs").code == 2
    assert cv3d_main(*base, "--require", "beauty>1").code == 2
    assert cv3d_main(*base, "--align", "sim3").code == 2
    assert cv3d_main(*base, "--trajectory", files.ref).code == 2
    missing = cv3d_main("evaluate", "surface", files.mesh, "no.ply")
    assert missing.code == 1
    assert "no.ply: no such file" in missing.err


def test_lengths_and_memory() -> None:
    assert parse_length("5mm", "--voxel") == pytest.approx(0.005)
    assert parse_length("0.5 cm", "--voxel") == pytest.approx(0.005)
    assert parse_length("4", "--range") == 4.0
    assert parse_length("1e-2m", "--voxel") == pytest.approx(0.01)
    assert parse_memory("1GB", "--max-memory") == 10**9
    assert parse_memory("512MiB", "--max-memory") == 512 << 20
    for text in ("", "five", "-1m", "0", "3 kg", "inf"):
        with pytest.raises(UsageError, match="--voxel"):
            parse_length(text, "--voxel")

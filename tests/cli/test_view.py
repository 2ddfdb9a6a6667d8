"""`cv3d view` as a user meets it."""

from __future__ import annotations

import io
import json
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cv3d.formats.meshes import write_mesh
from cv3d.geometry.mesh import Mesh

Cv3d = Callable[..., SimpleNamespace]


@pytest.fixture
def mesh(tmp_path: Path) -> str:
    write_mesh(tmp_path / "mesh.ply", Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32)))
    return str(tmp_path / "mesh.ply")


def test_the_page_is_written_and_opened(
    cv3d_main: Cv3d, mesh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    monkeypatch.setenv("DISPLAY", ":0")
    page = tmp_path / "page.html"
    done = cv3d_main("view", mesh, "-o", str(page), "--no-open", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {
        "schema": "cv3d.view/1",
        "items": ["mesh.ply"],
        "file": str(page),
        "notes": ["Up is -y (cv3d's own axes; --up changes it)."],
    }
    assert "mesh3d" in page.read_text()
    assert not opened
    assert cv3d_main("view", mesh, "-o", str(page)).code == 1
    assert cv3d_main("view", mesh, "-o", str(page), "--overwrite", "--up", "z").code == 0
    assert opened == [page.resolve().as_uri()]
    done = cv3d_main("view", mesh, "--json")
    assert Path(json.loads(done.out)["file"]).is_file()


def test_failures(cv3d_main: Cv3d, mesh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cv3d_main("view", mesh, "-o", "page.pdf").code == 2
    missing = cv3d_main("view", str(tmp_path / "no.ply"), "--no-open")
    assert missing.code == 1
    assert "no such file" in missing.err
    monkeypatch.setitem(sys.modules, "rerun", None)
    done = cv3d_main("view", mesh, "--rerun", "-o", str(tmp_path / "a.rrd"))
    assert done.code == 1
    assert "pip install 'cv3d[rerun]'" in done.err


def test_without_a_screen_no_browser_takes_over_the_terminal(
    cv3d_main: Cv3d, mesh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda address: pytest.fail("a browser was opened"))
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    done = cv3d_main("view", mesh, "-o", str(tmp_path / "page.html"))
    assert done.code == 0
    assert "open the page yourself" in done.err


def test_files_are_taken_from_standard_input(
    cv3d_main: Cv3d, mesh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{mesh}\n\n"))
    done = cv3d_main("view", "-", "--no-open", "-o", str(tmp_path / "page.html"), "--json")
    assert json.loads(done.out)["items"] == ["mesh.ply"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert cv3d_main("view", "-", "--no-open").code == 2
    assert cv3d_main("view", "-", "-", "--no-open").code == 2

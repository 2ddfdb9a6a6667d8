"""Homographies of HPatches and Oxford: the numbers, and files that are something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cv3d.errors import FormatError, InputError
from cv3d.formats.homography_sets import is_homography_set, read_homography_set

KINDS = frozenset([".png"])


@pytest.mark.parametrize("name", ["H1to2p", "H_1_2", "H1to2", "H_1_2.txt"])
def test_a_folder(name: str, tmp_path: Path) -> None:
    assert not is_homography_set(tmp_path)
    (tmp_path / name).write_text("1.5 0 3\n 0 1 -2e0\n1e-4 0 1\n")
    for number in (1, 2):
        (tmp_path / f"{number}.png").touch()
    assert is_homography_set(tmp_path)
    (pair,) = read_homography_set(tmp_path, KINDS)
    assert [file.name for file in pair.files] == ["1.png", "2.png"]
    np.testing.assert_array_equal(pair.homography, [[1.5, 0, 3], [0, 1, -2], [1e-4, 0, 1]])


@pytest.mark.parametrize(
    ("text", "message"),
    [("1 0 0 0 1 0", "9 numbers"), ("1 0 x 0 1 0 0 0 1", "finite number"), ("1 0 0 2 0 0 0 0 1", "singular")],
)
def test_what_is_no_homography(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "H_1_2").write_text(text)
    for number in (1, 2):
        (tmp_path / f"{number}.png").touch()
    with pytest.raises(FormatError, match=message):
        read_homography_set(tmp_path, KINDS)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no homographies"):
        read_homography_set(tmp_path, KINDS)


def test_oxfords_own_files(data_root: Path, tmp_path: Path) -> None:
    for number in range(1, 7):
        (tmp_path / f"img{number}.png").touch()
    for path in (data_root / "pairs" / "graf").glob("H1to*p"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    pairs = read_homography_set(tmp_path, KINDS)
    assert [pair.files[1].name for pair in pairs] == [f"img{number}.png" for number in range(2, 7)]
    assert all(pair.homography[2, 2] == pytest.approx(1.0) for pair in pairs)

"""Lists of pairs in SuperGlue's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cv3d.errors import FormatError, InputError
from cv3d.formats.pair_lists import read_pair_list

GOOD = "a.jpg b/c.jpg 0 3 500 0 320 0 510 240 0 0 1 600 0 319 0 610 239 0 0 1 0 -1 0 2 1 0 0 3 0 0 1 4 0 0 0 1"


def test_a_line(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(f"# a list\n{GOOD}\n\n")
    (pair,) = read_pair_list(path)
    assert (pair.names, pair.turns) == (("a.jpg", "b/c.jpg"), (0, 3))
    np.testing.assert_array_equal(pair.matrices[1], [[600, 0, 319], [0, 610, 239], [0, 0, 1]])
    np.testing.assert_array_equal(pair.cam1_from_cam0, [[0, -1, 0, 2], [1, 0, 0, 3], [0, 0, 1, 4], [0, 0, 0, 1]])


def test_superglues_own_list(data_root: Path) -> None:
    pairs = read_pair_list(data_root / "pairs" / "scannet15" / "scannet_sample_pairs_with_gt.txt")
    assert len(pairs) == 15
    for pair in pairs:
        rotation = pair.cam1_from_cam0[:3, :3]
        # Rounded to five decimals in the file, exact here.
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg b.jpg", "line 1: names two pictures but not their cameras"),
        ("a.jpg b.jpg 0 0", "not their cameras and pose"),
        (GOOD + " 1", "38 words, but has 39"),
        (GOOD.replace("0 3 500", "0 4 500"), "not by 0 and 4"),
        (GOOD.replace("500 0 320", "x 0 320"), "K0"),
        (GOOD.replace("500 0 320", "-5 0 320"), "K0 is not a calibration matrix"),
        (GOOD.replace("0 -1 0 2", "0 -2 0 2"), "not a rotation"),
        ("# nothing", "holds no pair"),
    ],
)
def test_what_is_no_such_list(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(line)
    with pytest.raises(FormatError, match=message) as caught:
        read_pair_list(path)
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_pair_list(tmp_path / "nowhere.txt")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(FormatError, match="no text"):
        read_pair_list(tmp_path / "picture.png")

"""The journal of detections: exact, tolerant of a torn end, blind to stale entries."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cv3d.calibration.detection.base import Detection, Scan
from cv3d.calibration.journal import Journal, key_of
from cv3d.errors import OutputError

RNG = np.random.default_rng(0)
PIXELS = np.concatenate([RNG.normal(size=(40, 2)) * 1e3, [[np.pi, 1 / 3], [5e-324, 1.7e308]]])
DETECTION = Detection(np.arange(42, dtype=np.int64), PIXELS)
SCAN = Scan(
    17,
    {
        "corners": RNG.normal(size=(4, 3, 2)).astype(np.float32),
        "ids": np.array([[1, -5], [2**62, 0]], dtype=np.int64),
        "seen": np.array([True, False]),
        "empty": np.zeros((0, 2)),
        "grey": np.array([0, 255], np.uint8),
    },
)


def equal(one: Scan, other: Scan) -> bool:
    return (
        one.points == other.points
        and set(one.arrays) == set(other.arrays)
        and all(
            a.dtype == other.arrays[name].dtype
            and a.shape == other.arrays[name].shape
            and (a == other.arrays[name]).all()
            for name, a in one.arrays.items()
        )
    )


def test_values_come_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.jsonl"
    with Journal(path) as journal:
        journal.put_detection("d", DETECTION)
        journal.put_scan("s", SCAN)
        journal.put_detection("none", Detection.nothing("too dark"))
    with Journal(path) as journal:
        found = journal.detection("d")
        assert found is not None
        assert found.pixels.tobytes() == PIXELS.tobytes()
        np.testing.assert_array_equal(found.point_ids, DETECTION.point_ids)
        scan = journal.scan("s")
        assert scan is not None
        assert equal(scan, SCAN)
        nothing = journal.detection("none")
        assert nothing is not None
        assert nothing.reason == "too dark"
        assert nothing.pixels.shape == (0, 2)


def test_without_a_file_it_remembers_in_memory() -> None:
    journal = Journal()
    assert journal.scan("s") is None
    journal.put_scan("s", SCAN)
    found = journal.scan("s")
    assert found is not None
    assert equal(found, SCAN)
    journal.close()


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_torn_last_line_is_ignored_and_written_anew(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.put_detection("first", DETECTION)
    whole = path.stat().st_size
    with Journal(path) as journal:
        journal.put_detection("second", DETECTION)
    text = path.read_bytes()
    path.write_bytes(text[: whole + int(kept * (len(text) - whole))])
    with Journal(path) as journal:
        assert journal.detection("first") is not None
        assert journal.detection("second") is None
        journal.put_detection("second", DETECTION)
    with Journal(path) as journal:
        assert journal.detection("first") is not None
        assert journal.detection("second") is not None


def test_what_is_put_is_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.put_detection("d", DETECTION)
    with Journal(path) as other:
        assert other.detection("d") is not None
    journal.close()


def test_junk_in_the_file_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'\xff\xfe\n[1, 2]\n{"key": 5}\n{"key": "x"}\n{"key": "y", "arrays": 3}\nnull\n')
    with Journal(path) as journal:
        for key in ("x", "y", "5"):
            assert journal.scan(key) is None
            assert journal.detection(key) is None


def test_a_scan_is_not_a_detection() -> None:
    journal = Journal()
    journal.put_scan("k", SCAN)
    assert journal.detection("k") is None


def test_the_key_holds_everything_it_depends_on() -> None:
    parts = ("locate", 1, "checkerboard 9x6", "abc")
    assert key_of(*parts) == key_of(*parts)
    changed = {key_of("scan", *parts[1:]), key_of("locate", 2, *parts[2:]), key_of(*parts[:3], "abd"), key_of(*parts)}
    assert len(changed) == 4
    assert key_of("ab", "c") != key_of("a", "bc")


def test_an_unwritable_place_is_an_output_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OutputError, match="journal"):
        Journal(blocked / "journal.jsonl")
    with pytest.raises(OutputError):
        Journal(tmp_path)


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: journal.put_detection(f"k{i}", DETECTION), range(60)))
    with Journal(path) as journal:
        assert all(journal.detection(f"k{i}") is not None for i in range(60))

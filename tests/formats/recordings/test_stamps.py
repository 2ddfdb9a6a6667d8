"""Time stamps in files and names, in every unit and order that they come in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cv3d.formats.recordings.stamps import read_stamps, stamps_of_names

SECONDS = np.array([1403715274.012143, 1403715274.062143, 1403715274.112143])
PICTURES = [Path(f"rgb/{index:06d}.png") for index in range(3)]


def lines(folder: Path, *rows: str) -> Path:
    path = folder / "times.txt"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("unit", "per_second"), [("seconds", 1), ("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)]
)
def test_units_by_the_size_of_the_numbers(unit: str, per_second: int, tmp_path: Path) -> None:
    texts = [f"{time:.6f}" if per_second == 1 else str(round(time * per_second)) for time in SECONDS]
    found = read_stamps(lines(tmp_path, "# stamps", *texts), PICTURES)
    assert found is not None
    assert found.unit == unit
    np.testing.assert_allclose(found.times, SECONDS, atol=6e-4 if unit == "milliseconds" else 1e-6)


def test_a_clock_that_starts_with_the_recording(tmp_path: Path) -> None:
    for texts, unit in {
        ("0", "33333333", "66666666"): "nanoseconds",
        ("0", "33333", "66666"): "microseconds",
        ("0", "33", "67"): "milliseconds",
        ("0.0", "0.033", "0.067"): "seconds",
        ("0", "1", "2"): "seconds",
    }.items():
        found = read_stamps(lines(tmp_path, *texts), PICTURES)
        assert found is not None
        assert found.unit == unit
        if unit != "seconds":
            np.testing.assert_allclose(found.times, [0.0, 1 / 30, 2 / 30], atol=1e-3)


@pytest.mark.parametrize(
    "rows",
    [
        ("0 10.0", "1 10.5", "2 11.0"),
        ("000000.png 10.0", "000001.png 10.5", "000002.png 11.0"),
        ("10.0,rgb/000000.png", "10.5,rgb/000001.png", "11.0,rgb/000002.png"),
        ("timestamp,filename", "10.0,000000.png", "10.5,000001.png", "11.0,000002.png"),
        ("11.0 000002.png", "10.0 000000.png", "10.5 000001.png", "12.0 000009.png"),
        ("10.0 rgb/000000.png 9.9 d/0.png", "10.5 rgb/000001.png 9.9 d/1.png", "11.0 rgb/000002.png 9.9 d/2.png"),
    ],
)
def test_numbers_and_names_beside_the_stamps(rows: tuple[str, ...], tmp_path: Path) -> None:
    found = read_stamps(lines(tmp_path, *rows), PICTURES)
    assert found is not None
    assert found.times.tolist() == [10.0, 10.5, 11.0]


@pytest.mark.parametrize("rows", [("1.0", "2.0"), ("a", "b", "c"), ("1 2", "3", "4")])
def test_files_of_another_kind(rows: tuple[str, ...], tmp_path: Path) -> None:
    assert read_stamps(lines(tmp_path, *rows), PICTURES) is None


def test_names(tmp_path: Path) -> None:
    seconds = stamps_of_names([Path(f"{time:.6f}.png") for time in SECONDS])
    assert seconds is not None
    np.testing.assert_array_equal(seconds.times, np.round(SECONDS, 6))
    whole = [Path(f"cam_{round(time * 1e9)}.png") for time in SECONDS]
    nanoseconds = stamps_of_names(whole)
    assert nanoseconds is not None
    assert nanoseconds.unit == "nanoseconds"
    np.testing.assert_allclose(nanoseconds.times, SECONDS, atol=1e-6)
    assert stamps_of_names(PICTURES) is None
    assert stamps_of_names([Path("IMG_20240101_101010.jpg"), Path("IMG_20240101_101011.jpg")]) is None
    assert stamps_of_names([Path("2.5.png"), Path("1.5.png")]) is None

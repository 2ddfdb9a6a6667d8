"""What is written of matched pairs and sets, and said of them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cv3d.errors import InputError, OutputError
from cv3d.features.listing import Presence, list_methods
from cv3d.reporting.match_files import PAIR_COLUMNS, PICTURE_COLUMNS, write_pair, write_pair_arrays, write_set
from cv3d.reporting.match_summary import (
    LISTING_SCHEMA,
    describe_listing,
    describe_pair,
    describe_set,
    listing_result,
)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_set_is_written_and_written_again(make_set: Any, noise: Any, tmp_path: Path) -> None:
    result = make_set(tmp_path, count=9, lone=2, unreadable=1)
    content = write_set(result, tmp_path, lambda name: noise((160, 120)), digest="abc")
    assert {path.name for path in tmp_path.iterdir() if path.suffix in (".csv", ".json", ".html")} <= set(
        content["files"]
    )
    assert all((tmp_path / name).is_file() for name in content["files"])
    read = json.loads((tmp_path / "result.json").read_text())
    assert read == json.loads(json.dumps(content))
    assert read["schema"] == "cv3d.match_set/1"
    assert read["run_digest"] == "abc"
    more = replace(result, seconds={"extract": 0.1})
    write_set(more, tmp_path, lambda name: None)
    assert json.loads((tmp_path / "result.json").read_text())["seconds"] == {"extract": 0.1}
    assert not list(tmp_path.glob(".*"))


def test_the_tables_have_every_pair_and_picture(make_set: Any, noise: Any, tmp_path: Path) -> None:
    result = make_set(tmp_path, count=9, groups=2, lone=1, unreadable=1, name='a, "{:d}".png'.format)
    write_set(result, tmp_path, lambda name: None)
    pairs, pictures = rows_of(tmp_path / "pairs.csv"), rows_of(tmp_path / "pictures.csv")
    assert tuple(pairs[0]) == PAIR_COLUMNS
    assert tuple(pictures[0]) == PICTURE_COLUMNS
    assert [row["name"] for row in pictures] == [picture.name for picture in result.pictures]
    assert len(pairs) == result.planned
    verified = [row for row in pairs if row["verified"] == "true"]
    assert len(verified) == len(result.edges)
    assert sum(int(row["inliers"]) for row in verified) == result.inliers.sum()
    assert sum(row["matcher"] == "lighterglue" for row in verified) == result.methods["lighterglue"]
    assert sum(row["decision"].startswith("unrelated") for row in pairs) == result.methods["unrelated"]
    assert pictures[-1]["group"] == pictures[-1]["width"] == ""
    assert len({row["group"] for row in pictures if row["group"]}) == len(result.components())


def test_a_store_that_is_gone_is_named(make_set: Any, tmp_path: Path) -> None:
    result = make_set(tmp_path / "in", count=4)
    gone = replace(result, store=tmp_path / "nowhere.db")
    with pytest.raises(InputError, match=r"nowhere\.db"):
        write_set(gone, tmp_path / "out", lambda name: None)
    assert not (tmp_path / "out" / "result.json").exists()


def test_a_pair_is_written_as_a_folder(pair_maker: Any, noise: Any, tmp_path: Path) -> None:
    result, out = pair_maker(), tmp_path / "pair"
    pixels = noise((160, 120)), noise((120, 160))
    content = write_pair(result, out=out, pixels=pixels)
    assert sorted(path.name for path in out.iterdir()) == sorted(content["files"])
    assert json.loads((out / "result.json").read_text())["inliers"] == result.inlier_count
    with np.load(out / "matches.npz") as arrays:
        assert np.array_equal(arrays["points1"], result.points1)
        assert np.array_equal(arrays["inliers"], result.geometry.inliers)
    with pytest.raises(OutputError, match="not empty"):
        write_pair(result, out=out, pixels=pixels)
    again = write_pair(result, out=out, npz=tmp_path / "own.npz", overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == sorted(again["files"]) == ["matches.npz", "result.json"]
    assert (tmp_path / "own.npz").read_bytes() == (out / "matches.npz").read_bytes()
    assert write_pair(result) == result.as_result()


def test_arrays_are_the_same_bytes_under_any_name(pair_maker: Any, tmp_path: Path) -> None:
    for name in ("a.npz", "b"):
        write_pair_arrays(pair_maker(), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(OutputError):
        write_pair_arrays(pair_maker(), tmp_path / "a.npz" / "c.npz")


LONG = "a folder/" * 30 + "\udcff\nend.png"


@pytest.mark.parametrize("verified", [True, False])
def test_a_pair_is_described_within_a_terminal(pair_maker: Any, verified: bool) -> None:
    result = pair_maker(verified=verified, names=(LONG, "right.png"))
    text = describe_pair(result)
    assert max(map(len, text.splitlines())) <= 80
    assert " ".join(text.split()).startswith(result.sentence())
    assert "160x120" in text
    assert "120x160" in text
    assert ("0.30 px RMS" in text) == verified
    assert "refine" not in text.splitlines()[-1]
    text.encode("utf-8")


def test_a_set_is_described_within_a_terminal(make_set: Any, tmp_path: Path) -> None:
    result = make_set(tmp_path, count=20, groups=3, lone=8, unreadable=9, name=("n" * 70 + "{:d}").format)
    text = describe_set(replace(result, warnings=("w " * 90,), planned=2 * result.planned), tmp_path, ["x.json"] * 20)
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith(result.sentence().split(":")[0][:20])
    assert "alone:" in text
    assert "left out:" in text
    assert "and 4 more" in text
    assert "truncated" in text
    assert f"written to {tmp_path}:" in " ".join(text.split())


def test_the_listing_is_narrow_and_says_what_to_install() -> None:
    rows = list_methods()
    text = describe_listing(rows)
    assert max(map(len, text.splitlines())) <= 80
    for row in rows:
        assert any(line.startswith(f"{row.name} ") and row.licence in line for line in text.splitlines())
    hint = "pip install something"
    gone = [
        replace(
            row,
            weights=tuple(
                replace(one, presence=Presence.MISSING, source="", path=None, hint=hint) for one in row.weights
            ),
        )
        for row in rows
    ]
    text = describe_listing(gone)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count(hint) == 1
    assert text.count("missing") == sum(bool(row.weights) for row in rows)
    assert "here (" not in text


def test_the_listing_as_a_result_is_plain_data() -> None:
    rows = list_methods()
    result = json.loads(json.dumps(listing_result(rows)))
    assert result["schema"] == LISTING_SCHEMA
    assert [item["name"] for item in result["methods"]] == [row.name for row in rows]
    for item, row in zip(result["methods"], rows, strict=True):
        assert item["ready"] == row.is_ready
        assert item["ready"] == all(one["state"] == "here" and one["path"] for one in item["weights"])

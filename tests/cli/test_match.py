"""`cv3d match` as a user meets it: pairs, sets and tracks, bad input, exit codes, files, interruptions."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.cli import main
from cv3d.features.matching import set_extraction
from cv3d.features.store import FeatureStore
from cv3d.features.store.connection import Connection
from cv3d.formats import cv3d_camera
from cv3d.geometry.cameras import Camera

Main = Callable[..., SimpleNamespace]
Pixels = NDArray[np.uint8]

FEW = ("--max-keypoints", "256")
SIZE = (320, 240)
STEP = 6
"""Frames between the pictures of the set."""


def fails(outcome: SimpleNamespace, code: int, *fragments: object) -> None:
    """The run ended with `code` and one line that holds `fragments`, without a traceback and without a result."""
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    error = the_error(outcome.err)
    for fragment in fragments:
        assert str(fragment) in error


def the_error(text: str) -> str:
    assert "Traceback" not in text
    (error,) = (line for line in text.splitlines() if line.startswith("error: "))
    return error


def is_narrow(text: str) -> bool:
    return all(len(line) <= 80 for line in text.splitlines())


def run_outside(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cv3d", "match", *arguments, *FEW],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **more,
    )


@pytest.fixture(scope="module")
def frames(project_root: Path) -> list[Pixels]:
    video = cv2.VideoCapture(str(project_root / "data" / "samples" / "room.mp4"))
    read = [cv2.resize(video.read()[1], SIZE, interpolation=cv2.INTER_AREA) for _ in range(4 * STEP)]
    video.release()
    return read


@pytest.fixture(scope="module")
def photos(frames: list[Pixels], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of a room."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), frames[STEP * i])
    return folder


@pytest.fixture(scope="module")
def alien(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of something else."""
    picture = cv2.imread(str(project_root / "data" / "samples" / "checkerboard" / "000.jpg"))
    path = tmp_path_factory.mktemp("alien") / "alien.png"
    cv2.imwrite(str(path), cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA))
    return path


@pytest.fixture(scope="module")
def camera(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The camera of the room, calibrated at twice the size of the pictures."""
    truth = json.loads((project_root / "data" / "samples" / "room_ground_truth.json").read_text())["camera"]
    path = tmp_path_factory.mktemp("camera") / "camera.json"
    known = Camera(truth["model"], truth["width"], truth["height"], tuple(truth["params"].values()))
    path.write_text(cv3d_camera.dumps(known))
    return path


@pytest.fixture
def pair(photos: Path) -> tuple[str, str]:
    return str(photos / "0.png"), str(photos / "2.png")


class TestPair:
    @pytest.mark.slow
    def test_what_a_person_reads(self, cv3d_main: Main, pair: tuple[str, str]) -> None:
        outcome = cv3d_main("match", *pair, *FEW)
        assert outcome.code == 0
        assert outcome.out.startswith("verified: ")
        assert is_narrow(outcome.out)
        assert {"first", "second", "keypoints", "matches", "verified", "time"} <= {
            line.split(" ")[0] for line in outcome.out.splitlines()
        }

    def test_the_fields_of_the_result(self, cv3d_main: Main, pair: tuple[str, str]) -> None:
        result = json.loads(cv3d_main("match", *pair, *FEW, "--json").out)
        assert result["schema"] == "cv3d.match/1"
        assert result["method"] in ("xfeat+mutual", "xfeat+lighterglue")
        assert result["keypoints"] == [256, 256]
        assert 20 < result["inliers"] < result["matches"] < 256
        assert result["model"] in ("F", "H")
        assert (result["rotation_deg"], result["direction"]) == (None, None)
        assert "parallax_deg" in result
        assert {"extract", "match", "verify"} <= set(result["ms"])
        assert all(taken > 0.0 for taken in result["ms"].values())

    def test_a_camera_gives_the_pose(
        self, cv3d_main: Main, pair: tuple[str, str], camera: Path, project_root: Path
    ) -> None:
        outcome = cv3d_main("match", *pair, *FEW, "--camera", str(camera), "--json")
        result = json.loads(outcome.out)
        assert result["model"] == "E"
        truth = json.loads((project_root / "data" / "samples" / "room_ground_truth.json").read_text())["frames"]
        first, second = (np.array(truth[index]["world_from_cam"]) for index in (0, 2 * STEP))
        pose = np.linalg.inv(second) @ first
        direction = pose[:3, 3] / np.linalg.norm(pose[:3, 3])
        turned = np.degrees(np.arccos(0.5 * (np.trace(pose[:3, :3]) - 1.0)))
        assert abs(result["rotation_deg"] - turned) < 0.5
        assert np.degrees(np.arccos(np.dot(result["direction"], direction))) < 10.0
        assert result["parallax_deg"] > 0.5
        assert is_narrow(cv3d_main("match", *pair, *FEW, "--camera", str(camera), "--camera", str(camera)).out)

    def test_files_of_a_pair(self, cv3d_main: Main, pair: tuple[str, str], tmp_path: Path) -> None:
        plot, arrays, out = tmp_path / "plot.png", tmp_path / "arrays.npz", tmp_path / "out"
        command = ("match", *pair, *FEW, "--plot", str(plot), "--npz", str(arrays), "-o", str(out), "--json")
        result = json.loads(cv3d_main(*command).out)
        drawn = cv2.imread(str(plot))
        assert drawn.shape[1] >= 2 * SIZE[0]
        assert drawn.std() > 10.0
        with np.load(arrays) as held:
            assert held["points0"].shape == held["points1"].shape == (result["matches"], 2)
            assert int(held["inliers"].sum()) == result["inliers"]
            assert str(held["model"]) == result["model"]
        assert sorted(path.name for path in out.iterdir()) == ["matches.npz", "matches.png", "result.json"]
        assert json.loads((out / "result.json").read_text()) == result
        before = arrays.read_bytes()
        fails(cv3d_main(*command), 2, "--overwrite")
        assert arrays.read_bytes() == before
        assert cv3d_main("match", *pair, *FEW, "--npz", str(arrays), "--overwrite").code == 0

    def test_nothing_in_common_is_3_with_the_sentence(
        self, cv3d_main: Main, pair: tuple[str, str], alien: Path
    ) -> None:
        outcome = cv3d_main("match", pair[0], str(alien), *FEW, "--json")
        assert outcome.code == 3
        result = json.loads(outcome.out)
        assert (result["verified"], result["model"], result["inliers"]) == (False, "none", 0)
        assert result["reason"] in the_error(outcome.err)
        spoken = cv3d_main("match", pair[0], str(alien), *FEW)
        assert spoken.code == 3
        assert spoken.out.startswith("not verified: ")
        assert is_narrow(spoken.out)

    def test_a_picture_without_anything_on_it_is_named(
        self, cv3d_main: Main, pair: tuple[str, str], tmp_path: Path
    ) -> None:
        black, tiny = tmp_path / "black.png", tmp_path / "tiny.png"
        cv2.imwrite(str(black), np.zeros((240, 320), np.uint8))
        cv2.imwrite(str(tiny), cv2.resize(cv2.imread(pair[0]), (32, 32), interpolation=cv2.INTER_AREA))
        outcome = cv3d_main("match", pair[0], str(black), *FEW)
        assert outcome.code == 3
        assert f"{black} has no keypoints" in the_error(outcome.err)
        outcome = cv3d_main("match", str(black), str(black), *FEW, "--plot", str(tmp_path / "plot.png"))
        assert outcome.code == 3
        assert (tmp_path / "plot.png").exists()
        outcome = cv3d_main("match", pair[0], str(tiny), *FEW)
        assert outcome.code == 3
        assert f"{tiny} has only " in the_error(outcome.err)

    @pytest.mark.slow
    def test_pictures_of_other_depths_and_channels(
        self, cv3d_main: Main, pair: tuple[str, str], tmp_path: Path
    ) -> None:
        second = cv2.imread(pair[1])
        grey = cv2.cvtColor(second, cv2.COLOR_BGR2GRAY)
        others = {
            "deep.png": second.astype(np.uint16) * 257,
            "grey.png": grey,
            "deep grey.tif": grey.astype(np.uint16) * 257,
            "alpha.png": np.dstack([second, np.full_like(grey, 255)]),
            "half größe.png": cv2.resize(second, (160, 120), interpolation=cv2.INTER_AREA),
        }
        for name, pixels in others.items():
            cv2.imwrite(str(tmp_path / name), pixels)
            assert (
                cv3d_main("match", pair[0], str(tmp_path / name), *FEW, "--no-refine", "--matcher", "mutual").code == 0
            ), name

    def test_a_camera_of_another_shape(
        self, cv3d_main: Main, pair: tuple[str, str], camera: Path, tmp_path: Path
    ) -> None:
        cut = tmp_path / "cut.png"
        cv2.imwrite(str(cut), cv2.imread(pair[1])[:200])
        fails(cv3d_main("match", pair[0], str(cut), *FEW, "--camera", str(camera)), 1, "cut.png", "320x200")
        fails(cv3d_main("match", *pair, "--camera", str(tmp_path / "none.json")), 1, "none.json")

    def test_what_is_required(self, cv3d_main: Main, pair: tuple[str, str]) -> None:
        assert cv3d_main("match", *pair, *FEW, "--require", "inliers>10").code == 0
        outcome = cv3d_main("match", *pair, *FEW, "--require", "inliers>100000", "--json")
        assert outcome.code == 3
        assert "inliers" in the_error(outcome.err)
        assert json.loads(outcome.out)["verified"]
        fails(cv3d_main("match", *pair, "--require", "verified_pairs>1"), 2, "verified_pairs", "inliers")

    def test_pictures_that_are_not_there(self, cv3d_main: Main, pair: tuple[str, str], tmp_path: Path) -> None:
        missing, broken = tmp_path / "missing.png", tmp_path / "broken.jpg"
        fails(cv3d_main("match", pair[0], str(missing), *FEW), 1, missing)
        broken.write_bytes(b"\xff\xd8 no picture")
        fails(cv3d_main("match", pair[0], str(broken), *FEW), 1, "broken.jpg")

    @pytest.mark.slow
    def test_a_reader_that_goes_away_is_no_error(self, pair: tuple[str, str]) -> None:
        with run_outside(*pair, "--json") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == 141


class TestListing:
    def test_for_a_person(self, cv3d_main: Main) -> None:
        outcome = cv3d_main("match", "--list")
        assert outcome.code == 0
        names = [line.split()[0] for line in outcome.out.split("\n\n")[0].splitlines()]
        assert {"xfeat", "aliked", "disk", "sift", "lighterglue", "mutual", "ratio"} <= set(names)
        assert is_narrow(outcome.out.split("\n\n")[0])

    def test_as_json(self, cv3d_main: Main) -> None:
        result = json.loads(cv3d_main("match", "--list", "--json").out)
        assert result["schema"] == "cv3d.match_methods/1"
        by_name = {method["name"]: method for method in result["methods"]}
        assert by_name["xfeat"]["licence"]
        assert by_name["xfeat"]["ready"]
        assert by_name["sift"]["weights"] == []
        assert by_name["lighterglue"]["speed"] in ("fast", "medium", "slow")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ((), ("two pictures", "--list")),
        (("FOLDER", "--plot", "plot.png"), ("--plot", "pair")),
        (("FOLDER", "--npz", "pair.npz"), ("--npz", "pair")),
        (("FOLDER", "--camera", "CAMERA", "--camera", "CAMERA"), ("one camera",)),
        (("PAIR", "--camera", "CAMERA", "--camera", "CAMERA", "--camera", "CAMERA"), ("twice",)),
        (("PAIR", "--extractor", "orb"), ("orb", "xfeat")),
        (("PAIR", "--matcher", "magic"), ("magic", "lighterglue")),
        (("PAIR", "--extractor", "sift", "--matcher", "lighterglue"), ("lighterglue", "sift")),
        (("FOLDER", "--extractor", "xfeat-dense"), ("xfeat-dense", "pair")),
        (("FOLDER", "--pairs", "everything"), ("everything", "exhaustive")),
        (("FOLDER", "--pairs", "poses"), ("poses", "folder")),
        (("FOLDER", "--require", "parallax_deg>1"), ("parallax_deg", "verified_pairs")),
        (("PAIR", "--plot", "plot.xyz"), ("plot.xyz", "png")),
        (("PAIR", "--max-error", "0"), ("max_error",)),
        (("PAIR", "--max-keypoints", "3"), ("--max-keypoints",)),
        (("CLIP", "--tracks", "--extractor", "sift"), ("--tracks",)),
        (("CLIP", "--tracks", "--require", "inliers>1"), ("--require", "--tracks")),
        (("CLIP", "--tracks", "--plot", "plot.png"), ("--plot", "pair")),
        (("CLIP", "--tracks", "--pairs", "retrieval"), ("--pairs", "--tracks")),
        (("CLIP", "--tracks", "--max-keypoints", "100"), ("--max-keypoints", "--tracks")),
        (("CLIP", "--tracks", "--no-refine"), ("--no-refine", "--tracks")),
        (("PAIR", "--pairs", "sequential"), ("--pairs", "set")),
    ],
)
def test_wrong_usage_is_2(
    cv3d_main: Main,
    photos: Path,
    pair: tuple[str, str],
    camera: Path,
    project_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    fragments: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    stands = {
        "FOLDER": (str(photos),),
        "PAIR": pair,
        "CAMERA": (str(camera),),
        "CLIP": (str(project_root / "data" / "samples" / "room.mp4"),),
    }
    command = [word for argument in arguments for word in stands.get(argument, (argument,))]
    fails(cv3d_main("match", *command), 2, *fragments)
    assert list(tmp_path.iterdir()) == []


class Done:
    """A set matched once: three pictures of a room, one of something else, and one that cannot be read."""

    def __init__(self, folder: Path, out: Path) -> None:
        self.folder, self.out = folder, out
        self.arguments = (str(folder), "-o", str(out), *FEW, "--max-error", "1.5")
        stdout, stderr = io.StringIO(), io.StringIO()
        with redirect_stdout(stdout), redirect_stderr(stderr):
            self.code = main(["match", *self.arguments, "--json"])
        self.result: dict[str, Any] = json.loads(stdout.getvalue())
        self.err = stderr.getvalue()


@pytest.fixture(scope="module")
def done(photos: Path, alien: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("set") / "Größe und Ort"
    shutil.copytree(photos, folder)
    shutil.copy(alien, folder / "alien.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    return Done(folder, tmp_path_factory.mktemp("out") / "a b ü")


class TestSet:
    def test_files_and_result(self, done: Done) -> None:
        assert done.code == 0
        assert sorted(path.name for path in done.out.iterdir()) == [
            "database.db",
            "pairs.csv",
            "pictures.csv",
            "report.html",
            "result.json",
        ]
        assert json.loads((done.out / "result.json").read_text()) == done.result
        assert sorted(done.result["files"]) == sorted(path.name for path in done.out.iterdir())
        assert done.result["schema"] == "cv3d.match_set/1"
        assert done.result["pairs"]["planned"] == done.result["pairs"]["computed"] == 6
        assert done.result["pairs"]["verified"] == 3
        assert "<svg" in (done.out / "report.html").read_text()

    def test_a_picture_of_something_else_is_listed_unverified(self, done: Done) -> None:
        assert [one["picture"] for one in done.result["alone"]] == ["alien.png"]
        with (done.out / "pairs.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert {(row["verified"], "alien.png" in (row["name0"], row["name1"])) for row in rows} == {
            ("true", False),
            ("false", True),
        }
        assert len(rows) == 6

    def test_a_picture_that_cannot_be_read_is_listed(self, done: Done) -> None:
        (left_out,) = done.result["left_out"]
        assert left_out["picture"] == "broken.jpg"
        assert "broken.jpg" in done.err
        assert "Traceback" not in done.err

    def test_a_second_run_computes_nothing(self, cv3d_main: Main, done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(set_extraction, "extract_picture", None)
        before = (done.out / "pairs.csv").read_bytes()
        outcome = cv3d_main("match", *done.arguments)
        assert outcome.code == 0
        assert "6 of them in an earlier run" in outcome.out
        assert is_narrow(outcome.out)
        assert (done.out / "pairs.csv").read_bytes() == before

    def test_what_is_required_of_a_set(self, cv3d_main: Main, done: Done) -> None:
        assert cv3d_main("match", *done.arguments, "--require", "verified_pairs>=3").code == 0
        outcome = cv3d_main("match", *done.arguments, "--require", "largest_share>0.9")
        assert outcome.code == 3
        assert "largest_share" in the_error(outcome.err)

    def test_a_list_from_stdin(
        self, cv3d_main: Main, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [str(photos / f"{i}.png") for i in range(3)]
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(names) + "\n\n"))
        outcome = cv3d_main("match", "-", "-o", str(tmp_path / "out"), *FEW, "--no-refine", "--json")
        assert json.loads(outcome.out)["pictures"] == 3
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        fails(cv3d_main("match", "-"), 2, "no input")

    def test_a_pictures_twin_is_no_trouble(self, cv3d_main: Main, photos: Path, tmp_path: Path) -> None:
        shutil.copytree(photos, tmp_path / "twins")
        shutil.copy(photos / "0.png", tmp_path / "twins" / "again.png")
        command = ("match", str(tmp_path / "twins"), "-o", str(tmp_path / "out"), *FEW)
        outcome = cv3d_main(*command, "--matcher", "mutual", "--no-refine", "--json")
        assert outcome.code == 0
        assert json.loads(outcome.out)["components"] == [4]

    def test_too_few_pictures(self, cv3d_main: Main, photos: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        fails(cv3d_main("match", str(tmp_path / "empty"), "-o", str(tmp_path / "out")), 1, "empty")
        fails(cv3d_main("match", str(tmp_path / "none"), "-o", str(tmp_path / "out")), 1, "none")
        fails(cv3d_main("match", str(photos / "0.png"), "-o", str(tmp_path / "out"), *FEW), 1, "needs two")


class TestBadStores:
    def test_a_store_of_a_newer_version(self, cv3d_main: Main, photos: Path, tmp_path: Path) -> None:
        FeatureStore.open(tmp_path / "database.db").close()
        with sqlite3.connect(tmp_path / "database.db") as database:
            database.execute("UPDATE cv3d_store SET version = 99, written_by = '9.9'")
        database.close()
        before = (tmp_path / "database.db").read_bytes()
        fails(cv3d_main("match", str(photos), "-o", str(tmp_path), *FEW), 1, "database.db", "99", "9.9")
        assert (tmp_path / "database.db").read_bytes() == before

    def test_what_is_no_database(self, cv3d_main: Main, photos: Path, tmp_path: Path) -> None:
        text = "this is a letter, not a database\n" * 100
        (tmp_path / "database.db").write_text(text)
        fails(cv3d_main("match", str(photos), "-o", str(tmp_path), *FEW), 1, "database.db")
        assert (tmp_path / "database.db").read_text() == text
        assert [path.name for path in tmp_path.iterdir()] == ["database.db"]

    def test_an_output_that_is_a_file(self, cv3d_main: Main, photos: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        out.write_text("a letter")
        fails(cv3d_main("match", str(photos), "-o", str(out), *FEW), 1, out)
        fails(cv3d_main("match", str(photos), "-o", str(out / "inner"), *FEW), 1, out)
        fails(cv3d_main("match", str(photos / "0.png"), str(photos / "1.png"), "-o", str(out), *FEW), 1, out)
        assert out.read_text() == "a letter"

    def test_a_full_disk_is_one_line_and_costs_nothing(
        self, cv3d_main: Main, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        FeatureStore.open(tmp_path / "database.db").close()
        turn_log_on = Connection.use_write_ahead_log

        def with_room_for_a_picture(self: Connection) -> None:
            turn_log_on(self)
            pages = self.raw.execute("PRAGMA page_count").fetchone()[0]
            self.raw.execute(f"PRAGMA max_page_count = {pages + 18}")

        with monkeypatch.context() as patch:
            patch.setattr(Connection, "use_write_ahead_log", with_room_for_a_picture)
            outcome = cv3d_main("match", str(photos), "-o", str(tmp_path), *FEW)
        fails(outcome, 1, "database.db", "disk is full")
        with FeatureStore.open(tmp_path / "database.db", read_only=True) as store:
            kept = store.counts().pictures_with_features
        assert 1 <= kept < 3
        assert cv3d_main("match", str(photos), "-o", str(tmp_path), *FEW).code == 0


@pytest.mark.slow
def test_a_run_interrupted_from_outside_is_gone_on_with(
    cv3d_main: Main,
    frames: list[Pixels],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for i, frame in enumerate(frames[:14]):
        cv2.imwrite(str(folder / f"{i:02d}.png"), frame)
    choice = ("--pairs", "sequential", "--overlap", "1", "--matcher", "mutual", "--no-refine")
    process = run_outside(str(folder), "-o", str(out), *choice)
    give_up = time.monotonic() + 90
    while _features(out) < 2 and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    written, err = process.communicate(timeout=60)
    assert (process.returncode, written) == (130, ""), err
    assert the_error(err).startswith("error: interrupted")
    assert not (out / "result.json").exists()
    kept = _features(out)
    assert 2 <= kept < 14
    extract = set_extraction.extract_picture
    extracted = []

    def counted(*arguments: Any) -> Any:
        extracted.append(None)
        return extract(*arguments)

    monkeypatch.setattr(set_extraction, "extract_picture", counted)
    result = json.loads(cv3d_main("match", str(folder), "-o", str(out), *FEW, *choice, "--json").out)
    assert len(extracted) == 14 - kept
    assert result["components"] == [14]


def test_an_interrupted_run_is_gone_on_with(
    cv3d_main: Main, frames: list[Pixels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for i, frame in enumerate(frames[:8]):
        cv2.imwrite(str(folder / f"{i:02d}.png"), frame)
    command = ("match", str(folder), "-o", str(out), *FEW, "--pairs", "sequential", "--overlap", "1")
    command = (*command, "--matcher", "mutual", "--no-refine", "--json")
    extract = set_extraction.extract_picture
    extracted: list[None] = []
    stop_at = 7

    def counted(*arguments: Any) -> Any:
        if len(extracted) == stop_at:
            raise KeyboardInterrupt
        extracted.append(None)
        return extract(*arguments)

    monkeypatch.setattr(set_extraction, "extract_picture", counted)
    fails(cv3d_main(*command), 130, "interrupted")
    assert not (out / "result.json").exists()
    kept = _features(out)
    assert 1 <= kept < 8
    extracted.clear()
    stop_at = 99
    result = json.loads(cv3d_main(*command).out)
    assert len(extracted) == 8 - kept
    assert result["components"] == [8]


def _features(out: Path) -> int:
    """How many pictures a store has the features of; 0 where there is none yet."""
    if not (out / "database.db").exists():
        return 0
    database = sqlite3.connect(f"file:{out / 'database.db'}?mode=ro", uri=True)
    try:
        return int(database.execute("SELECT count(*) FROM cv3d_features").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        database.close()


@pytest.fixture(scope="module")
def clip(frames: list[Pixels], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in frames[:12]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode())
    return path


class TestTracks:
    def test_files_and_summary(self, cv3d_main: Main, clip: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        outcome = cv3d_main("match", str(clip), "--tracks", "-o", str(out))
        assert outcome.code == 0, outcome.err
        assert is_narrow(outcome.out)
        assert "through 12 frames" in outcome.out.splitlines()[0]
        assert sorted(path.name for path in out.iterdir()) == ["result.json", "tracks.npz", "tracks.png"]
        result = json.loads((out / "result.json").read_text())
        assert result["schema"] == "cv3d.match_tracks/1"
        assert result["frames"] == 12
        assert sum(bin_["tracks"] for bin_ in result["lengths"]) == result["tracks"] > 50
        assert cv2.imread(str(out / "tracks.png")) is not None
        with np.load(out / "tracks.npz") as held:
            assert len(held.files) > 3
        again = json.loads(cv3d_main("match", str(clip), "--tracks", "-o", str(out), "--json").out)
        assert again["is_reused"]
        assert {**again, "is_reused": False} == result

    def test_inputs_that_are_no_clip(self, cv3d_main: Main, photos: Path, tmp_path: Path) -> None:
        out = ("--tracks", "-o", str(tmp_path / "out"))
        fails(cv3d_main("match", str(tmp_path / "no.mp4"), *out), 1, "no.mp4")
        (tmp_path / "bad.mp4").write_bytes(b"no video at all")
        fails(cv3d_main("match", str(tmp_path / "bad.mp4"), *out), 1, "bad.mp4")
        fails(cv3d_main("match", str(photos / "0.png"), *out), 1, "0.png")
        assert not (tmp_path / "out").exists()

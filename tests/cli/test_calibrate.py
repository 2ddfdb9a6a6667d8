"""`cv3d calibrate` as a user meets it: good runs, bad input, exit codes, streams."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cv3d.calibration.journal import Journal
from cv3d.cli import main
from cv3d.formats import CAMERA_FORMATS

Gray = NDArray[np.uint8]
Save = Callable[[str, Sequence[Gray]], Path]

FAST = ("--board", "checkerboard:9x6", "--model", "brown5", "--board-warp", "off")
FILES = {*(f.file_name for f in CAMERA_FORMATS.values()), "report.html", "result.json"}
SIZE = (640, 480)


def run(*arguments: object) -> SimpleNamespace:
    """A command line in this process: its `code`, `out`, `err`, the `errors` among the lines, and the JSON `result`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in ("calibrate", *arguments)])
    errors = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    result = json.loads(out.getvalue()) if out.getvalue().startswith("{") else None
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue(), errors=errors, result=result)


def fails(outcome: SimpleNamespace, code: int, *fragments: object) -> None:
    """The run ended with `code` and one line that holds `fragments`, without a traceback and without a result."""
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert len(outcome.errors) == 1
    assert outcome.err.endswith(outcome.errors[0] + "\n")
    assert "Traceback" not in outcome.err
    for fragment in fragments:
        assert str(fragment) in outcome.errors[0]


def rejected(result: dict[str, Any]) -> dict[str, str]:
    return {item["file"]: item["reason"] for item in result["views"]["rejected"]}


def notes(result: dict[str, Any]) -> dict[str, str | None]:
    return {item["file"]: item["note"] for item in result["views"]["per_view"]}


def assert_within_sigmas(result: dict[str, Any], truth: dict[str, float], sigmas: float = 3.0) -> None:
    camera = result["camera"]
    for name, value in truth.items():
        assert abs(camera["params"][name] - value) <= sigmas * camera["std"][name], name


@pytest.fixture(scope="module")
def samples(project_root: Path) -> Path:
    return project_root / "data" / "samples" / "checkerboard"


@pytest.fixture(scope="module")
def truth(samples: Path) -> dict[str, Any]:
    return json.loads((samples / "ground_truth.json").read_text())


@pytest.fixture(scope="module")
def halves(samples: Path) -> list[Gray]:
    """The sample pictures at half size, whose pixel centres lie at (x - 0.5) / 2 of the whole ones."""
    whole = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(samples.glob("*.jpg"))]
    return [cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA) for picture in whole]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def put(name: str, pictures: Sequence[Gray], suffix: str = ".png") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for i, picture in enumerate(pictures):
            cv2.imwrite(str(folder / f"{i:02d}{suffix}"), picture)
        return folder

    return put


@dataclass(frozen=True)
class GoodRun:
    pictures: Path
    out: Path
    outcome: SimpleNamespace


@pytest.fixture(scope="module")
def good(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> GoodRun:
    """The bare command on eight pictures of known truth; only the scale is told."""
    root = tmp_path_factory.mktemp("good")
    pictures = root / "photos"
    pictures.mkdir()
    for path in sorted(samples.glob("*.jpg"))[:8]:
        shutil.copy(path, pictures)
    return GoodRun(pictures, root / "out", run(pictures, "--square", "25mm", "--json", "-o", root / "out"))


@pytest.fixture(scope="module")
def good_halves(halves: list[Gray], tmp_path_factory: pytest.TempPathFactory) -> GoodRun:
    """Eight half-size pictures with everything told, to compare sets with something wrong in them with."""
    root = tmp_path_factory.mktemp("halves")
    pictures = root / "photos"
    pictures.mkdir()
    for i, picture in enumerate(halves[:8]):
        cv2.imwrite(str(pictures / f"{i:02d}.png"), picture)
    return GoodRun(pictures, root / "out", run(pictures, *FAST, "--json", "-o", root / "out"))


def found_already(done: GoodRun, out: Path) -> None:
    """Another output folder for the same pictures, their corners known, so that they need not be looked for again."""
    out.mkdir()
    shutil.copy(done.out / "detections.jsonl", out)


@pytest.fixture(scope="module")
def mixed(halves: list[Gray], good_halves: GoodRun, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Eight good pictures and one of each kind of trouble."""
    folder = tmp_path_factory.mktemp("mixed") / "photos"
    shutil.copytree(good_halves.pictures, folder)
    width, height = SIZE
    smaller = cv2.resize(halves[8], (608, 456), interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bent = cv2.remap(halves[11], x + 12 * np.sin(y / 40), y + 12 * np.sin(x / 35), cv2.INTER_LINEAR)
    cv2.imwrite(str(folder / "smaller.png"), smaller)
    cv2.imwrite(str(folder / "cropped.png"), halves[9][13:-50, 7:-90])
    cv2.imwrite(str(folder / "turned.png"), np.rot90(halves[10]))
    cv2.imwrite(str(folder / "bent.png"), bent)
    shutil.copy(folder / "03.png", folder / "again.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(halves[12]).save(folder / "portrait.jpg", quality=95, exif=exif.tobytes())
    found_already(good_halves, folder.parent / "out")
    return run(folder, *FAST, "--json", "-o", folder.parent / "out")


class TestGoodRun:
    def test_the_json_says_what_every_pipeline_needs(self, good: GoodRun) -> None:
        assert good.outcome.code == 0
        assert good.outcome.out.count("\n") == 1
        result = good.outcome.result
        assert result["schema"] == "cv3d.calibration/1"
        board = {key: result["board"][key] for key in ("type", "rows", "cols", "square_m", "dictionary")}
        assert board == {"type": "checkerboard", "rows": 6, "cols": 9, "square_m": 0.025, "dictionary": None}
        camera = result["camera"]
        assert (camera["model"], camera["width"], camera["height"]) == ("brown5", 1280, 960)
        assert result["views"]["used"] == 8
        assert result["views"]["rejected"] == []
        assert 0.0 < result["rms_px"] < 0.1
        assert 0.0 < result["holdout_rms_px"] < 0.1
        center, edge, corner = (result["uncertainty_px"][key] for key in ("center", "edge", "corner"))
        assert 0.0 < center < edge < corner
        assert result["verdict"] in ("good", "usable")
        seconds = result["seconds"]
        assert 0.0 < seconds["detect"] + seconds["solve"] <= seconds["total"] + 1e-9

    def test_the_truth_is_within_three_sigma(self, good: GoodRun, truth: dict[str, Any]) -> None:
        assert_within_sigmas(good.outcome.result, truth["camera"]["params"])

    def test_every_file_is_there_and_result_json_is_what_was_printed(self, good: GoodRun) -> None:
        assert {path.name for path in good.out.iterdir()} == FILES | {"detections.jsonl"}
        assert json.loads((good.out / "result.json").read_text()) == good.outcome.result
        assert set(good.outcome.result["files"]) == FILES

    def test_opencv_reads_its_file(self, good: GoodRun) -> None:
        storage = cv2.FileStorage(str(good.out / "camera_opencv.yaml"), cv2.FILE_STORAGE_READ)
        params = good.outcome.result["camera"]["params"]
        matrix = storage.getNode("camera_matrix").mat()
        expected = [[params["fx"], 0, params["cx"]], [0, params["fy"], params["cy"]], [0, 0, 1]]
        np.testing.assert_allclose(matrix, expected, rtol=1e-12)
        coefficients = [params[name] for name in ("k1", "k2", "p1", "p2", "k3")]
        np.testing.assert_allclose(storage.getNode("distortion_coefficients").mat().ravel(), coefficients, rtol=1e-12)

    @pytest.mark.parametrize("name", ["cv3d", "opencv", "ros", "colmap"])
    def test_every_format_that_knows_the_model_gives_the_camera_back(self, name: str, good: GoodRun) -> None:
        camera_format = CAMERA_FORMATS[name]
        camera = camera_format.loads((good.out / camera_format.file_name).read_text())
        params = list(good.outcome.result["camera"]["params"].values())
        # COLMAP's FULL_OPENCV has three coefficients more, which are zero.
        np.testing.assert_allclose(camera.params[: len(params)], params, rtol=1e-12)
        assert not any(camera.params[len(params) :])

    def test_the_stand_in_is_named_with_its_error(self, good: GoodRun) -> None:
        stand_in = good.outcome.result["formats"]["kalibr"]
        assert stand_in["file"] == "camchain.yaml"
        assert stand_in["model"] != good.outcome.result["camera"]["model"]
        assert 0.0 < stand_in["fit_rms_px"] < stand_in["fit_max_px"]

    def test_the_report_is_one_page_on_its_own(self, good: GoodRun) -> None:
        page = (good.out / "report.html").read_text()
        assert page.lstrip().lower().startswith("<!doctype html>")
        assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
        assert f"{good.outcome.result['uncertainty_px']['corner']:.2f} px" in page

    def test_an_identical_run_is_up_to_date(self, good: GoodRun) -> None:
        before = {path.name: path.stat().st_mtime_ns for path in good.out.iterdir()}
        again = run(good.pictures, "--square", "2.5cm", "--json", "-o", good.out)
        assert (again.code, again.out, again.err) == (0, good.outcome.out, "")
        assert {path.name: path.stat().st_mtime_ns for path in good.out.iterdir()} == before

    def test_the_summary_is_plain_and_fits_80_columns(self, good: GoodRun) -> None:
        outcome = run(good.pictures, "--square", "25mm", "-o", good.out)
        assert outcome.code == 0
        assert "\x1b" not in outcome.out + outcome.err
        assert max(map(len, outcome.out.splitlines())) <= 80
        assert outcome.out.startswith(good.outcome.result["verdict"])
        assert "up to date in" in outcome.out
        for name in FILES:
            assert name in outcome.out

    def test_requirements(self, good: GoodRun) -> None:
        told = (good.pictures, "--square", "25mm", "--json", "-o", good.out)
        assert run(*told, "--require", "rms<0.5", "--require", "views>=8").code == 0
        outcome = run(*told, "--require", "rms<0.5", "--require", "rms<1e-6")
        assert outcome.code == 3
        assert outcome.result == good.outcome.result
        assert len(outcome.errors) == 1
        assert "rms<1e-06 is required, but rms is 0.0" in outcome.errors[0]
        assert "rms<0.5" not in outcome.errors[0]

    def test_another_run_is_not_overwritten_unasked(self, good_halves: GoodRun, tmp_path: Path) -> None:
        out = tmp_path / "out"
        shutil.copytree(good_halves.out, out)
        text = (out / "result.json").read_text()
        other = (good_halves.pictures, *FAST, "--square", "25mm", "--json", "-o", out)
        fails(run(*other), 1, out, "--overwrite")
        assert (out / "result.json").read_text() == text
        outcome = run(*other, "--overwrite")
        assert outcome.code == 0
        assert outcome.result["board"]["square_m"] == 0.025
        assert json.loads((out / "result.json").read_text()) == outcome.result

    def test_a_missed_requirement_is_3_after_writing(self, good_halves: GoodRun, tmp_path: Path) -> None:
        found_already(good_halves, tmp_path / "out")
        outcome = run(good_halves.pictures, *FAST, "--json", "-o", tmp_path / "out", "--require", "rms<1e-6")
        assert outcome.code == 3
        assert {path.name for path in (tmp_path / "out").iterdir()} >= FILES

    def test_quiet_prints_nothing(self, good: GoodRun) -> None:
        outcome = run(good.pictures, "--square", "25mm", "--quiet", "-o", good.out)
        assert (outcome.code, outcome.out, outcome.err) == (0, "", "")

    def test_a_list_on_stdin(self, good_halves: GoodRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found_already(good_halves, tmp_path / "out")
        names = [str(path) for path in sorted(good_halves.pictures.iterdir())]
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(names) + "\n\n"))
        outcome = run("-", *FAST, "--json", "-o", tmp_path / "out")
        assert outcome.code == 0
        assert outcome.result["camera"] == good_halves.outcome.result["camera"]

    def test_an_empty_list_on_stdin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
        fails(run("-", "--json"), 2, "no input")

    def test_the_output_is_named_after_the_input(self, good_halves: GoodRun, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(good_halves.pictures.parent)
        found_already(good_halves, Path("photos_calibration"))
        outcome = run("photos", *FAST)
        assert outcome.code == 0
        assert (Path("photos_calibration") / "result.json").exists()
        assert "written to photos_calibration:" in outcome.out


class TestWrongUsage:
    @pytest.mark.parametrize(
        ("arguments", "fragment"),
        [
            (["--board", "nonsense"], "'nonsense'"),
            (["--board", "1x6"], "'1x6'"),
            (["--board", "checkerboard:9x6:4X4_50"], "4X4_50"),
            (["--square", "wide"], "'wide'"),
            (["--square", "-3mm"], "'-3mm'"),
            (["--square", "0"], "'0'"),
            (["--model", "lens"], "'lens'"),
            (["--board-warp", "perhaps"], "'perhaps'"),
            (["--max-frames", "1"], "--max-frames"),
            (["--require", "sharpness<1"], "'sharpness'"),
            (["--require", "rms"], "'rms'"),
        ],
    )
    def test_is_2_and_names_the_word(
        self, arguments: list[str], fragment: str, good_halves: GoodRun, tmp_path: Path
    ) -> None:
        fails(run(good_halves.pictures, *arguments, "-o", tmp_path / "out", "--json"), 2, fragment)
        assert not (tmp_path / "out").exists()


class TestBadInput:
    def test_an_empty_folder(self, tmp_path: Path) -> None:
        folder = tmp_path / "empty"
        folder.mkdir()
        fails(run(folder, "--json", "-o", tmp_path / "out"), 1, folder, "no pictures")
        assert not (tmp_path / "out").exists()

    def test_a_path_that_does_not_exist(self, tmp_path: Path) -> None:
        fails(run(tmp_path / "nowhere", "--json"), 1, tmp_path / "nowhere", "no such file or folder")

    def test_no_board_in_any_picture(self, save: Save, tmp_path: Path) -> None:
        folder = save("noise", _noise(3))
        outcome = run(folder, "--json", "-o", tmp_path / "out")
        fails(outcome, 1, "no calibration board found in any of the 3 pictures")
        assert not (tmp_path / "out" / "result.json").exists()

    def test_a_board_in_one_picture_only(self, halves: list[Gray], save: Save, tmp_path: Path) -> None:
        folder = save("one", [*_noise(2), halves[0]])
        fails(run(folder, "--json", "-o", tmp_path / "out"), 1, "one picture only", "02.png")

    @pytest.mark.slow
    def test_one_pose_is_unobservable_and_still_written(self, halves: list[Gray], save: Save, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        noisy = [np.clip(halves[3] + rng.normal(0.0, 1.5, halves[3].shape), 0, 255).astype(np.uint8) for _ in range(4)]
        outcome = run(save("same", noisy), *FAST, "--json", "-o", tmp_path / "out")
        assert outcome.code == 3
        assert outcome.result["verdict"] == "unobservable"
        assert len(outcome.errors) == 1
        assert outcome.errors[0].startswith("error: unobservable: ")
        text = (tmp_path / "out" / "result.json").read_text()
        assert json.loads(text, parse_constant=_refuse) == outcome.result
        assert set(outcome.result["camera"]["std"].values()) == {None}
        assert outcome.result["uncertainty_px"]["center"] is None
        assert (tmp_path / "out" / "report.html").exists()
        again = run(tmp_path / "same", *FAST, "-o", tmp_path / "out")
        assert again.code == 3
        assert "uncertainty  center unknown" in again.out

    def test_copies_of_one_picture(self, halves: list[Gray], save: Save, tmp_path: Path) -> None:
        folder = save("copies", [halves[3]] * 3)
        fails(run(folder, *FAST, "--json", "-o", tmp_path / "out"), 3, "unobservable", "copies of 00.png")

    def test_unreadable_files_among_good_ones(
        self, halves: list[Gray], good_halves: GoodRun, save: Save, tmp_path: Path
    ) -> None:
        folder = save("broken", halves[:8])
        cv2.imwrite(str(folder / "cut.jpg"), halves[9])
        (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:9000])
        (folder / "zero.jpg").write_bytes(b"")
        (folder / "text.png").write_text("this is no picture")
        found_already(good_halves, tmp_path / "out")
        outcome = run(folder, *FAST, "--json", "-o", tmp_path / "out")
        assert outcome.code == 0
        assert outcome.result["views"]["used"] == 8
        reasons = rejected(outcome.result)
        assert set(reasons) == {"cut.jpg", "zero.jpg", "text.png"}
        assert "truncated" in reasons["cut.jpg"]
        assert "empty" in reasons["zero.jpg"]
        assert outcome.result["camera"] == good_halves.outcome.result["camera"]
        text = run(folder, *FAST, "-o", tmp_path / "out").out
        assert "8 of 11 used" in text
        assert "  zero.jpg: empty file (0 bytes)" in text

    def test_nothing_but_unreadable_files(self, tmp_path: Path) -> None:
        folder = tmp_path / "zeros"
        folder.mkdir()
        for i in range(2):
            (folder / f"{i}.jpg").write_bytes(b"")
        fails(run(folder, "--json", "-o", tmp_path / "out"), 1, "none of the 2 pictures can be read", "0.jpg")

    def test_the_wrong_board_says_which_one_is_there(self, halves: list[Gray], save: Save, tmp_path: Path) -> None:
        folder = save("photos", halves[:2])
        fails(run(folder, "--board", "7x5", "--json", "-o", tmp_path / "out"), 1, "7x5", "9x6")
        fails(run(folder, "--board", "charuco:8x6", "--json", "-o", tmp_path / "out"), 1, "charuco 8x6", "no marker")

    @pytest.mark.slow
    def test_a_video_that_ends_early(self, halves: list[Gray], tmp_path: Path) -> None:
        clip = tmp_path / "clip.mkv"
        _write_clip(clip, halves[:12])
        clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
        outcome = run(clip, *FAST, "--json", "-o", tmp_path / "out")
        assert outcome.code == 0
        assert 4 <= outcome.result["views"]["used"] < 12
        assert any("clip.mkv" in warning for warning in outcome.result["warnings"])
        assert "warning: clip.mkv" in outcome.err

    def test_a_video_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "clip.mp4").write_bytes(b"\0" * 5000)
        fails(run(tmp_path / "clip.mp4", "--json", "-o", tmp_path / "out"), 1, "clip.mp4")

    def test_a_video_cut_off_before_its_index(self, halves: list[Gray], tmp_path: Path) -> None:
        clip = tmp_path / "clip.mp4"
        _write_clip(clip, halves[:4])
        clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
        fails(run(clip, "--json", "-o", tmp_path / "out"), 1, "clip.mp4", "cut off")

    def test_an_output_that_cannot_be_written(self, good_halves: GoodRun, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for out in (tmp_path / "file", tmp_path / "file" / "below"):
            fails(run(good_halves.pictures, *FAST, "--json", "-o", out), 1, out, "cannot be written")
        assert (tmp_path / "file").read_text() == ""


class TestMixedSets:
    def test_each_picture_ends_as_used_or_with_its_reason(self, mixed: SimpleNamespace) -> None:
        assert mixed.code == 0
        reasons = rejected(mixed.result)
        assert set(reasons) == {"cropped.png", "bent.png", "again.png"}
        assert "543x417" in reasons["cropped.png"]
        assert "do not fit" in reasons["bent.png"]
        assert reasons["again.png"] == "a copy of 03.png"
        assert mixed.result["views"]["total"] == 14
        assert mixed.result["views"]["used"] == 11

    def test_pictures_in_another_frame_say_how_they_were_used(self, mixed: SimpleNamespace) -> None:
        said = {name: note for name, note in notes(mixed.result).items() if note}
        assert set(said) == {"smaller.png", "turned.png", "portrait.jpg"}
        assert said["smaller.png"] == "scaled from 608x456"
        assert "turned" in str(said["turned.png"])

    def test_the_others_result_is_unchanged(
        self, mixed: SimpleNamespace, good_halves: GoodRun, truth: dict[str, Any]
    ) -> None:
        assert_within_sigmas(good_halves.outcome.result, mixed.result["camera"]["params"])
        assert_within_sigmas(mixed.result, _halved(truth["camera"]["params"]), sigmas=3.5)
        assert mixed.result["rms_px"] < 1.5 * good_halves.outcome.result["rms_px"]


def test_an_interruption_costs_only_what_was_not_found(
    halves: list[Gray], save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = save("photos", halves[:5]), tmp_path / "out"
    journal = out / "detections.jsonl"
    put = Journal._put

    def interrupted(self: Journal, entry: dict[str, object]) -> None:
        if _lines(journal) >= 3:
            raise KeyboardInterrupt
        put(self, entry)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_put", interrupted)
        stopped = run(folder, *FAST, "-o", out)
    fails(stopped, 130, "interrupted")
    assert [path.name for path in out.iterdir()] == ["detections.jsonl"]
    kept = journal.read_text().splitlines()
    assert 3 <= len(kept) < 5
    assert run(folder, *FAST, "-q", "-o", out).code == 0
    lines = journal.read_text().splitlines()
    assert lines[: len(kept)] == kept
    assert len({json.loads(line)["key"] for line in lines}) == len(lines)


class TestProcess:
    """What only a process of its own shows."""

    @pytest.mark.slow
    def test_an_interruption_keeps_what_was_found(self, samples: Path, tmp_path: Path) -> None:
        folder = tmp_path / "photos"
        folder.mkdir()
        picture = cv2.imread(str(samples / "000.jpg"))
        for i in range(150):
            picture[0, 0] = (i, i // 2, 0)
            cv2.imwrite(str(folder / f"{i:03d}.bmp"), picture)
        out = tmp_path / "out"
        process = _start(folder, *FAST, "-o", out)
        journal = out / "detections.jsonl"
        give_up = time.monotonic() + 60
        while _lines(journal) < 4 and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert err.splitlines()[-1].startswith("error: interrupted")
        assert "Traceback" not in err
        assert [path.name for path in out.iterdir()] == ["detections.jsonl"]
        kept = journal.read_text().splitlines()
        assert 4 <= len(kept) < 150
        keys = [json.loads(line)["key"] for line in kept]

        for path in sorted(folder.iterdir())[8:]:
            path.unlink()
        run(folder, *FAST, "-o", out)
        after = [json.loads(line)["key"] for line in journal.read_text().splitlines()]
        assert after[: len(keys)] == keys
        assert len(set(after)) == len(after)

    @pytest.mark.slow
    def test_a_reader_that_stops_early(self, good: GoodRun) -> None:
        process = _start(good.pictures, "--square", "25mm", "-o", good.out)
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        process.wait(timeout=60)
        process.stderr.close()
        assert "Traceback" not in err
        assert "Error" not in err


def _start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cv3d", "calibrate", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _noise(count: int) -> list[Gray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (240, 320), np.uint8) for _ in range(count)]


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def _halved(params: dict[str, float]) -> dict[str, float]:
    centre = {name: (params[name] + 0.5) / 2 - 0.5 for name in ("cx", "cy")}
    return {**params, "fx": params["fx"] / 2, "fy": params["fy"] / 2, **centre}


def _write_clip(path: Path, pictures: Sequence[Gray]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.bit_rate = 8_000_000
        stream.gop_size = 1
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.dstack([picture] * 3)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

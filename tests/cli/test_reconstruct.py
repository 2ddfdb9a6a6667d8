"""`cv3d reconstruct` as a user meets it: outputs, exit codes, interruptions. What reconstructs is a stand-in here."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cv3d.calibration.boards import BoardType
from cv3d.depth.result import DepthMap, DepthResult
from cv3d.formats.cv3d_camera import dumps
from cv3d.formats.meshes import read_mesh
from cv3d.fusion.view_result import ViewSurface
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.mesh import Mesh
from cv3d.mapping.options import MapOptions, Mapper, SharedCamera
from cv3d.mapping.scaling import KnownBoard, KnownDistance, ScenePlace
from cv3d.mapping.scene import ScaleSource, Scene
from cv3d.reconstruction.options import ReconstructOptions, Stage
from cv3d.reconstruction.posing import posed_set
from cv3d.reconstruction.scene import DenseScene, as_dense

from ..simulated_scene import BROWN, oriented_only, simulated_scene

Main = Callable[..., SimpleNamespace]


class Mapping:
    """Stands for what reconstructs: keeps what it is called with, and gives or raises what it is told to."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.failure: BaseException | None = None
        self.calls: list[dict[str, Any]] = []

    def reconstruct(
        self, source: Any, output: Path | None, *, options: ReconstructOptions, progress: Any, **more: Any
    ) -> DenseScene:
        self.calls.append({"source": source, "output": output, "options": options, **more})
        progress.start("features", 3)
        progress.finish("features")
        if self.failure is not None:
            raise self.failure
        return self.scene if isinstance(self.scene, DenseScene) else as_dense(self.scene)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


@pytest.fixture
def mapping(monkeypatch: pytest.MonkeyPatch, pictures: Path) -> Mapping:
    """In the place of cv3d.reconstruction.running; its scene's pictures are there."""
    stands = Mapping(simulated_scene(pictures, (6,)))
    module = ModuleType("cv3d.reconstruction.running")
    module.reconstruct = stands.reconstruct  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv3d.reconstruction.running", module)
    return stands


def the_error(text: str) -> str:
    assert "Traceback" not in text
    (error,) = (line for line in text.splitlines() if line.startswith("error: "))
    return error


def test_a_folder_gets_everything_and_a_second_run_does_nothing(
    cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(out), "--json")
    assert (first.code, len(mapping.calls)) == (0, 1), first.err
    content = json.loads(first.out)
    assert content == json.loads((out / "result.json").read_text())
    assert content["schema"] == "cv3d.reconstruct/1"
    assert (content["images"]["registered"], content["images"]["total"]) == (6, 9)
    assert content["images"]["folder"] == str(pictures)
    assert all((out / name).is_file() for name in content["files"])
    again = cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(out))
    assert (again.code, len(mapping.calls)) == (0, 1)
    assert f"up to date in {out}" in again.out.replace("\n", " ")
    other = cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(out), "--mapper", "global")
    assert (other.code, len(mapping.calls)) == (1, 1)
    assert "--overwrite" in the_error(other.err)
    forced = cv3d_main(
        "reconstruct", "--to", "poses", str(pictures), "-o", str(out), "--mapper", "global", "--overwrite"
    )
    assert (forced.code, len(mapping.calls)) == (0, 2)


@pytest.mark.parametrize("anew", [("--from", "matches"), ("--no-resume",)])
def test_what_is_to_be_done_anew_is(
    anew: tuple[str, ...], cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    assert cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", out).code == 0
    assert cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", out, *anew).code == 0
    assert len(mapping.calls) == 2
    # It is the same result, so that a plain run afterwards has nothing to do.
    assert cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", out).code == 0
    assert len(mapping.calls) == 2


def test_options_arrive(cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path) -> None:
    camera = tmp_path / "camera.json"
    camera.write_text(dumps(BROWN))
    options = ["--from", "features", "--no-resume", "--camera", str(camera), "--shared-camera", "no"]
    options += ["--mapper", "incremental", "--max-frames", "77", "--pairs", "sequential", "--max-size", "0"]
    options += ["--max-keypoints", "500", "--extractor", "sift", "--matcher", "mutual", "--no-refine", "--up", "no"]
    options += ["--gps", "no", "--seed", "7"]
    outcome = cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(tmp_path / "out"), *options)
    assert outcome.code == 0, outcome.err
    (call,) = mapping.calls
    whole: ReconstructOptions = call["options"]
    given: MapOptions = whole.mapping
    assert (call["source"], call["output"], call["camera"]) == (str(pictures), tmp_path / "out", BROWN)
    assert (whole.from_stage, whole.to_stage, whole.resume) == (Stage.FEATURES, Stage.POSES, False)
    assert (given.mapper, given.shared_camera, given.max_frames) == (Mapper.INCREMENTAL, SharedCamera.NO, 77)
    assert (given.pairs.how, given.pairs.seed, given.seed, given.matching.seed) == ("sequential", 7, 7, 7)
    assert (given.matching.max_side, given.matching.max_keypoints) == (None, 500)
    assert (given.matching.extractor, given.matching.matcher, given.matching.refine) == ("sift", "mutual", False)
    assert (given.refine, given.up, given.gps, given.scale) == (False, False, False, None)


def test_defaults_are_those_of_the_library(cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path) -> None:
    assert cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(tmp_path / "out")).code == 0
    assert mapping.calls[0]["options"] == ReconstructOptions(to_stage=Stage.POSES)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--scale-distance", "a.jpg", "b.jpg", "120cm"), KnownDistance(ScenePlace("a.jpg"), ScenePlace("b.jpg"), 1.2)),
        (
            ("--scale-distance", "a.jpg:3,4.5", "c:\\b.jpg", "2"),
            KnownDistance(ScenePlace("a.jpg", (3.0, 4.5)), ScenePlace("c:\\b.jpg"), 2.0),
        ),
        (("--square", "25mm"), KnownBoard(None, 0.025)),
    ],
)
def test_what_sets_the_scale_arrives(
    options: tuple[str, ...], expected: object, cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path
) -> None:
    mapping.scene = replace(mapping.scene, scale=ScaleSource.DISTANCE)
    assert cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(tmp_path / "out"), *options).code == 0
    assert mapping.calls[0]["options"].mapping.scale == expected


def test_a_board_arrives(cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path) -> None:
    options = ("--board", "charuco:8x6:5X5_100", "--square", "1in")
    mapping.scene = replace(mapping.scene, scale=ScaleSource.BOARD)
    assert cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(tmp_path / "out"), *options).code == 0
    scale = mapping.calls[0]["options"].mapping.scale
    assert (scale.board.type, scale.board.cols, scale.square_m) == (BoardType.CHARUCO, 8, 0.0254)


def test_a_scale_that_is_not_to_be_had_exits_with_3(
    cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path
) -> None:
    mapping.scene = replace(mapping.scene, warnings=("it is dark", "no scale: no board was found"))
    outcome = cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(tmp_path / "out"), "--square", "2cm")
    assert outcome.code == 3
    assert "the scale asked for is not to be had; no scale: no board was found" in the_error(outcome.err)
    assert (tmp_path / "out" / "result.json").is_file()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--to", "mesh"), "--to 'mesh': write one of frames, features, matches, poses, depth,"),
        (("--from", "poses", "--to", "features"), "comes before"),
        (("--mapper", "best"), "write one of auto, incremental, global"),
        (("--shared-camera", "maybe"), "write one of auto, yes, no"),
        (("--up", "yes"), "write auto or no"),
        (("--scale-distance", "a", "b", "long"), "a length such as"),
        (("--scale-distance", "a", "a", "1m"), "two places"),
        (("--scale-distance", "a:1.2.3,4", "b", "1m"), "NAME:x,y"),
        (("--scale-distance", "a", "b", "1m", "--square", "2cm"), "both set the scale"),
        (("--board", "9x6"), "add --square"),
        (("--require", "rms<1"), "no figure 'rms'"),
    ],
)
def test_wrong_usage_is_one_line_before_anything_is_done(
    options: tuple[str, ...], words: str, cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path
) -> None:
    outcome = cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(tmp_path / "out"), *options)
    assert outcome.code == 2
    assert words in the_error(outcome.err)
    assert not mapping.calls
    assert not (tmp_path / "out").exists()


def test_requirements_are_held_against_the_figures(
    cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    met = ["registered>=6", "registered_share>0.6", "models<=1", "mean_reprojection_px<1", "points>100"]
    options = [word for one in met for word in ("--require", one)]
    assert cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", out, *options).code == 0
    missed = cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", out, "--require", "registered_share>=0.9")
    assert missed.code == 3
    assert "registered_share is 0.6667" in the_error(missed.err)


def test_a_camera_that_only_turned_exits_with_3(
    cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path
) -> None:
    mapping.scene = oriented_only(mapping.scene)
    outcome = cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(tmp_path / "out"))
    assert outcome.code == 3
    assert "the camera only turned" in the_error(outcome.err)
    assert (tmp_path / "out" / "sparse" / "0" / "images.bin").is_file()


def test_nothing_placed_exits_with_3_and_says_why(
    cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path
) -> None:
    mapping.scene = replace(mapping.scene, models=())
    outcome = cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(tmp_path / "out"))
    assert outcome.code == 3
    assert "not one of 9 pictures could be placed" in the_error(outcome.err)
    assert "mostly: no verified pair with any other picture" in the_error(outcome.err)
    assert (tmp_path / "out" / "report.html").is_file()


def test_an_interruption_says_what_is_kept(cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mapping.failure = KeyboardInterrupt()
    outcome = cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(out))
    assert outcome.code == 130
    assert f"interrupted: finished stages are kept in {out}" in the_error(outcome.err)
    assert not (out / "result.json").exists()
    mapping.failure = None
    mapping.scene = replace(mapping.scene, interrupted=True)
    outcome = cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(out), "--json")
    assert outcome.code == 130
    assert f"is written to {out}" in the_error(outcome.err)
    assert json.loads(outcome.out)["interrupted"] is True
    # What was interrupted is not taken for done.
    mapping.scene = replace(mapping.scene, interrupted=False)
    assert cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(out)).code == 0
    assert len(mapping.calls) == 3


def test_an_earlier_stage_as_the_last_one_leaves_what_the_next_needs_alone(
    cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path
) -> None:
    whole = mapping.scene
    mapping.scene = replace(mapping.scene, models=(), left_out=())
    options = (str(pictures), "-o", str(tmp_path / "out"), "--to", "matches")
    outcome = cv3d_main("reconstruct", *options, "--json")
    assert outcome.code == 0
    content = json.loads(outcome.out)
    assert (content["stage"], content["images"]["total"]) == ("matches", 9)
    result = tmp_path / "out" / "result.json"
    assert json.loads(result.read_text())["stage"] == "matches"
    text = cv3d_main("reconstruct", *options).out
    assert "9 pictures, done up to matches" in text
    assert "a run with --to poses goes on from there" in text.replace("\n", " ")
    mapping.scene = whole
    assert cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(tmp_path / "out")).code == 0
    mapping.scene = replace(whole, models=(), left_out=())
    assert cv3d_main("reconstruct", *options).code == 0
    # A result of more stages stays.
    assert len(json.loads(result.read_text())["models"]) == 1


def test_out_is_named_after_the_input_and_is_none_of_them(
    cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cv3d_main("reconstruct", "--to", "poses", "pictures").code == 0
    assert (tmp_path / "pictures_reconstruction" / "result.json").is_file()
    same = cv3d_main("reconstruct", "--to", "poses", "pictures", "-o", "pictures/")
    assert same.code == 2
    assert "is an input itself" in the_error(same.err)
    absent = cv3d_main("reconstruct", "--to", "poses", "absent", "-o", "out")
    assert absent.code == 1
    assert "absent" in the_error(absent.err)


def test_what_another_tool_has_left_is_not_written_over_unasked(
    cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "transforms.json").write_text("theirs")
    refused = cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(out))
    assert refused.code == 1
    assert "transforms.json: is there already" in the_error(refused.err)
    assert "--overwrite" in the_error(refused.err)
    assert (out / "transforms.json").read_text() == "theirs"
    assert cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(out), "--overwrite").code == 0
    assert (out / "transforms.json").read_text() != "theirs"
    # What an own run left when it was broken off is no one else's.
    (out / "result.json").unlink()
    assert cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(out)).code == 0


def test_several_inputs_and_a_list_from_stdin(
    cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [str(pictures / f"0_00{number}.jpg") for number in range(3)]
    assert cv3d_main("reconstruct", "--to", "poses", *files, "-o", str(tmp_path / "a")).code == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(files)))
    assert cv3d_main("reconstruct", "--to", "poses", "-", "-o", str(tmp_path / "b")).code == 0
    assert [call["source"] for call in mapping.calls] == [files, files]
    monkeypatch.setattr("sys.stdin", io.StringIO(os.linesep))
    assert cv3d_main("reconstruct", "--to", "poses", "-", "-o", str(tmp_path / "c")).code == 2


def test_the_summary_fits_80_columns(cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path) -> None:
    text = cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(tmp_path / "out")).out
    assert max(map(len, text.splitlines())) <= max(80, len(str(tmp_path)) + 20)
    assert "pictures: 6 of 9 pictures placed in one model of 150 points" in text
    assert "left out, 3:" in text


def with_surface(scene: Scene) -> DenseScene:
    """The scene with small depth maps and a surface of four triangles."""
    model = scene.models[0]
    posed = posed_set(scene)
    depth, confidence = np.full((12, 16), 2.0, np.float32), np.full((12, 16), 0.75, np.float32)
    depth[:3] = confidence[:3] = 0.0
    camera = Camera("pinhole", 16, 12, (14.0, 14.0, 7.5, 5.5))
    color = np.full((12, 16, 3), 128, np.uint8)
    maps = tuple(
        DepthMap(image.picture.name, camera, image.cam_from_world, depth, confidence, color) for image in model.images
    )
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    triangles = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32)
    mesh = Mesh(vertices, triangles, None, np.full((4, 3), 200, np.uint8))
    surface = ViewSurface(mesh, None, 0.1, True, 2.0, 0.01, False, 9.0, 2, {"unseen": 0.1}, (), ())
    return replace(as_dense(scene), posed=posed, depth=DepthResult(maps), surface=surface)


def test_depth_and_surface_are_written_and_told(
    cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path
) -> None:
    mapping.scene, out = with_surface(mapping.scene), tmp_path / "out"
    outcome = cv3d_main("reconstruct", str(pictures), "-o", str(out), "--json")
    assert outcome.code == 0, outcome.err
    content = json.loads(outcome.out)
    assert content["depth"]["maps"] == 6
    assert content["depth"]["coverage"] == pytest.approx(0.75)
    assert content["depth"]["median_confidence"] == pytest.approx(0.75)
    assert (content["mesh"]["vertices"], content["mesh"]["triangles"]) == (4, 4)
    assert all((out / name).is_file() for name in content["files"])
    assert {"mesh.ply", "mesh.glb", "dense/result.json", "report.html"} <= set(content["files"])
    assert len(read_mesh(out / "mesh.ply").triangles) == 4
    assert mapping.calls[0]["options"] == ReconstructOptions()
    report = (out / "report.html").read_text()
    assert 'id="surface-view"' in report
    assert 'href="dense/report.html"' in report
    text = cv3d_main("reconstruct", str(pictures), "-o", str(out)).out
    assert "6 maps, 75 % of the pixels, median confidence 0.75" in text
    assert "4 triangles, 4 vertices" in text
    assert max(map(len, text.splitlines())) <= 80
    assert len(mapping.calls) == 1
    assert cv3d_main("reconstruct", str(pictures), "-o", str(out), "--require", "coverage>=0.9").code == 3


def test_a_run_goes_on_from_poses_to_a_surface(
    cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(out)).code == 0
    assert json.loads((out / "result.json").read_text())["mesh"] is None
    mapping.scene = with_surface(mapping.scene)
    # No --overwrite: poses are of the same pictures and options, and only what comes after them is new.
    assert cv3d_main("reconstruct", str(pictures), "-o", str(out), "--format", "ply").code == 0
    assert (out / "mesh.ply").is_file()
    assert not (out / "mesh.glb").exists()
    assert mapping.calls[1]["options"].surface.is_texturing is False
    assert cv3d_main("reconstruct", "--to", "poses", str(pictures), "-o", str(out)).code == 0
    assert (out / "mesh.ply").is_file()
    assert len(mapping.calls) == 2


def test_no_surface_exits_with_3_and_says_why(
    cv3d_main: Main, mapping: Mapping, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    dense = with_surface(mapping.scene)
    mapping.scene = replace(dense, surface=None, warnings=("no surface: the maps fit together nowhere",))
    outcome = cv3d_main("reconstruct", str(pictures), "-o", str(out))
    assert outcome.code == 3
    assert the_error(outcome.err) == "error: no surface: the maps fit together nowhere"
    assert (out / "dense" / "result.json").is_file()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--quality", "best"), "--quality 'best': write one of draft, normal, high"),
        (("--format", "stl"), "--format 'stl'"),
        (("--from", "surface", "--to", "depth"), "comes before"),
    ],
)
def test_options_of_the_dense_stages_are_checked(
    options: tuple[str, ...], words: str, cv3d_main: Main, pictures: Path, tmp_path: Path
) -> None:
    outcome = cv3d_main("reconstruct", str(pictures), "-o", str(tmp_path / "out"), *options)
    assert outcome.code == 2
    assert words in the_error(outcome.err)

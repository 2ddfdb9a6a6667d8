from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cv3d.calibration.quality import Level
from cv3d.cli import main
from cv3d.formats.reading import read_camera
from cv3d.geometry.cameras.camera import Camera
from cv3d.mapping.options import MapOptions, SharedCamera
from cv3d.mapping.scene import IntrinsicsSource, LeftOut, Scene, SceneCamera, SceneImage, SceneModel, ViewGraph
from cv3d.mapping.self_calibrating import of_scene
from cv3d.media.picture import Picture

CAMERA = Camera("brown5", 640, 480, (520.0, 520.5, 322.0, 238.0, -0.05, 0.01, 0.0, 0.0, 0.0))
FREE = ("fx", "fy", "k1")
DEVIATIONS = (0.8, 0.8, 0.0, 0.0, 0.001, 0.0, 0.0, 0.0, 0.0)


def model_of(count: int, camera: SceneCamera, noise: float = 0.3, offset: int = 0) -> SceneModel:
    rng = np.random.default_rng(0)
    points = rng.uniform(-1.0, 1.0, (200, 3)) + np.array([0.0, 0.0, 6.0])
    images = []
    for i in range(count):
        pose = np.eye(4)
        pose[0, 3] = 0.05 * i
        pixels = camera.camera.project(points + pose[:3, 3]) + rng.normal(0.0, noise, (200, 2))
        picture = Picture(f"{offset + i}.jpg", Path(f"{offset + i}.jpg"))
        images.append(SceneImage(picture, 0, pose, None, pixels, np.arange(200), noise))
    return SceneModel((camera,), tuple(images), points, np.zeros((200, 3), np.uint8), np.full(200, noise))


def estimated(deviations: tuple[float, ...] = DEVIATIONS, free: tuple[str, ...] = FREE) -> SceneCamera:
    return SceneCamera(CAMERA, IntrinsicsSource.ESTIMATED, free, deviations)


def scene_of(*models: SceneModel) -> Scene:
    names = tuple(image.picture.name for model in models for image in model.images)
    empty = np.zeros(0, np.intp)
    left_out = (LeftOut("lost.jpg", "it shows nothing that others show", ""),)
    graph = ViewGraph((*names, "lost.jpg"), np.zeros((0, 2), np.intp), empty, np.zeros(0, bool))
    return Scene(models, left_out, graph, "incremental")


def test_the_camera_of_most_pictures() -> None:
    other = replace(estimated(), camera=replace(CAMERA, width=320))
    found = of_scene(scene_of(model_of(4, other, offset=50), model_of(12, estimated())))
    assert found.camera == CAMERA
    assert found.used == 12
    assert found.rms_px == pytest.approx(0.3 * np.sqrt(2.0), rel=0.05)
    assert found.params["fy"] == 520.5
    assert found.params_std == {"fx": 0.8, "fy": 0.8, "k1": 0.001}
    assert found.verdict.level is Level.GOOD
    assert "principal point is held" in found.verdict.sentence


@pytest.mark.parametrize(("deviation", "level"), [(0.5, Level.GOOD), (5.0, Level.USABLE), (30.0, Level.POOR)])
def test_how_far_it_can_be_trusted(deviation: float, level: Level) -> None:
    found = of_scene(scene_of(model_of(12, estimated((deviation, deviation, *DEVIATIONS[2:])))))
    assert found.verdict.level is level
    assert bool(found.verdict.advice) == (level is not Level.GOOD)


def test_few_pictures_or_a_lens_that_does_not_fit_are_not_good() -> None:
    assert of_scene(scene_of(model_of(5, estimated()))).verdict.level is Level.USABLE
    assert of_scene(scene_of(model_of(12, estimated(), noise=3.0))).verdict.level is Level.USABLE


def test_what_is_not_determined() -> None:
    held = of_scene(scene_of(model_of(12, estimated((0.0,) * 9, ()))))
    turned = of_scene(scene_of(replace(model_of(12, estimated()), is_oriented_only=True)))
    nothing = of_scene(scene_of())
    assert {item.verdict.level for item in (held, turned, nothing)} == {Level.UNOBSERVABLE}
    assert turned.camera is nothing.camera is None
    assert "only turned" in turned.verdict.sentence


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., SimpleNamespace]:
    """The command on a scene that is known: what it hands to the reconstruction, and what it makes of the answer."""
    (tmp_path / "a.jpg").write_bytes(b"a picture")

    def call(scene: Scene, *arguments: str) -> SimpleNamespace:
        asked: list[MapOptions] = []

        def answer(source: object, output: object, *, options: MapOptions, **_: object) -> Scene:
            asked.append(options)
            return scene

        monkeypatch.setattr("cv3d.mapping.self_calibrating.reconstruct", answer)
        code = main(["calibrate", "--self", str(tmp_path / "a.jpg"), "-o", str(tmp_path / "out"), *arguments])
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err, asked=asked, folder=tmp_path / "out")

    return call


def test_the_command(run: Callable[..., SimpleNamespace]) -> None:
    outcome = run(scene_of(model_of(12, estimated())), "--json", "--require", "focal_std<0.01")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result["schema"] == "cv3d.self_calibration/1"
    assert result["camera"]["params"]["fx"] == 520.0
    assert result["views"] == {
        "total": 13,
        "used": 12,
        "rejected": [{"file": "lost.jpg", "reason": "it shows nothing that others show"}],
    }
    assert read_camera(outcome.folder / "camera.json") == CAMERA
    assert all((outcome.folder / name).is_file() for name in result["files"])
    assert outcome.asked[0].shared_camera is SharedCamera.YES
    again = run(scene_of())
    assert (again.code, again.asked) == (0, [])
    assert "focal length 520.0 px" in again.out
    assert "lost.jpg" in again.out


def test_the_command_below_quality(run: Callable[..., SimpleNamespace]) -> None:
    poor = run(scene_of(model_of(12, estimated((30.0, *DEVIATIONS[1:])))), "--require", "focal_std<0.01")
    assert poor.code == 3
    nothing = run(scene_of(), "--overwrite")
    assert nothing.code == 3
    assert "Not determined" in nothing.err
    assert json.loads((nothing.folder / "result.json").read_text())["camera"] is None


@pytest.mark.parametrize("option", [("--board", "checkerboard:9x6"), ("--rig",), ("--square", "25mm")])
def test_options_of_boards_are_refused(run: Callable[..., SimpleNamespace], option: tuple[str, ...]) -> None:
    assert run(scene_of(), *option).code == 2

"""Stand-ins for cameras that a format cannot say: as close as stated, or refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cv3d.errors import FormatError
from cv3d.formats import FORMATS
from cv3d.formats.approximation import WrittenCamera, write_camera
from cv3d.formats.camera_file import ReadOptions
from cv3d.formats.content import Content
from cv3d.formats.sights import sights_of_camera
from cv3d.formats.stand_ins import CANDIDATES, SPLINED, StandIns, best, stand_ins
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.registry import MODELS

BROWN5 = Camera("brown5", 640, 480, (490.2, 491.0, 322.9, 235.6, -0.28, 0.09, 8e-4, -5e-4, -0.01))
UCM = Camera("ucm", 640, 480, (500.0, 500.0, 320.0, 240.0, 0.35))
DOUBLE_SPHERE = Camera("double_sphere", 800, 800, (150.0, 150.0, 399.5, 399.5, -0.2, 0.65))
OMNI = Camera("omni", 1280, 960, (900.0, 905.0, 640.0, 480.0, 1.1, -0.2, 0.05, 1e-3, -2e-3))


def equidistant(width: int = 800) -> Camera:
    """A lens whose horizontal view is 180 degrees."""
    focal = width / math.pi
    return Camera("kannala_brandt4", width, width, (focal, focal, width / 2 - 0.5, width / 2 - 0.5, 0.0, 0.0, 0.0, 0.0))


def differences(written: WrittenCamera, name: str, camera: Camera, within: float = 1.0) -> np.ndarray:
    """Distances between the pixels of a dense grid and where the file's camera puts what the camera sees there."""
    x = 0.5 * (camera.width - 1) + within * torch.linspace(-0.5, 0.5, 121, dtype=torch.float64) * camera.width
    y = 0.5 * (camera.height - 1) + within * torch.linspace(-0.5, 0.5, 91, dtype=torch.float64) * camera.height
    pixels = torch.cartesian_prod(x, y)
    params = torch.tensor(camera.params, dtype=torch.float64)
    # Short of a fold of the camera's own model, beyond which it sees nothing.
    further = (pixels - params[2:4]) * 1.025 + params[2:4]
    pixels = pixels[camera.lens.valid_pixels(params, pixels) & camera.lens.valid_pixels(params, further)]
    rays = camera.lens.unproject(params, pixels)
    read = FORMATS[name].decode(Content(written.data, "file"), ReadOptions()).rig.cameras[0].camera
    assert read.model == written.model
    projected = read.project(rays)
    assert bool(read.lens.valid_points(torch.tensor(read.params, dtype=torch.float64), rays).all())
    return torch.linalg.vector_norm(projected - pixels, dim=-1).numpy()


@pytest.mark.parametrize(("name", "camera"), [("opencv", BROWN5), ("ros", BROWN5), ("colmap", BROWN5), ("kalibr", UCM)])
def test_a_model_that_the_format_knows_is_written_as_it_is(name: str, camera: Camera) -> None:
    written = write_camera(camera, FORMATS[name])
    assert (written.model, written.rms_px, written.max_px) == (camera.model, 0.0, 0.0)
    assert written.text == FORMATS[name].dumps(camera)


@pytest.mark.parametrize(
    ("name", "camera", "at_most"),
    [
        pytest.param("opencv", UCM, 1e-4, marks=pytest.mark.slow),
        ("colmap", UCM, 1e-9),
        ("ros", DOUBLE_SPHERE, 0.05),
        pytest.param("kalibr", BROWN5, 0.1, marks=pytest.mark.slow),
        ("euroc", BROWN5, 0.6),
        pytest.param("mrcal", equidistant(), 0.05, marks=pytest.mark.slow),
        pytest.param("mrcal", OMNI, 0.01, marks=pytest.mark.slow),
        ("mrcal", Camera("kannala_brandt4", 1280, 960, (400.0, 401.0, 642.0, 477.0, -0.02, 3e-3, -2e-3, 2e-4)), 0.05),
        ("basalt", Camera("division", 640, 480, (400.0, 400.0, 320.0, 240.0, -0.2)), 1e-9),
        ("nerfstudio", Camera("eucm", 640, 480, (250.0, 250.0, 320.0, 240.0, 0.6, 1.1)), 0.05),
    ],
)
def test_the_stated_error_of_a_stand_in_is_true(name: str, camera: Camera, at_most: float) -> None:
    assert not FORMATS[name].says(camera.model)
    written = write_camera(camera, FORMATS[name])
    off = differences(written, name, camera)
    assert off.max() <= 1.01 * written.max_px + 1e-9
    assert np.sqrt((off**2).mean()) == pytest.approx(written.rms_px, rel=0.2, abs=1e-9)
    assert written.rms_px <= written.max_px < at_most


def test_half_a_sphere_is_no_pinhole() -> None:
    for name in ("opencv", "kalibr", "ros", "colmap"):
        assert write_camera(equidistant(), FORMATS[name]).model == "kannala_brandt4"
    assert write_camera(DOUBLE_SPHERE, FORMATS["opencv"]).model == "kannala_brandt4"
    with pytest.raises(FormatError, match="none of these sees as wide"):
        write_camera(equidistant(), only_perspective())


def only_perspective():  # noqa: ANN201 - a format of two models, made for one test
    class Narrow(type(FORMATS["ros"])):  # type: ignore[misc]
        @property
        def models(self) -> tuple[str, ...]:
            return ("pinhole", "brown5")

    return Narrow("narrow", "Narrow", "n.yaml", "ros_camera_info")


@pytest.mark.slow
def test_a_camera_beyond_every_model_of_the_format_is_refused_until_it_is_allowed() -> None:
    camera = Camera("brown12", 640, 480, (480.0, 480.0, 320.0, 240.0, 0.3, *([0.0] * 7), 0.5, 0.5, 0.5, 0.5))
    with pytest.raises(
        FormatError, match=r"'brown12'; .* is too far off: [\d.]+ px at worst, .* --allow-error"
    ) as refusal:
        write_camera(camera, FORMATS["kalibr"])
    assert "\n" not in str(refusal.value)
    allowed = float(str(refusal.value).split("--allow-error ")[1].split("px")[0])
    written = write_camera(camera, FORMATS["kalibr"], allow_error_px=allowed)
    assert allowed - 1.0 <= written.max_px <= allowed
    assert differences(written, "kalibr", camera).max() <= 1.1 * allowed


@pytest.mark.slow
def test_the_middle_of_the_image_is_easier_to_fit() -> None:
    whole = write_camera(OMNI, FORMATS["ros"], allow_error_px=10.0)
    middle = write_camera(OMNI, FORMATS["ros"], within=0.7)
    assert middle.max_px < 0.5 * whole.max_px
    assert differences(middle, "ros", OMNI, within=0.7).max() <= 1.2 * middle.max_px


def test_a_camera_is_judged_where_its_own_model_is_valid() -> None:
    """Beyond 90 degrees of this lens there is no image, as in the corners of a circular fisheye's picture."""
    circular = Camera("kannala_brandt4", 800, 800, (200.0, 200.0, 399.5, 399.5, 0.0, 0.0, 0.0, -0.0012))
    sights = sights_of_camera(circular)
    assert 0.3 < sights.share < 0.95
    written = write_camera(circular, FORMATS["mrcal"], allow_error_px=30.0)
    assert np.isfinite(differences(written, "mrcal", circular)).all()


def test_a_camera_that_sees_nothing_is_refused() -> None:
    blind = Camera("ucm", 640, 480, (10.0, 10.0, 4000.0, 4000.0, 0.9))
    with pytest.raises(FormatError, match="sees nothing"):
        write_camera(blind, FORMATS["opencv"])


@pytest.fixture(scope="module")
def splines() -> tuple[Camera, Camera]:
    """A wide and a narrow lens as splined models."""
    wide, narrow = (stand_ins(sights_of_camera(camera), [SPLINED])[0] for camera in (DOUBLE_SPHERE, UCM))
    assert wide.max_px < 0.01
    assert narrow.max_px < 0.01
    return wide.camera, narrow.camera


@pytest.mark.slow
def test_a_splined_camera_is_said_by_a_formula(splines: tuple[Camera, Camera]) -> None:
    wide, narrow = splines
    for camera, name, at_most in ((wide, "opencv", 0.05), (narrow, "kalibr", 0.01)):
        written = write_camera(camera, FORMATS[name])
        assert not written.model.startswith("splined")
        assert written.max_px < at_most
        assert differences(written, name, camera).max() <= 1.3 * written.max_px + 1e-6


def test_every_candidate_is_a_model_and_every_model_a_candidate() -> None:
    assert set(CANDIDATES) == set(MODELS)


@pytest.mark.parametrize(
    "model", [pytest.param(n, marks=pytest.mark.slow if n in ("omni", "brown8", "brown12") else ()) for n in CANDIDATES]
)
def test_a_model_finds_itself(model: str) -> None:
    shapes = {
        "brown4": (-0.2, 0.05, 1e-3, -1e-3),
        "brown5": (-0.2, 0.05, 1e-3, -1e-3, 0.01),
        "brown8": (-0.2, 0.05, 1e-3, -1e-3, 0.01, 0.02, -0.01, 0.01),
        "brown12": (-0.2, 0.05, 1e-3, -1e-3, 0.01, 0.02, -0.01, 0.01, 1e-3, -1e-3, 1e-3, 1e-3),
        "kannala_brandt4": (0.02, -0.01, 3e-3, -5e-4),
        "ucm": (0.7,),
        "omni": (1.2, -0.1, 0.02, 1e-3, -1e-3),
        "eucm": (0.65, 1.2),
        "double_sphere": (-0.25, 0.6),
        "division": (-0.3,),
    }
    camera = Camera(model, 640, 480, (310.0, 312.0, 322.0, 238.0, *shapes.get(model, ())))
    found = stand_ins(sights_of_camera(camera), [model])
    assert len(found) == 1
    assert found[0].max_px < 1e-3


def test_simpler_is_preferred_where_it_is_as_good() -> None:
    plain = Camera("brown12", 640, 480, (600.0, 601.0, 320.0, 240.0, -0.1, 0.01, *([0.0] * 10)))
    found = stand_ins(sights_of_camera(plain), ["brown4", "brown5", "brown8"])
    assert best(found).camera.model == "brown4"
    assert best(found).camera.params == pytest.approx(plain.params[:8], abs=1e-6)


def test_formats_share_the_fits_of_a_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    from cv3d.formats import stand_ins as module

    fitted: list[str] = []
    fit = module._fit

    def counting(name: str, *rest: object) -> object:
        fitted.append(name)
        return fit(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_fit", counting)
    shared = Camera("double_sphere", 752, 480, (301.0, 300.0, 376.0, 240.0, -0.2, 0.6))
    errors = {name: write_camera(shared, FORMATS[name]).max_px for name in ("opencv", "ros", "colmap", "euroc")}
    assert len(fitted) == len(set(fitted))
    assert set(errors.values()) == {errors["ros"]}


@pytest.mark.slow
def test_the_order_of_asking_changes_nothing() -> None:
    sights = sights_of_camera(Camera("brown12", 640, 480, (500.0, 500.0, 320.0, 240.0, *[-0.2, 0.05], *[1e-3] * 10)))
    asked_at_once = StandIns(sights).among(["brown4", "brown5"])
    one_by_one = StandIns(sights)
    for model in ("brown5", "brown4"):
        (alone,) = one_by_one.among([model])
        assert alone in asked_at_once


def test_a_refusal_names_the_command_that_has_the_option() -> None:
    with pytest.raises(FormatError, match=r"'cv3d convert' writes it with --allow-error \d+px"):
        write_camera(
            Camera("omni", 1280, 960, (900.0, 905.0, 640.0, 480.0, 1.1, -0.2, 0.05, 1e-3, -2e-3)), FORMATS["ros"]
        )

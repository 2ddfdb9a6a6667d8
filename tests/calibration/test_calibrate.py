"""`cv3d.calibrate` as a library function."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import cv3d
from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.result import Calibration
from cv3d.errors import EstimationError, InputError, QualityError, UsageError

Gray = NDArray[np.uint8]


class Recorder:
    def __init__(self) -> None:
        self.stages: dict[str, int] = {}
        self.finished: list[str] = []

    def start(self, stage: str, total: int | None = None) -> None:
        self.stages[stage] = 0

    def advance(self, stage: str, steps: int = 1) -> None:
        self.stages[stage] += steps

    def finish(self, stage: str) -> None:
        self.finished.append(stage)

    def info(self, message: str) -> None:
        raise AssertionError(message)

    def expect(self, message: str) -> None: ...

    def warn(self, message: str) -> None:
        raise AssertionError(message)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def pictures(project_root: Path) -> list[Gray]:
    """Eight sample pictures at half size."""
    files = sorted((project_root / "data" / "samples" / "checkerboard").glob("*.jpg"))[:8]
    return [
        cv2.resize(cv2.imread(str(f), cv2.IMREAD_GRAYSCALE), (640, 480), interpolation=cv2.INTER_AREA) for f in files
    ]


def quickly(images: Sequence[Gray] | str | Path, **options: object) -> Calibration:
    """A calibration with the board and the model told, so that nothing is looked for twice."""
    told: dict[str, object] = {"board": "9x6", "model": "brown5", "board_warp": "off", **options}
    return cv3d.calibrate(images, **told)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def unscaled(pictures: list[Gray]) -> Calibration:
    return quickly(pictures)


@pytest.fixture(scope="module")
def of_three(pictures: list[Gray]) -> Calibration:
    """Of three pictures, to compare other ways to the same result with."""
    return quickly(pictures[:3])


@pytest.fixture(scope="module")
def metric(pictures: list[Gray], tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """Of a folder, in metres."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    return quickly(folder, square="25mm")


def test_arrays(unscaled: Calibration) -> None:
    assert unscaled.board == Board(BoardType.CHECKERBOARD, 6, 9)
    assert (unscaled.camera.model, unscaled.camera.width, unscaled.camera.height) == ("brown5", 640, 480)
    assert [view.name for view in unscaled.views] == [f"image {i}" for i in range(8)]
    assert unscaled.rms_px < 0.05
    for view in unscaled.used:
        assert view.residuals.shape == view.pixels.shape == (len(view.point_ids), 2)
        assert view.cam_from_board is not None
        assert view.cam_from_board.shape == (4, 4)


def test_colour_arrays_are_rgb(pictures: list[Gray], of_three: Calibration) -> None:
    grey_as_rgb = [np.dstack([picture] * 3) for picture in pictures[:3]]
    assert quickly(grey_as_rgb).camera == of_three.camera


def test_a_folder_with_a_known_square_is_in_metres(metric: Calibration, unscaled: Calibration) -> None:
    assert metric.board.square_m == 0.025
    np.testing.assert_allclose(metric.camera.params, unscaled.camera.params, rtol=1e-6)
    for scaled, free in zip(metric.used, unscaled.used, strict=True):
        assert scaled.cam_from_board is not None
        assert free.cam_from_board is not None
        np.testing.assert_allclose(
            scaled.cam_from_board[:3, 3], 0.025 * free.cam_from_board[:3, 3], rtol=1e-4, atol=1e-7
        )


def test_poses_are_the_true_ones(metric: Calibration, project_root: Path) -> None:
    truth = json.loads((project_root / "data/samples/checkerboard/ground_truth.json").read_text())["pictures"]
    for view, true in zip(metric.used, truth, strict=False):
        assert view.cam_from_board is not None
        # Board corners in the camera's frame do not care which corner counts as the first.
        homogeneous = np.c_[metric.board.points_m(), np.ones(54)]
        seen = (view.cam_from_board @ homogeneous.T).T[:, :3]
        expected = (np.array(true["cam_from_board"]) @ homogeneous.T).T[:, :3]
        np.testing.assert_allclose(seen.mean(axis=0), expected.mean(axis=0), atol=2e-4)


def test_the_same_seed_gives_the_same_bits(pictures: list[Gray], of_three: Calibration) -> None:
    again = quickly(pictures[:3], workers=1)
    assert again.camera.params == of_three.camera.params
    assert again.covariance.tobytes() == of_three.covariance.tobytes()
    assert (again.rms_px, again.holdout_rms_px) == (of_three.rms_px, of_three.holdout_rms_px)


def test_a_model_may_be_called_by_its_other_names(pictures: list[Gray], of_three: Calibration) -> None:
    assert quickly(pictures[:3], model="plumb_bob").camera == of_three.camera


def test_repr_is_one_line_that_says_the_essentials(unscaled: Calibration) -> None:
    text = repr(unscaled)
    assert "\n" not in text
    assert len(text) < 500
    for part in ("brown5", "640x480", "fx 490.", "checkerboard 9x6", "8 of 8 views", "RMS 0.0"):
        assert part in text


@pytest.mark.slow
def test_a_bent_board_is_stated(pictures: list[Gray]) -> None:
    result = quickly(pictures, board_warp="on", square="25mm")
    assert result.warp is not None
    for height, std in zip(result.warp.coefficients, result.warp.std, strict=True):
        assert abs(height) < 4.0 * std + 1e-5, "the sample's board is flat"


@pytest.mark.slow
def test_one_bad_corner_does_not_move_the_camera(pictures: list[Gray], unscaled: Calibration) -> None:
    spoiled = [picture.copy() for picture in pictures]
    x, y = unscaled.used[2].pixels[20].round().astype(int)
    spoiled[2][y - 5 : y + 6, x - 2 : x + 9] = 128
    result = quickly(spoiled)
    for name, value in result.params.items():
        assert abs(value - unscaled.params[name]) < 3.0 * unscaled.params_std[name]


class TestFailures:
    @pytest.mark.parametrize(
        "array", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros(9, np.uint8)]
    )
    def test_an_array_that_is_no_picture(self, array: NDArray[np.generic]) -> None:
        with pytest.raises(InputError, match="uint8"):
            cv3d.calibrate([array])  # type: ignore[list-item]

    def test_nothing(self) -> None:
        with pytest.raises(InputError, match="no input"):
            cv3d.calibrate([])

    def test_one_picture(self, pictures: list[Gray]) -> None:
        with pytest.raises(EstimationError, match="one picture only"):
            quickly(pictures[:1])

    def test_copies(self, pictures: list[Gray]) -> None:
        with pytest.raises(QualityError, match="copies of image 0"):
            quickly([pictures[0]] * 3)

    @pytest.mark.parametrize("options", [{"model": "lens"}, {"board": "9"}, {"square": "x"}, {"board_warp": "x"}])
    def test_options_that_cannot_be_understood(self, options: dict[str, str], pictures: list[Gray]) -> None:
        with pytest.raises(UsageError):
            quickly(pictures, **options)

    @pytest.mark.parametrize("square", [0.0, -0.01, float("nan"), float("inf")])
    def test_a_square_that_is_no_length(self, square: float, pictures: list[Gray]) -> None:
        with pytest.raises(UsageError):
            quickly(pictures[:2], square=square)


@pytest.mark.slow
def test_a_zoomed_picture_among_the_others_is_rejected(pictures: list[Gray], unscaled: Calibration) -> None:
    zoomed = cv2.resize(pictures[0][60:420, 80:560], (640, 480), interpolation=cv2.INTER_CUBIC)
    result = quickly([*pictures, np.asarray(zoomed, np.uint8)])
    assert [view.name for view in result.rejected] == ["image 8"]
    for name, value in result.params.items():
        assert abs(value - unscaled.params[name]) < 3.0 * unscaled.params_std[name]


def test_progress_hears_of_every_stage(pictures: list[Gray], recorder: Recorder) -> None:
    quickly(pictures[:3], progress=recorder)
    assert recorder.stages["find corners"] == 3
    assert set(recorder.finished) == set(recorder.stages)
    assert "solve" in recorder.finished

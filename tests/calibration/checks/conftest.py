"""Sets of views with a known disturbance, and rendered pictures of boards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.checks.base import Finding
from cv3d.calibration.checks.board_shape import Reshaped, board_as_given, board_as_seen, board_shape_finding
from cv3d.calibration.checks.framing_history import lens_of, not_square, off_centre
from cv3d.calibration.checks.looking import between_views
from cv3d.calibration.problem import CalibrationState, Observations
from cv3d.calibration.solving import Solution, solve
from cv3d.geometry.cameras import get_model
from cv3d.geometry.levenberg import LmOptions
from cv3d.geometry.transforms import SO3

Gray = NDArray[np.uint8]

WIDTH, HEIGHT = 1280, 720


@dataclass(frozen=True)
class Views:
    """Corners as a disturbed camera sees them, and the calibration that knows nothing of the disturbance."""

    observations: Observations
    solution: Solution
    size: tuple[int, int]

    def given(self) -> Reshaped:
        return board_as_given(self.observations, self.solution, self.size)

    def findings(self) -> dict[str, Finding]:
        given = self.given()
        seen = board_as_seen(given, self.size)
        best = given if seen is None else seen
        found = list(between_views(best, [f"view {v}" for v in range(self.observations.views)]))
        if seen is not None:
            found.append(board_shape_finding(given, seen, Board(BoardType.CHECKERBOARD, 6, 9)))
        lens = lens_of(best.solution, best.tangent)
        found += [finding for finding in (off_centre(lens, self.size), not_square(lens)) if finding is not None]
        return {finding.kind: finding for finding in found}


@pytest.fixture(scope="session")
def make_views(make_scene: Callable[..., Any]) -> Callable[..., Views]:
    """Draws views of boards that fill much of the picture.

    Arguments of the function returned: `seed`; `views`; `noise_px`; `focal` (relative spread of the focal length
    between views), `centre_px` (of the principal point), `rolling_px` (of the shift from the first row to the last);
    `stretch` and `skew` of the board; `blurred` (noise that differs between views, and outliers); `model` to solve
    with, as against brown5; `offset` of the camera's frame and other `size`, as cropping gives; more for the scene.
    """

    def make(
        seed: int = 0,
        views: int = 18,
        noise_px: float = 0.05,
        focal: float = 0.0,
        centre_px: float = 0.0,
        rolling_px: float = 0.0,
        stretch: float = 0.0,
        skew: float = 0.0,
        blurred: bool = False,
        model: str = "brown5",
        offset: tuple[float, float] = (0.0, 0.0),
        **scene_options: Any,
    ) -> Views:
        rng = np.random.default_rng(seed + 77)
        scene = make_scene(seed=seed, views=views, noise_px=noise_px, **scene_options)
        lens, truth, board = get_model(scene.model), scene.truth, scene.exact.points
        truth = replace(truth, translation=0.55 * truth.translation)
        params = truth.params.repeat(views, 1)
        params[:, :2] *= 1.0 + focal * torch.from_numpy(rng.standard_normal((views, 1)))
        params[:, 2:4] += centre_px * torch.from_numpy(rng.standard_normal((views, 2)))
        x, y, z = board.unbind(dim=-1)
        shaped = torch.stack([(1.0 + stretch) * x + skew * y, y, z], dim=-1)
        still = shaped @ truth.rotation.transpose(-1, -2) + truth.translation[:, None]
        rate = rolling_px / float(truth.params[0]) * torch.from_numpy(rng.standard_normal((views, 1, 3)))
        pixels = lens.project(params, still)
        for _ in range(3 if rolling_px else 0):
            moment = pixels[..., 1:] / HEIGHT - 0.5
            turned = SO3.exp(moment * rate).as_matrix() @ still[..., None]
            pixels = lens.project(params, turned[..., 0])
        sigma = noise_px * (np.exp(rng.uniform(-0.7, 1.2, views)) if blurred else np.ones(views))
        pixels = pixels + torch.from_numpy(rng.standard_normal(pixels.shape) * sigma[:, None, None])
        if blurred:
            wrong = torch.from_numpy(rng.random(pixels.shape[:2]) < 0.01)
            pixels = pixels + wrong[..., None] * torch.from_numpy(rng.normal(0.0, 4.0 * noise_px, pixels.shape))
        inside = (pixels >= 0).all(dim=-1) & (pixels[..., 0] < WIDTH) & (pixels[..., 1] < HEIGHT)
        moved = pixels - torch.tensor(offset, dtype=torch.float64)
        size = (WIDTH - int(offset[0]), HEIGHT - int(offset[1]))
        inside = inside & (moved >= 0).all(dim=-1)
        observations = replace(scene.exact, pixels=torch.where(inside[..., None], moved, 0.0), seen=inside)
        enough = inside.sum(dim=-1) >= 12
        start = truth.params.clone()
        start[2:4] -= torch.tensor(offset, dtype=torch.float64)
        state = CalibrationState(
            start[: get_model(model).param_count], truth.warp, truth.rotation[enough], truth.translation[enough]
        )
        observations = observations.select(enough)
        return Views(observations, solve(observations, model, state, options=LmOptions(60, 1e-9)), size)

    return make


class Photographer:
    """Renders pictures of printed boards from varied sides."""

    width, height = 800, 600
    camera = np.array([[700.0, 0.0, 400.0], [0.0, 700.0, 300.0], [0.0, 0.0, 1.0]])

    def __call__(self, *boards: Gray, count: int = 6, seed: int = 0, flipped: bool = False) -> list[Gray]:
        """Pictures that show one board, or several side by side."""
        rng = np.random.default_rng(seed)
        pictures = []
        for _ in range(count):
            turn = np.array([rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), rng.uniform(-0.3, 0.3)])
            place = np.array([rng.uniform(-0.1, 0.1), rng.uniform(-0.08, 0.08), rng.uniform(0.75, 0.95)])
            canvas = np.full((self.height, self.width), 110, np.uint8)
            width = 0.6 if len(boards) == 1 else 0.4
            for k, board in enumerate(boards):
                self._paste(canvas, board, width, turn, place, 0.46 * (k - 0.5 * (len(boards) - 1)))
            blurred = cv2.GaussianBlur(canvas, (0, 0), 0.7).astype(np.float64)
            picture = np.clip(20.0 + 0.85 * blurred + rng.normal(0.0, 1.5, blurred.shape), 0, 255).astype(np.uint8)
            pictures.append(np.ascontiguousarray(picture[:, ::-1]) if flipped else picture)
        return pictures

    def _paste(
        self,
        canvas: Gray,
        board: Gray,
        width: float,
        turn: NDArray[np.float64],
        place: NDArray[np.float64],
        beside: float,
    ) -> None:
        rows, cols = board.shape
        unit = width / cols
        in_metres = np.array([[unit, 0.0, beside - 0.5 * width], [0.0, unit, -0.5 * unit * rows], [0.0, 0.0, 1.0]])
        rotation = cv2.Rodrigues(turn)[0]
        pixel_from_board = self.camera @ np.c_[rotation[:, :2], place] @ in_metres
        size = (self.width, self.height)
        drawn = cv2.warpPerspective(board, pixel_from_board, size, flags=cv2.INTER_AREA)
        mask = cv2.warpPerspective(np.full_like(board, 255), pixel_from_board, size)
        canvas[mask > 127] = drawn[mask > 127]

    @staticmethod
    def checkerboard(cols: int, rows: int) -> Gray:
        squares = (np.indices((rows + 1, cols + 1)).sum(axis=0) % 2 * 255).astype(np.uint8)
        drawn = np.kron(squares, np.ones((60, 60), np.uint8))
        return np.asarray(cv2.copyMakeBorder(drawn, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=255), np.uint8)

    @staticmethod
    def charuco(cols: int = 7, rows: int = 5, dictionary: int = cv2.aruco.DICT_5X5_100, first: int = 0) -> Gray:
        ids = np.arange(first, first + cols * rows // 2)
        board = cv2.aruco.CharucoBoard((cols, rows), 1.0, 0.7, cv2.aruco.getPredefinedDictionary(dictionary), ids)
        return np.asarray(board.generateImage((100 * cols + 80, 100 * rows + 80), marginSize=40), np.uint8)

    @staticmethod
    def circles(cols: int, rows: int) -> Gray:
        drawn = np.full((60 * rows + 60, 60 * cols + 60), 255, np.uint8)
        for row in range(rows):
            for col in range(cols):
                cv2.circle(drawn, (60 + 60 * col, 60 + 60 * row), 16, 0, -1, cv2.LINE_AA)
        return drawn

    @staticmethod
    def aprilgrid(cols: int = 5, rows: int = 4) -> Gray:
        dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
        drawn = np.full((130 * rows + 80, 130 * cols + 80), 255, np.uint8)
        for row in range(rows):
            for col in range(cols):
                y, x = 40 + 130 * (rows - 1 - row), 40 + 130 * col
                tag = cv2.rotate(dictionary.generateImageMarker(row * cols + col, 100), cv2.ROTATE_180)
                drawn[y : y + 100, x : x + 100] = tag
        return drawn


@pytest.fixture(scope="session")
def photograph() -> Photographer:
    """Renders pictures of boards; see :class:`Photographer`."""
    return Photographer()

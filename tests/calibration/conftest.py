"""Synthetic calibration scenes with exact truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from cv3d.calibration.problem import CalibrationProblem, CalibrationState, Observations
from cv3d.geometry.cameras import get_model
from cv3d.geometry.transforms import SO3


@dataclass(frozen=True)
class Scene:
    """Corners of one board, seen by a known camera from known poses."""

    model: str
    width: int
    height: int
    truth: CalibrationState
    exact: Observations
    """Without noise."""
    observations: Observations
    """With it."""
    noise_px: float

    def noisy(self, seed: int, noise_px: float | None = None) -> Observations:
        """The same corners under other noise."""
        generator = torch.Generator().manual_seed(seed)
        deviates = torch.randn(self.exact.pixels.shape, generator=generator, dtype=torch.float64)
        sigma = self.noise_px if noise_px is None else noise_px
        return replace(self.exact, pixels=self.exact.pixels + sigma * deviates)


@dataclass(frozen=True)
class SceneMaker:
    """Draws scenes. Boards turn freely in their plane, tilt up to `tilt_deg`, and fill 0.25 to 0.7 of the image."""

    def __call__(
        self,
        model: str = "brown5",
        params: tuple[float, ...] = (900.0, 903.0, 650.3, 349.1, -0.28, 0.09, 8e-4, -5e-4, -0.01),
        views: int = 12,
        rows: int = 6,
        cols: int = 9,
        noise_px: float = 0.1,
        seed: int = 0,
        width: int = 1280,
        height: int = 720,
        tilt_deg: float = 40.0,
        warp: tuple[float, float, float] = (0.0, 0.0, 0.0),
        stretch: float = 0.0,
        square: float = 0.03,
        cut: bool = False,
    ) -> Scene:
        """A scene.

        Args:
            model: the true lens model.
            params: its parameters.
            views: number of pictures.
            rows: rows of corners.
            cols: columns of corners.
            noise_px: standard deviation of the noise per coordinate, pixels.
            seed: of poses and noise.
            width: image width, pixels.
            height: image height, pixels.
            tilt_deg: largest tilt of the board, degrees.
            warp: bending of the board, in its unit.
            stretch: how much longer it is along its rows than along its columns.
            square: side of a square.
            cut: whether boards may leave the image; the corners outside are not seen.
        """
        rng = np.random.default_rng(seed)
        camera = torch.tensor(params, dtype=torch.float64)
        deformation = torch.tensor([*warp, stretch], dtype=torch.float64)
        board = board_points(rows, cols, square)
        extent = torch.stack([board[:, :2].amin(dim=0), board[:, :2].amax(dim=0)])
        template = Observations(
            board[None], torch.zeros(1, len(board), 2, dtype=torch.float64), torch.ones(1, len(board)).bool(), extent
        )
        rotations, translations, pixels, seen = [], [], [], []
        for _ in range(2000):
            if len(pixels) == views:
                break
            pose = self._pose(model, camera, board, width, height, tilt_deg, 0.02 if cut else 0.15, rng)
            state = CalibrationState(camera, deformation, pose[0][None], pose[1][None])
            problem = CalibrationProblem(get_model(model), template)
            image, inside = problem.residuals(state)[0], problem.inside_domain(state)[0]
            inside = inside & (image >= 0.0).all(dim=-1) & (image[:, 0] < width) & (image[:, 1] < height)
            if bool(inside.all()) or (cut and int(inside.sum()) >= max(12, len(board) // 3)):
                rotations.append(pose[0])
                translations.append(pose[1])
                pixels.append(torch.where(inside[:, None], image, torch.zeros_like(image)))
                seen.append(inside)
        assert len(pixels) == views, "the scene's camera cannot see such boards"
        truth = CalibrationState(camera, deformation, torch.stack(rotations), torch.stack(translations))
        exact = Observations(board.expand(views, -1, -1).clone(), torch.stack(pixels), torch.stack(seen), extent)
        scene = Scene(model, width, height, truth, exact, exact, noise_px)
        return replace(scene, observations=scene.noisy(seed + 1000))

    @staticmethod
    def _pose(
        model: str,
        camera: Tensor,
        board: Tensor,
        width: int,
        height: int,
        tilt_deg: float,
        margin: float,
        rng: np.random.Generator,
    ) -> tuple[Tensor, Tensor]:
        size = torch.tensor([width, height], dtype=torch.float64)
        middle = torch.from_numpy(rng.uniform(margin, 1.0 - margin, 2)) * size
        step = 0.5 * rng.uniform(0.25, 0.7) * min(width, height)
        beside = middle + torch.tensor([[step, 0.0], [-step, 0.0]], dtype=torch.float64)
        lens = get_model(model)
        view, left, right = lens.unproject(camera, torch.cat([middle[None], beside])).unbind(0)
        apart = float(torch.acos(torch.clamp(left @ right, -1.0, 1.0)))
        diagonal = float(torch.linalg.vector_norm(board.amax(dim=0) - board.amin(dim=0)))
        distance = 0.5 * diagonal / math.tan(0.5 * min(apart, 2.6))
        tilt = rng.uniform(0.0, math.radians(tilt_deg))
        around, turn = rng.uniform(0.0, 2.0 * math.pi, 2)
        axis = torch.tensor([math.cos(around) * tilt, math.sin(around) * tilt, 0.0], dtype=torch.float64)
        facing = SO3.exp(axis) @ SO3.exp(torch.tensor([0.0, 0.0, turn], dtype=torch.float64))
        rotation = _looking_along(view) @ facing.as_matrix()
        return rotation, distance * view - rotation @ board.mean(dim=0)


def board_points(rows: int, cols: int, square: float) -> Tensor:
    """Corners of a checkerboard, (rows * cols, 3)."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    flat = torch.zeros(rows * cols, dtype=torch.float64)
    return torch.stack([x.flatten().double(), y.flatten().double(), flat], dim=-1) * square


def _looking_along(view: Tensor) -> Tensor:
    """A rotation whose z axis is `view`."""
    axis = torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), view)
    sine = float(torch.linalg.vector_norm(axis))
    if sine < 1e-9:
        return torch.eye(3, dtype=torch.float64)
    return SO3.exp(axis / sine * math.atan2(sine, float(view[2]))).as_matrix()


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., Scene]:
    """Draws synthetic scenes; see :class:`SceneMaker`."""
    return SceneMaker()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    # Problems this small lose time to the meeting of threads, most of all where tests run side by side.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.errors import EstimationError
from cv3d.mapping.framing import scale_by_board
from cv3d.mapping.scaling import KnownBoard
from cv3d.mapping.scene import SceneModel
from cv3d.media.picture import Picture

from .towns import CAMERA, elsewhere, looking, model_of, rotation

Floats = NDArray[np.float64]
SQUARE = 0.05
BOARD = Board(BoardType.CHECKERBOARD, 6, 8, SQUARE)
SCALE = 0.37


def board_pictures(poses: list[Floats], *, moved: bool = False) -> list[NDArray[np.uint8]]:
    """Pictures of a checkerboard that lies on the ground; its first inner corner is the origin, y is down the board."""
    shown = []
    for number, pose in enumerate(poses):
        image = np.full((CAMERA.height, CAMERA.width), 120, np.uint8)
        turn, shift = np.eye(3), np.zeros(3)
        if moved:
            rng = np.random.default_rng(number)
            turn, shift = rotation([0, 0, 1], rng.uniform(-0.5, 0.5)), np.array([*rng.uniform(-0.15, 0.15, 2), 0.0])
        for row in range(-2, BOARD.rows + 1):
            for col in range(-2, BOARD.cols + 1):
                is_border = row in (-2, BOARD.rows) or col in (-2, BOARD.cols)
                corners = np.array([[col, row], [col + 1, row], [col + 1, row + 1], [col, row + 1]], float) * SQUARE
                ground = np.column_stack([corners[:, 0], -corners[:, 1], np.zeros(4)]) @ turn.T + shift
                pixels = CAMERA.project(ground @ pose[:3, :3].T + pose[:3, 3])
                level = 235 if is_border or (row + col) % 2 else 20
                cv2.fillPoly(image, [np.rint(pixels * 64.0).astype(np.int32)], level, cv2.LINE_AA, 6)
        shown.append(np.asarray(cv2.GaussianBlur(image, (0, 0), 0.8), np.uint8))
    return shown


def views(count: int = 6) -> list[Floats]:
    middle = np.array([3.5, -2.5, 0.0]) * SQUARE
    turns = np.linspace(-2.3, -0.8, count)
    return [looking(middle + np.array([0.6 * np.cos(t), 0.6 * np.sin(t), 0.6]), middle) for t in turns]


def model(folder: Path, pictures: list[NDArray[np.uint8]], poses: list[Floats]) -> SceneModel:
    moved, _, _ = elsewhere(poses, SCALE)
    files = [folder / f"{i}.png" for i in range(len(pictures))]
    for file, gray in zip(files, pictures, strict=True):
        cv2.imwrite(str(file), gray)
    return model_of(moved, [Picture(file.name, file) for file in files])


def test_it_gives_the_scale(tmp_path: Path) -> None:
    poses = views()
    found = scale_by_board(model(tmp_path, board_pictures(poses), poses), KnownBoard(BOARD, SQUARE))
    assert found.metres == pytest.approx(1.0 / SCALE, rel=0.004)
    assert found.support == 6
    assert found.deviation is not None
    assert found.deviation < 0.01


def test_a_board_that_is_moved_is_refused(tmp_path: Path) -> None:
    poses = views()
    with pytest.raises(EstimationError, match=r"moved|contradict|differ|as on the board"):
        scale_by_board(model(tmp_path, board_pictures(poses, moved=True), poses), KnownBoard(BOARD, SQUARE))


def test_from_one_place_there_is_no_scale(tmp_path: Path) -> None:
    pose = views(1)[0]
    turned = pose.copy()
    turned[:3] = rotation([0, 0, 1], 0.1) @ pose[:3]
    with pytest.raises(EstimationError, match="one place"):
        scale_by_board(model(tmp_path, board_pictures([pose, turned]), [pose, turned]), KnownBoard(BOARD, SQUARE))


@pytest.mark.slow
def test_a_board_that_is_not_named(tmp_path: Path) -> None:
    poses = views()
    found = scale_by_board(model(tmp_path, board_pictures(poses), poses), KnownBoard(None, SQUARE))
    assert found.metres == pytest.approx(1.0 / SCALE, rel=0.004)


@pytest.mark.slow
def test_no_board(tmp_path: Path) -> None:
    poses = views(3)
    blank = [np.full((CAMERA.height, CAMERA.width), 120 + i, np.uint8) for i in range(3)]
    with pytest.raises(EstimationError):
        scale_by_board(model(tmp_path, blank, poses), KnownBoard(BOARD, SQUARE))

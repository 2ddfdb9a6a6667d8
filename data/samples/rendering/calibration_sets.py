"""The calibration samples: which lens, which board, which views, and the writing of pictures and ground truth."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rendering.boards import Charuco, Checkerboard, Target
from rendering.desk import Desk
from rendering.lens import Brown, Floats, KannalaBrandt, Lens
from rendering.photo import Sensor, expose, save_jpeg
from rendering.poses import rigid, rotation
from rendering.views import BoardView, cast, fits, place, visible_points

_SIDES = ("left", "right")


@dataclass(frozen=True)
class BoardSet:
    """One folder of pictures of one board through one lens."""

    lens: Lens
    board: Target
    views: tuple[BoardView, ...]
    seed: int
    vignetting: float = 0.25
    image_circle_deg: float | None = None
    """Angle from the optical axis at which the lens barrel cuts off the light; None: beyond the picture's corners."""
    jpeg_quality: int = 92

    def render(self, folder: Path, only: Iterable[int]) -> None:
        """Write the pictures of the views `only` into `folder`."""
        scene, poses = Desk(self.board, self.seed), self._poses()
        for index in only:
            view = self.views[index]
            sensor = Sensor(view.defocus_px, view.exposure, self.vignetting)
            light = cast(self.lens, scene, poses[index])
            if self.image_circle_deg is not None:
                light *= barrel(self.lens, self.image_circle_deg)[..., None]
            rng = np.random.default_rng([self.seed, index])
            save_jpeg(folder / picture_name(index), expose(light, sensor, rng), self.jpeg_quality)

    def write_truth(self, folder: Path) -> None:
        """Write the ground truth of the whole set into `folder`."""
        lit_deg = 90.0 if self.image_circle_deg is None else self.image_circle_deg - 4.0
        truth = {
            "camera": self.lens.describe(),
            "board": self.board.describe(),
            "pictures": [
                picture_truth(picture_name(index), self.lens, self.board, pose, lit_deg)
                for index, pose in enumerate(self._poses())
            ],
        }
        write_json(folder / "ground_truth.json", truth)

    def _poses(self) -> list[Floats]:
        """`cam_from_board` of every view."""
        return [place(self.lens, self.board, view) for view in self.views]


@dataclass(frozen=True)
class StereoSet:
    """Synchronised pairs of pictures of one board, in two folders, left and right."""

    lenses: tuple[Lens, Lens]
    cam1_from_cam0: Floats
    board: Target
    views: tuple[BoardView, ...]
    """As the left camera takes them; the right one must show the whole board as well."""
    seed: int
    vignetting: float = 0.25
    jpeg_quality: int = 92

    def render(self, folder: Path, only: Iterable[int]) -> None:
        """Write the pairs of the views `only` into `folder`."""
        scene, poses = Desk(self.board, self.seed), self._poses()
        for index in only:
            view = self.views[index]
            for side, name in enumerate(_SIDES):
                sensor = Sensor(view.defocus_px + 0.1 * side, view.exposure * (1.0 - 0.06 * side), self.vignetting)
                rng = np.random.default_rng([self.seed, index, side])
                picture = expose(cast(self.lenses[side], scene, poses[side][index]), sensor, rng)
                save_jpeg(folder / name / picture_name(index), picture, self.jpeg_quality)

    def write_truth(self, folder: Path) -> None:
        """Write the ground truth of the whole set into `folder`."""
        truth: dict[str, Any] = {
            "cameras": [lens.describe() for lens in self.lenses],
            "cam1_from_cam0": self.cam1_from_cam0.tolist(),
            "board": self.board.describe(),
        }
        for name, lens, poses in zip(_SIDES, self.lenses, self._poses(), strict=True):
            truth[name] = [
                picture_truth(f"{name}/{picture_name(index)}", lens, self.board, pose)
                for index, pose in enumerate(poses)
            ]
        write_json(folder / "ground_truth.json", truth)

    def _poses(self) -> tuple[list[Floats], list[Floats]]:
        """`cam0_from_board` and `cam1_from_board` of every view."""
        left = [place(self.lenses[0], self.board, view) for view in self.views]
        right = [self.cam1_from_cam0 @ pose for pose in left]
        for view, pose in zip(self.views, right, strict=True):
            if not fits(self.lenses[1], self.board, pose, 4.0):
                raise ValueError(f"the right camera cuts the board of the pair {view}")
        return left, right


def picture_name(index: int) -> str:
    """File name of one picture of a set."""
    return f"{index:03d}.jpg"


def picture_truth(
    file: str, lens: Lens, board: Target, cam_from_board: Floats, lit_deg: float = 90.0
) -> dict[str, Any]:
    """The ground-truth entry of one picture: pose, and the exact pixels of the corners that it shows."""
    ids, pixels = visible_points(lens, board, cam_from_board, lit_deg)
    return {
        "file": file,
        "cam_from_board": cam_from_board.tolist(),
        "point_ids": ids.tolist(),
        "pixels": np.round(pixels.T, 7).tolist(),
    }


def barrel(lens: Lens, image_circle_deg: float) -> Floats:
    """Share of the light (H, W) that passes the lens barrel, falling to zero over the last degrees of its circle."""
    pixels = np.stack(np.meshgrid(np.arange(lens.width), np.arange(lens.height))).reshape(2, -1).astype(np.float64)
    angle = np.degrees(np.arccos(np.clip(lens.rays(pixels)[2], -1.0, 1.0)))
    s = np.clip((image_circle_deg - angle) / 4.0, 0.0, 1.0).reshape(lens.height, lens.width)
    share: Floats = s * s * (3.0 - 2.0 * s)
    return share


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a ground-truth file: one line per entry of each list, so that it can be read and compared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for key, value in content.items():
        if isinstance(value, list) and isinstance(value[0], dict):
            lines = ",\n".join("  " + json.dumps(entry) for entry in value)
            parts.append(f" {json.dumps(key)}: [\n{lines}\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value)}")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


CHECKERBOARD = BoardSet(
    lens=Brown(1280, 960, 980.4, 982.1, 646.3, 471.8, -0.28, 0.09, 0.0008, -0.0005, -0.01),
    board=Checkerboard(6, 9, 0.025, (0.0235, 0.0175)),
    views=(
        BoardView(0.31, (4.0, -3.0), 2.0, (0.0, 0.0), defocus_px=0.7),
        BoardView(0.36, (-32.0, 5.0), -4.0, (0.1, -0.1), defocus_px=0.9),
        BoardView(0.35, (33.0, -4.0), 6.0, (-0.1, 0.1), defocus_px=0.8),
        BoardView(0.37, (3.0, 38.0), -8.0, (0.0, 0.0), defocus_px=1.0, exposure=0.82),
        BoardView(0.40, (-5.0, -44.0), 3.0, (0.0, 0.1), defocus_px=0.8),
        BoardView(0.40, (12.0, -14.0), 12.0, (-1.0, -1.0), defocus_px=0.9),
        BoardView(0.38, (14.0, 12.0), -9.0, (1.0, -1.0), defocus_px=1.1, exposure=0.98),
        BoardView(0.39, (-13.0, -15.0), -6.0, (-1.0, 1.0), defocus_px=0.8),
        BoardView(0.42, (-12.0, 16.0), 8.0, (1.0, 1.0), defocus_px=0.9),
        BoardView(0.60, (22.0, 24.0), 92.0, (-0.7, 0.1), defocus_px=0.7),
        BoardView(0.50, (-28.0, 18.0), -84.0, (0.75, -0.1), defocus_px=1.0, exposure=0.85),
        BoardView(0.36, (-8.0, 10.0), 178.0, (0.3, 0.9), defocus_px=0.9),
        BoardView(0.88, (44.0, 3.0), 35.0, (0.2, -0.5), defocus_px=0.8),
        BoardView(0.62, (-20.0, 30.0), -50.0, (-0.6, -0.6), defocus_px=0.7),
        BoardView(0.33, (10.0, -8.0), 5.0, (0.75, 0.3), cut=True, defocus_px=1.0),
        BoardView(0.38, (-16.0, 18.0), -20.0, (-0.55, 0.65), cut=True, defocus_px=0.8),
    ),
    seed=101,
    jpeg_quality=90,
)

CHARUCO_FISHEYE = BoardSet(
    lens=KannalaBrandt(1024, 768, 372.2, 372.5, 514.7, 380.2, -0.021, 0.0042, -0.0031, 0.00046),
    board=Charuco(6, 8, 0.03, 0.75, "5X5_100", (0.02, 0.02)),
    views=(
        BoardView(0.20, (4.0, -6.0), 3.0, (0.0, 0.0), cut=True, defocus_px=0.5),
        BoardView(0.15, (-6.0, 8.0), -5.0, (0.05, -0.05), cut=True, defocus_px=0.7),
        BoardView(0.19, (-36.0, 6.0), 10.0, (0.1, 0.2), cut=True, defocus_px=0.6),
        BoardView(0.19, (33.0, -12.0), -12.0, (-0.1, -0.15), cut=True, defocus_px=0.5),
        BoardView(0.20, (5.0, 42.0), 4.0, (0.2, 0.0), cut=True, defocus_px=0.6),
        BoardView(0.20, (-8.0, -42.0), -7.0, (-0.2, 0.1), cut=True, defocus_px=0.6),
        BoardView(0.19, (5.0, -12.0), 25.0, (-0.68, 0.05), cut=True, defocus_px=0.7),
        BoardView(0.19, (-8.0, 10.0), -18.0, (0.69, -0.1), cut=True, defocus_px=0.6),
        BoardView(0.18, (12.0, 6.0), 88.0, (0.1, -0.75), cut=True, defocus_px=0.5),
        BoardView(0.18, (-14.0, 4.0), -95.0, (-0.05, 0.78), cut=True, defocus_px=0.6),
        BoardView(0.20, (10.0, -10.0), 40.0, (-0.59, -0.59), cut=True, defocus_px=0.6),
        BoardView(0.20, (-12.0, 12.0), 140.0, (0.65, 0.67), cut=True, defocus_px=0.7),
        BoardView(0.21, (16.0, 16.0), -40.0, (0.59, -0.59), cut=True, defocus_px=0.5),
        BoardView(0.21, (18.0, -18.0), 175.0, (-0.57, 0.62), cut=True, defocus_px=0.6),
        BoardView(0.30, (24.0, 22.0), -60.0, (0.3, 0.3), cut=True, defocus_px=0.5),
    ),
    seed=202,
    vignetting=0.3,
    image_circle_deg=98.0,
    jpeg_quality=90,
)

STEREO = StereoSet(
    lenses=(
        Brown(640, 480, 531.2, 530.6, 316.9, 243.7, -0.21, 0.052, 0.0006, -0.0004, -0.004),
        Brown(640, 480, 534.9, 534.1, 324.4, 236.2, -0.205, 0.047, -0.0003, 0.0007, -0.003),
    ),
    cam1_from_cam0=rigid(
        rotation("z", 0.4) @ rotation("y", 1.7) @ rotation("x", -0.6), np.array([-0.1203, 0.0011, 0.0024])
    ),
    board=Checkerboard(5, 7, 0.040, (0.03, 0.03)),
    views=(
        BoardView(0.62, (3.0, -5.0), 2.0, (0.12, 0.0), defocus_px=0.6),
        BoardView(0.64, (-33.0, 6.0), -6.0, (0.1, -0.15), defocus_px=0.7),
        BoardView(0.64, (35.0, -8.0), 7.0, (0.15, 0.2), defocus_px=0.6),
        BoardView(0.64, (4.0, 38.0), 3.0, (0.1, 0.1), defocus_px=0.8),
        BoardView(0.66, (-6.0, -37.0), -4.0, (0.1, -0.1), defocus_px=0.6),
        BoardView(0.82, (12.0, -14.0), 10.0, (-0.25, -0.5), defocus_px=0.5),
        BoardView(0.80, (14.0, 18.0), -12.0, (0.8, -0.5), defocus_px=0.6),
        BoardView(0.85, (-16.0, -15.0), 86.0, (-0.3, 0.35), defocus_px=0.6),
        BoardView(0.78, (-15.0, 16.0), -14.0, (1.0, 1.0), defocus_px=0.7),
        BoardView(1.10, (30.0, 24.0), 45.0, (0.35, 0.3), defocus_px=0.5),
    ),
    seed=303,
    jpeg_quality=90,
)

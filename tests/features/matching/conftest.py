"""Frames of the rendered room with their exact cameras, and an engine that is fast on them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.features.matching import MatchOptions
from cv3d.geometry.cameras.camera import Camera

FAST = MatchOptions(max_keypoints=512, max_side=320)


@dataclass(frozen=True)
class Room:
    """Some frames of the clip."""

    frames: dict[int, NDArray[np.uint8]]
    """(480, 640, 3) RGB, by number."""
    world_from_cam: dict[int, NDArray[np.float64]]
    camera: Camera

    def cam1_from_cam0(self, first: int, second: int) -> NDArray[np.float64]:
        return np.linalg.inv(self.world_from_cam[second]) @ self.world_from_cam[first]


@pytest.fixture(scope="session")
def room(project_root: Path) -> Room:
    samples = project_root / "data" / "samples"
    truth = json.loads((samples / "room_ground_truth.json").read_text())
    video = cv2.VideoCapture(str(samples / "room.mp4"))
    wanted = range(0, 110, 4)
    frames = {}
    for index in range(max(wanted) + 1):
        _, frame = video.read()
        if index in wanted:
            frames[index] = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    video.release()
    camera = truth["camera"]
    return Room(
        frames,
        {index: np.array(truth["frames"][index]["world_from_cam"]) for index in wanted},
        Camera(camera["model"], camera["width"], camera["height"], tuple(camera["params"].values())),
    )


@pytest.fixture(scope="session")
def folder(room: Room, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames as picture files."""
    folder = tmp_path_factory.mktemp("room")
    for index in range(0, 48, 8):
        cv2.imwrite(str(folder / f"{index:03d}.png"), cv2.cvtColor(room.frames[index], cv2.COLOR_RGB2BGR))
    return folder

"""Frames of the rendered room with their true cameras and poses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from cv3d.formats.posed_pictures import PosedPicture
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.media.frame_access import read_frame

FRAMES = (0, 12, 24, 36, 48, 60)


@dataclass(frozen=True, eq=False)
class Room:
    """A folder of pictures, and what is true of them."""

    folder: Path
    """With the pictures in `images/` and nothing else."""
    pictures: tuple[PosedPicture, ...]
    matches: Path
    """Where matches of the pictures are kept, from the first test that needs them on."""


@pytest.fixture(scope="session")
def room(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Room:
    """Six frames of the rendered clip, 640x480."""
    samples = project_root / "data" / "samples"
    truth = json.loads((samples / "room_ground_truth.json").read_text())
    camera = Camera.from_dict(truth["camera"])
    folder = tmp_path_factory.mktemp("room")
    (folder / "images").mkdir()
    pictures = []
    for index in FRAMES:
        file = folder / "images" / f"{index:03d}.png"
        rgb = read_frame(samples / "room.mp4", index, None).rgb()
        assert cv2.imwrite(str(file), np.ascontiguousarray(rgb[..., ::-1]))
        pose = inverse_rigid(np.array(truth["frames"][index]["world_from_cam"]))
        pictures.append(PosedPicture(f"{index:03d}.png", file, camera, pose))
    return Room(folder, tuple(pictures), tmp_path_factory.mktemp("matches"))

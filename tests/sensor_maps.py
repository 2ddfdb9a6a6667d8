"""Depth maps of the rendered room, as its sensor measured them: what dense depth gives, without computing it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from cv3d.depth.posed import PosedSet, PosedView
from cv3d.depth.result import DepthMap, DepthResult, LeftOutView
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.media.picture import Picture


def sensor_maps(samples: Path, count: int = 6) -> DepthResult:
    """Depth maps of the recording `rgbd/`, 320x240, with a confidence that falls with the distance."""
    folder = samples / "rgbd"
    camera = Camera.from_dict(json.loads((folder / "intrinsics.json").read_text()))
    poses = np.loadtxt(folder / "poses.txt").reshape(-1, 3, 4)
    maps = []
    for i in np.linspace(0, len(poses) - 1, count).astype(int).tolist():
        stored = cv2.imread(str(folder / "depth" / f"{i:06d}.png"), cv2.IMREAD_UNCHANGED)
        color = cv2.imread(str(next(folder.glob(f"*/{i:06d}.jpg"))))
        assert stored is not None
        assert color is not None
        depth = stored.astype(np.float32) / 1000.0
        confidence = np.where(depth > 0.0, np.clip(1.2 - 0.25 * depth, 0.1, 1.0), 0.0).astype(np.float32)
        pose = np.eye(4)
        pose[:3] = poses[i]
        rgb = np.ascontiguousarray(color[..., ::-1]).astype(np.uint8)
        maps.append(DepthMap(f"walk/{i:03d}.png", camera, inverse_rigid(pose), depth, confidence, rgb))
    left_out = (LeftOutView("walk/099.png", "it sees nothing that another picture sees"),)
    return DepthResult(tuple(maps), left_out, ("the light changes",), {"total": 12.5, "sweep": 10.0})


def posed_of(result: DepthResult) -> PosedSet:
    """Views of the maps, and points on the first one that all are said to see."""
    first = result.maps[0]
    rows, columns = (part[::997] for part in np.nonzero(first.depth > 0.0))
    rays = first.camera.unproject(np.stack([columns, rows], axis=1).astype(float))
    seen = rays / rays[:, 2:] * first.depth[rows, columns, None]
    world_from_cam = inverse_rigid(first.cam_from_world)
    points = seen @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
    views = [
        PosedView(Picture(one.name, Path(one.name)), one.camera, one.cam_from_world, np.arange(len(points)))
        for one in result.maps
    ]
    return PosedSet(tuple(views), points, is_metric=True)

"""The depth maps that `cv3d reconstruct` makes of the rendered room, against exact depth.

    cv3d reconstruct data/samples/room.mp4 -o OUT
    python tests/benchmarks/depth_room.py OUT

A clip has no scale and no frame of its own: OUT's world is laid onto the truth by the similarity that fits the camera
centres. Exact depth is that of the rays through OUT's own pixels. A pixel has texture where the grey values around it
(a Gaussian of 3 pixels) have a standard deviation of more than 4 of 255.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.formats.colmap_depth import read_colmap_depth
from cv3d.formats.colmap_reconstruction import read_reconstruction
from cv3d.formats.meshes import read_mesh
from cv3d.geometry.alignment import umeyama

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
SHARES = (0.002, 0.005, 0.01, 0.02, 0.05)
STEPS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.01)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    dense = parser.parse_args().out / "dense"
    model = read_reconstruction(dense / "sparse")
    result = json.loads((dense / "result.json").read_text())
    truth = json.loads((SAMPLES / "room_ground_truth.json").read_text())
    poses = {frame["index"]: np.array(frame["world_from_cam"]) for frame in truth["frames"]}
    frames = {one["image"].removeprefix("images/"): int(one["name"].rsplit("#", 1)[1]) for one in result["pictures"]}
    centres = np.stack([-one.cam_from_world[:3, :3].T @ one.cam_from_world[:3, 3] for one in model.images])
    true = np.stack([poses[frames[one.name]][:3, 3] for one in model.images])
    room_from_scene = umeyama(torch.from_numpy(centres), torch.from_numpy(true))
    rows, sure = [], []
    cast = _caster()
    for one in model.images:
        depth = read_colmap_depth(dense / "stereo" / "depth_maps" / f"{one.name}.geometric.bin")
        exact = cast(model.cameras[one.camera].params[:4], one.cam_from_world, room_from_scene, depth.shape)
        gray = cv2.imread(str(dense / "images" / one.name), cv2.IMREAD_GRAYSCALE)
        confidence = cv2.imread(str(dense / "confidence" / Path(one.name).with_suffix(".png")), cv2.IMREAD_GRAYSCALE)
        assert gray is not None
        assert confidence is not None
        rows.append(_row(depth, exact, _has_texture(gray)))
        has = (depth > 0.0) & (exact > 0.0)
        off = np.abs(depth[has] - exact[has]) / exact[has]
        sure.append(np.stack([confidence[has] / 255.0, off], axis=1))
    names = ["covered", *(f"< {100 * share:g} %" for share in SHARES)]
    for title, first in (("pixels with texture", 0), ("all pixels", len(names)), ("pixels with depth", 2 * len(names))):
        mean = np.mean(rows, axis=0)[first : first + len(names)]
        print(f"{title:20}", "  ".join(f"{name} {100 * value:.1f} %" for name, value in zip(names, mean, strict=True)))
    both = np.concatenate(sure)
    print(f"median error of pixels with depth {100 * float(np.median(both[:, 1])):.3f} % of the depth")
    for low, high in pairwise(STEPS):
        inside = (both[:, 0] >= low) & (both[:, 0] < high)
        if inside.mean() > 0.001:
            right = float((both[inside, 1] < 0.01).mean())
            print(f"confidence {low:.2f} to {min(high, 1.0):.2f}: {inside.mean():.3f} of them, {right:.3f} within 1 %")


def _row(depth: NDArray[np.float32], exact: NDArray[np.float32], texture: NDArray[np.bool_]) -> list[float]:
    off = np.where(depth > 0.0, np.abs(depth - exact) / np.maximum(exact, 1e-6), np.inf)
    row: list[float] = []
    for which in (texture & (exact > 0.0), exact > 0.0, (depth > 0.0) & (exact > 0.0)):
        row += [float((depth[which] > 0.0).mean()), *(float((off[which] < share).mean()) for share in SHARES)]
    return row


def _has_texture(gray: NDArray[np.uint8]) -> NDArray[np.bool_]:
    values = gray.astype(np.float32)
    mean = cv2.GaussianBlur(values, (0, 0), 3.0)
    spread = cv2.GaussianBlur(values * values, (0, 0), 3.0) - mean * mean
    return np.asarray(spread > 16.0)


def _caster():  # noqa: ANN202 - a function of Open3D's scene
    import open3d as o3d

    mesh = read_mesh(SAMPLES / "room_mesh.ply")
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(mesh.vertices), o3d.core.Tensor(mesh.triangles.astype(np.uint32)))

    def cast(params, cam_from_world, room_from_scene, shape):  # noqa: ANN001, ANN202
        """Depth along z of the room at every pixel of a camera of the scene, in the scene's unit."""
        height, width = shape
        fx, fy, cx, cy = params
        u, v = np.meshgrid(np.arange(width), np.arange(height))
        rays = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones_like(u, np.float64)], axis=2).reshape(-1, 3)
        centre = -cam_from_world[:3, :3].T @ cam_from_world[:3, 3]
        ends = centre + rays @ cam_from_world[:3, :3]
        there = (room_from_scene @ torch.from_numpy(np.vstack([centre, ends]))).numpy()
        lines = np.concatenate([np.broadcast_to(there[0], rays.shape), there[1:] - there[0]], axis=1)
        hit = scene.cast_rays(o3d.core.Tensor(lines.astype(np.float32)))["t_hit"].numpy()
        return np.where(np.isfinite(hit), hit, 0.0).astype(np.float32).reshape(shape)

    return cast


if __name__ == "__main__":
    main()

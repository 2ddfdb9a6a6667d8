"""The depth maps that `cv3d reconstruct` makes of the rendered room, against exact depth.

    cv3d reconstruct data/samples/room.mp4 -o OUT
    python tests/benchmarks/depth_room.py OUT

A clip has no scale and no frame of its own: OUT's world is laid onto the truth by the similarity that fits the camera
centres. Exact depth is that at the centres of OUT's own pixels. A pixel has texture where the grey values around it
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
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.rasterizing import render

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
    mesh = read_mesh(SAMPLES / "room_mesh.ply")
    vertices = room_from_scene.inverse().apply(torch.from_numpy(mesh.vertices.astype(np.float64))).numpy()
    room = Mesh(vertices.astype(np.float32), mesh.triangles)
    rows, sure = [], []
    for one in model.images:
        depth = read_colmap_depth(dense / "stereo" / "depth_maps" / f"{one.name}.geometric.bin")
        camera = Camera("pinhole", depth.shape[1], depth.shape[0], model.cameras[one.camera].params[:4])
        exact = render(room, camera, one.cam_from_world).depth
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


if __name__ == "__main__":
    main()

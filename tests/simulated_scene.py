"""A reconstructed scene from exact geometry: rings of cameras around a cloud, with pictures drawn to match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.mapping.scene import (
    IntrinsicsSource,
    LeftOut,
    Scene,
    SceneCamera,
    SceneImage,
    SceneModel,
    ViewGraph,
)
from cv3d.media.picture import Picture, frame_name

BROWN = Camera("brown4", 320, 240, (260.0, 261.0, 160.5, 118.7, -0.08, 0.02, 0.0004, -0.0003))
PINHOLE = Camera("pinhole", 320, 240, (255.0, 255.0, 159.5, 119.5))
FISHEYE = Camera("kannala_brandt4", 320, 240, (170.0, 170.5, 160.1, 119.2, 0.02, -0.005, 0.001, 0.0))
LEFT_OUT = (
    LeftOut("blurred & <b>dark.jpg", "too few keypoints: 31", "take it again with more light"),
    LeftOut("elsewhere.jpg", "no verified pair with any other picture", "add pictures between it and the others"),
    LeftOut("elsewhere2.jpg", "no verified pair with any other picture", "add pictures between it and the others"),
)


def write_pictures(folder: Path, names: Sequence[str], size: tuple[int, int] = (320, 240)) -> None:
    """Pictures with a colour and a bar of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        pixels = np.full((size[1], size[0], 3), (40 + 10 * number % 200, 120, 200 - 7 * number % 150), np.uint8)
        pixels[:, 20 + 3 * number : 40 + 3 * number] = 255
        assert cv2.imwrite(str(folder / name), pixels)


def looking_at_centre(angle: float, height: float, radius: float = 4.0) -> NDArray[np.float64]:
    """cam_from_world, (4, 4), of a camera on a ring around the origin; z is up."""
    centre = np.array([radius * np.cos(angle), radius * np.sin(angle), height])
    ahead = -centre / np.linalg.norm(centre)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    world_from_cam = np.eye(4)
    world_from_cam[:3, :3] = np.stack([right, np.cross(ahead, right), ahead], axis=1)
    world_from_cam[:3, 3] = centre
    return inverse_rigid(world_from_cam)


def simulated_model(
    pictures: Sequence[Picture], cameras: Sequence[Camera] = (BROWN,), points: int = 150, noise_px: float = 0.3
) -> SceneModel:
    """Pictures in an arc around a cloud; each has half of the points that it could see, and two keypoints of none."""
    generator = np.random.default_rng(len(pictures))
    positions = generator.normal(0.0, 0.6, (points, 3))
    sums, counts = np.zeros(points), np.zeros(points)
    images = []
    for number, picture in enumerate(pictures):
        pose = looking_at_centre(1.8 * number / max(len(pictures), 2), 0.4 + 0.1 * (number % 3))
        chosen = np.flatnonzero(generator.random(points) < 0.5) if number > 1 else np.arange(points)
        lens = cameras[number % len(cameras)]
        exact = lens.project(positions[chosen] @ pose[:3, :3].T + pose[:3, 3])
        pixels = exact + generator.normal(0.0, noise_px, exact.shape)
        squares = ((pixels - exact) ** 2).sum(axis=1)
        np.add.at(sums, chosen, squares)
        np.add.at(counts, chosen, 1.0)
        keypoints = np.concatenate([pixels, [[3.0, 4.0], [5.5, 6.5]]])
        shown = np.append(chosen, [-1, -1]).astype(np.intp)
        images.append(
            SceneImage(picture, number % len(cameras), pose, None, keypoints, shown, float(np.sqrt(squares.mean())))
        )
    lenses = tuple(
        SceneCamera(
            camera,
            IntrinsicsSource.ESTIMATED,
            camera.lens.param_names[:4],
            (1.2, 1.3, 0.8, 0.9, *(0.0 for _ in camera.shape)),
        )
        for camera in cameras
    )
    colors = generator.integers(0, 256, (points, 3)).astype(np.uint8)
    return SceneModel(lenses, tuple(images), positions, colors, np.sqrt(sums / np.maximum(counts, 1.0)))


def simulated_scene(
    folder: Path,
    sizes: Sequence[int] = (8,),
    cameras: Sequence[Camera] = (BROWN,),
    left_out: Sequence[LeftOut] = LEFT_OUT,
    points: int = 150,
) -> Scene:
    """A scene with a model of each size, whose pictures are in `folder`."""
    models, names = [], []
    for model, size in enumerate(sizes):
        own = [f"{model}_{number:03d}.jpg" for number in range(size)]
        write_pictures(folder, own)
        names += own
        models.append(simulated_model([Picture(name, folder / name) for name in own], cameras, points))
    return Scene(
        models=tuple(models),
        left_out=tuple(left_out),
        graph=_graph(sizes, (*names, *(one.name for one in left_out))),
        mapper="incremental",
        warnings=("the pictures are <few>",),
        seconds={"features": 1.25, "matches": 2.5, "poses": 0.75, "total": 4.5},
        seed=3,
    )


def simulated_clip(clip: Path, frames: Sequence[int] = (0, 4, 8, 12)) -> Scene:
    """A scene of some frames of a video of 20 frames, 10 a second, which is written."""
    write_clip(clip)
    pictures = [Picture(frame_name(clip.name, frame), clip, frame, frame / 10.0) for frame in frames]
    model = simulated_model(pictures)
    graph = _graph((len(frames),), tuple(picture.name for picture in pictures))
    return Scene((model,), (), graph, "odometry", seconds={"frames": 0.5, "poses": 1.0, "total": 1.5})


def oriented_only(scene: Scene) -> Scene:
    """The scene of a camera that only turned: orientations without positions and points."""
    images = []
    for image in scene.models[0].images:
        pose = image.cam_from_world.copy()
        pose[:3, 3] = 0.0
        shown = np.full(len(image.points), -1, np.intp)
        images.append(replace(image, cam_from_world=pose, points=shown, rms_px=float("nan")))
    nothing = replace(
        scene.models[0],
        images=tuple(images),
        points=np.zeros((0, 3)),
        colors=np.zeros((0, 3), np.uint8),
        errors=np.zeros(0),
        is_oriented_only=True,
    )
    return replace(scene, models=(nothing,), mapper="rotation")


def write_clip(path: Path, frames: int = 20) -> None:
    """A short video whose frames differ."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(frames):
            pixels = np.full((240, 320, 3), 60 + 8 * number, np.uint8)
            pixels[:, 10 * number : 10 * number + 30] = (250, 180, 90)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def _graph(sizes: Sequence[int], names: tuple[str, ...]) -> ViewGraph:
    """Neighbours of each model make pairs; the first and last of the first make one that the poses contradict."""
    pairs, first = [], 0
    for size in sizes:
        pairs += [(first + a, first + b) for a in range(size) for b in range(a + 1, min(a + 4, size))]
        first += size
    used = np.ones(len(pairs), np.bool_)
    if len(pairs) > 6:
        used[3] = False
    inliers = 20 + 7 * np.arange(len(pairs), dtype=np.intp) % 90
    return ViewGraph(names, np.array(pairs, np.intp).reshape(-1, 2), inliers, used)

"""Fusion beside Open3D's VoxelBlockGrid: frames a second, peak memory, and how near the surfaces are.

    python tests/benchmarks/fuse_vs_open3d.py [--data FOLDER] [--frames 200] [--rounds 3] [--only speed|held-out|truth]

Speed and memory: the first frames of `rgbd/seven_scenes` with colour, range 4 m, truncation 4 voxels, each run in a
process of its own, cv3d and Open3D by turns; decoding is not counted, and peak memory is that of the whole process with
all that it imports, before and after the mesh is extracted. Open3D runs with blocks of 8, its faster setting here.

Held-out depth: each tenth frame is left out of the fusion; both meshes are rendered at its pose and compared with what
it measured, on the pixels where both meshes are.

Truth: the rendered RGB-D sample against the scene itself. Accuracy is the share of points on the mesh within 5 mm of
the scene, completeness that of what the cameras saw of the scene within 5 mm of the mesh. Only what a camera saw
counts: points of the scene that are in sight of at least one frame, inside the range.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cv3d.geometry.cameras import Camera
    from cv3d.geometry.mesh import Mesh

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "samples"
RANGE_M = 4.0
TRUNCATION_VOXELS = 4.0
BATCH = 8
BLOCK = 8
LEAST = {"cv3d": 2, "open3d": 3}
"""Observations that a voxel needs: each one's own default."""
THRESHOLD_M = 0.005
Frame = tuple[NDArray[np.uint16], NDArray[np.uint8], NDArray[np.float64]]


Intrinsics = tuple[int, int, float, float, float, float]
"""Width, height, fx, fy, cx, cy. Open3D's process is not to load cv3d and torch: its memory is measured."""
Surface = dict[str, NDArray[Any]]


def camera_of(intrinsics: Intrinsics) -> Camera:
    """As cv3d's."""
    from cv3d.geometry.cameras import Camera

    return Camera("pinhole", intrinsics[0], intrinsics[1], intrinsics[2:])


def read_mesh(path: Path) -> Mesh:
    """The mesh that a run left."""
    from cv3d.geometry.mesh import Mesh

    with np.load(path) as content:
        return Mesh(content["vertices"], content["triangles"], None, content["colors"])


def seven_scenes(folder: Path) -> tuple[Intrinsics, list[Path]]:
    """The camera and the depth files of the real recording."""
    fx, _, cx, _, fy, cy = np.loadtxt(folder / "camera-intrinsics.txt").reshape(-1)[:6]
    return (640, 480, fx, fy, cx, cy), sorted(folder.glob("*.depth.png"))


def read_seven_scenes(depth_file: Path) -> Frame:
    """Depth in millimetres, colour, cam_from_world."""
    stem = str(depth_file)[: -len(".depth.png")]
    depth = cv2.imread(str(depth_file), cv2.IMREAD_UNCHANGED)
    depth[depth == 65535] = 0
    color = cv2.cvtColor(cv2.imread(stem + ".color.jpg"), cv2.COLOR_BGR2RGB)
    return depth, color, np.linalg.inv(np.loadtxt(stem + ".pose.txt"))


def sample() -> tuple[Intrinsics, list[Frame]]:
    """The rendered recording."""
    about = json.loads((SAMPLE / "rgbd" / "intrinsics.json").read_text())
    named = about["params"]
    camera = (about["width"], about["height"], named["fx"], named["fy"], named["cx"], named["cy"])
    poses = np.loadtxt(SAMPLE / "rgbd" / "poses.txt").reshape(-1, 3, 4)
    frames = []
    for index, pose in enumerate(poses):
        depth = cv2.imread(str(SAMPLE / "rgbd" / "depth" / f"{index:06}.png"), cv2.IMREAD_UNCHANGED)
        color = cv2.cvtColor(cv2.imread(str(SAMPLE / "rgbd" / "color" / f"{index:06}.jpg")), cv2.COLOR_BGR2RGB)
        frames.append((depth, color, np.linalg.inv(np.vstack([pose, [0, 0, 0, 1]]))))
    return camera, frames


def peak_mb() -> float:
    """Most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024.0 if sys.platform != "darwin" else 1024.0**2)


def fuse_cv3d(
    intrinsics: Intrinsics, frames: Iterator[Frame], voxel: float, threads: int | None
) -> tuple[dict[str, Any], Surface]:
    """One run."""
    from cv3d.fusion import DepthFrame, GridOptions, VoxelGrid

    camera = camera_of(intrinsics)

    options = GridOptions(max_depth_m=RANGE_M, threads=threads)

    def as_frame(frame: Frame) -> DepthFrame:
        return DepthFrame(frame[0].astype(np.float32) * np.float32(0.001), frame[1], camera, frame[2])

    seconds, count, batch = 0.0, 0, []
    grid = VoxelGrid(voxel, options=options)
    for frame in frames:
        if count == 0:
            # Kernels are compiled, or read from the cache, outside of the clock.
            with VoxelGrid(voxel, options=options) as warm:
                warm.integrate_batch([as_frame(frame)])
                warm.extract_mesh()
            del warm
        count += 1
        start = time.perf_counter()
        batch.append(as_frame(frame))
        if len(batch) == BATCH:
            grid.integrate_batch(batch)
            batch = []
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    grid.integrate_batch(batch)
    seconds += time.perf_counter() - start
    before = peak_mb()
    start = time.perf_counter()
    mesh = grid.extract_mesh(LEAST["cv3d"])
    extraction = time.perf_counter() - start
    return {
        "ms": 1e3 * seconds / count,
        "mesh_s": extraction,
        "fused_mb": before,
        "peak_mb": peak_mb(),
        "blocks": grid.block_count,
    }, {"vertices": mesh.vertices, "triangles": mesh.triangles, "colors": mesh.colors}


def fuse_open3d(intrinsics: Intrinsics, frames: Iterator[Frame], voxel: float) -> tuple[dict[str, Any], Surface]:
    """One run."""
    import open3d as o3d
    import open3d.core as o3c

    fx, fy, cx, cy = intrinsics[2:]
    intrinsic = o3c.Tensor(np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]))
    grid = o3d.t.geometry.VoxelBlockGrid(
        ("tsdf", "weight", "color"),
        (o3c.float32, o3c.float32, o3c.float32),
        ((1), (1), (3)),
        voxel,
        BLOCK,
        50000,
        o3c.Device("CPU:0"),
    )
    seconds, count = 0.0, 0
    for depth, color, cam_from_world in frames:
        count += 1
        start = time.perf_counter()
        extrinsic = o3c.Tensor(cam_from_world)
        depth_image, color_image = o3d.t.geometry.Image(o3c.Tensor(depth)), o3d.t.geometry.Image(o3c.Tensor(color))
        blocks = grid.compute_unique_block_coordinates(
            depth_image, intrinsic, extrinsic, 1000.0, RANGE_M, TRUNCATION_VOXELS
        )
        grid.integrate(blocks, depth_image, color_image, intrinsic, extrinsic, 1000.0, RANGE_M, TRUNCATION_VOXELS)
        seconds += time.perf_counter() - start
    before = peak_mb()
    start = time.perf_counter()
    found = grid.extract_triangle_mesh(float(LEAST["open3d"]))
    extraction = time.perf_counter() - start
    colors = found.vertex.colors.numpy()
    scale = 255.0 if colors.size and colors.max() < 2.0 else 1.0
    mesh = {
        "vertices": found.vertex.positions.numpy().astype(np.float32),
        "triangles": found.triangle.indices.numpy().astype(np.int32),
        "colors": (colors * scale).clip(0, 255).astype(np.uint8),
    }
    return {
        "ms": 1e3 * seconds / count,
        "mesh_s": extraction,
        "fused_mb": before,
        "peak_mb": peak_mb(),
        "blocks": int(grid.hashmap().size()),
    }, mesh


def one_run(arguments: argparse.Namespace) -> None:
    """What a process of its own does: fuse, write the mesh, print the figures as JSON."""
    if arguments.set == "sample":
        camera, every = sample()
        frames = iter(every)
    else:
        camera, files = seven_scenes(arguments.data)
        files = files[: arguments.frames]
        if arguments.set == "held-in":
            files = [file for index, file in enumerate(files) if index % 10 != 5]
        frames = (read_seven_scenes(file) for file in files)
    if arguments.run == "cv3d":
        figures, mesh = fuse_cv3d(camera, frames, arguments.voxel, arguments.threads)
    else:
        figures, mesh = fuse_open3d(camera, frames, arguments.voxel)
    np.savez(arguments.mesh, **mesh)
    print(json.dumps({**figures, "vertices": len(mesh["vertices"]), "triangles": len(mesh["triangles"])}))


def run(tool: str, frames_of: str, voxel: float, mesh: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of a process of its own."""
    command = [sys.executable, __file__, "--run", tool, "--set", frames_of, "--voxel", str(voxel), "--mesh", str(mesh)]
    command += ["--data", str(arguments.data), "--frames", str(arguments.frames)]
    if arguments.threads:
        command += ["--threads", str(arguments.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def speed(arguments: argparse.Namespace, folder: Path) -> None:
    """Frames a second and memory, by turns."""
    for voxel in arguments.voxels:
        runs: dict[str, list[dict[str, Any]]] = {"cv3d": [], "open3d": []}
        for _ in range(arguments.rounds):
            for tool, figures in runs.items():
                figures.append(run(tool, "all", voxel, folder / f"{tool}-{voxel}.npz", arguments))
        print(f"\n{voxel * 1e3:g} mm, {arguments.frames} frames: median of {arguments.rounds} runs by turns (least)")
        for key in ("ms", "mesh_s", "fused_mb", "peak_mb", "blocks", "triangles"):
            ours, theirs = ([one[key] for one in runs[tool]] for tool in ("cv3d", "open3d"))
            a, b = statistics.median(ours), statistics.median(theirs)
            print(f"  {key:10} cv3d {a:10.2f} ({min(ours):.2f})   Open3D {b:10.2f} ({min(theirs):.2f})   x{b / a:.2f}")
        ratios = [b["ms"] / a["ms"] for a, b in zip(runs["cv3d"], runs["open3d"], strict=True)]
        print(f"  frames a second, cv3d over Open3D, by round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


def held_out(arguments: argparse.Namespace, folder: Path) -> None:
    """Rendered depth against frames that were not fused."""
    from cv3d.geometry.rasterizing import render

    intrinsics, files = seven_scenes(arguments.data)
    camera, files = camera_of(intrinsics), files[: arguments.frames]
    for voxel in arguments.voxels:
        meshes = {}
        for tool in ("cv3d", "open3d"):
            path = folder / f"held-{tool}-{voxel}.npz"
            run(tool, "held-in", voxel, path, arguments)
            meshes[tool] = read_mesh(path)
        errors: dict[str, list[NDArray[np.float32]]] = {tool: [] for tool in meshes}
        covered = dict.fromkeys(meshes, 0)
        measured = 0
        for file in files[5::10]:
            depth_mm, _, cam_from_world = read_seven_scenes(file)
            depth = depth_mm.astype(np.float32) * np.float32(0.001)
            is_seen = (depth > 0.1) & (depth < RANGE_M)
            views = {tool: render(mesh, camera, cam_from_world).depth for tool, mesh in meshes.items()}
            both = is_seen & (views["cv3d"] > 0) & (views["open3d"] > 0)
            measured += int(is_seen.sum())
            for tool, view in views.items():
                covered[tool] += int((is_seen & (view > 0)).sum())
                errors[tool].append(np.abs(view - depth)[both])
        print(f"\n{voxel * 1e3:g} mm, rendered depth at {len(files[5::10])} held-out frames, where both meshes are")
        for tool, parts in errors.items():
            error = np.concatenate(parts).astype(np.float64)
            print(
                f"  {tool:7} median {np.median(error) * 1e3:.2f} mm, mean of those below 10 cm "
                f"{error[error < 0.1].mean() * 1e3:.2f} mm, beyond 10 cm {100 * (error >= 0.1).mean():.2f} %, "
                f"mean of all {error.mean() * 1e3:.2f} mm; "
                f"covers {100 * covered[tool] / measured:.2f} % of what was measured"
            )


def truth(arguments: argparse.Namespace, folder: Path) -> None:
    """The rendered sample against the scene itself."""
    from cv3d.formats.ply import read_ply
    from cv3d.geometry.rasterizing import render
    from cv3d.geometry.triangle_tree import TriangleTree

    intrinsics, frames = sample()
    camera = camera_of(intrinsics)
    scene = read_ply(SAMPLE / "room_mesh.ply")
    seen, depths = [], []
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = camera.unproject(np.stack([u, v], -1).astype(np.float64))
    rays /= rays[..., 2:]
    for _, _, cam_from_world in frames:
        depth = render(scene, camera, cam_from_world).depth
        depths.append(depth)
        inside = (depth > 0.1) & (depth < RANGE_M)
        points = (rays * depth[..., None])[inside]
        seen.append((points - cam_from_world[:3, 3]) @ cam_from_world[:3, :3])
    every = np.concatenate(seen)
    # One point for each 4 mm of the scene: else what is near the camera would count most.
    _, first = np.unique(np.floor(every / 0.004).astype(np.int64), axis=0, return_index=True)
    wanted = every[np.sort(first)]
    wanted = wanted[np.random.default_rng(0).permutation(len(wanted))[:100_000]]
    scene_tree = TriangleTree(scene)

    def in_sight(points: NDArray[np.float64]) -> NDArray[np.bool_]:
        result = np.zeros(len(points), np.bool_)
        for (_, _, cam_from_world), depth in zip(frames, depths, strict=True):
            there = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
            z = np.maximum(there[:, 2], 1e-6)
            pixel = np.rint(camera.project(there / z[:, None]))
            inside = (there[:, 2] > 0.1) & (there[:, 2] < RANGE_M)
            inside &= ((pixel >= 0) & (pixel < [camera.width, camera.height])).all(1)
            column, row = np.where(inside[:, None], pixel, 0).astype(np.int64).T
            result |= inside & (there[:, 2] < depth[row, column] + 0.05)
        return result

    for voxel in arguments.voxels:
        print(f"\n{voxel * 1e3:g} mm, rendered sample, {len(frames)} frames; threshold {THRESHOLD_M * 1e3:g} mm")
        for tool in ("cv3d", "open3d"):
            path = folder / f"sample-{tool}-{voxel}.npz"
            run(tool, "sample", voxel, path, arguments)
            mesh = read_mesh(path)
            points = sampled(mesh, 100_000)
            points = points[in_sight(points)]
            to_scene = scene_tree.nearest(points).distances
            to_mesh = TriangleTree(mesh).nearest(wanted).distances
            accuracy, complete = float((to_scene < THRESHOLD_M).mean()), float((to_mesh < THRESHOLD_M).mean())
            score = 2.0 * accuracy * complete / (accuracy + complete)
            print(
                f"  {tool:7} accuracy {100 * accuracy:.2f} % (mean {to_scene.mean() * 1e3:.2f} mm, median "
                f"{np.median(to_scene) * 1e3:.2f}), completeness {100 * complete:.2f} % (median "
                f"{np.median(to_mesh) * 1e3:.2f} mm), F {100 * score:.2f}"
            )


def sampled(mesh: Mesh, count: int) -> NDArray[np.float64]:
    """Points spread evenly over the area of a mesh."""
    rng = np.random.default_rng(0)
    a, b, c = mesh.vertices.astype(np.float64)[mesh.triangles.T]
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = rng.choice(len(areas), count, p=areas / areas.sum())
    s, t = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    points: NDArray[np.float64] = (1.0 - s) * a[chosen] + s * (1.0 - t) * b[chosen] + s * t * c[chosen]
    return points


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("CV3D_DATA") or ROOT.parent / "shared" / "data") / "rgbd" / "seven_scenes"
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--voxels", type=float, nargs="+", default=[0.01, 0.005])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", choices=["speed", "held-out", "truth"])
    parser.add_argument("--keep", type=Path, help="folder for the meshes")
    for name in ("--run", "--set", "--mesh"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--voxel", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        one_run(arguments)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, work in (("speed", speed), ("held-out", held_out), ("truth", truth)):
            if arguments.only in (None, name):
                work(arguments, folder)


if __name__ == "__main__":
    main()

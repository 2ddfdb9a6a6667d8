"""The surface that `cv3d reconstruct` makes of the rendered room, against the room itself.

    cv3d reconstruct data/samples/room.mp4 -o OUT
    python tests/benchmarks/reconstruct_room.py OUT [--mesh FILE] [--seen-by 2] [--json FILE]

A clip has no scale and no frame of its own, so OUT is first laid onto the truth by the similarity that fits the camera
centres (`sparse/0`, else `transforms.json`), then, unless --no-refine, by the small rigid motion that fits the surfaces
within a per cent of the scene's size.

The truth holds hidden sides. Of it only what the cameras of OUT see counts for recall: points that lie in the picture
of `--seen-by` cameras at least, at less than 80 degrees off the surface's normal, and are not hidden by anything. All
of the mesh counts for precision, against the whole truth. The scene's size is the diagonal of the box around the part
that is seen; thresholds are 0.5, 1 and 2 per cent of it, and, to compare with depth cameras, 5 mm, 1 cm and 2 cm.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.evaluation.surface import SurfaceOptions, SurfaceView, evaluate_surface
from cv3d.evaluation.surface.alignment import aligning_motion
from cv3d.evaluation.surface.observed import observed
from cv3d.evaluation.surface.result import SurfaceEvaluation
from cv3d.evaluation.surface.sampling import SurfaceSamples, sample_surface, triangle_normals
from cv3d.formats.colmap_reconstruction import read_reconstruction
from cv3d.formats.meshes import read_mesh
from cv3d.geometry.alignment import umeyama
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.triangle_tree import TriangleTree

Floats = NDArray[np.float64]

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"
SHARES = (0.005, 0.01, 0.02)
LENGTHS_M = (0.005, 0.01, 0.02)
MESHES = ("mesh.ply", "surface.ply", "mesh.glb")
LEAST_COSINE = 0.17
POINTS = 200_000


@dataclass(frozen=True, eq=False)
class Truth:
    """The room and the walk through it."""

    mesh: Mesh
    camera: Camera
    world_from_cam: Floats
    """(n, 4, 4), by frame."""


def read_truth() -> Truth:
    """That of the sample."""
    content = json.loads((SAMPLES / "room_ground_truth.json").read_text(encoding="utf-8"))
    camera = content["camera"]
    params = tuple(camera["params"].values())
    poses = np.array([frame["world_from_cam"] for frame in content["frames"]], np.float64)
    return Truth(
        read_mesh(SAMPLES / "room_mesh.ply"),
        Camera(camera["model"], camera["width"], camera["height"], params),
        poses,
    )


def read_cameras(folder: Path) -> dict[int, Floats]:
    """Places of the cameras of a reconstruction, world_from_cam by the number of the frame."""
    if (folder / "sparse" / "0").is_dir():
        images = read_reconstruction(folder / "sparse" / "0").images
        return {_number(image.name): inverse_rigid(image.cam_from_world) for image in images}
    content = json.loads((folder / "transforms.json").read_text(encoding="utf-8"))
    # OpenGL's camera looks along -z, with y up.
    turned = np.diag([1.0, -1.0, -1.0, 1.0])
    return {
        _number(frame["file_path"]): np.array(frame["transform_matrix"], np.float64) @ turned
        for frame in content["frames"]
    }


def _number(name: str) -> int:
    """The frame's number: the last one in its file's name."""
    return int(re.findall(r"\d+", Path(name).stem)[-1])


def similarity(found: dict[int, Floats], truth: Truth) -> tuple[float, Floats, Floats, float]:
    """Scale, rotation and translation from the reconstruction to the truth, and the RMS of the centres, metres."""
    frames = [k for k in sorted(found) if 0 <= k < len(truth.world_from_cam)]
    ours = np.stack([found[k][:3, 3] for k in frames])
    wanted = truth.world_from_cam[frames, :3, 3]
    motion = umeyama(torch.from_numpy(ours), torch.from_numpy(wanted))
    scale = float(motion.scale())
    rotation = motion.rotation().as_matrix().numpy()
    translation = motion.translation().numpy()
    off = scale * ours @ rotation.T + translation - wanted
    return scale, rotation, translation, float(np.sqrt((off**2).sum(axis=1).mean()))


def moved(mesh: Mesh, scale: float, rotation: Floats, translation: Floats) -> Mesh:
    """The mesh, laid onto the truth."""
    vertices = (scale * mesh.vertices.astype(np.float64) @ rotation.T + translation).astype(np.float32)
    return Mesh(vertices, mesh.triangles, None, mesh.colors)


def seen_part(truth: Truth, frames: list[int], least: int) -> SurfaceSamples:
    """Points of the room that so many cameras see, and not at a grazing angle."""
    samples = sample_surface(truth.mesh, POINTS)
    assert samples.normals is not None
    counts = np.zeros(len(samples.points), np.int32)
    for k in frames:
        pose = truth.world_from_cam[k]
        view = SurfaceView(truth.camera, inverse_rigid(pose))
        rays = samples.points - pose[:3, 3]
        cosine = np.abs((rays * samples.normals).sum(axis=1)) / np.linalg.norm(rays, axis=1)
        counts += observed(samples.points, truth.mesh, [view]) & (cosine > LEAST_COSINE)
    seen = counts >= least
    return SurfaceSamples(samples.points[seen], samples.normals[seen])


def scores(mesh: Mesh, truth: Truth, seen: SurfaceSamples, thresholds: tuple[float, ...]) -> SurfaceEvaluation:
    """The mesh against the part of the truth that is seen."""
    # Precision against all of the truth, recall over what is seen: two comparisons that share their code.
    options = SurfaceOptions(thresholds, POINTS)
    whole = evaluate_surface(mesh, truth.mesh, options)
    part = evaluate_surface(mesh, Mesh(seen.points.astype(np.float32), np.zeros((0, 3), np.int32)), options)
    both = [type(a)(a.threshold_m, a.precision, b.recall) for a, b in zip(whole.scores, part.scores, strict=True)]
    return replace(whole, reference_points=part.reference_points, to_mesh=part.to_mesh, scores=tuple(both))


def refined(mesh: Mesh, truth: Truth, reach_m: float) -> Mesh:
    """The mesh, moved by the rigid motion that fits the surfaces."""
    points = sample_surface(mesh, 20_000).points
    motion = aligning_motion(
        points, TriangleTree(truth.mesh), points.mean(axis=0), triangle_normals(truth.mesh)[0], reach_m
    )
    return moved(mesh, 1.0, motion[:3, :3], motion[:3, 3])


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mesh", type=Path, help="instead of OUT/mesh.ply")
    parser.add_argument("--seen-by", type=int, default=2, metavar="N")
    parser.add_argument("--no-refine", action="store_true", help="lay it onto the truth by the camera centres alone")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    truth, found = read_truth(), read_cameras(args.out)
    path = args.mesh or next((args.out / name for name in MESHES if (args.out / name).is_file()), args.out / MESHES[0])
    scale, rotation, translation, centres = similarity(found, truth)
    mesh = moved(read_mesh(path), scale, rotation, translation)
    seen = seen_part(truth, sorted(found), args.seen_by)
    size = float(np.linalg.norm(np.ptp(seen.points, axis=0)))
    if not args.no_refine:
        mesh = refined(mesh, truth, 0.01 * size)
    result = scores(mesh, truth, seen, tuple(share * size for share in SHARES) + LENGTHS_M)
    print(f"{len(found)} cameras, centres {1000.0 * centres:.1f} mm RMS after a similarity of scale {scale:.4g}")
    print(f"{len(mesh.triangles):,} triangles; scene {size:.2f} m, {len(seen.points)} points seen by {args.seen_by}")
    names = [f"{100.0 * share:g} %" for share in SHARES] + [f"{1000.0 * length:g} mm" for length in LENGTHS_M]
    print("within            F-score  precision   recall")
    for name, one in zip(names, result.scores, strict=True):
        figures = f"{one.fscore:.4f}     {one.precision:.4f}   {one.recall:.4f}"
        print(f"{name:>6} ({1000.0 * one.threshold_m:5.1f} mm)  {figures}")
    print(f"mesh to truth: median {1000.0 * float(np.median(result.to_reference)):.2f} mm, mean", end=" ")
    print(f"{1000.0 * result.accuracy_m:.2f} mm; truth to mesh: mean {1000.0 * result.completeness_m:.2f} mm")
    if args.json is not None:
        rows = {
            name: {"fscore": one.fscore, "precision": one.precision, "recall": one.recall}
            for name, one in zip(names, result.scores, strict=True)
        }
        content = {"size_m": size, "cameras": len(found), "centres_rms_m": centres, "triangles": len(mesh.triangles)}
        args.json.write_text(json.dumps(content | {"scores": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

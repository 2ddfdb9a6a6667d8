"""Refined XFeat keypoints beside COLMAP's SIFT: what COLMAP's incremental mapper makes of either, in one process.

    python tests/benchmarks/refinement_vs_sift.py [FOLDER] [--keypoints 2048] [--side 1600]

FOLDER is one of Strecha's sets (default: views/fountain-P11 of the real data), whose cameras are known and held.
SIFT is extracted, matched exhaustively, verified and mapped by pycolmap. XFeat is extracted at the same size, matched
by mutual nearest neighbours, verified by cv3d, and mapped from cv3d's store before and after refinement; last, the
observations of that model are refined along its tracks, and it is adjusted once more. Reprojection errors are in pixels
of the pictures as they are, those of the adjusted model over the observations that it keeps. Seconds are the process's
CPU seconds, of all threads together, which other work on the machine changes little.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import torch
from numpy.typing import NDArray

import cv3d
from cv3d.compute import Compute
from cv3d.evaluation.matches.pose_error import relative_pose_error
from cv3d.evaluation.matches.recall_curve import area_under_recall
from cv3d.features.extractors.xfeat import XFeat, XFeatOptions
from cv3d.features.matchers.mutual import MutualNearest
from cv3d.features.refinement import SetRefinement, VerifiedPair, refine_set_keypoints, refine_tracks
from cv3d.features.store import FeatureStore, PairMatches, PictureFeatures
from cv3d.formats.posed_pictures import PosedPicture
from cv3d.formats.strecha import read_set
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import TwoView, estimate_two_view
from cv3d.media.decode import decode_gray

Floats = NDArray[np.float64]
Pair = tuple[int, int]
ROOT = Path(os.environ.get("CV3D_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
CORNER = 0.5
"""COLMAP's pixels start at the corner of the first one."""
FAR_OFF = 4.0
"""Observations of refined tracks beyond this error are outliers, pixels."""


@dataclass(frozen=True)
class Scene:
    """The pictures with what is known about them."""

    names: list[str]
    pictures: list[NDArray[np.uint8]]
    camera: Camera
    truth: list[Floats]


def read_scene(folder: Path) -> Scene:
    posed: list[PosedPicture] = read_set(folder)
    pictures = [decode_gray(one.file.read_bytes(), one.name).array for one in posed]
    return Scene([one.name for one in posed], pictures, posed[0].camera, [one.cam_from_world for one in posed])


def held() -> pycolmap.IncrementalPipelineOptions:
    options = pycolmap.IncrementalPipelineOptions()
    options.ba_refine_focal_length = options.ba_refine_principal_point = options.ba_refine_extra_params = False
    return options


def map_database(database: Path, pictures: Path) -> pycolmap.Reconstruction:
    with tempfile.TemporaryDirectory() as output:
        maps = pycolmap.incremental_mapping(str(database), str(pictures), output, held())
    return max(maps.values(), key=lambda one: one.num_reg_images())


def map_sift(folder: Path, scene: Scene, side: int) -> tuple[pycolmap.Reconstruction, dict[str, float]]:
    fx, fy, cx, cy = scene.camera.params
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model, reader.camera_params = "PINHOLE", f"{fx},{fy},{cx + CORNER},{cy + CORNER}"
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.max_image_size, extraction.use_gpu = side, False
    matching = pycolmap.FeatureMatchingOptions()
    matching.use_gpu = False
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as work:
        database = Path(work) / "database.db"
        start = time.process_time()
        pycolmap.extract_features(
            str(database),
            str(folder / "images"),
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=reader,
            extraction_options=extraction,
        )
        seconds["extract"] = time.process_time() - start
        start = time.process_time()
        pycolmap.match_exhaustive(str(database), matching_options=matching)
        seconds["match"] = time.process_time() - start
        start = time.process_time()
        model = map_database(database, folder / "images")
        seconds["map"] = time.process_time() - start
    return model, seconds


def map_store(
    scene: Scene, keypoints: list[Floats], pairs: Mapping[Pair, tuple[NDArray[np.int64], TwoView]]
) -> pycolmap.Reconstruction:
    with tempfile.TemporaryDirectory() as work:
        database = Path(work) / "database.db"
        with FeatureStore.open(database) as store:
            camera = store.add_camera("camera", (scene.camera.width, scene.camera.height), scene.camera)
            for name, points in zip(scene.names, keypoints, strict=True):
                features = PictureFeatures(points.astype(np.float32), np.zeros((len(points), 1), dtype=np.float16))
                store.put_features(store.add_picture(name, name, camera), features, "xfeat")
            for (first, second), (matches, geometry) in pairs.items():
                store.put_matches((first + 1, second + 1), PairMatches(matches), "mutual")
                store.put_two_view((first + 1, second + 1), geometry, "two_view")
        return map_database(database, Path(work))


def find_matches(
    scene: Scene, count: int, side: int, compute: Compute
) -> tuple[list[Floats], dict[Pair, NDArray[np.int64]], dict[str, float]]:
    extractor, matcher = XFeat(compute, XFeatOptions(count)), MutualNearest()
    start = time.process_time()
    found, keypoints = [], []
    for picture in scene.pictures:
        factor = min(1.0, side / max(picture.shape))
        size = round(picture.shape[1] * factor), round(picture.shape[0] * factor)
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        found.append(extractor.extract(torch.from_numpy(small)[None, None].to(compute.device)))
        points = found[-1].keypoints[0][found[-1].mask[0]].cpu().numpy().astype(np.float64)
        keypoints.append((points + 0.5) * (np.array(picture.shape[::-1]) / size) - 0.5)
    seconds = {"extract": time.process_time() - start}
    start = time.process_time()
    matches = {
        (i, j): matcher.match(found[i], found[j]).of_pair(0).cpu().numpy()
        for i, j in itertools.combinations(range(len(found)), 2)
    }
    seconds["match"] = time.process_time() - start
    return keypoints, matches, seconds


def verify(
    scene: Scene, keypoints: list[Floats], matches: Mapping[Pair, NDArray[np.int64]]
) -> dict[Pair, tuple[NDArray[np.int64], TwoView]]:
    pairs = {}
    for (i, j), rows in matches.items():
        points = keypoints[i][rows[:, 0]], keypoints[j][rows[:, 1]]
        geometry = estimate_two_view(*points, scene.camera, scene.camera)
        if geometry.verified:
            pairs[i, j] = rows, geometry
    return pairs


def refine_model(model: pycolmap.Reconstruction, scene: Scene, compute: Compute) -> pycolmap.Reconstruction:
    """The model with its observations refined along its tracks, those that do not align left out, adjusted again."""
    poses = model_poses(model, scene)
    ids = {image.name: image.image_id for image in model.images.values()}
    numbers = {ids[name]: index for index, name in enumerate(scene.names) if name in ids}
    kept = [point_id for point_id, point in model.points3D.items()]
    views, tracks, pixels, origin = [], [], [], []
    for row, point_id in enumerate(kept):
        for element in model.points3D[point_id].track.elements:
            views.append(numbers[element.image_id])
            tracks.append(row)
            pixels.append(model.images[element.image_id].points2D[element.point2D_idx].xy - CORNER)
            origin.append((element.image_id, element.point2D_idx))
    points = np.array([model.points3D[point_id].xyz for point_id in kept])
    stack = np.array([np.eye(4) if pose is None else pose for pose in poses])
    cameras = [scene.camera] * len(poses)
    refined = refine_tracks(
        lambda index: scene.pictures[index],
        cameras,
        stack,
        points,
        np.array(views),
        np.array(tracks),
        np.array(pixels),
        compute,
    )
    for (image_id, place), pixel, good in zip(origin, refined.pixels, refined.mask, strict=True):
        if good:
            model.images[image_id].points2D[place].xy = pixel + CORNER
        elif model.images[image_id].points2D[place].has_point3D():  # else it went with the last but one of its track
            model.delete_observation(image_id, place)
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_focal_length = options.refine_extra_params = options.print_summary = False
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = 0.5
    for _ in range(2):
        pycolmap.bundle_adjustment(model, options)
        for image_id, image in list(model.images.items()):
            for place, point in enumerate(image.points2D):
                if point.has_point3D() and error_of(model, image_id, place) > FAR_OFF:
                    model.delete_observation(image_id, place)
    return model


def error_of(model: pycolmap.Reconstruction, image_id: int, place: int) -> float:
    image = model.images[image_id]
    point = image.points2D[place]
    projected = image.project_point(model.points3D[point.point3D_id].xyz)
    return float("inf") if projected is None else float(np.linalg.norm(projected - point.xy))


def model_poses(model: pycolmap.Reconstruction, scene: Scene) -> list[Floats | None]:
    poses: list[Floats | None] = [None] * len(scene.names)
    for image in model.images.values():
        if image.has_pose:
            poses[scene.names.index(image.name)] = np.vstack([image.cam_from_world().matrix(), (0.0, 0.0, 0.0, 1.0)])
    return poses


def centre_error(poses: list[Floats | None], truth: list[Floats]) -> float:
    """Root mean square distance of camera centres after a similarity, in per cent of the cameras' extent."""
    known = [i for i, pose in enumerate(poses) if pose is not None]
    ours, true = (np.array([-p[i][:3, :3].T @ p[i][:3, 3] for i in known]) for p in (poses, truth))
    a, b = ours - ours.mean(axis=0), true - true.mean(axis=0)
    left, values, right = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.linalg.det(left @ right)])
    scale = (values * signs).sum() / (a**2).sum()
    off = b - scale * a @ (left * signs @ right).T
    return float(100.0 * np.sqrt((off**2).sum(axis=1).mean()) / np.linalg.norm(np.ptp(true, axis=0)))


def report(label: str, model: pycolmap.Reconstruction, scene: Scene, seconds: Mapping[str, float]) -> None:
    poses = model_poses(model, scene)
    errors = []
    for i, j in itertools.combinations(range(len(poses)), 2):
        first, second = poses[i], poses[j]
        if first is None or second is None:
            errors.append(180.0)
            continue
        true = scene.truth[j] @ np.linalg.inv(scene.truth[i])
        found = relative_pose_error(second @ np.linalg.inv(first), true)
        errors.append(found.max_deg)
    off = np.array(
        [
            error_of(model, image_id, place)
            for image_id, image in model.images.items()
            for place, point in enumerate(image.points2D)
            if point.has_point3D()
        ]
    )
    auc = [100.0 * area_under_recall(errors, limit) for limit in (0.25, 1.0)]
    times = ", ".join(f"{stage} {value:.1f}" for stage, value in seconds.items())
    print(
        f"{label:26} {model.num_reg_images():3} {model.num_points3D():6} {len(off):7} "
        f"{len(off) / max(model.num_points3D(), 1):6.2f} {off.mean():7.3f} {np.sqrt((off**2).mean()):7.3f} "
        f"{auc[0]:7.1f} {auc[1]:6.1f} {centre_error(poses, scene.truth):8.4f}   {times}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "views" / "fountain-P11")
    parser.add_argument("--keypoints", type=int, default=2048)
    parser.add_argument("--side", type=int, default=1600)
    parser.add_argument("--no-sift", action="store_true", help="leave the peer out")
    arguments = parser.parse_args()
    pycolmap.logging.minloglevel = 2
    compute = Compute.choose("cpu")
    scene = read_scene(arguments.folder)
    machine = platform.processor() or platform.machine()
    print(
        f"{machine}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads, torch {torch.__version__}, "
        f"pycolmap {pycolmap.__version__}, cv3d {cv3d.__version__}\n{arguments.folder.name}: "
        f"{len(scene.names)} pictures, {arguments.side} px for both extractors"
    )
    print(
        f"{'':26} {'reg':>3} {'points':>6} {'observ.':>7} {'length':>6} {'mean px':>7} {'rms px':>7} "
        f"{'AUC@¼°':>7} {'AUC@1°':>6} {'centre %':>8}   CPU seconds"
    )
    if not arguments.no_sift:
        model, seconds = map_sift(arguments.folder, scene, arguments.side)
        report("SIFT, pycolmap", model, scene, seconds)

    keypoints, matches, seconds = find_matches(scene, arguments.keypoints, arguments.side, compute)
    start = time.process_time()
    pairs = verify(scene, keypoints, matches)
    seconds["verify"] = time.process_time() - start
    start = time.process_time()
    model = map_store(scene, keypoints, pairs)
    report("XFeat", model, scene, {**seconds, "map": time.process_time() - start})

    start = time.process_time()
    inliers = [VerifiedPair(i, j, rows[geometry.inliers], geometry) for (i, j), (rows, geometry) in pairs.items()]
    refined: SetRefinement = refine_set_keypoints(
        lambda index: scene.pictures[index], keypoints, inliers, compute, [scene.camera] * len(keypoints)
    )
    seconds["refine"] = time.process_time() - start
    aligned = int((refined.links.tracks >= 0).sum()) - refined.links.track_count
    start = time.process_time()
    agreeing = {
        (one.first, one.second): one.matches[refined.agrees(one.first, one.second, one.matches)] for one in inliers
    }
    pairs = verify(scene, list(refined.keypoints), agreeing)
    seconds["verify again"] = time.process_time() - start
    start = time.process_time()
    model = map_store(scene, list(refined.keypoints), pairs)
    seconds["map"] = time.process_time() - start
    report("XFeat, refined", model, scene, seconds)
    per_thousand = 1e6 * seconds["refine"] / max(aligned, 1)
    print(f"{aligned} observations aligned, {per_thousand:.0f} CPU ms per 1,000, pyramids of the pictures included")
    start = time.process_time()
    model = refine_model(model, scene, compute)
    report("XFeat, tracks refined too", model, scene, {"tracks and adjustment": time.process_time() - start})


if __name__ == "__main__":
    main()

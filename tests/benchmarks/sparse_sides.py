"""Both sides of reconstruct_vs_colmap.py: cv3d's reconstruction and COLMAP's mappers, and what they made, in one form.

COLMAP works as it comes, but for what makes the sides equal: pictures are shrunk to cv3d's size before extraction, all
of them have one camera, no GPU is used, and where the camera is known, no mapper may change it.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pycolmap
from numpy.typing import NDArray

import cv3d
from cv3d.compute import Compute
from cv3d.errors import Cv3dError
from cv3d.features.matching import MatchOptions
from cv3d.formats.colmap_models import to_colmap
from cv3d.geometry.cameras.camera import Camera
from cv3d.mapping.options import MapOptions
from cv3d.mapping.scene import SceneModel

Floats = NDArray[np.float64]

CV3D, COLMAP, FREED, GLOBAL = "cv3d", "colmap", "colmap-pp", "colmap-global"
SIDES = (CV3D, COLMAP, FREED, GLOBAL)
STAGES = ("frames", "features", "matches", "poses", "total")
CORNER = 0.5
"""COLMAP's pixels start at the corner of the first one."""
_NOTE = "took.json"


@dataclass(frozen=True, eq=False)
class Model:
    """Pictures in one frame of coordinates."""

    poses: dict[str, Floats]
    """cam_from_world, (4, 4), of each picture."""
    cameras: dict[str, Camera]
    points: Floats
    colors: NDArray[np.uint8]
    observations: int
    mean_px: float
    """Mean length of the reprojection error over all observations."""

    @property
    def focal(self) -> float:
        """Median over the pictures, pixels."""
        return float(np.median([camera.params[:2] for camera in self.cameras.values()]))


@dataclass(frozen=True, eq=False)
class Found:
    """What a run made, and what it took."""

    models: list[Model]
    """The largest first."""
    wall: dict[str, float]
    """Seconds of each stage and of all."""
    cpu: float
    note: str = ""


@dataclass(frozen=True)
class Job:
    """One set in one setting."""

    source: Path
    """What cv3d is given: a folder or a clip."""
    pictures: Path
    """What COLMAP is given: a folder."""
    camera: Camera | None
    """Of all pictures, where both sides are told it."""
    threads: int


def key_of(name: str) -> str:
    """What a picture is called on either side: the name without its folder and its ending, or a frame's number."""
    return Path(name.rpartition("#")[2]).stem


def run_cv3d(job: Job) -> Found:
    """One reconstruction from the beginning."""
    cpu, wall = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory() as output:
        try:
            scene = cv3d.reconstruct(
                job.source, output, options=MapOptions(), camera=job.camera, compute=Compute.choose("cpu")
            )
        except Cv3dError as error:
            return Found([], {"total": time.perf_counter() - wall}, time.process_time() - cpu, f"failed: {error}")
    cpu = time.process_time() - cpu
    reasons = [f"{one.name}: {one.reason}" for one in scene.left_out]
    note = "; ".join([f"mapper {scene.mapper}", *reasons, *scene.warnings])
    return Found([_of_scene(model) for model in scene.models], dict(scene.seconds), cpu, note)


def _of_scene(model: SceneModel) -> Model:
    return Model(
        {key_of(image.picture.name): image.cam_from_world for image in model.images},
        {key_of(image.picture.name): model.cameras[image.camera].camera for image in model.images},
        model.points,
        model.colors,
        model.observation_count,
        model.mean_reprojection_px,
    )


@dataclass
class ColmapRun:
    """One repeat of COLMAP on a job. What it found stays in its folder, and is taken from there if nothing changed."""

    job: Job
    folder: Path
    _took: dict[str, list[float]] = field(default_factory=dict)
    """Wall and CPU seconds of what has been done."""
    _kept: frozenset[str] = frozenset()
    """What of it an earlier run did."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / _NOTE
        kept = json.loads(note.read_text()) if note.exists() else {}
        if kept.get("of") == self._key():
            self._took, self._kept = kept["took"], frozenset(kept["took"])
        else:
            shutil.rmtree(self.folder)
            self.folder.mkdir()

    def found(self, side: str) -> Found:
        """What a mapper makes of the matches.

        The seconds of what the mappers have in common count for each.
        """
        database = self.folder / "database.db"
        self._once("features", lambda: self._extract(database))
        self._once("matches", lambda: self._match(database))
        if side == GLOBAL:
            done = ["features", "matches", GLOBAL]
            self._once(GLOBAL, lambda: self._map_globally(database))
        else:
            done = ["features", "matches", COLMAP]
            self._once(COLMAP, lambda: self._map(database))
            if side == FREED:
                done.append(FREED)
                self._once(FREED, self._free)
        wall = {"features": self._took["features"][0], "matches": self._took["matches"][0]}
        wall["poses"] = sum(self._took[part][0] for part in done[2:])
        wall["total"] = sum(wall.values())
        parts = sorted(path for path in (self.folder / side).glob("*") if (path / "images.bin").exists())
        models = [_of_colmap(pycolmap.Reconstruction(part)) for part in parts]
        models.sort(key=lambda one: -len(one.poses))
        kept = [part for part in done if part in self._kept]
        note = f"from an earlier run: {', '.join(kept)}" if kept else ""
        return Found(models, wall, sum(self._took[part][1] for part in done), note)

    def _key(self) -> list[object]:
        camera = self.job.camera
        files = [(file.name, file.stat().st_size) for file in sorted(self.job.pictures.iterdir())]
        whole = [pycolmap.__version__, self.job.threads, files, None if camera is None else to_colmap(camera)]
        return list(json.loads(json.dumps(whole)))

    def _once(self, what: str, do: Callable[[], None]) -> None:
        if what in self._took:
            return
        shutil.rmtree(self.folder / what, ignore_errors=True)
        wall, cpu = time.perf_counter(), time.process_time()
        do()
        self._took[what] = [time.perf_counter() - wall, time.process_time() - cpu]
        (self.folder / _NOTE).write_text(json.dumps({"of": self._key(), "took": self._took}))

    def _extract(self, database: Path) -> None:
        database.unlink(missing_ok=True)
        reader, options = pycolmap.ImageReaderOptions(), pycolmap.FeatureExtractionOptions()
        if self.job.camera is not None:
            reader.camera_model, params = to_colmap(self.job.camera)
            reader.camera_params = ",".join(map(repr, params))
        options.use_gpu, options.num_threads = False, self.job.threads
        options.max_image_size = MatchOptions().max_side or -1
        pycolmap.extract_features(
            database,
            self.job.pictures,
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=reader,
            extraction_options=options,
        )

    def _match(self, database: Path) -> None:
        options = pycolmap.FeatureMatchingOptions()
        options.use_gpu, options.num_threads = False, self.job.threads
        pycolmap.match_exhaustive(database, matching_options=options)

    def _map(self, database: Path) -> None:
        options = pycolmap.IncrementalPipelineOptions()
        options.num_threads, options.random_seed = self.job.threads, 0
        if self.job.camera is not None:
            options.ba_refine_focal_length = options.ba_refine_extra_params = False
            options.mapper.abs_pose_refine_focal_length = options.mapper.abs_pose_refine_extra_params = False
        output = self._made(COLMAP)
        pycolmap.incremental_mapping(database, self.job.pictures, output, options)

    def _map_globally(self, database: Path) -> None:
        copy = self.folder / "global.db"  # calibrating changes it
        copy.unlink(missing_ok=True)
        with closing(sqlite3.connect(database)) as one, closing(sqlite3.connect(copy)) as other:
            one.backup(other)
        options = pycolmap.GlobalPipelineOptions()
        options.num_threads, options.random_seed = self.job.threads, 0
        mapper = options.mapper
        mapper.global_positioning.use_gpu = mapper.bundle_adjustment.ceres.use_gpu = False
        if self.job.camera is None:
            pycolmap.calibrate_view_graph(copy)
        else:
            mapper.bundle_adjustment.refine_focal_length = mapper.bundle_adjustment.refine_extra_params = False
        pycolmap.global_mapping(copy, self.job.pictures, self._made(GLOBAL), options)

    def _free(self) -> None:
        """One more adjustment of what the incremental mapper found, with the principal point free."""
        options = pycolmap.BundleAdjustmentOptions()
        options.refine_principal_point, options.print_summary = True, False
        for part in sorted((self.folder / COLMAP).iterdir()):
            model = pycolmap.Reconstruction(part)
            pycolmap.bundle_adjustment(model, options)
            output = self._made(FREED) / part.name
            output.mkdir()
            model.write(output)

    def _made(self, side: str) -> Path:
        output = self.folder / side
        output.mkdir(exist_ok=True)
        return output


def _of_colmap(model: pycolmap.Reconstruction) -> Model:
    model.update_point_3d_errors()
    points = list(model.points3D.values())
    images = [image for image in model.images.values() if image.has_pose]
    lengths = np.array([point.track.length() for point in points], dtype=np.float64)
    errors = np.array([point.error for point in points])
    return Model(
        {key_of(one.name): np.vstack([one.cam_from_world().matrix(), (0.0, 0.0, 0.0, 1.0)]) for one in images},
        {key_of(one.name): _straight(model.cameras[one.camera_id]) for one in images},
        np.array([point.xyz for point in points]).reshape(-1, 3),
        np.array([point.color for point in points], dtype=np.uint8).reshape(-1, 3),
        int(lengths.sum()),
        float((errors * lengths).sum() / lengths.sum()) if points else float("nan"),
    )


def _straight(camera: pycolmap.Camera) -> Camera:
    """A camera without its distortion."""
    matrix: Floats = camera.calibration_matrix()
    affine: Sequence[float] = (matrix[0, 0], matrix[1, 1], matrix[0, 2] - CORNER, matrix[1, 2] - CORNER)
    return Camera("pinhole", camera.width, camera.height, tuple(map(float, affine)))

"""Every path that runs on a device: one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.depth.checking import Tolerance, borne_out
from cv3d.depth.problem import Problem, make_problem
from cv3d.depth.propagating import Course, enlarged, improved, planes_by_chance
from cv3d.depth.sharpening import sharpened
from cv3d.depth.stereo.engines import matching_for
from cv3d.depth.stereo.options import StereoOptions
from cv3d.device_checks.depth_kernels import wall
from cv3d.features.extractors.base import ExtractorOptions, Features
from cv3d.features.extractors.registry import EXTRACTORS, create_extractor
from cv3d.features.extractors.xfeat import XFeatOptions
from cv3d.features.matchers.lightglue import WEIGHTS, LightGlue
from cv3d.features.matchers.mutual import MutualNearest
from cv3d.features.matchers.ratio import RatioTest
from cv3d.features.matchers.refined import MutualRefined
from cv3d.features.matching.guided import guided_matches
from cv3d.features.pairs.retrieval import nearest
from cv3d.features.pairs.vlad import VocabularyOptions, encode_pictures, learn_vocabulary
from cv3d.features.refinement import RefinementOptions
from cv3d.features.refinement.views import view_of
from cv3d.features.tracks.builder import TrackBuilder
from cv3d.features.tracks.frame_tracks import GrayFrame
from cv3d.features.tracks.options import TrackOptions
from cv3d.fusion import DepthFrame, VoxelGrid
from cv3d.geometry.cameras import Camera
from cv3d.odometry.aligners import aligner_for
from cv3d.odometry.patches import build_levels
from cv3d.odometry.places import Describer

METAL = Compute(torch.device("cpu"), torch.float32)
"""What Metal's policy decides, on the CPU: float32. Kernels are the reference's within `reference_kernels`."""

Work = Callable[[], object]


@dataclass(frozen=True)
class Path:
    """Something that runs on a device."""

    name: str
    frames: int
    """How many frames, pictures, pairs or whatever is counted the work is for."""
    counted: str
    """What is counted."""
    waits: int
    """How often the host may wait for the device, in each."""
    start: Callable[[], Work]
    """Gets ready, which is not looked at, and gives the work that is."""
    weights: tuple[str, ...] = ()


def pictures(count: int, height: int, width: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    values = torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(1))
    return (values * 255).to(torch.uint8) if dtype == torch.uint8 else values


def random_features(count: int, size: int, seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    descriptors = torch.nn.functional.normalize(torch.randn((2, count, size), generator=generator), dim=-1)
    mask = torch.arange(count) < torch.tensor([[count], [count // 2]])
    keypoints = torch.rand((2, count, 2), generator=generator) * 100.0
    return Features(keypoints, descriptors, mask.float(), mask, torch.full((2, 2), 100.0), mask.float())


def moving_picture(shift: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(1).normal(0.0, 1.0, (161, 240))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    grey = 128.0 + 40.0 * smooth / smooth.std()
    return np.ascontiguousarray(grey[:, shift : shift + 201].clip(0, 255).astype(np.uint8))


def _extraction(name: str) -> Path:
    def start() -> Work:
        extractor = create_extractor(name, METAL, ExtractorOptions(64))
        images = pictures(2, 70, 100), pictures(2, 70, 100, torch.uint8)
        return lambda: [extractor.extract(some) for some in images]

    return Path(f"extraction, {name}", 4, "picture", 0, start, EXTRACTORS[name].weights)


def _tiles(name: str) -> Path:
    def start() -> Work:
        from cv3d.features.extractors.xfeat import XFeat
        from cv3d.features.extractors.xfeat_dense import XFeatDense

        kind = XFeat if name == "xfeat" else XFeatDense
        extractor = kind(METAL, XFeatOptions(64, tile=1024))
        return lambda: extractor.extract(torch.zeros((1, 1, 40, 1100), dtype=torch.uint8))

    return Path(f"extraction in tiles, {name}", 1, "picture", 0, start, EXTRACTORS[name].weights)


def _matching(name: str, build: Callable[[], object], size: int, weights: tuple[str, ...] = ()) -> Path:
    def start() -> Work:
        matcher = build()
        first, second = random_features(300, size, 1), random_features(140, size, 2)
        return lambda: matcher.match(first, second)  # type: ignore[attr-defined]

    return Path(f"matching, {name}", 2, "pair", 0, start, weights)


def _lightglue(kind: str) -> Path:
    size = 64 if kind == "xfeat" else 128
    return _matching(f"LightGlue for {kind}", lambda: LightGlue(kind, METAL), size, (WEIGHTS[kind],))


def _guided() -> Work:
    rng = np.random.default_rng(1)
    first, second = (rng.normal(size=(n, 64)).astype(np.float32) for n in (300, 270))
    second[:200] = first[:200]
    pixels = rng.uniform(0.0, 400.0, (300, 2))
    moved = np.concatenate([pixels[:200] + np.array([7.0, 0.0]), rng.uniform(0.0, 400.0, (70, 2))])
    sideways = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    first, second = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second))

    def work() -> None:
        assert len(guided_matches(first, pixels, second, moved, sideways, 2.0, compute=METAL)) > 150

    return work


class _Described:
    def __len__(self) -> int:
        return 12

    def descriptors(self, picture: int) -> NDArray[np.generic]:
        return np.random.default_rng(picture).normal(size=(40 + picture, 64)).astype(np.float32)


def _vocabulary() -> Work:
    return lambda: learn_vocabulary(_Described(), METAL, VocabularyOptions(words=8, iterations=3))


def _encoding() -> Work:
    words = learn_vocabulary(_Described(), METAL, VocabularyOptions(words=8, iterations=3))
    return lambda: encode_pictures(_Described(), range(12), words, METAL, 32)


def _retrieval() -> Work:
    vectors = np.random.default_rng(1).normal(size=(40, 65)).astype(np.float32)
    return lambda: nearest(vectors, 5, METAL)


def _refinement(affine_iterations: int, dtype: type) -> Path:
    def start() -> Work:
        rng = np.random.default_rng(1)
        first, second = ((rng.random((80, 100)) * (255 if dtype is np.uint8 else 1)).astype(dtype) for _ in range(2))
        places = rng.random((50, 2)) * 80.0
        warps = np.eye(2) + 0.3 * rng.normal(size=(50, 2, 2))
        warps[3] = np.nan
        options = RefinementOptions(iterations=2, affine_iterations=affine_iterations, chunk=20)

        def work() -> None:
            views = [view_of(picture, METAL) for picture in (first, second)]
            views[1].align(views[0].read(places, warps, options), places + 0.5, warps, options)

        return work

    # The parts of the result are fetched one by one; the first waits for the device, the others for copies.
    return Path(f"refinement, {affine_iterations} affine steps", 1, "pair", 6, start)


def _tracking() -> Work:
    # The first frame is a key frame; a jump makes points get lost and a later one a key frame, too.
    builder = TrackBuilder(METAL, TrackOptions(max_tracks=40, max_lost=40, max_keypoints=128))
    frames = [GrayFrame(i / 30.0, moving_picture(2 * i if i < 3 else 34)) for i in range(5)]

    def work() -> None:
        keys = [builder.add(frame).statistics.is_key for frame in frames]
        assert any(keys)
        assert not all(keys)

    return work


def _key_frames() -> Work:
    aligner = aligner_for(METAL)
    rng = np.random.default_rng(0)
    pixels = [rng.uniform(40.0, [150.0, 120.0], (30 + 25 * i, 2)).astype(np.float32) for i in range(3)]
    levels = [build_levels(moving_picture(i)) for i in range(3)]

    def work() -> None:
        for some, pyramid in zip(pixels, levels, strict=True):
            aligner.reserve(len(some))
            aligner.take(pyramid, some, np.arange(len(some)))

    return work


def _alignment() -> Work:
    aligner = aligner_for(METAL)
    pixels = np.random.default_rng(0).uniform(40.0, [150.0, 120.0], (70, 2)).astype(np.float32)
    rows, warps = np.arange(70), np.tile(np.eye(2, dtype=np.float32), (70, 1, 1))
    aligner.reserve(70)
    aligner.take(build_levels(moving_picture(0)), pixels, rows)
    frames = [build_levels(moving_picture(i + 1)) for i in range(4)]

    def work() -> None:
        for i, levels in enumerate(frames):
            found = aligner.align(levels, rows, warps, pixels, len(levels) - 1)
            assert np.median(np.abs(found[:, :2] - pixels + [i + 1, 0])) < 0.05

    return work


def _places() -> Work:
    describer = Describer(METAL, 64, 100)
    rng = np.random.default_rng(0)
    seen = [rng.integers(0, 256, (96, 130), dtype=np.uint8) for _ in range(3)]
    return lambda: [
        describer.describe(one, rng.uniform(0, 90, (n, 2))) for one, n in zip(seen, (0, 5, 300), strict=True)
    ]


def _stereo() -> Work:
    left, right = (np.ascontiguousarray(moving_picture(shift)[:60, :90]) for shift in (0, 7))
    return lambda: matching_for(METAL)(left, right, 33, StereoOptions())


def _problem(geometric: float, sources: int = 3) -> Problem:
    levels = wall(1, 30, 44, sources + 1)
    known = [np.full(level.size, 0.5, np.float32) for level in levels[1:]]
    return make_problem(levels[0], levels[1:], (0.25, 1.0), known if geometric else None, geometric)


def _sweeps(geometric: float, sources: int) -> Callable[[], Work]:
    def start() -> Work:
        problem = _problem(geometric, sources)
        planes = planes_by_chance(problem, 0, METAL)
        return lambda: improved(problem, planes, Course(2, 4.0, is_wide=True), 0, METAL)

    return start


def _handing_on() -> Work:
    planes = planes_by_chance(_problem(0.0), 0, METAL)
    return lambda: enlarged(planes, 121, 163)


def _bearing_out() -> Work:
    problem, planes = _problem(0.2), torch.zeros((3, 30, 44))
    planes[0] = 0.5
    others = [torch.from_numpy(one) for one in problem.inverses]
    return lambda: borne_out(problem, planes, others, Tolerance(2, 1.0, 0.01), METAL)


def _sharpening() -> Work:
    planes = torch.zeros((3, 30, 44))
    planes[0] = 0.5
    planes[0, :, 20:] = 0.8
    color = np.random.default_rng(0).integers(0, 255, (30, 44, 3), dtype=np.uint8)
    costs = torch.full((30, 44), 0.2)
    return lambda: sharpened(planes, costs, color)


CAMERA = Camera("pinhole", 80, 60, (70.0, 70.0, 39.5, 29.5))


def depth_frames(count: int, has_color: bool = True) -> list[DepthFrame]:
    rng = np.random.default_rng(1)
    result = []
    for i in range(count):
        depth = (1.0 + 0.002 * rng.normal(size=(60, 80))).astype(np.float32)
        depth[:, 60:] = 1.6
        pose = np.eye(4)
        pose[0, 3] = 0.03 * i
        color = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8) if has_color else None
        result.append(DepthFrame(depth, color, CAMERA, pose))
    return result


def _grid(has_color: bool = True) -> VoxelGrid:
    grid = VoxelGrid(0.04, compute=METAL)
    grid.integrate_batch(depth_frames(3, has_color))
    return grid


def _integration() -> Work:
    grid, frames = _grid(), depth_frames(4)
    return lambda: grid.integrate_batch(frames)


def _taking_away() -> Work:
    grid, one = _grid(), depth_frames(1)[0]
    return lambda: grid.deintegrate(one.depth, one.color, one.camera, one.cam_from_world)


def _surface(has_color: bool) -> Callable[[], Work]:
    def start() -> Work:
        grid = _grid(has_color)

        def work() -> None:
            assert len(grid.extract_mesh().triangles) > 100

        return work

    return start


def _views() -> Work:
    grid = _grid()
    # The rays of a camera are computed once, on the host, in float64.
    grid.ray_cast(CAMERA, np.eye(4))

    def work() -> None:
        assert (grid.ray_cast(CAMERA, np.eye(4)).depth > 0).mean() > 0.5

    return work


PATHS: tuple[Path, ...] = (
    *(_extraction(name) for name in ("xfeat", "xfeat-dense", "aliked", "disk")),
    *(_tiles(name) for name in ("xfeat", "xfeat-dense")),
    _matching("mutual nearest", MutualNearest, 64),
    _matching("ratio test", RatioTest, 64),
    _matching("refined cells", lambda: MutualRefined(METAL), 64, ("xfeat",)),
    *(_lightglue(kind) for kind in WEIGHTS),
    # How many matches there are, and then they themselves.
    Path("matching along epipolar curves", 1, "pair", 2, _guided),
    Path("retrieval: vocabulary", 12, "picture", 0, _vocabulary),
    Path("retrieval: vectors", 12, "picture", 0, _encoding),
    # In blocks of a few hundred pictures: places, then similarities.
    Path("retrieval: neighbours", 1, "block of pictures", 2, _retrieval),
    _refinement(0, np.uint8),
    _refinement(2, np.float32),
    Path("tracking", 5, "frame", 1, _tracking, ("xfeat",)),
    Path("odometry: patches of a key frame", 3, "frame", 0, _key_frames),
    Path("odometry: alignment", 4, "frame", 1, _alignment),
    Path("odometry: describing a place", 3, "key frame", 1, _places, ("xfeat",)),
    Path("depth: matching of a stereo pair", 1, "pair", 1, _stereo),
    # The numbers of each sweep; and the two colours of the checkerboard, which are laid out on the host.
    Path("depth: sweeps of planes", 1, "picture", 6, _sweeps(0.0, 1)),
    Path("depth: sweeps, sources' depth known", 1, "picture", 6, _sweeps(0.2, 2)),
    Path("depth: planes handed on", 1, "picture", 0, _handing_on),
    # Which pixels are near an edge.
    Path("depth: edges drawn to the picture's", 1, "picture", 1, _sharpening),
    Path("depth: what other views bear out", 1, "picture", 2, _bearing_out),
    # The keys of a frame's blocks: how many there are, and they themselves; and how many pixels count in a batch.
    Path("voxel integration", 4, "frame", 3, _integration),
    Path("voxel integration, taking away", 1, "frame", 3, _taking_away),
    Path("extraction of the surface, coloured", 1, "surface", 10, _surface(True)),
    Path("extraction of the surface", 1, "surface", 10, _surface(False)),
    # Depth, normals and colours.
    Path("ray casting", 1, "view", 3, _views),
)
"""The paths. A path that is not here is not held to Metal."""

"""Pose and homography accuracy of matches beside the reference implementations with the same weights.

    OMP_NUM_THREADS=1 python tests/benchmarks/match_accuracy.py --sets scannet15 fountain graf

Every set is matched by cv3d and by the reference: kornia's XFeat, ALIKED and DISK with its mutual nearest neighbours
and LightGlue, OpenCV's SIFT with its brute-force matcher and Lowe's ratio. Both get the same pixels (constant border
left out, shrunk to `--max-side`). Printed are the areas under the recall curve, medians over the estimator's seeds:

- reference: its matches, PoseLib;
- matches: cv3d's matches, PoseLib;
- cv3d: cv3d's matches, cv3d's two-view geometry.

Where the pictures of graf are missing its homographies are applied to a picture of fountain-P11 ("graf-drawn"): the
same viewpoints, but not the same light and blur; figures of graf do not hold for it.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import kornia
import numpy as np
import poselib
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.evaluation.matches import (
    HomographyTruth,
    MatchEvaluationOptions,
    PairMatcher,
    PairMatches,
    PairView,
    TruePair,
    area_under_recall,
    corner_error,
    evaluate_matches,
    pairs_of_folder,
    pairs_of_list,
    relative_pose_error,
)
from cv3d.evaluation.matches.result import HOMOGRAPHY_THRESHOLDS, POSE_THRESHOLDS
from cv3d.features import weights
from cv3d.features.direct_matcher import DirectMatcher, DirectMatcherOptions, MatchedPair
from cv3d.features.extractors.base import ExtractorOptions
from cv3d.features.extractors.registry import create_extractor
from cv3d.features.matchers.lightglue import kornia_module
from cv3d.features.matchers.registry import create_matcher
from cv3d.features.preparing import prepare

DATA = Path(os.environ.get("CV3D_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
METHODS = {
    "xfeat+mutual": ("xfeat", "mutual"),
    "xfeat+lighterglue": ("xfeat", "lighterglue"),
    "aliked+lightglue": ("aliked", "lightglue-aliked"),
    "disk+lightglue": ("disk", "lightglue-disk"),
    "sift+ratio": ("sift", "ratio"),
}
PUBLISHED = """published, for other sets of the same kinds (AUC at 5/10/20 degrees; 1/3/5 px), their own estimators:
  ScanNet-1500: SuperPoint+LightGlue 21.9/39.8/55.7, ALIKED+LightGlue 19.6/36.5/52.8, DISK+LightGlue 12.1/23.1/35.0
  MegaDepth-1500: XFeat+mutual 42.6/56.4/67.7, XFeat+LighterGlue 56.4/71.0/81.9, ALIKED+LightGlue 66.4/79.0/87.5
  HPatches: SuperPoint+LightGlue 37.1/67.4/77.8
  (glue-factory's and XFeat's tables; Potje et al. 2024, Lindenberger et al. 2023)"""


class Peer:
    """A reference implementation on the same prepared pictures."""

    def __init__(
        self, extractor: str, matcher: str, options: argparse.Namespace, prepared: DirectMatcherOptions
    ) -> None:
        self._extract: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]] = getattr(self, f"_{extractor}")
        self._prepared, self._known = prepared, {}
        self._top, self._threshold = options.keypoints, options.threshold
        if extractor == "xfeat":
            self._network = kornia.feature.XFeat(top_k=self._top)
            self._network.net.load_state_dict(weights.load("xfeat"))
        elif extractor == "aliked":
            threshold = 0.2 if self._threshold is None else self._threshold
            self._network = kornia.feature.ALIKED(
                "aliked-n16", max_num_keypoints=self._top, detection_threshold=threshold
            )
            self._network.load_state_dict(weights.load("aliked-n16"), strict=False)
        elif extractor == "disk":
            state = {
                k.removeprefix("extractor."): v for k, v in weights.load("disk").items() if k.startswith("extractor.")
            }
            self._network = kornia.feature.DISK()
            self._network.load_state_dict(state)
        else:
            self._network = torch.nn.Identity()
            self._detector = cv2.SIFT.create(nfeatures=self._top)
        self._network.eval()
        learned = {
            "lighterglue": "xfeat-lighterglue",
            "lightglue-aliked": "aliked-lightglue",
            "lightglue-disk": "disk-lightglue",
        }
        self._glue = kornia_module(extractor, weights.load(learned[matcher])) if matcher in learned else None
        self._is_ratio = matcher == "ratio"

    def __call__(self, first: PairView, second: PairView) -> MatchedPair:
        one, other = (self._features(view) for view in (first, second))
        start = time.perf_counter()
        with torch.inference_mode():
            pairs = self._match(one, other)
        return MatchedPair(
            one[3][pairs[:, 0]],
            other[3][pairs[:, 1]],
            np.ones(len(pairs)),
            (len(one[0]), len(other[0])),
            (one[4], other[4]),
            (),
            time.perf_counter() - start,
        )

    def _features(self, view: PairView) -> Any:
        if view.key not in self._known:
            pixels = view.read()
            prepared = prepare(pixels, self._prepared.max_side, trims_border=self._prepared.trims_border)
            image = torch.tensor(prepared.pixels).permute(2, 0, 1)[None]
            with torch.inference_mode():
                points, descriptors = self._extract(image)
            size = torch.tensor([[image.shape[3], image.shape[2]]])
            as_read = prepared.as_read(points.double().numpy())
            self._known[view.key] = points, descriptors, size, as_read, pixels.shape[1::-1]
        return self._known[view.key]

    def _xfeat(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self._network.detectAndCompute(image / 255.0)[0]
        return found["keypoints"], found["descriptors"]

    def _aliked(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self._network(image / 255.0)[0]
        return found.keypoints, found.descriptors

    def _disk(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self._network(image / 255.0, n=self._top, pad_if_not_divisible=True)[0]
        return found.keypoints, found.descriptors

    def _sift(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        grey = cv2.cvtColor(image[0].permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2GRAY)
        found, descriptors = self._detector.detectAndCompute(grey, None)
        return torch.tensor([one.pt for one in found]).reshape(-1, 2), torch.from_numpy(descriptors)

    def _match(self, one: Any, other: Any) -> NDArray[np.intp]:
        if self._glue is not None:
            data = {
                f"image{index}": {"keypoints": points[None], "descriptors": descriptors[None], "image_size": size}
                for index, (points, descriptors, size, *_) in enumerate((one, other))
            }
            matched: NDArray[np.intp] = self._glue(data)["matches"][0].numpy()
            return matched
        if not self._is_ratio:
            indices = self._network._match_mnn(one[1], other[1], min_cossim=-1)
            return torch.stack(indices, 1).numpy()
        ways = []
        for query, train in ((one, other), (other, one)):
            near = cv2.BFMatcher(cv2.NORM_L2).knnMatch(query[1].numpy(), train[1].numpy(), k=2)
            ways.append([(a.queryIdx, a.trainIdx, a.distance < 0.8 * b.distance) for a, b in near])
        back = {(j, i) for i, j, _ in ways[1]}
        return np.array([(i, j) for i, j, clear in ways[0] if clear and (i, j) in back], dtype=np.intp).reshape(-1, 2)


def remembered(match: PairMatcher, pairs: Sequence[TruePair]) -> PairMatcher:
    """What a matcher gives for the pairs, made once."""
    known = {(pair.first.key, pair.second.key): match(pair.first, pair.second) for pair in pairs}
    return lambda first, second: known[first.key, second.key]


def poselib_errors(pairs: Sequence[TruePair], match: PairMatcher, max_error: float, seed: int) -> list[float]:
    return [_poselib_error(pair, match(pair.first, pair.second), max_error, seed) for pair in pairs]


def _poselib_error(pair: TruePair, found: PairMatches, max_error: float, seed: int) -> float:
    points = [np.ascontiguousarray(points) for points in (found.points0, found.points1)]
    if isinstance(pair.truth, HomographyTruth):
        if len(points[0]) < 4:
            return np.inf
        matrix, _ = poselib.estimate_homography(*points, {"max_reproj_error": max_error, "seed": seed}, {})
        return corner_error(matrix, pair.truth.matrix, *found.sizes[0])
    if len(points[0]) < 5:
        return np.inf
    cameras = []
    for view, size in zip((pair.first, pair.second), found.sizes, strict=True):
        camera = view.camera_of(*size)
        assert camera is not None
        cameras.append({"model": "PINHOLE", "width": size[0], "height": size[1], "params": list(camera.params)})
    pose, _ = poselib.estimate_relative_pose(*points, *cameras, {"max_epipolar_error": max_error, "seed": seed}, {})
    if not np.any(pose.t):
        return np.inf
    estimated = np.eye(4)
    estimated[:3] = pose.Rt
    return relative_pose_error(estimated, pair.truth.between(pair.first, pair.second)).max_deg


def drawn_graf(folder: Path) -> Path:
    """A picture as graf's homographies show it, with their files."""
    source = cv2.imread(str(DATA / "views/fountain-P11/images/0005.jpg"))
    factor = 640 / source.shape[0]
    size = (800, 640)
    left = 0.5 * (source.shape[1] * factor - size[0])
    fine = 3
    # Pixel centres are whole-numbered: a resized picture's are off by half a pixel of each.
    whole = np.array([[factor, 0, 0.5 * factor - 0.5 - left], [0, factor, 0.5 * factor - 0.5], [0, 0, 1]])
    finer = np.array([[fine, 0, 0.5 * fine - 0.5], [0, fine, 0.5 * fine - 0.5], [0, 0, 1.0]])
    rng = np.random.default_rng(0)
    for number in range(1, 7):
        homography = np.loadtxt(DATA / f"pairs/graf/H1to{number}p") if number > 1 else np.eye(3)
        large = cv2.warpPerspective(
            source, finer @ homography @ whole, (fine * size[0], fine * size[1]), flags=cv2.INTER_CUBIC
        )
        picture = cv2.resize(large, size, interpolation=cv2.INTER_AREA).astype(np.float64)
        picture = 255.0 * (picture / 255.0) ** (1.0 + 0.08 * (number - 1)) + rng.normal(0.0, 2.0, picture.shape)
        cv2.imwrite(str(folder / f"img{number}.png"), picture.round().clip(0, 255).astype(np.uint8))
        if number > 1:
            np.savetxt(folder / f"H1to{number}p", homography)
    return folder


def read_set(name: str, folder: Path) -> tuple[str, tuple[TruePair, ...]]:
    if name == "scannet15":
        return name, pairs_of_list(DATA / "pairs/scannet15/scannet_sample_pairs_with_gt.txt")
    if name == "fountain":
        return name, pairs_of_folder(DATA / "views/fountain-P11")
    try:
        return name, pairs_of_folder(DATA / "pairs/graf")
    except InputError as error:
        print(f"({error})")
        return "graf-drawn", pairs_of_folder(drawn_graf(folder))


def areas(errors: Sequence[Sequence[float]], thresholds: Sequence[int]) -> str:
    """Medians over the seeds, percent."""
    return "/".join(
        f"{statistics.median(100.0 * area_under_recall(one, threshold) for one in errors):.1f}"
        for threshold in thresholds
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["scannet15", "fountain", "graf"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--keypoints", type=int, default=2048)
    parser.add_argument("--threshold", type=float, help="detection threshold; default: each extractor's own")
    parser.add_argument("--max-side", type=int, help="longest side; default: 640 for scannet15, 1024 for fountain")
    parser.add_argument("--max-error", type=float, default=2.0, help="of an inlier, pixels of the pictures as stored")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--every", type=int, default=1, help="take only each n-th pair")
    options = parser.parse_args()

    compute = Compute.choose("cpu")
    machine = platform.processor() or platform.machine()
    print(
        f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, kornia {kornia.__version__}, ",
        end="",
    )
    print(f"opencv {cv2.__version__}, poselib {poselib.__version__}")
    print(f"{options.keypoints} keypoints, inliers within {options.max_error:g} px, medians of {options.seeds} seeds")
    with tempfile.TemporaryDirectory() as folder:
        for wanted in options.sets:
            name, pairs = read_set(wanted, Path(folder))
            pairs = pairs[:: options.every]
            side = options.max_side or {"scannet15": 640, "fountain": 1024}.get(wanted)
            prepared = DirectMatcherOptions(side)
            thresholds = HOMOGRAPHY_THRESHOLDS if isinstance(pairs[0].truth, HomographyTruth) else POSE_THRESHOLDS
            unit = "px" if thresholds == HOMOGRAPHY_THRESHOLDS else "deg"
            print(f"\n{name}: {len(pairs)} pairs, longest side {side or 'as stored'}, AUC at {thresholds} {unit}")
            for method in options.methods:
                extractor, matcher = METHODS[method]
                of_extractor = ExtractorOptions(options.keypoints, options.threshold)
                mine = DirectMatcher(
                    create_extractor(extractor, compute, of_extractor),
                    create_matcher(matcher, compute),
                    compute,
                    prepared,
                )
                ours = remembered(mine, pairs)
                theirs = remembered(Peer(extractor, matcher, options, prepared), pairs)
                seeds = range(options.seeds)
                reference = [poselib_errors(pairs, theirs, options.max_error, seed) for seed in seeds]
                matched = [poselib_errors(pairs, ours, options.max_error, seed) for seed in seeds]
                whole = [
                    evaluate_matches(pairs, ours, MatchEvaluationOptions(options.max_error, seed=seed))
                    for seed in seeds
                ]
                errors = [[pair.error for pair in one.pairs] for one in whole]
                judged = evaluate_matches(pairs, theirs, MatchEvaluationOptions(options.max_error))
                print(
                    f"  {method:18} reference {areas(reference, thresholds):15} "
                    f"matches {areas(matched, thresholds):15} cv3d {areas(errors, thresholds):15}\n"
                    f"  {'':18} precision {judged.precision:.1f} / {whole[0].precision:.1f} %, "
                    f"matching score {judged.matching_score:.1f} / {whole[0].matching_score:.1f} % (reference / cv3d)",
                    flush=True,
                )
    print(f"\n{PUBLISHED}")


if __name__ == "__main__":
    main()

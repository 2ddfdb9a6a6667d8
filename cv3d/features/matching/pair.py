"""Two pictures: features, matches, geometry, refinement."""

from __future__ import annotations

import math
import time

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.features.extractors.base import Features
from cv3d.features.matching.cascade import Cascade, Verdict
from cv3d.features.matching.extraction import build_extractor, extract_picture, matched_scale
from cv3d.features.matching.images import Image, as_grey, image_name, read_image
from cv3d.features.matching.options import MatchOptions
from cv3d.features.matching.result import PairMatch
from cv3d.features.matching.verification import PairSetting, verify
from cv3d.features.refinement import Refinement, refine_matches
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.local_affinity import two_view_affinities
from cv3d.geometry.two_view import TwoView
from cv3d.media.sized_views import camera_at

Floats = NDArray[np.float64]

_PIXEL_GRID = 1.0 / math.sqrt(12.0)
"""Standard deviation of a coordinate rounded to a pixel."""
_LEAST_NOISE = 0.05
"""Smallest noise that a refined keypoint is given, pixels: no alignment is known to be better."""


def match(
    image0: Image,
    image1: Image,
    camera0: Camera | None = None,
    camera1: Camera | None = None,
    options: MatchOptions | None = None,
    *,
    compute: Compute | None = None,
) -> PairMatch:
    """Match two pictures, verify the matches geometrically and refine them to a fraction of a pixel.

    Args:
        image0: the first picture: a path, pixels (H, W) or (H, W, 3) RGB uint8, a tensor (C, H, W), or a reference.
        image1: the second.
        camera0: the first one's camera; where both are known the model is an essential matrix and there is a pose.
            It may be calibrated at another size of the same shape.
        camera1: the second one's.
        options: extractor, matcher, thresholds, seed.
        compute: where dense work runs; the best device of this machine by default.

    Returns:
        The matches and the geometry. Pictures with nothing in common give a result that is not verified, with the
        reason.

    Raises:
        InputError: there is no such picture, or its pixels have another shape or type.
        PictureError: a picture cannot be read, or is not of its camera's shape.
        DependencyError: the weights are not here.
    """
    options = options or MatchOptions()
    compute = compute or Compute.choose()
    names = image_name(image0, "first picture"), image_name(image1, "second picture")
    pixels = read_image(image0), read_image(image1)
    sizes = _size(pixels[0]), _size(pixels[1])
    cameras = _fitting(camera0, sizes[0], names[0]), _fitting(camera1, sizes[1], names[1])
    if None in cameras:
        cameras = (None, None)
    extractor, cascade = build_extractor(options, compute), Cascade(compute, options)
    start = time.perf_counter()
    features = [extract_picture(one, extractor, compute, options) for one in pixels]
    extracted = time.perf_counter()
    setting = PairSetting(0.5 * (matched_scale(sizes[0], options) + matched_scale(sizes[1], options)), *cameras)
    verdict = cascade.decide(features[0], features[1], setting)
    started = time.perf_counter()
    refinement, geometry = None, verdict.geometry
    if options.refine and geometry.verified:
        refinement, geometry = _refined(verdict, pixels, setting, compute, options)
    seconds = {
        "extract": extracted - start,
        "match": verdict.match_seconds,
        "verify": verdict.verify_seconds,
        "refine": time.perf_counter() - started,
    }
    count = len(verdict.found)
    points1, refined = verdict.found.points1.copy(), np.zeros(count, dtype=bool)
    covariance = np.full((count, 2, 2), np.nan)
    if refinement is not None:
        inliers = verdict.geometry.inliers
        points1[inliers], refined[inliers] = refinement.keypoints, refinement.mask
        covariance[inliers] = refinement.covariance
    return PairMatch(
        names=names,
        sizes=sizes,
        extractor=options.extractor,
        matcher=verdict.matcher,
        decision=verdict.decision,
        keypoints0=_keypoints(features[0]),
        keypoints1=_keypoints(features[1]),
        indices=verdict.found.indices,
        points0=verdict.found.points0,
        points1=points1,
        scores=verdict.found.scores,
        refined=refined,
        covariance=covariance,
        geometry=geometry,
        cameras=cameras,
        seconds=seconds,
    )


def extract(image: Image, options: MatchOptions | None = None, *, compute: Compute | None = None) -> Features:
    """Find keypoints in one picture.

    Args:
        image: a path, pixels (H, W) or (H, W, 3) RGB uint8, a tensor (C, H, W), or a reference.
        options: extractor, number of keypoints, longest side.
        compute: where dense work runs; the best device of this machine by default.

    Returns:
        Features of a batch of one: keypoints (1, K, 2) in pixels of the picture, descriptors (1, K, D), scores and
        mask (1, K), on the device.

    Raises:
        InputError: there is no such picture, or its pixels have another shape or type.
        PictureError: it cannot be read.
        DependencyError: the weights are not here.
    """
    options = options or MatchOptions()
    compute = compute or Compute.choose()
    return extract_picture(read_image(image), build_extractor(options, compute), compute, options)


def _refined(
    verdict: Verdict,
    pixels: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    setting: PairSetting,
    compute: Compute,
    options: MatchOptions,
) -> tuple[Refinement, TwoView]:
    """The inliers aligned photometrically, and the geometry of all matches again with what that changed."""
    inliers = verdict.geometry.inliers
    points0, points1 = verdict.found.points0, verdict.found.points1
    cameras = setting.camera0, setting.camera1
    affinities = two_view_affinities(verdict.geometry, points0[inliers], points1[inliers], *cameras)
    found = refine_matches(
        as_grey(pixels[0]), as_grey(pixels[1]), points0[inliers], points1[inliers], affinities, compute
    )
    moved = points1.copy()
    moved[inliers] = found.keypoints
    sigma = np.full(len(points1), math.sqrt(2.0) * _PIXEL_GRID * setting.scale)
    deviations = np.sqrt(0.5 * np.trace(found.covariance, axis1=1, axis2=2))
    sigma[inliers] = np.where(found.mask, np.maximum(deviations, _LEAST_NOISE), sigma[inliers])
    again = verify(points0, moved, setting, options, matcher=verdict.matcher, sigma1=sigma)
    # Alignment never takes a verified pair away: where it finds less, what was found before stands.
    return (found, again) if again.verified else (found, verdict.geometry)


def _fitting(camera: Camera | None, size: tuple[int, int], name: str) -> Camera | None:
    return None if camera is None else camera_at(camera, *size, name)


def _keypoints(features: Features) -> Floats:
    found: Floats = features.keypoints[0][features.mask[0]].cpu().numpy().astype(np.float64)
    return found


def _size(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    return pixels.shape[1], pixels.shape[0]

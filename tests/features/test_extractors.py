from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from kornia import feature as kornia_feature
from numpy.typing import NDArray
from torch import Tensor

from cv3d.compute import Compute
from cv3d.errors import InputError, UsageError
from cv3d.features import weights
from cv3d.features.extractors import fused
from cv3d.features.extractors.aliked import Aliked, AlikedOptions
from cv3d.features.extractors.base import Extractor, ExtractorOptions, Features, strict_maxima, strongest
from cv3d.features.extractors.disk import Disk, DiskOptions
from cv3d.features.extractors.registry import EXTRACTORS, create_extractor
from cv3d.features.extractors.sampling import sample_cubic
from cv3d.features.extractors.sift import Sift, SiftOptions
from cv3d.features.extractors.xfeat import XFeat, XFeatOptions
from cv3d.features.matchers.mutual import MutualNearest, MutualOptions
from cv3d.features.matchers.refined import MutualRefined
from cv3d.media.decode import decode_rgb

PATIENT = {"disk": pytest.mark.slow}
"""What is not run each time."""


@pytest.fixture(scope="module", params=[pytest.param(name, marks=PATIENT.get(name, ())) for name in EXTRACTORS])
def extractor(request: pytest.FixtureRequest, compute: Compute) -> Extractor:
    if not all(weights.is_here(name) for name in EXTRACTORS[request.param].weights):
        pytest.skip(f"the weights of {request.param} are not installed")
    return create_extractor(request.param, compute, ExtractorOptions(256))


def assert_sound(features: Features, extractor: Extractor, height: int, width: int) -> None:
    k = extractor.max_keypoints
    batch = len(features)
    assert features.keypoints.shape == (batch, k, 2)
    assert features.descriptors.shape == (batch, k, extractor.descriptor_size)
    for tensor in (features.keypoints, features.descriptors, features.scores):
        assert torch.isfinite(tensor).all()
        assert (tensor[~features.mask] == 0).all()
    assert (features.mask.int().diff(dim=1) <= 0).all()
    assert features.image_size.tolist() == [[width, height]] * batch
    points = features.keypoints[features.mask]
    assert (points >= 0).all()
    assert (points <= torch.tensor([width - 1.0, height - 1.0])).all()
    torch.testing.assert_close(
        features.descriptors[features.mask].norm(dim=-1), torch.ones(len(points)), atol=1e-4, rtol=0
    )


def test_same_picture_same_bytes(extractor: Extractor, small: Tensor) -> None:
    first, second = extractor.extract(small), extractor.extract(small)
    for name in ("keypoints", "descriptors", "scores", "mask"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert_sound(first, extractor, 150, 203)
    assert first.counts().min() > 50


def test_a_picture_alone_has_the_keypoints_it_has_in_a_batch(extractor: Extractor, small: Tensor) -> None:
    both, alone = extractor.extract(small), extractor.extract(small[1:])
    inside = alone.mask[0] & both.mask[1]
    near = (alone.keypoints[0] - both.keypoints[1]).abs().amax(-1) < 0.1
    assert near[inside].float().mean() > 0.97


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (12, 100), (5, 5), (1, 1)])
def test_small_pictures(extractor: Extractor, small: Tensor, height: int, width: int) -> None:
    features = extractor.extract(small[:1, :, 40 : 40 + height, 50 : 50 + width])
    assert_sound(features, extractor, height, width)


def test_black_pictures_have_no_keypoints_to_speak_of(extractor: Extractor) -> None:
    features = extractor.extract(torch.zeros((1, 3, 64, 96)))
    assert_sound(features, extractor, 64, 96)
    assert features.counts() < 20


def test_bytes_and_grey_are_welcome(extractor: Extractor, small: Tensor) -> None:
    eight_bit = (small[:1] * 255.0).round().to(torch.uint8)
    assert torch.equal(extractor.extract(eight_bit).mask.sum(), extractor.extract(eight_bit.float() / 255.0).mask.sum())
    assert extractor.extract(small[:1].mean(1, keepdim=True)).counts() > 50


def test_identical_pictures_match_with_themselves(extractor: Extractor, small: Tensor) -> None:
    features = extractor.extract(small[:1])
    matches = MutualNearest().match(features, features)
    expected = torch.where(features.mask, torch.arange(extractor.max_keypoints), -1)
    assert (matches.indices == expected).float().mean() > 0.98


@pytest.mark.parametrize("bad", [torch.rand(3, 32, 32), torch.rand(1, 2, 32, 32), torch.zeros(1, 3, 9, 9).int()])
def test_other_tensors_are_refused(extractor: Extractor, bad: Tensor) -> None:
    with pytest.raises(InputError, match="pictures have to be"):
        extractor.extract(bad)


@pytest.mark.parametrize(
    ("angle_deg", "scale"),
    [pytest.param(0.0, 0.8, marks=pytest.mark.slow), pytest.param(10.0, 1.0, marks=pytest.mark.slow), (-15.0, 1.1)],
)
def test_matches_follow_a_known_motion(
    extractor: Extractor, compute: Compute, frames: Tensor, angle_deg: float, scale: float
) -> None:
    picture = torch.nn.functional.interpolate(frames[:1], (240, 320), mode="area")
    motion = cv2.getRotationMatrix2D((159.5, 119.5), angle_deg, scale)
    moved = cv2.warpAffine(picture[0].permute(1, 2, 0).numpy(), motion, (320, 240), flags=cv2.INTER_AREA)
    before, after = extractor.extract(picture), extractor.extract(torch.from_numpy(moved).permute(2, 0, 1)[None])
    matcher = MutualRefined(compute) if extractor.name == "xfeat-dense" else MutualNearest()
    points0, points1 = matcher.match(before, after).points_of_pair(0, before, after)
    expected = points0.numpy() @ motion[:, :2].T + motion[:, 2]
    error = np.linalg.norm(points1.numpy() - expected, axis=1)
    assert len(points0) > 60
    assert np.mean(error < 3.0) > 0.6
    assert np.median(error) < 1.5


def test_unknown_extractors_are_answered_with_the_known(compute: Compute) -> None:
    with pytest.raises(UsageError, match="xfeat"):
        create_extractor("superpoint", compute)


def test_no_keypoints_cannot_be_asked_for() -> None:
    with pytest.raises(InputError, match="at least one"):
        ExtractorOptions(max_keypoints=0)


def keypoint_set(points: Tensor) -> set[tuple[int, int]]:
    return {(round(x), round(y)) for x, y in points.tolist()}


def test_xfeat_agrees_with_kornia(compute: Compute, frames: Tensor) -> None:
    reference = kornia_feature.XFeat(top_k=1024)
    reference.net.load_state_dict(weights.load("xfeat"))
    reference.eval()
    theirs = reference.detectAndCompute(frames)
    ours = XFeat(compute, XFeatOptions(1024)).extract(frames)
    found = []
    for b in range(2):
        mine = keypoint_set(ours.keypoints[b][ours.mask[b]])
        his = keypoint_set(theirs[b]["keypoints"])
        assert len(mine & his) >= 0.99 * max(len(mine), len(his))
        found.append([(ours.keypoints[b], ours.descriptors[b]), (theirs[b]["keypoints"], theirs[b]["descriptors"])])
    matched = []
    for who in (0, 1):
        (k0, d0), (k1, d1) = found[0][who], found[1][who]
        i0, i1 = reference._match_mnn(d0, d1, min_cossim=-1)
        matched.append({(*a, *b) for a, b in zip(k0[i0].int().tolist(), k1[i1].int().tolist(), strict=True)})
    assert len(matched[0] & matched[1]) >= 0.99 * len(matched[1])


def test_fused_convolutions_are_held_to_the_reference(
    compute: Compute, small: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_twin = XFeat(compute, XFeatOptions(256)).extract(small)
    monkeypatch.setattr(fused, "TWINS", {})
    reference = XFeat(compute, XFeatOptions(256)).extract(small)
    same = (with_twin.keypoints == reference.keypoints).all(-1)
    assert same.float().mean() > 0.99
    torch.testing.assert_close(with_twin.scores, reference.scores, atol=1e-4, rtol=0)
    torch.testing.assert_close(with_twin.descriptors[same], reference.descriptors[same], atol=1e-3, rtol=0)


def test_tiles_find_what_the_whole_finds(compute: Compute, frames: Tensor) -> None:
    wide = torch.cat((frames[0], frames[1]), -1)[None, :, 200:300]
    whole = XFeat(compute, XFeatOptions(512)).extract(wide)
    tiled = XFeat(compute, XFeatOptions(512, tile=1024)).extract(wide)
    assert len(keypoint_set(whole.keypoints[0]) & keypoint_set(tiled.keypoints[0])) >= 0.99 * int(whole.counts())
    torch.testing.assert_close(whole.scores, tiled.scores, atol=1e-3, rtol=0)
    similarity = (whole.descriptors @ tiled.descriptors.transpose(1, 2)).amax(-1)
    assert (similarity > 0.999).float().mean() > 0.99


@pytest.mark.parametrize("tile", [512, 1025])
def test_tiles_have_to_be_larger_than_the_reach_of_the_network(tile: int) -> None:
    with pytest.raises(InputError, match="tile"):
        XFeatOptions(tile=tile)


def test_strict_maxima_exceed_their_whole_window() -> None:
    heat = torch.randint(0, 50, (2, 20, 23), generator=torch.Generator().manual_seed(0)).float()
    found = strict_maxima(heat, 2, 10.0)
    for b, i, j in np.ndindex(*found.shape):
        window = heat[b, i : i + 5, j : j + 5].flatten()
        others = torch.cat((window[:12], window[13:]))
        assert bool(found[b, i, j]) == bool(window[12] > others.max() and window[12] > 10.0)


@pytest.mark.parametrize("shape", [(8, 8), (7, 9)])
def test_strongest_are_the_largest(shape: tuple[int, int]) -> None:
    scores = torch.zeros((1, *shape))
    scores[0, 1, 2], scores[0, 6, 7], scores[0, 4, 0] = 3.0, 1.0, 2.0
    values, x, y = strongest(scores, 100)
    assert values[0, :4].tolist() == [3.0, 2.0, 1.0, 0.0]
    assert x[0, :4].tolist() == [2, 0, 7, 0]
    assert y[0, :4].tolist() == [1, 4, 6, 0]
    assert values.shape == (1, 100)


def test_cubic_sampling_is_that_of_grid_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn((2, 5, 7, 9), generator=generator)
    x = torch.rand((2, 50), generator=generator) * 12.0 - 2.0
    y = torch.rand((2, 50), generator=generator) * 10.0 - 2.0
    grid = torch.stack(((2.0 * x + 1.0) / 9.0 - 1.0, (2.0 * y + 1.0) / 7.0 - 1.0), -1)[:, :, None]
    reference = torch.nn.functional.grid_sample(maps, grid, mode="bicubic", align_corners=False)[..., 0]
    torch.testing.assert_close(sample_cubic(maps, x, y), reference.transpose(1, 2), atol=1e-5, rtol=0)


def test_features_can_be_stacked_and_taken_apart(compute: Compute, small: Tensor) -> None:
    few = XFeat(compute, XFeatOptions(64)).extract(small[:1])
    many = XFeat(compute, XFeatOptions(128)).extract(small[1:])
    both = Features.stack([few, many])
    assert both.keypoints.shape == (2, 128, 2)
    assert both.counts().tolist() == [int(few.counts()), int(many.counts())]
    again = both[[1, 0, 1]]
    assert torch.equal(again.keypoints[0], many.keypoints[0])
    assert torch.equal(again[1:2].resized(64).descriptors, few.descriptors)
    assert MutualNearest(MutualOptions(0.9)).match(again, again).scores.shape == (3, 128)


@pytest.mark.parametrize("name", ["aliked", pytest.param("disk", marks=pytest.mark.slow)])
def test_large_pictures_are_made_smaller_and_keypoints_carried_back(
    name: str, compute: Compute, frames: Tensor
) -> None:
    if not all(weights.is_here(weight) for weight in EXTRACTORS[name].weights):
        pytest.skip(f"the weights of {name} are not installed")
    limited: Extractor
    if name == "aliked":
        limited = Aliked(compute, AlikedOptions(200, max_side=320))
    else:
        limited = Disk(compute, DiskOptions(200, max_side=320))
    large = limited.extract(frames[:1])
    halved = torch.nn.functional.interpolate(frames[:1], (240, 320), mode="bilinear", antialias=True)
    small = create_extractor(name, compute, ExtractorOptions(200)).extract(halved)
    assert small.scales is None
    assert large.scales is not None
    assert large.image_size.tolist() == [[640.0, 480.0]]
    assert (large.scales[large.mask] == 2.0).all()
    torch.testing.assert_close(large.keypoints[large.mask], 2.0 * small.keypoints[small.mask] + 0.5)
    assert_sound(large, limited, 480, 640)


@pytest.mark.parametrize("options", [AlikedOptions, DiskOptions])
def test_a_limit_too_small_to_find_anything_in_is_refused(options: type[AlikedOptions | DiskOptions]) -> None:
    with pytest.raises(InputError, match="64 pixels"):
        options(max_side=32)


def test_sift_finds_in_tiles_what_it_finds_in_the_whole(compute: Compute, frames: Tensor) -> None:
    wide = torch.cat((frames[0], frames[1]), -1)[None, :, :400]
    whole = Sift(compute, SiftOptions(600)).extract(wide)
    tiled = Sift(compute, SiftOptions(600, tile=1024)).extract(wide)
    near = torch.cdist(whole.keypoints, tiled.keypoints, compute_mode="donot_use_mm_for_euclid_dist") < 0.01
    alike = (whole.descriptors @ tiled.descriptors.transpose(1, 2)) > 0.99
    assert (near & alike).any(2)[whole.mask].float().mean() > 0.98
    with pytest.raises(InputError, match="tile"):
        SiftOptions(tile=1000)


def encoded(array: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    done, content = cv2.imencode(".png", array)
    assert done
    return content.tobytes()


def test_files_of_any_kind_have_the_same_keypoints(extractor: Extractor, small: Tensor) -> None:
    bgr = (small[0, :, 20:116, 30:158].permute(1, 2, 0).numpy()[..., ::-1] * 255.0).round().astype(np.uint8)
    deep = bgr.astype(np.uint16) * 257
    opaque = np.dstack((bgr, np.full(bgr.shape[:2], 255, np.uint8)))
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    found = []
    for array in (bgr, deep, opaque, grey, grey.astype(np.uint16) * 257):
        pixels = decode_rgb(encoded(array), "a.png").array.copy()
        found.append(extractor.extract(torch.from_numpy(pixels).permute(2, 0, 1)[None]))
    for one, other in ((0, 1), (0, 2), (3, 4)):
        assert torch.equal(found[one].keypoints, found[other].keypoints)
    assert found[3].counts() > 20


HUGE = """
import resource, sys, cv2, torch
torch.set_num_threads(1)
from cv3d.compute import Compute
from cv3d.features.extractors.base import ExtractorOptions
from cv3d.features.extractors.registry import create_extractor

extractor = create_extractor(sys.argv[1], Compute.choose("cpu"), ExtractorOptions(2048))
frame = torch.from_numpy(cv2.VideoCapture(sys.argv[2]).read()[1]).permute(2, 0, 1)[None]
picture = frame.repeat(1, 1, 18, 19)[..., :8400, :12000].contiguous()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
features = extractor.extract(picture)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
spread = features.keypoints[features.mask].std(0)
print(int(features.counts()), (after - before) / 1e6, *spread.tolist())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "gigabytes"), [("xfeat", 1.0), ("sift", 2.0), ("aliked", 6.0)])
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is Linux's")
def test_a_hundred_megapixels_need_bounded_memory(name: str, gigabytes: float, project_root: Path) -> None:
    if not all(weights.is_here(weight) for weight in EXTRACTORS[name].weights):
        pytest.skip(f"the weights of {name} are not installed")
    clip = str(project_root / "data" / "samples" / "room.mp4")
    answer = subprocess.run([sys.executable, "-c", HUGE, name, clip], capture_output=True, text=True, check=True)
    count, grown, *spread = (float(part) for part in answer.stdout.split())
    assert count == 2048
    assert grown < gigabytes
    # They come from the whole picture, 12000 x 8400.
    assert spread[0] > 2000.0
    assert spread[1] > 1500.0

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kornia import feature as kornia_feature
from torch import Tensor

from cv3d.compute import Compute
from cv3d.features import weights
from cv3d.features.extractors.base import Features
from cv3d.features.extractors.xfeat import XFeat, XFeatOptions
from cv3d.features.extractors.xfeat_dense import LARGE, SMALL, XFeatDense, scales_of
from cv3d.features.matchers import refined
from cv3d.features.matchers.refined import MutualRefined, RefinedOptions
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import estimate_two_view

COUNT = 1000


@pytest.fixture(scope="module")
def cropped(frames: Tensor) -> Tensor:
    """(2, 3, 320, 640), whose sizes at both scales are multiples of 32, so that the reference resamples only once."""
    return frames[:, :, 80:400]


@pytest.fixture(scope="module")
def ours(compute: Compute, cropped: Tensor) -> Features:
    return XFeatDense(compute, XFeatOptions(COUNT)).extract(cropped)


@pytest.fixture(scope="module")
def reference() -> kornia_feature.XFeat:
    module = kornia_feature.XFeat(top_k=COUNT)
    module.net.load_state_dict(weights.load("xfeat"))
    return module.eval()


@pytest.fixture(scope="module")
def theirs(reference: kornia_feature.XFeat, cropped: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = reference.detectAndComputeDense(cropped)
    return found


def in_kornias_order(ours: Features, theirs: dict[str, Tensor]) -> tuple[Features, Tensor]:
    """Our features reordered to theirs, and which of theirs have a partner (B, K). Theirs are corners of cells."""
    assert ours.scales is not None
    mine = torch.cat((ours.keypoints + 0.5 - 4.0 * ours.scales[..., None], 100.0 * ours.scales[..., None]), -1)
    his = torch.cat((theirs["keypoints"], 100.0 * theirs["scales"][..., None]), -1)
    distance, order = torch.cdist(his, mine, compute_mode="donot_use_mm_for_euclid_dist").min(2)
    parts = [ours[b : b + 1] for b in range(len(ours))]
    picked = [
        Features(
            part.keypoints[:, index],
            part.descriptors[:, index],
            part.scores[:, index],
            part.mask[:, index],
            part.image_size,
            None if part.scales is None else part.scales[:, index],
        )
        for part, index in zip(parts, order, strict=True)
    ]
    return Features.stack(picked), distance < 0.05


def test_cells_and_descriptors_are_kornias(ours: Features, theirs: dict[str, Tensor]) -> None:
    same, has_partner = in_kornias_order(ours, theirs)
    assert has_partner.float().mean() >= 0.99
    unit = torch.nn.functional.normalize(theirs["descriptors"], dim=-1)
    torch.testing.assert_close(same.descriptors[has_partner], unit[has_partner], atol=2e-3, rtol=0)


def test_refined_matches_are_kornias(
    compute: Compute,
    ours: Features,
    theirs: dict[str, Tensor],
    reference: kornia_feature.XFeat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The reference refines the first picture, so it is given the pair the other way round; and it compares descriptors
    # of any length and takes another zero.
    monkeypatch.setattr(refined, "ZERO", (4.0, 4.0))
    mine, _ = in_kornias_order(ours, theirs)
    found = MutualRefined(compute).match(mine[:1], mine[1:])
    unit = torch.nn.functional.normalize(theirs["descriptors"], dim=-1)
    first, second = ({name: value[b : b + 1] for name, value in theirs.items()} for b in (0, 1))
    with torch.no_grad():
        pairs = reference._batch_match(unit[1:], unit[:1])
        both = reference._refine_matches(second, first, pairs, 0, fine_conf=-1.0)
        offers = reference.net.fine_matcher(
            torch.cat((theirs["descriptors"][1][pairs[0][0]], theirs["descriptors"][0][pairs[0][1]]), -1)
        )
    confidence = torch.softmax(3.0 * offers, -1).amax(-1)
    expected = torch.full((COUNT,), -1)
    expected[pairs[0][1]] = torch.where(confidence > 0.25, pairs[0][0], -1)
    matched = (expected >= 0) | (found.indices[0] >= 0)
    assert matched.sum() > 300
    # Confidences differ a little, since the reference's descriptors have each their own length.
    assert (expected == found.indices[0])[matched].float().mean() > 0.98
    where = torch.zeros((COUNT, 2))
    where[pairs[0][1]] = both[:, :2]
    agreed = (expected == found.indices[0]) & (expected >= 0)
    assert mine.scales is not None
    assert found.keypoints1 is not None
    corner = 0.5 - 4.0 * mine.scales[1][found.indices[0]][:, None]
    inside = ((found.keypoints1[0] > 0) & (found.keypoints1[0] < mine.image_size[1] - 1.0)).all(-1)
    difference = (found.keypoints1[0] + corner - where)[agreed & inside].norm(dim=-1)
    assert difference.median() < 0.03
    assert difference.max() < 0.5


def test_a_picture_is_matched_with_itself_without_an_offset(compute: Compute, ours: Features) -> None:
    points0, points1 = MutualRefined(compute).match(ours, ours).points_of_pair(0, ours, ours)
    assert len(points0) > 0.9 * COUNT
    assert (points1 - points0).median(0).values.abs().max() < 0.2


def test_seeing_matches_alone_gives_what_seeing_all_gives(compute: Compute, ours: Features) -> None:
    pairs = ours[[0, 1]], ours[[1, 0]].resized(900)
    alone = MutualRefined(compute, RefinedOptions(is_compact=True)).match(*pairs)
    among = MutualRefined(compute, RefinedOptions(is_compact=False)).match(*pairs)
    assert torch.equal(alone.indices, among.indices)
    assert alone.keypoints1 is not None
    assert among.keypoints1 is not None
    torch.testing.assert_close(alone.keypoints1, among.keypoints1, atol=1e-3, rtol=0)
    assert (alone.keypoints1[alone.indices < 0] == 0).all()


def test_the_place_of_a_feature_tells_its_scale(ours: Features) -> None:
    assert ours.scales is not None
    assert torch.equal(scales_of(ours.keypoints), ours.scales)
    # To the end of a picture of a hundred megapixels, as float32 has it.
    for scale in (SMALL, LARGE):
        centres = (8.0 * torch.arange(int(12000 * scale / 8)) + 4.0) / float(scale) - 0.5
        assert (scales_of(torch.stack((centres, centres.flip(0)), -1)) == float(1 / scale)).all()


def test_features_that_are_no_cells_have_no_match(compute: Compute, ours: Features, cropped: Tensor) -> None:
    sparse = XFeat(compute, XFeatOptions(COUNT)).extract(cropped)
    found = MutualRefined(compute).match(ours[:1], sparse[1:])
    assert int(found.counts()) < 0.01 * COUNT
    bare = MutualRefined(compute).match(*(replace(ours[[b]], scales=None) for b in (0, 1)))
    assert torch.equal(bare.indices, MutualRefined(compute).match(ours[:1], ours[1:]).indices)


def test_tiles_find_what_the_whole_finds(compute: Compute, frames: Tensor) -> None:
    wide = torch.cat((frames[0], frames[1]), -1)[None, :, 200:300]
    whole = XFeatDense(compute, XFeatOptions(500)).extract(wide)
    tiled = XFeatDense(compute, XFeatOptions(500, tile=1024)).extract(wide)
    same = (torch.cdist(whole.keypoints, tiled.keypoints, compute_mode="donot_use_mm_for_euclid_dist") < 0.01).any(2)
    assert same.float().mean() >= 0.99
    torch.testing.assert_close(whole.scores, tiled.scores, atol=1e-3, rtol=0)


def test_refined_positions_are_near_the_true_epipolar_lines(
    compute: Compute, frames: Tensor, project_root: Path
) -> None:
    truth = json.loads((project_root / "data" / "samples" / "room_ground_truth.json").read_text())
    lens = truth["camera"]
    camera = Camera(lens["model"], lens["width"], lens["height"], tuple(lens["params"].values()))
    world_from_cam = [np.array(truth["frames"][index]["world_from_cam"]) for index in (0, 15)]
    cam1_from_cam0 = np.linalg.inv(world_from_cam[1]) @ world_from_cam[0]

    both = XFeatDense(compute, XFeatOptions(2048)).extract(frames)
    first, second = both[:1], both[1:]
    matches = MutualRefined(compute).match(first, second)
    distance = []
    for found in (matches, replace(matches, keypoints1=None)):
        points0, points1 = (points.double().numpy() for points in found.points_of_pair(0, first, second))
        rays0, rays1 = camera.unproject(points0), camera.unproject(points1)
        normals = np.cross(cam1_from_cam0[:3, 3], rays0 @ cam1_from_cam0[:3, :3].T)
        sine = (rays1 * normals).sum(1) / np.linalg.norm(normals, axis=1)
        distance.append(np.median(np.abs(sine)) * lens["params"]["fx"])
        two_view = estimate_two_view(points0, points1, camera, camera)
        if found is matches:
            assert len(points0) > 300
            assert two_view.verified
            assert two_view.rotation is not None
            turned = two_view.rotation @ cam1_from_cam0[:3, :3].T
            assert np.degrees(np.arccos((np.trace(turned) - 1.0) / 2.0)) < 0.5
    assert distance[0] < 1.0
    assert distance[0] < 0.6 * distance[1]


def test_sparse_and_dense_share_the_convention_of_pixels(compute: Compute, frames: Tensor) -> None:
    sparse = XFeat(compute, XFeatOptions(64)).extract(frames)
    assert sparse.scales is None
    assert Features.stack([sparse, XFeatDense(compute, XFeatOptions(64)).extract(frames)]).scales is not None

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cv3d.compute import Compute
from cv3d.errors import InputError, UsageError
from cv3d.features import weights
from cv3d.features.extractors.base import ExtractorOptions, Features
from cv3d.features.extractors.registry import create_extractor
from cv3d.features.matchers.lightglue import NAMES, WEIGHTS, LightGlue, LightGlueOptions, kornia_module
from cv3d.features.matchers.mutual import MutualNearest, MutualOptions
from cv3d.features.matchers.nearest import best_of_columns, largest_of_rows, second_largest
from cv3d.features.matchers.ratio import RatioOptions, RatioTest
from cv3d.features.matchers.registry import MATCHERS, create_matcher


def random_features(counts: list[int], size: int, seed: int, width: int = 64) -> Features:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(size) < torch.tensor(counts)[:, None]
    descriptors = torch.nn.functional.normalize(torch.randn((len(counts), size, width), generator=generator), dim=-1)
    keypoints = torch.rand((len(counts), size, 2), generator=generator) * 100.0
    return Features(
        keypoints * mask[..., None],
        descriptors * mask[..., None],
        mask.float(),
        mask,
        torch.full((len(counts), 2), 100.0),
        mask.float(),
    )


FEW = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind == "xfeat" else pytest.mark.slow) for kind in WEIGHTS]
)
"""The smallest network each time, the others where there is time."""


def kind_of(kind: str) -> str:
    if not weights.is_here(WEIGHTS[kind]):
        pytest.skip(f"the weights of LightGlue for {kind} are not installed")
    return kind


@pytest.fixture(scope="module")
def xfeat_pair(compute: Compute, frames: Tensor) -> Features:
    return create_extractor("xfeat", compute, ExtractorOptions(512)).extract(frames)


def test_mutual_nearest_are_those_of_the_definition() -> None:
    first, second = random_features([30, 12], 30, 1), random_features([20, 25], 25, 2)
    matches = MutualNearest().match(first, second)
    for b, (m, n) in enumerate([(30, 20), (12, 25)]):
        cosine = first.descriptors[b, :m] @ second.descriptors[b, :n].T
        expected = {
            (i, j) for i in range(m) for j in range(n) if cosine[i].argmax() == j and cosine[:, j].argmax() == i
        }
        assert {tuple(pair) for pair in matches.of_pair(b).tolist()} == expected
        for i, j in expected:
            assert matches.scores[b, i] == pytest.approx(max(float(cosine[i, j]), 0.0), abs=1e-6)
    assert matches.counts().tolist() == [len(matches.of_pair(b)) for b in (0, 1)]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (64, 64), (65, 130), (200, 63), (3, 500), (192, 128)])
def test_places_of_maxima_are_the_first_of_the_largest(rows: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    # Few different values, so that rows and columns have their maximum several times.
    similarity = torch.randint(-20, 20, (3, rows, columns), generator=generator) / 20.0
    largest, best = largest_of_rows(similarity)
    assert torch.equal(largest, similarity.amax(2))
    assert torch.equal(best, (similarity == largest[..., None]).int().argmax(2))
    top = similarity.amax(1, keepdim=True)
    assert torch.equal(best_of_columns(similarity), (similarity == top).int().argmax(1))
    ordered = torch.nn.functional.pad(similarity, (0, 1), value=-1.0).sort(2, descending=True).values
    assert torch.equal(second_largest(similarity, best), ordered[..., 1])


def test_equally_near_entries_are_matched_once() -> None:
    twice = random_features([300], 300, 1)
    twice.descriptors[0, 150:] = twice.descriptors[0, :150]
    pairs = MutualNearest().match(twice, twice).of_pair(0)
    assert pairs.tolist() == [[i, i] for i in range(150)]


def test_a_least_cosine_only_removes() -> None:
    first, second = random_features([40], 40, 1), random_features([40], 40, 2)
    every = MutualNearest().match(first, second)
    some = MutualNearest(MutualOptions(0.3)).match(first, second)
    assert torch.equal(some.indices, torch.where(every.scores > 0.3, every.indices, -1))
    assert 0 < int(some.counts()) < int(every.counts())


def test_the_ratio_test_keeps_clear_winners() -> None:
    axes = torch.eye(4)
    near = torch.nn.functional.normalize(axes[0] + 0.1 * axes[1], dim=0)
    twin = torch.nn.functional.normalize(axes[0] - 0.1 * axes[2], dim=0)

    def features(rows: list[Tensor]) -> Features:
        n = len(rows)
        return Features(
            torch.zeros(1, n, 2), torch.stack(rows)[None], torch.ones(1, n), torch.ones(1, n).bool(), torch.ones(1, 2)
        )

    asked = features([axes[0]])
    clear, ambiguous = features([near, axes[3]]), features([near, twin])
    assert RatioTest().match(asked, clear).indices.tolist() == [[0]]
    assert RatioTest().match(asked, ambiguous).indices.tolist() == [[-1]]
    assert RatioTest(RatioOptions(1.0)).match(asked, features([near])).indices.tolist() == [[0]]
    with pytest.raises(InputError, match="ratio"):
        RatioOptions(1.5)


@pytest.mark.parametrize("name", list(MATCHERS))
def test_nothing_is_matched_with_nothing(name: str, compute: Compute) -> None:
    if not all(weights.is_here(w) for w in MATCHERS[name].weights):
        pytest.skip(f"the weights of {name} are not installed")
    matcher = create_matcher(name, compute)
    assert matcher.name == name
    width = 128 if name in ("lightglue-aliked", "lightglue-disk") else 64
    some, none = random_features([9], 12, 1, width), random_features([0], 10, 2, width)
    for first, second in ((some, none), (none, some), (none, none)):
        matches = matcher.match(first, second)
        assert (matches.indices == -1).all()
        assert (matches.scores == 0).all()


@pytest.mark.parametrize("name", list(MATCHERS))
def test_features_that_do_not_fit_are_refused(name: str, compute: Compute) -> None:
    if not all(weights.is_here(w) for w in MATCHERS[name].weights):
        pytest.skip(f"the weights of {name} are not installed")
    matcher = create_matcher(name, compute)
    with pytest.raises(InputError, match="paired"):
        matcher.match(random_features([3], 5, 1), random_features([3, 3], 5, 2))
    with pytest.raises(InputError, match="length"):
        matcher.match(random_features([3], 5, 1, 64), random_features([3], 5, 2, 32))


def test_a_network_takes_the_descriptors_it_was_trained_for(compute: Compute) -> None:
    with pytest.raises(InputError, match="length 64"):
        LightGlue("xfeat", compute).match(random_features([3], 5, 1, 128), random_features([3], 5, 2, 128))


def test_unknown_matchers_are_answered_with_the_known(compute: Compute) -> None:
    with pytest.raises(UsageError, match="lighterglue"):
        create_matcher("superglue", compute)


def test_the_registry_names_what_is_built() -> None:
    assert set(NAMES.values()) <= set(MATCHERS)


@FEW
def test_lightglue_agrees_with_kornia(kind: str, compute: Compute, small: Tensor) -> None:
    kind_of(kind)
    features = create_extractor(kind, compute, ExtractorOptions(200)).extract(small)
    module = kornia_module(kind, weights.load(WEIGHTS[kind]))
    data = {
        f"image{i}": {
            "keypoints": features.keypoints[i][features.mask[i]][None],
            "descriptors": features.descriptors[i][features.mask[i]][None],
            "image_size": features.image_size[i : i + 1],
        }
        for i in (0, 1)
    }
    with torch.no_grad():
        theirs = module(data)
    ours = LightGlue(kind, compute).match(features[:1], features[1:])
    mine = ours.indices[0][features.mask[0]]
    assert (theirs["matches0"][0] >= 0).sum() > 40
    assert (mine == theirs["matches0"][0]).float().mean() >= 0.99
    agreed = (mine == theirs["matches0"][0]) & (mine >= 0)
    torch.testing.assert_close(
        ours.scores[0][features.mask[0]][agreed], theirs["matching_scores0"][0][agreed], atol=2e-3, rtol=0
    )


@FEW
def test_hiding_entries_gives_what_removing_them_gives(kind: str, compute: Compute, small: Tensor) -> None:
    kind_of(kind)
    both = create_extractor(kind, compute, ExtractorOptions(160)).extract(small)
    first, second = both[[0, 0, 1]], both[[1, 0, 0]]
    # Pairs of different counts, one of them nothing alike, so that they stop and prune at different layers.
    cut = torch.arange(160) < torch.tensor([[160], [90], [40]])
    first = Features(first.keypoints, first.descriptors, first.scores, first.mask & cut, first.image_size)
    removed = LightGlue(kind, compute, LightGlueOptions(is_compact=True)).match(first, second.resized(150))
    hidden = LightGlue(kind, compute, LightGlueOptions(is_compact=False)).match(first, second.resized(150))
    assert (removed.indices == hidden.indices).float().mean() > 0.99
    assert (removed.scores - hidden.scores).abs().max() < 5e-3
    assert (hidden.indices[~first.mask] == -1).all()


def test_lighterglue_matches_a_picture_with_itself(xfeat_pair: Features, compute: Compute) -> None:
    one = xfeat_pair[:1]
    pairs = LightGlue("xfeat", compute).match(one, one).of_pair(0)
    assert len(pairs) > 0.8 * int(one.counts())
    assert (pairs[:, 0] == pairs[:, 1]).float().mean() > 0.99


def test_lighterglue_gives_the_same_bytes_again(xfeat_pair: Features, compute: Compute) -> None:
    matcher = LightGlue("xfeat", compute)
    first, second = (matcher.match(xfeat_pair[:1], xfeat_pair[1:]) for _ in range(2))
    assert torch.equal(first.indices, second.indices)
    assert torch.equal(first.scores, second.scores)


def test_matches_are_one_to_one(xfeat_pair: Features, compute: Compute) -> None:
    for matcher in (LightGlue("xfeat", compute), MutualNearest(), RatioTest()):
        pairs = matcher.match(xfeat_pair[:1], xfeat_pair[1:]).of_pair(0)
        assert len(pairs) > 100
        assert len(pairs[:, 1].unique()) == len(pairs)

"""Matched pairs and sets made up from exact geometry: nothing is extracted or matched."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.features.matching import PairMatch, SetMatch, SetPicture
from cv3d.features.store import FeatureStore, FirstLook, PairMatches, PictureFeatures
from cv3d.geometry.two_view import Degeneracy, ModelKind, TwoView

SHIFT = np.array([7.0, -4.0])
KEYPOINTS = 80


def geometry(inliers: NDArray[np.bool_], verified: bool = True) -> TwoView:
    """The verdict on matches of which some are inliers."""
    return TwoView(
        model=ModelKind.FUNDAMENTAL,
        matrix=np.array([[0.0, 0.0, 4.0], [0.0, 0.0, 7.0], [-4.0, -7.0, 0.0]]),
        inliers=inliers,
        errors=np.where(inliers, 0.3, 40.0),
        cam1_from_cam0=None,
        rotation=None,
        alternative=None,
        covariance=None,
        focal=None,
        focal_failure="",
        parallax=math.nan,
        rms=0.3 if inliers.any() else math.nan,
        noise=0.2,
        log10_false_alarms=-90.0 if verified else 6.0,
        verified=verified,
        degeneracy=Degeneracy.NONE if verified else Degeneracy.NO_SUPPORT,
        reason="" if verified else "3 of 20 matches agree, which chance explains",
        seed=3,
    )


def pixels(size: tuple[int, int], seed: int = 0, channels: int = 3) -> NDArray[np.uint8]:
    """A picture of noise, the same for the same seed."""
    shape = (size[1], size[0], channels)[: 3 if channels > 1 else 2]
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def make_pair(
    size0: tuple[int, int] = (160, 120),
    size1: tuple[int, int] = (120, 160),
    matches: int = 60,
    verified: bool = True,
    names: tuple[str, str] = ("left.png", "right.png"),
) -> PairMatch:
    """A pair whose matches shift by the same vector, but for every fifth."""
    rng = np.random.default_rng(5)
    points0 = rng.uniform(0.0, 1.0, (matches, 2)) * (np.array(size0) - 1)
    points1 = np.clip(points0 + SHIFT, 0.0, np.array(size1) - 1.0)
    inliers = np.arange(matches) % 5 != 0
    points1[~inliers] = rng.uniform(0.0, 1.0, (int((~inliers).sum()), 2)) * (np.array(size1) - 1)
    return PairMatch(
        names=names,
        sizes=(size0, size1),
        extractor="xfeat",
        matcher="mutual",
        decision="mutual alone: 48 verified matches leave no doubt",
        keypoints0=points0,
        keypoints1=points1,
        indices=np.stack([np.arange(matches)] * 2, axis=1),
        points0=points0,
        points1=points1,
        scores=np.linspace(1.0, 0.5, matches, dtype=np.float32),
        refined=inliers.copy(),
        covariance=np.full((matches, 2, 2), math.nan),
        geometry=geometry(inliers if verified else inliers & False, verified),
        cameras=(None, None),
        seconds={"extract": 0.05, "match": 1.2, "verify": 0.01, "refine": 0.0},
    )


class SetMaker:
    """Makes sets with their stores."""

    def __call__(
        self,
        folder: Path,
        count: int = 12,
        reach: int = 3,
        groups: int = 1,
        lone: int = 0,
        unreadable: int = 0,
        name: Callable[[int], str] = "{:04d}.png".format,
        warnings: tuple[str, ...] = (),
    ) -> SetMatch:
        """Each picture makes a pair with the `reach` before it in its group; further ones are unsure or unrelated.

        Of the verified pairs every third was found by the learned matcher.
        """
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(1)
        size = (160, 120)
        edges: dict[tuple[int, int], tuple[int, bool]] = {}
        planned = unrelated = 0
        with FeatureStore.open(folder / "database.db") as store, store.transaction():
            camera = store.add_camera("160x120", size)
            ids = [store.add_picture(name(place), f"digest {place}", camera) for place in range(count)]
            for image_id in ids:
                spread = rng.uniform(0.0, 1.0, (KEYPOINTS, 2)) * (np.array(size) - 1)
                features = PictureFeatures(spread.astype(np.float32), np.zeros((KEYPOINTS, 4), np.float32))
                store.put_features(image_id, features, "xfeat")
            for i in range(count):
                for j in range(i + 1, min(count, i + 2 * reach + 1)):
                    planned += 1
                    same = i % groups == j % groups and j < count - lone
                    inliers = 60 - 8 * ((j - i) // groups) if same and (j - i) // groups <= reach else 0
                    learned = inliers > 0 and planned % 3 == 0
                    self._put(store, (ids[i], ids[j]), inliers, learned, is_hopeful=planned % 2 == 0)
                    unrelated += not inliers and planned % 2 != 0
                    if inliers:
                        edges[i, j] = (inliers, learned)
        degrees = np.bincount(np.array(list(edges), dtype=np.int64).reshape(-1), minlength=count)
        pictures = [
            SetPicture(name(i), size, KEYPOINTS, int(degrees[i]), "" if degrees[i] else "no other fits", ids[i])
            for i in range(count)
        ]
        for i in range(unreadable):
            pictures.append(SetPicture(f"broken{i}.png", None, 0, 0, f"broken{i}.png: truncated", None))
        found = np.array([inliers for inliers, _ in edges.values()], dtype=np.int64)
        is_learned = np.array([learned for _, learned in edges.values()], dtype=bool)
        by_learned = int(is_learned.sum())
        return SetMatch(
            store=folder / "database.db",
            pictures=tuple(pictures),
            choice="sequential",
            planned=planned,
            computed=planned,
            edges=np.array(list(edges), dtype=np.int64).reshape(-1, 2),
            inliers=found,
            is_learned=is_learned,
            methods={"unrelated": unrelated, "mutual": len(edges) - by_learned, "lighterglue": by_learned},
            tracks=321,
            refined=1234,
            extractor="xfeat",
            seed=0,
            seconds={"extract": 0.2, "match": 1.5, "learn": 12.0, "refine": 0.0},
            warnings=warnings,
        )

    @staticmethod
    def _put(store: FeatureStore, pair: tuple[int, int], inliers: int, is_learned: bool, is_hopeful: bool) -> None:
        pair = min(pair), max(pair)
        count = inliers + 12 if inliers else (20 if is_hopeful else 0)
        matches = PairMatches(np.stack([np.arange(count)] * 2, axis=1), np.ones(count, np.float32))
        store.put_matches(pair, matches, '{"cascade": {}, "name": "lighterglue"}' if is_learned else "mutual")
        kept = np.arange(count) < inliers
        store.put_two_view(pair, geometry(kept, verified=inliers > 0), "two-view")
        decision = "" if inliers else "mutual found none; lighterglue found none either"
        if is_learned:
            decision = f"mutual found 15 verified matches; lighterglue found {inliers}"
        if not inliers and not is_hopeful:
            decision = "unrelated: its matches agree no better than chance"
        first = 15 if is_learned else inliers
        promise = -90.0 if inliers else 7.0 if is_hopeful else 12.0
        store.notes.put_first_look(pair, FirstLook("mutual", first, inliers > 0, promise, decision))


@pytest.fixture(scope="session")
def make_set() -> Callable[..., Any]:
    """Makes sets with their stores; see :class:`SetMaker`."""
    return SetMaker()


@pytest.fixture(scope="session")
def pair_maker() -> Callable[..., Any]:
    """Makes pairs; see :func:`make_pair`."""
    return make_pair


@pytest.fixture(scope="session")
def noise() -> Callable[..., NDArray[np.uint8]]:
    """Makes pictures; see :func:`pixels`."""
    return pixels

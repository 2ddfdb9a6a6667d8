"""Which pictures of a set to match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cv3d.compute import Compute
from cv3d.errors import InputError, UsageError
from cv3d.features.pairs import (
    Exhaustive,
    PairSelector,
    PoseOptions,
    Ranked,
    RetrievalOptions,
    Sequential,
    StoredDescriptors,
    VocabularyOptions,
    pose_neighbours,
    read_pair_list,
    retrieve,
)
from cv3d.features.store import FeatureStore
from cv3d.formats.posed_pictures import read_posed_pictures
from cv3d.progress import Progress

EXHAUSTIVE, SEQUENTIAL, RETRIEVAL, POSES, AUTO = "exhaustive", "sequential", "retrieval", "poses", "auto"
CHOICES = (AUTO, EXHAUSTIVE, SEQUENTIAL, RETRIEVAL, POSES)
_EXHAUSTIVE_UP_TO = 30
"""Pictures up to which `auto` takes all pairs: 435 of them."""
_AUTO_NEIGHBOURS = 20
"""Neighbours of `auto`, at most. Of 50 pictures around a fox, where 1,007 of 1,225 pairs show something in common,
those of 20 neighbours are 557 pairs and 75 % of all inliers, but the tracks through them join 97 % of the matches of
all."""
_AUTO_OVERLAP = 3
_AUTO_DOUBLINGS = 10
"""Distances 1, 2, 4, …, 512 between frames of a video: pairs grow with n log n."""
_LOOP_EVERY = 5
_SPANS = 2


@dataclass(frozen=True)
class PairChoice:
    """Which pairs of a set are matched.

    Raises:
        UsageError: a number is out of range.
    """

    how: str = AUTO
    """"exhaustive": all; "sequential": each picture with those after it, and places seen before; "retrieval": those
    that look alike; "poses": those whose views overlap; "auto": all pairs of up to 30 pictures, of more sequential
    for a video, each with the next 3 and those 4, 8, 16, … further on, else retrieval of 20 neighbours at most; or the
    path of a file that lists pairs."""
    overlap: int = 10
    """Of sequential pairs, how many of the following pictures."""
    neighbours: int = 30
    """Of retrieval and poses, how many of the best for each picture."""
    poses: Path | None = None
    """For "poses", the folder with poses: Strecha's `.camera` files or transforms.json."""
    seed: int = 0
    doublings: int | None = None
    """Of sequential pairs, how many of the distances 1, 2, 4, 8, … are added; None for as many as `overlap`."""

    def __post_init__(self) -> None:
        if self.overlap < 1 or self.neighbours < 1:
            raise UsageError("overlap and neighbours must be positive")
        if (self.how == POSES) != (self.poses is not None):
            raise UsageError("pairs from poses need the folder with the poses, and only they do")
        if self.how not in CHOICES and not Path(self.how).is_file():
            known = ", ".join(CHOICES)
            raise UsageError(
                f"'{self.how}' is no choice of pairs and no file that lists some; one of {known}, or a file"
            )

    def resolved(self, count: int, *, is_video: bool) -> PairChoice:
        """The choice that "auto" stands for in a set of `count` pictures."""
        if self.how != AUTO:
            return self
        if count <= _EXHAUSTIVE_UP_TO:
            return replace(self, how=EXHAUSTIVE)
        if is_video:
            doublings = self.doublings or _AUTO_DOUBLINGS
            return replace(self, how=SEQUENTIAL, overlap=min(self.overlap, _AUTO_OVERLAP), doublings=doublings)
        return replace(self, how=RETRIEVAL, neighbours=min(self.neighbours, _AUTO_NEIGHBOURS))


def select_pairs(
    choice: PairChoice,
    names: Sequence[str],
    ids: Sequence[int],
    store: FeatureStore,
    compute: Compute,
    progress: Progress,
) -> PairSelector:
    """The selector of a resolved choice.

    Args:
        choice: resolved, so not "auto".
        names: of the set's pictures.
        ids: of them in the store, which has their features.
        store: for the descriptors that retrieval compares.
        compute: where it does so.
        progress: told of retrieval.

    Raises:
        InputError: a file or folder does not fit the set.
        FormatError: a file holds something else.
    """
    if choice.how == EXHAUSTIVE:
        return Exhaustive()
    if choice.how == POSES and choice.poses is not None:
        return _posed(choice.poses, choice, names)
    if choice.how not in CHOICES:
        return read_pair_list(choice.how, names)
    options = RetrievalOptions(top_k=choice.neighbours, vocabulary=VocabularyOptions(seed=choice.seed))
    if choice.how == SEQUENTIAL and len(names) <= _SPANS * choice.overlap:
        return Sequential(choice.overlap, doublings=choice.doublings)
    alike = retrieve(StoredDescriptors(store, ids), compute, options, progress)
    if choice.how == SEQUENTIAL:
        return Sequential(
            choice.overlap,
            doublings=choice.doublings,
            loop_every=_LOOP_EVERY,
            loop_candidates=choice.overlap,
            neighbours=alike,
        )
    return Ranked(alike)


def _posed(folder: Path, choice: PairChoice, names: Sequence[str]) -> PairSelector:
    posed = read_posed_pictures(folder)
    by_name = {picture.file.name: picture for picture in posed.pictures}
    missing = [name for name in names if Path(name).name not in by_name]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{folder}: has no pose of {missing[0]}{more}")
    chosen = [by_name[Path(name).name] for name in names]
    poses = np.stack([picture.cam_from_world for picture in chosen])
    return Ranked(pose_neighbours(poses, [picture.camera for picture in chosen], PoseOptions(top_k=choice.neighbours)))

"""What matching gives for a set of pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SET_SCHEMA = "cv3d.match_set/1"
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SetPicture:
    """One picture of a set."""

    name: str
    size: tuple[int, int] | None
    """Width and height, pixels; None where it could not be read."""
    keypoints: int
    neighbours: int
    """Pictures that it makes a verified pair with."""
    reason: str
    """Why it was left out, or stands alone; empty where it does neither."""
    image_id: int | None
    """In the store; None where it could not be read."""


@dataclass(frozen=True, eq=False)
class SetMatch:
    """A set of pictures matched, in a store."""

    store: Path
    """The feature store, a database that COLMAP opens."""
    pictures: tuple[SetPicture, ...]
    """In the order of the inputs."""
    choice: str
    """How pairs were chosen: "exhaustive", "sequential", "retrieval", "poses", or a file."""
    planned: int
    """Pairs that were looked at."""
    computed: int
    """Of them, those that this run matched; the store held the others."""
    edges: Ints
    """Verified pairs, (e, 2), places in `pictures`, ascending."""
    inliers: Ints
    """Verified matches of each, (e,)."""
    is_learned: NDArray[np.bool_]
    """Whether the learned matcher found them, (e,)."""
    methods: dict[str, int]
    """How many pairs each matcher's answer was taken for, and how many were unrelated."""
    tracks: int
    """Points that two or more pictures show, after refinement; 0 where nothing was refined."""
    refined: int
    """Keypoints that refinement moved."""
    extractor: str
    seed: int
    seconds: dict[str, float]
    """Of extract, match, learn, refine; of this run."""
    warnings: tuple[str, ...] = field(default=())

    @property
    def used(self) -> tuple[SetPicture, ...]:
        """The pictures that could be read."""
        return tuple(picture for picture in self.pictures if picture.image_id is not None)

    def components(self) -> list[list[int]]:
        """Places of pictures that hang together by verified pairs, largest group first; lone pictures are their own."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        count = len(self.pictures)
        ones = np.ones(len(self.edges), dtype=np.int8)
        graph = coo_array((ones, (self.edges[:, 0], self.edges[:, 1])), shape=(count, count))
        labels = connected_components(graph.tocsr(), directed=False)[1]
        groups: dict[int, list[int]] = {}
        for place, label in enumerate(labels.tolist()):
            if self.pictures[place].image_id is not None:
                groups.setdefault(label, []).append(place)
        return sorted(groups.values(), key=lambda group: (-len(group), group[0]))

    def as_result(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        groups = self.components()
        return {
            "schema": SET_SCHEMA,
            "extractor": self.extractor,
            "pictures": len(self.pictures),
            "used": len(self.used),
            "left_out": [
                {"picture": picture.name, "reason": picture.reason}
                for picture in self.pictures
                if picture.image_id is None
            ],
            "alone": [
                {"picture": self.pictures[group[0]].name, "reason": self.pictures[group[0]].reason}
                for group in groups
                if len(group) == 1
            ],
            "keypoints": sum(picture.keypoints for picture in self.pictures),
            "choice": self.choice,
            "pairs": {
                "planned": self.planned,
                "computed": self.computed,
                "verified": len(self.edges),
                "unverified": self.planned - len(self.edges),
                **self.methods,
            },
            "inliers": int(self.inliers.sum()),
            "components": [len(group) for group in groups],
            "tracks": self.tracks,
            "refined": self.refined,
            "store": str(self.store),
            "seed": self.seed,
            "seconds": {stage: round(taken, 3) for stage, taken in self.seconds.items()},
            "warnings": list(self.warnings),
        }

    def sentence(self) -> str:
        """What was found, in one sentence."""
        groups = self.components()
        used, total = len(self.used), len(self.pictures)
        pictures = f"{total} pictures" if used == total else f"{used} of {total} pictures"
        pairs = f"{len(self.edges)} of {self.planned} pairs verified"
        if not groups:
            return f"{pictures}: nothing to match"
        if len(groups) == 1:
            return f"{pictures}, {pairs}: all hang together"
        alone = sum(len(group) == 1 for group in groups)
        parts = [f"the largest group has {len(groups[0])}"]
        if alone:
            parts.append(f"{alone} {'is' if alone == 1 else 'are'} alone")
        return f"{pictures}, {pairs}: {len(groups)} groups, {', '.join(parts)}"

    def __str__(self) -> str:
        return self.sentence()

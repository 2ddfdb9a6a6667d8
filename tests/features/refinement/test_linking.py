"""Tracks: connected by matches, never twice in a picture."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cv3d.features.refinement.linking import link_matches


def linked(counts: list[int], matches: dict[tuple[int, int], list[tuple[int, int]]], support: list[float]) -> list[int]:
    rows = [np.array(m, dtype=np.int64).reshape(-1, 2) for m in matches.values()]
    return link_matches(counts, list(matches), rows, support).tracks.tolist()


def test_matches_that_meet_make_one_track() -> None:
    assert linked([2, 2, 2], {(0, 1): [(0, 1)], (1, 2): [(1, 0), (0, 1)]}, [1, 1]) == [0, -1, 1, 0, 0, 1]


def test_no_matches_make_no_tracks() -> None:
    assert linked([2, 0, 1], {}, []) == [-1, -1, -1]
    assert linked([2, 0, 1], {(0, 2): []}, [3]) == [-1, -1, -1]
    links = link_matches([], [], [], [])
    assert (links.track_count, len(links.edges), len(links.tracks)) == (0, 0, 0)


def test_the_better_supported_pair_wins_a_conflict() -> None:
    # Keypoint 0 of picture 1 is matched with 0 of picture 0, and over picture 2 with 1 of picture 0.
    matches = {(0, 1): [(0, 0)], (1, 2): [(0, 0)], (0, 2): [(1, 0)]}
    assert linked([2, 1, 1], matches, [10, 5, 1]) == [0, -1, 0, 0]
    assert linked([2, 1, 1], matches, [1, 5, 10]) == [-1, 0, 0, 0]
    links = link_matches([2, 1, 1], list(matches), [np.array(m) for m in matches.values()], [10, 5, 1])
    assert links.kept.tolist() == [True, True, False]
    assert links.edges.tolist() == [[0, 2], [2, 3]]


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 6))
def test_no_track_is_twice_in_a_picture(seed: int, pictures: int, points: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(pictures) for j in range(i + 1, pictures)]
    matches = []
    for _ in pairs:
        size = int(rng.integers(0, points + 1))
        matches.append(np.stack([rng.permutation(points)[:size], rng.permutation(points)[:size]], axis=1))
    links = link_matches([points] * pictures, pairs, matches, [len(m) for m in matches])
    picture = links.pictures()
    for track in range(links.track_count):
        members = np.flatnonzero(links.tracks == track)
        assert len(members) >= 2
        assert len(set(picture[members])) == len(members)
    assert (links.tracks[links.edges[:, 0]] == links.tracks[links.edges[:, 1]]).all()
    assert links.kept.sum() == len(links.edges)

"""Pictures of matched pairs, and how view graphs are laid out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cv3d.errors import OutputError, UsageError
from cv3d.reporting.graph_layout import coarsened, merged_edges, packed, stress_layout, telling_edges
from cv3d.reporting.match_figures import SUFFIXES, check_plot_name, draw_pair
from cv3d.reporting.match_lines import hues, place_pair, spread_out

SIZES = {"wide": (1600, 900), "tall": (300, 1200), "square": (64, 64), "sliver": (2000, 40)}


@pytest.mark.parametrize("first", SIZES)
@pytest.mark.parametrize("second", SIZES)
def test_both_pictures_lie_on_the_canvas_and_keep_their_shape(first: str, second: str) -> None:
    sizes = SIZES[first], SIZES[second]
    placement = place_pair(*sizes)
    assert max(placement.size) <= 1.0 + 1e-9
    boxes = []
    for side, (width, height) in enumerate(sizes):
        corners = placement.place(side, np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]]))
        assert (corners >= -1e-9).all()
        assert (corners <= np.array(placement.size) + 1e-9).all()
        extent = corners[1] - corners[0]
        assert extent[0] / extent[1] == pytest.approx(width / height)
        boxes.append(corners)
    # One ends before the other starts.
    assert (boxes[0][1] <= boxes[1][0]).any()


@pytest.mark.parametrize(
    "suffix", [pytest.param(s, marks=pytest.mark.slow if s in (".jpeg", ".jpg") else ()) for s in SUFFIXES]
)
def test_a_plot_is_written_in_every_format_and_the_same_twice(
    suffix: str, pair_maker: Any, noise: Any, tmp_path: Path
) -> None:
    result = pair_maker(matches=90, names=("$x_1$.png", "文\n\udcff.png"))
    for name in ("a", "b"):
        draw_pair(result, noise((160, 120)), noise((120, 160), channels=1), tmp_path / f"{name}{suffix}")
    content = (tmp_path / f"a{suffix}").read_bytes()
    assert content == (tmp_path / f"b{suffix}").read_bytes()
    start = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}.get(suffix, b"\xff\xd8\xff")
    assert content.startswith(start)
    assert not list(tmp_path.glob(".*"))


def test_a_plot_shows_the_pictures_and_lines(pair_maker: Any, tmp_path: Path) -> None:
    result = pair_maker()
    dark, light = np.full((120, 160), 40, np.uint8), np.full((160, 120, 3), 200, np.uint8)
    draw_pair(result, dark, light, tmp_path / "lines.png")
    draw_pair(pair_maker(matches=0, verified=False), dark, light, tmp_path / "plain.png")
    lines, plain = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("lines", "plain"))
    assert lines.shape == plain.shape
    for shade in (40, 200):
        assert (plain == shade).all(axis=2).mean() > 0.2
    # Grey pictures have no colour, lines have.
    assert (np.ptp(plain.astype(int), axis=2) > 60).mean() == 0.0
    assert 0.002 < (np.ptp(lines.astype(int), axis=2) > 60).mean() < 0.5


def test_unknown_endings_and_places_are_refused(pair_maker: Any, noise: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--plot 'x\.gif'.*\.png"):
        check_plot_name("x.gif")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        draw_pair(pair_maker(), noise((160, 120)), noise((120, 160)), tmp_path / "file" / "x.png")


def test_what_is_chosen_is_spread_out() -> None:
    rng = np.random.default_rng(2)
    crowd = rng.normal(0.0, 0.01, (500, 2))
    corners = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    points = np.concatenate([crowd, corners])
    chosen = spread_out(points, 8)
    assert len(set(chosen.tolist())) == 8
    assert {500, 501, 502, 503} <= set(chosen.tolist())
    assert np.array_equal(spread_out(points, 600), np.arange(504))
    assert len(spread_out(points[:0], 5)) == 0
    assert len(spread_out(np.zeros((9, 2)), 4)) == 4


def test_neighbours_have_like_hues() -> None:
    points = np.array([[0.0, 50.0], [0.0, 52.0], [99.0, 50.0]])
    first, second, opposite = hues(points, (100, 100)).tolist()
    apart = [min(abs(first - other), 1.0 - abs(first - other)) for other in (second, opposite)]
    assert apart[0] < 0.02
    assert apart[1] > 0.4


def test_a_ring_is_laid_out_as_a_ring() -> None:
    count = 24
    edges = np.array([[i, (i + 1) % count] for i in range(count)])
    places = stress_layout(count, edges, np.full(count, 100.0))
    radius = np.hypot(*(places - places.mean(axis=0)).T)
    assert radius.std() < 0.05 * radius.mean()
    steps = np.hypot(*(places - np.roll(places, -1, axis=0)).T)
    assert steps.std() < 0.05 * steps.mean()
    assert np.array_equal(places, stress_layout(count, edges, np.full(count, 100.0)))


def test_strong_edges_are_short_and_nodes_apart() -> None:
    edges = np.array([[0, 1], [1, 2], [2, 3], [0, 2], [1, 3], [0, 3]])
    places = stress_layout(4, edges, np.array([900.0, 30.0, 900.0, 30.0, 30.0, 30.0]))
    lengths = np.hypot(*(places[edges[:, 0]] - places[edges[:, 1]]).T)
    assert max(lengths[0], lengths[2]) < 0.8 * lengths[[1, 3, 4, 5]].min()
    same = stress_layout(40, np.array([(i, j) for i in range(40) for j in range(i)]), np.ones(780))
    apart = np.sqrt(((same[:, None] - same[None]) ** 2).sum(axis=2)) + np.eye(40)
    assert apart.min() > 0.02
    assert np.array_equal(stress_layout(1, edges[:0], np.zeros(0)), np.zeros((1, 2)))


def test_coarsening_keeps_groups_apart_and_support_whole() -> None:
    rng = np.random.default_rng(4)
    edges = np.array([(i, i + 1) for i in range(199) if i != 99])
    weights = rng.uniform(15.0, 900.0, len(edges))
    labels = coarsened(200, edges, weights, 50)
    assert set(labels.tolist()) == set(range(50))
    assert not set(labels[:100].tolist()) & set(labels[100:].tolist())
    merged, added = merged_edges(labels, edges, weights)
    inside = labels[edges[:, 0]] == labels[edges[:, 1]]
    assert added.sum() == pytest.approx(weights[~inside].sum())
    assert (merged[:, 0] < merged[:, 1]).all()
    assert len(set(coarsened(200, edges, weights, 1).tolist())) == 2
    assert np.array_equal(coarsened(200, edges, weights, 200), np.arange(200))


def test_the_edges_that_are_drawn_hold_the_graph_together() -> None:
    rng = np.random.default_rng(6)
    edges = np.array([(i, j) for i in range(40) for j in range(i + 1, 40)])
    weights = rng.integers(15, 40, len(edges)).astype(float)
    weights[(edges == 39).any(axis=1)] = 1.0
    kept = telling_edges(40, edges, weights, 100)
    assert len(kept) == 100
    assert (edges[kept] == 39).any()
    reached, grown = {0}, True
    while grown:
        new = {end for edge in edges[kept].tolist() if reached & set(edge) for end in edge} - reached
        reached, grown = reached | new, bool(new)
    assert len(reached) == 40
    assert np.array_equal(telling_edges(40, edges, weights, 5000), np.arange(len(edges)))


def test_boxes_are_within_the_area_and_do_not_overlap() -> None:
    sizes = [(5.0, 3.0), (2.0, 2.0), (2.0, 1.0), (1.0, 1.0), (0.5, 0.7)]
    places, scale = packed(sizes, 600.0, 400.0)
    boxes = [(x, y, x + scale * w, y + scale * h) for (x, y), (w, h) in zip(places, sizes, strict=True)]
    for left, top, right, bottom in boxes:
        assert min(left, top) >= -1e-6
        assert right <= 600.0 + 1e-6
        assert bottom <= 400.0 + 1e-6
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            apart = one[0] >= other[2] - 1e-6 or other[0] >= one[2] - 1e-6
            assert apart or one[1] >= other[3] - 1e-6 or other[1] >= one[3] - 1e-6

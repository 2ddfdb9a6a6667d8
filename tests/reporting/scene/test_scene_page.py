"""The report of a reconstruction: whole, offline, bounded, and it says of every picture what became of it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cv3d.mapping.scene import LeftOut, ScaleSource, Scene
from cv3d.reconstruction.scene import as_dense
from cv3d.reporting.dense_files import dense_result
from cv3d.reporting.scene_figures import track_lengths, triangulation_angles
from cv3d.reporting.scene_files import write_scene
from cv3d.reporting.scene_page import scene_page
from cv3d.reporting.scene_pictures import MOST_THUMBNAILS, hand_over
from cv3d.reporting.scene_summary import scene_result
from cv3d.reporting.scenes.plotly_scene import plotly_library

from ...simulated_scene import BROWN, PINHOLE, oriented_only, simulated_clip, simulated_model, simulated_scene

LIBRARY = len(plotly_library().encode())


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.pictures: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag not in ("meta", "br", "img", "input", "hr", "col"):
            self.open.append(tag)
        self.ids += [known["id"] or ""] if "id" in known else []
        href = known.get("href") or ""
        self.links += [href[1:]] if href.startswith("#") else []
        source = known.get("src") or ""
        if tag == "img":
            self.pictures.append(known.get("alt") or "")
        self.loaded += [source] if source and not source.startswith("data:") else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def rendered(scene: Scene, out: Path, **options: Any) -> str:
    write_scene(scene, out, **options)
    return (out / "report.html").read_text()


def plain(text: str) -> str:
    """The page without scripts and packed pictures."""
    return re.sub(r"<script>.*?</script>|data:[^\"]*", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("kind", ["one", "two", "clip", "turned", "nothing", "many cameras"])
def test_the_page_is_whole_and_loads_nothing(kind: str, tmp_path: Path) -> None:
    scene = {
        "one": lambda: simulated_scene(tmp_path / "in", (6,), left_out=()),
        "two": lambda: simulated_scene(tmp_path / "in", (6, 4)),
        "clip": lambda: simulated_clip(tmp_path / "clip.mp4"),
        "turned": lambda: oriented_only(simulated_scene(tmp_path / "in", (6,))),
        "nothing": lambda: simulated_scene(tmp_path / "in", ()),
        "many cameras": lambda: simulated_scene(tmp_path / "in", (8,), (BROWN, PINHOLE) * 4),
    }[kind]()
    text = rendered(scene, tmp_path / "out", title="a <b>scene")
    page = Page(text)
    assert page.open == []
    assert page.loaded == []
    assert len(page.ids) == len(set(page.ids))
    assert set(page.links) <= set(page.ids)
    assert 'http-equiv="Content-Security-Policy"' in text
    assert not re.search(r"\b(nan|inf|None)\b", plain(text))
    assert "a <b>scene" not in plain(text)
    for one in scene.left_out:
        assert one.reason in text
        assert one.advice in text
    assert set(page.pictures) == {image.picture.name for model in scene.models for image in model.images}


def test_a_scene_in_parts_has_a_switch(tmp_path: Path) -> None:
    text = rendered(simulated_scene(tmp_path / "in", (6, 4, 3)), tmp_path / "out")
    assert text.count('name="shown-model"') == 3
    assert [number for number in range(4) if f'id="space{number}"' in text] == [0, 1, 2]
    assert 'name="shown-model"' not in rendered(simulated_scene(tmp_path / "in", (6,)), tmp_path / "out")


def test_pictures_that_were_left_out_are_shown_where_they_can_be_read(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path / "in", (4,))
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    text = rendered(scene, tmp_path / "out", load=lambda name: noise if name == "elsewhere.jpg" else None)
    assert "elsewhere.jpg" in Page(text).pictures
    assert text.count("no picture to show") == 2


def test_contradicted_pairs_are_named(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path / "in", (6,))
    text = plain(rendered(scene, tmp_path / "out"))
    (index,) = np.flatnonzero(~scene.graph.used)
    a, b = (scene.graph.names[place] for place in scene.graph.pairs[index])
    assert "1 of them contradicted" in text
    assert re.search(rf"{a}</td><td>\d+: {b}</td>", text)
    clean = replace(scene, graph=replace(scene.graph, used=np.ones_like(scene.graph.used)))
    assert "0 of them contradicted" in plain(rendered(clean, tmp_path / "out"))


def test_lengths_have_a_unit_where_the_scale_is_known(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path / "in", (4,))
    assert '"text":"x"' in rendered(scene, tmp_path / "out")
    metric = rendered(replace(scene, scale=ScaleSource.BOARD, is_upright=True), tmp_path / "out")
    assert '"text":"x, m"' in metric
    assert "by the board in the pictures; z is up" in metric


def test_the_page_says_the_same_in_every_run(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path / "in", (5, 3))
    assert rendered(scene, tmp_path / "out") == rendered(scene, tmp_path / "out")


def test_angles_and_track_lengths_are_those_of_the_points(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path / "in", (6,), points=12)
    model = scene.models[0]
    lengths, angles = [], []
    for index, point in enumerate(model.points):
        seen = [image for image in model.images if index in image.points]
        rays = [point - np.linalg.inv(image.cam_from_world)[:3, 3] for image in seen]
        rays = [ray / np.linalg.norm(ray) for ray in rays]
        lengths.append(len(seen))
        angles.append(max(np.degrees(np.arccos(np.clip(a @ b, -1.0, 1.0))) for a in rays for b in rays))
    np.testing.assert_array_equal(track_lengths(scene), lengths)
    np.testing.assert_allclose(triangulation_angles(scene), angles, atol=1e-6)


@pytest.mark.slow
def test_a_large_set_makes_no_large_page(tmp_path: Path) -> None:
    """A thousand pictures, of which a fifth was left out, and 300,000 points."""
    small = simulated_scene(tmp_path / "in", (4,))
    picture = small.models[0].images[0].picture
    pictures = [replace(picture, name=f"{number}.jpg") for number in range(800)]
    few = simulated_model(pictures, points=20)
    points = np.random.default_rng(1).normal(0.0, 1.0, (300_000, 3))
    colors = np.zeros((300_000, 3), np.uint8)
    model = replace(few, points=np.concatenate([few.points, points]), colors=np.concatenate([few.colors, colors[20:]]))
    model = replace(model, points=model.points[: len(model.colors)], errors=np.zeros(len(model.colors)))
    left_out = tuple(LeftOut(f"bad {number}.jpg", "blurred", "hold still") for number in range(200))
    names = (*(one.name for one in pictures), *(one.name for one in left_out))
    pairs = np.array([(a, b) for a in range(800) for b in range(a + 1, min(a + 12, 800))], np.intp)
    graph = replace(
        small.graph, names=names, pairs=pairs, inliers=np.full(len(pairs), 50), used=np.arange(len(pairs)) % 7 > 0
    )
    scene = replace(small, models=(model,), left_out=left_out, graph=graph)
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    thumbnails = hand_over(scene, tmp_path / "out", lambda _: noise).thumbnails
    assert len(thumbnails) == MOST_THUMBNAILS
    assert all(one.name in thumbnails for one in left_out)
    dense = as_dense(scene)
    text = scene_page(dense, scene_result(scene) | dense_result(dense), thumbnails)
    assert len(text.encode()) - LIBRARY < 11_000_000
    assert "400 more are not shown here" in text
    assert "<summary>400 pictures</summary>" in text

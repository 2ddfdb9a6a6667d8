from __future__ import annotations

import base64
import html
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import cv2
import numpy as np
import pytest

from cv3d.calibration.quality import Level
from cv3d.calibration.rig.result import RigCalibration
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.reporting.rectified_example import rectify_pair
from cv3d.reporting.report_parts import MOST_REJECTED
from cv3d.reporting.rig_figures import MOST_BOARDS, frame_states, rig_drawings, shared_frames
from cv3d.reporting.rig_page import MOST_RIG_VIEWS, rig_page
from cv3d.reporting.rig_place import place_of

Make = Callable[..., Any]

VOID = {"meta", "br", "wbr", "hr", "img", "input", "col"}
HOSTILE = ("<b>left & co", 'cam "2"')


class Document(HTMLParser):
    """A page taken apart; elements that are not closed in order are an error."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())


def assert_sound(page: str) -> Document:
    """The page parses, loads nothing, runs nothing, and every reference within it has its target."""
    document = Document(page)
    names = {tag for tag, _ in document.elements}
    assert not names & {"script", "link", "iframe", "object", "embed", "form"}
    ids = Counter(attributes["id"] for _, attributes in document.elements if attributes.get("id"))
    assert max(ids.values()) == 1
    for _, attributes in document.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src"):
            target = attributes.get(name)
            assert target is None or target.startswith("data:image/") or target.removeprefix("#") in ids
    assert "://" not in page.replace("http://www.w3.org/", "")
    for reference in re.findall(r"url\(#([^)]*)\)", page):
        assert reference in ids
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page).lower().replace("determinant", "")
    return document


def render(calibration: RigCalibration) -> str:
    return rig_page(calibration, "<rig>", rectify_pair(calibration))


def jpegs(page: str) -> list[np.ndarray]:
    encoded = re.findall(r"data:image/jpeg;base64,([^\"]*)", page)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(e), np.uint8), cv2.IMREAD_GRAYSCALE) for e in encoded]


@pytest.fixture(scope="module")
def pair(make_rig: Make) -> RigCalibration:
    return make_rig(names=HOSTILE, warp=True)


@pytest.fixture(scope="module")
def ring(make_rig: Make) -> RigCalibration:
    names = ("front", "right", "back", "left")
    lenses = [make_rig.wide, make_rig.brown5, make_rig.brown4, make_rig.brown4]
    return make_rig(make_rig.ring(4), names, lenses, frames=12, held=(1,), times=True, square_m=None)


@pytest.fixture(scope="module")
def pair_page(pair: RigCalibration) -> str:
    return render(pair)


@pytest.fixture(scope="module")
def ring_page(ring: RigCalibration) -> str:
    return render(ring)


def test_a_pair_has_a_sound_page(pair: RigCalibration, pair_page: str) -> None:
    document = assert_sound(pair_page)
    sections = [attributes["id"] for tag, attributes in document.elements if tag == "section"]
    assert sections == ["rig", "pairs", "frames", "camera-0", "camera-1", "views", "rejected", "warp"]
    for name in HOSTILE:
        assert name in document.words
        assert html.escape(name) in pair_page
    assert "<b>left" not in pair_page
    assert pair.warnings[0] in document.words
    for view in pair.views:
        assert not view.reason or view.reason.removeprefix(f"{view.name}: ") in document.words


def test_four_cameras_have_a_sound_page(ring: RigCalibration, ring_page: str) -> None:
    document = assert_sound(ring_page)
    for item in ring.cameras:
        assert document.words.count(item.name) >= 4
    assert "held" in document.words
    assert "through right, back" in document.words
    assert "x, squares" in document.words


def test_the_same_rig_gives_the_same_page(pair: RigCalibration, pair_page: str) -> None:
    assert render(pair) == pair_page


@pytest.mark.parametrize("name", ["pair", "ring"])
def test_every_drawing_names_every_camera_once(name: str, request: pytest.FixtureRequest) -> None:
    calibration: RigCalibration = request.getfixturevalue(name)
    drawings = rig_drawings(calibration)
    assert len(drawings) == 4
    for drawn in drawings:
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn.drawing)
        for item in calibration.cameras:
            assert texts.count(html.escape(item.name)) == 1


def test_labels_do_not_cover_each_other(ring: RigCalibration) -> None:
    for drawn in rig_drawings(ring):
        places = re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*font-weight:700[^>]*>([^<]*)<', drawn.drawing)
        assert len(places) == 4
        boxes = [(float(x), float(y), 3.8 * len(name)) for x, y, name in places]
        for i, (x, y, half) in enumerate(boxes):
            for other_x, other_y, other_half in boxes[:i]:
                assert abs(x - other_x) >= half + other_half or abs(y - other_y) >= 13.0


def test_of_many_boards_some_are_drawn(make_rig: Make) -> None:
    calibration = make_rig(frames=MOST_BOARDS + 9, rejected=False)
    outlines = re.search(r'd="(M[^"]*)" fill="var\(--mute\)"', rig_drawings(calibration)[0].drawing)
    assert outlines is not None
    assert outlines.group(1).count("M") == MOST_BOARDS


def test_frames_in_common_are_those_of_the_pairs(ring: RigCalibration) -> None:
    counts = shared_frames(ring)
    assert (counts == counts.T).all()
    seen = {(pair.first, pair.second): pair.frames for pair in ring.pairs}
    for first in range(4):
        assert counts[first, first] == len(ring.used_views(first))
        for second in range(first + 1, 4):
            assert counts[first, second] == seen.get((first, second), 0)


def test_states_tell_what_became_of_every_picture(pair: RigCalibration) -> None:
    states = frame_states(pair)
    assert states.shape == (2, len(pair.frames))
    assert (states == 3).sum() == sum(view.used for view in pair.views)
    assert states[1, 2] == 2
    assert (frame_states(replace(pair, views=()))).sum() == 0


def test_the_rectified_example_shows_both_pictures_with_counterparts_on_its_lines(
    pair: RigCalibration, pair_page: str
) -> None:
    rectification = rectify_pair(pair)
    assert rectification is not None
    assert rectification.rectified is not None
    width, height = rectification.rectified.view.width, rectification.rectified.view.height
    shown = [picture for picture in jpegs(pair_page) if picture.shape == (round(620 * height / width), 620)]
    assert len(shown) == 2
    figure = pair_page[pair_page.index("Rectified pair</h3>") :]
    figure = figure[: figure.index("</figure>")]
    lines = re.findall(r"M0 ([\d.]+)l([\d.]+) (-?[\d.]+)", figure)
    assert len(lines) >= 5
    assert all(float(down) == 0.0 and float(across) > 1200.0 for _, across, down in lines)
    dots = [
        [float(y) for y in re.findall(r"M[\d.]+ ([\d.]+)h\.01", d)] for d in re.findall(r'd="(M[^"]*h\.01)"', figure)
    ]
    rows = sorted(float(y) for y, _, _ in lines)
    assert len(dots) == 2
    for own in dots:
        np.testing.assert_allclose(sorted(own), rows, atol=1.0)
    # Noise of 0.1 px and nothing else.
    mean = re.search(r"differ by ([\d.]+) px", figure)
    assert mean is not None
    assert float(mean.group(1)) < 0.4


def test_a_pair_that_cannot_be_rectified_says_why(make_rig: Make) -> None:
    behind = np.eye(4)
    behind[2, 3] = 0.4
    page = render(make_rig([np.eye(4), behind], frames=4))
    assert_sound(page)
    assert "The pair cannot be rectified: one camera is in front of the other" in page


def test_more_than_two_cameras_are_not_rectified(ring: RigCalibration) -> None:
    assert rectify_pair(ring) is None


def test_what_is_not_determined_is_said_so(make_rig: Make) -> None:
    calibration = make_rig(level=Level.UNOBSERVABLE, frames=4)
    unknown = np.full((6, 6), math.nan)
    second = replace(calibration.cameras[1], pose_covariance=unknown, rms_px=math.nan)
    pairs = tuple(
        replace(p, epipolar_px=math.nan, epipolar_rms_px=math.nan, baseline_std=math.nan) for p in calibration.pairs
    )
    document = assert_sound(render(replace(calibration, cameras=(calibration.cameras[0], second), pairs=pairs)))
    assert "unobservable" in document.words
    assert document.words.count("not determined") >= 9


def test_a_camera_of_which_nothing_was_used_still_has_its_section(pair: RigCalibration) -> None:
    views = tuple(
        replace(view, reason="no board found", residuals=np.full_like(view.residuals, math.nan))
        if view.camera
        else view
        for view in pair.views
    )
    document = assert_sound(render(replace(pair, views=views, pairs=())))
    assert "None of its pictures took part in the fit." in document.words


def test_pictures_that_cannot_be_read_any_more_leave_gaps(pair: RigCalibration) -> None:
    views = tuple(replace(view, picture=replace(view.picture, readable=False)) for view in pair.views)
    page = render(replace(pair, views=views))
    assert_sound(page)
    assert not jpegs(page)


def test_a_page_of_many_frames_is_bounded(make_rig: Make) -> None:
    calibration = make_rig(make_rig.ring(4), ("a", "b", "c", "d"), frames=90)
    page = render(calibration)
    assert_sound(page)
    assert len(page) < 8_000_000
    assert len(jpegs(page)) <= MOST_RIG_VIEWS + MOST_REJECTED + 4
    shown = re.findall(r'class="gallery"', page)
    assert len(shown) == 5


def test_a_place_is_the_geometry_s(make_rig: Make, ring: RigCalibration) -> None:
    metric = make_rig(make_rig.ring(4), ("a", "b", "c", "d"), frames=2)
    # On a circle of radius 1.4 m, 60 degrees apart, each 0.1 m lower than the one before.
    place = place_of(metric.cameras[1])
    assert place.distance == pytest.approx(math.hypot(1.4, 0.1), rel=1e-9)
    assert place.angle_deg == pytest.approx(60.0, abs=0.2)
    np.testing.assert_allclose(place.centre, inverse_rigid(metric.cameras[1].cam_from_cam0)[:3, 3], atol=1e-12)
    assert place_of(ring.cameras[0]).distance == 0.0
    assert place_of(ring.cameras[0]).distance_std == 0.0


def test_the_deviation_of_a_distance_is_that_of_perturbed_poses(make_rig: Make) -> None:
    item = make_rig(frames=2).cameras[1]
    root = np.random.default_rng(5).normal(0.0, 1e-4, (6, 6))
    item = replace(item, pose_covariance=root @ root.T)
    draws = np.random.default_rng(6).multivariate_normal(np.zeros(6), item.pose_covariance, 4000)
    translation = item.cam_from_cam0[:3, 3]
    moved = [cv2.Rodrigues(draw[:3])[0] @ translation + draw[3:] for draw in draws]
    spread = np.linalg.norm(np.array(moved), axis=1).std()
    assert place_of(item).distance_std == pytest.approx(spread, rel=0.06)

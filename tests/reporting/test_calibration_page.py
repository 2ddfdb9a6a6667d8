from __future__ import annotations

import base64
import html
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.framing import AS_IS, Framing, framings
from cv3d.calibration.quality import Coverage, Level, Tilt, UncertaintyMap, Verdict, coverage
from cv3d.calibration.result import Calibration, Seconds, View, Warp
from cv3d.calibration.selection import ModelScore
from cv3d.errors import PictureError
from cv3d.geometry.cameras.camera import Camera
from cv3d.media.decode import Pixels
from cv3d.reporting.calibration_page import MOST_REJECTED, MOST_VIEWS, calibration_page
from cv3d.reporting.page import number, tag, with_sigma

BROWN = Camera("brown5", 640, 480, (535.9, 536.2, 342.3, 235.5, -0.265, -0.047, 0.0018, -0.0003, 0.252))
FISHEYE = Camera("kannala_brandt4", 640, 720, (247.0, 247.5, 318.0, 361.0, 0.05, -0.012, 0.004, -0.001))
PINHOLE = Camera("pinhole", 480, 640, (600.0, 600.0, 239.5, 319.5))
BOARD = Board(BoardType.CHECKERBOARD, rows=6, cols=9, square_m=0.025)


@dataclass(frozen=True)
class Drawn:
    """A made-up picture: soft texture, moderately noisy, the same for the same name."""

    name: str
    camera: Camera | None
    """The camera whose size it has; None: it cannot be read."""

    def digest(self) -> str:
        return self.name

    def read_gray(self) -> Pixels:
        if self.camera is None:
            raise PictureError(f"{self.name}: truncated")
        rng = np.random.default_rng(sum(map(ord, self.name)))
        coarse = rng.uniform(40, 220, (9, 12)).astype(np.float32)
        smooth = cv2.resize(coarse, (self.camera.width, self.camera.height), interpolation=cv2.INTER_CUBIC)
        noisy = np.clip(smooth + rng.normal(0.0, 4.0, smooth.shape), 0, 255).astype(np.uint8)
        return Pixels(noisy, 1, 8)


def gray_of(calibration: Calibration) -> Callable[[str], NDArray[np.uint8] | None]:
    """What a report is handed to read the pictures of `calibration` with."""
    pictures = {view.name: view.picture for view in calibration.views}

    def load(name: str) -> NDArray[np.uint8] | None:
        try:
            return pictures[name].read_gray().array
        except PictureError:
            return None

    return load


def sample(
    camera: Camera = BROWN,
    views: int = 13,
    level: Level = Level.GOOD,
    board: Board = BOARD,
    noise: float = 0.15,
    warp: bool = False,
    rejected: tuple[tuple[str, str], ...] = (),
    seed: int = 7,
) -> Calibration:
    """A calibration of `camera` from `views` simulated pictures, plus rejected ones (name, reason)."""
    rng = np.random.default_rng(seed)
    used = [_view(camera, board, rng, f"img_{k:03d}.jpg", noise) for k in range(views)]
    lost = [_rejected(rng, name, reason, camera, k) for k, (name, reason) in enumerate(rejected)]
    unknown = level is Level.UNOBSERVABLE
    scale = np.array([0.4, 0.4, 0.5, 0.5, *np.full(len(camera.params) - 4, 0.002)])
    covariance = np.diag(scale**2) * (math.nan if unknown else 1.0)
    squares = np.concatenate([(v.residuals[~v.outliers] ** 2).sum(axis=1) for v in used])
    rms = math.sqrt(float(squares.mean()))
    models = tuple(
        ModelScore(name, count, rms * factor, rms * factor * 1.08, words)
        for name, count, factor, words in [
            ("pinhole", 4, 9.1, "worse on held-out views"),
            ("ucm", 5, 1.7, "worse on held-out views"),
            (camera.model, len(camera.params), 1.0, "chosen: the simplest within noise of the best"),
            ("brown12", 16, math.nan, "not one-to-one over the corners seen"),
        ]
    )
    return Calibration(
        camera=camera,
        board=board,
        rms_px=rms,
        holdout_rms_px=math.nan if unknown else rms * 1.08,
        noise_px=rms / math.sqrt(2.0),
        covariance=covariance,
        views=(*used[:2], *lost, *used[2:]),
        models=models,
        warp=Warp((0.0012, -0.0004, 0.0001), (0.00005, 0.00006, 0.00004)) if warp else None,
        uncertainty=_uncertainty(camera, unknown),
        coverage=_coverage(camera, used),
        tilt=Tilt(38.0, 9, 17.2),
        verdict=_verdict(level),
        seconds=Seconds(0.91, 0.34, 1.42),
        seed=seed,
        warnings=("two pictures are 1 pixel wider <than> the others",) if rejected else (),
    )


def pose(rng: np.random.Generator, board: Board, camera: Camera) -> NDArray[np.float64]:
    """A board somewhere in view, (4, 4)."""
    points = board.points_m()
    middle = points.mean(axis=0)
    rotation, _ = cv2.Rodrigues(rng.uniform(-0.55, 0.55, 3))
    extent = float(np.ptp(points, axis=0).max())
    direction = camera.unproject(
        np.array([rng.uniform(0.25, 0.75) * camera.width, rng.uniform(0.25, 0.75) * camera.height])
    )
    cam_from_board = np.eye(4)
    cam_from_board[:3, :3] = rotation
    cam_from_board[:3, 3] = direction * extent * rng.uniform(1.3, 2.6) - rotation @ middle
    return cam_from_board


def _view(camera: Camera, board: Board, rng: np.random.Generator, name: str, noise: float) -> View:
    points = board.points_m()
    while True:
        cam_from_board = pose(rng, board, camera)
        projected = camera.project(points @ cam_from_board[:3, :3].T + cam_from_board[:3, 3])
        inside = ((projected > 0) & (projected < [camera.width - 1, camera.height - 1])).all(axis=1)
        if inside.sum() > 0.7 * len(points):
            break
    ids = np.flatnonzero(inside)
    residuals = rng.normal(0.0, noise, (len(ids), 2))
    outliers = np.zeros(len(ids), bool)
    if rng.uniform() < 0.3:
        outliers[int(rng.integers(len(ids)))] = True
        residuals[outliers] += 25.0 * noise
    framing = AS_IS
    if name.startswith("img_003"):
        (framing,) = framings((camera.width, camera.height), 3, (camera.width, camera.height), 1)
    return View(Drawn(name, camera), "", framing, ids, projected[ids] - residuals, residuals, outliers, cam_from_board)


def _rejected(rng: np.random.Generator, name: str, reason: str, camera: Camera, k: int) -> View:
    count = 0 if k % 2 == 0 else 5
    pixels = rng.uniform(100, 300, (count, 2))
    residuals = np.full((count, 2), math.nan)
    framing = Framing(np.eye(2), np.zeros(2), "")
    return View(
        Drawn(name, None if "truncated" in reason else camera),
        reason,
        framing,
        np.arange(count),
        pixels,
        residuals,
        np.zeros(count, bool),
        None,
    )


def _uncertainty(camera: Camera, unknown: bool) -> UncertaintyMap:
    rows = round(48 * camera.height / camera.width)
    x, y = np.linspace(0, camera.width - 1, 48), np.linspace(0, camera.height - 1, rows)
    radius = np.hypot(*np.meshgrid((x / camera.width - 0.48) * 2, (y / camera.height - 0.53) * 2))
    far = 0.05 + 0.4 * radius**3
    far[radius > 1.32] = math.nan
    if unknown:
        nothing = np.full_like(far, math.nan)
        return UncertaintyMap(x, y, nothing, nothing, math.nan, math.nan, math.nan, math.nan)
    return UncertaintyMap(x, y, far, 0.6 * far, 0.41, 0.06, 0.33, 0.97)


def _coverage(camera: Camera, used: list[View]) -> Coverage:
    return coverage([view.pixels for view in used], camera.width, camera.height)


def _verdict(level: Level) -> Verdict:
    advice = {
        Level.GOOD: ("add pictures with the board in the corners of the image",),
        Level.UNOBSERVABLE: ("add pictures with the board tilted by 20-45 degrees in different directions",),
    }.get(level, ())
    return Verdict(level, f"{level.value}: a point at the image corner is known to 0.97 px (1 sigma)", advice)


VOID = {"meta", "br", "wbr", "hr", "img", "input", "col"}
SECTIONS = ["camera", "uncertainty", "coverage", "residuals", "distortion", "models", "views", "rejected"]
REJECTED = (
    ("<b>bad.jpg", "no board was found in it"),
    ("IMG & 12.png", "its corners do not fit the camera (median 5.11 px, the others 0.20 px)"),
    ("broken.jpg", "truncated: the data stop before the end of <the> picture"),
)


@dataclass
class Document(HTMLParser):
    """A page taken apart; elements that are not closed in order are an error."""

    open: list[str] = field(default_factory=list)
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], []):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def values(self, attribute: str) -> list[str]:
        return [a[attribute] or "" for _, a in self.elements if attribute in a]


def parse(page: str) -> Document:
    document = Document()
    document.feed(page)
    document.close()
    assert document.open == []
    return document


def render(calibration: Calibration, title: str = "left camera") -> str:
    return calibration_page(calibration, gray_of(calibration), title)


def assert_sound(page: str) -> Document:
    """What holds for every page."""
    document = parse(page)
    assert not re.search(r"\b(?:nan|inf|None)\b", " ".join(document.words), re.IGNORECASE)
    numbers = [
        a for name in ("d", "x", "y", "width", "height", "cx", "cy", "r", "style") for a in document.values(name)
    ]
    assert not [text for text in numbers if re.search(r"nan|inf", text)]
    assert "http:" not in page
    assert "https:" not in page
    assert not document.all("script")
    assert not document.all("link")
    for address in document.values("href") + document.values("src"):
        assert address.startswith(("#", "data:image/"))
    ids = Counter(document.values("id"))
    assert [anchor for anchor, count in ids.items() if count > 1] == []
    local = [a[1:] for a in document.values("href") if a.startswith("#")]
    local += re.findall(r"url\(#([^)]*)\)", page)
    assert set(local) <= set(ids)
    for drawing in document.all("svg"):
        assert drawing.get("aria-hidden") == "true" or drawing["aria-label"]
    return document


CASES = {
    "brown": sample(rejected=REJECTED, warp=True),
    "fisheye, unknown scale": sample(FISHEYE, level=Level.USABLE, board=BOARD.with_square(None)),
    "portrait pinhole, unobservable": sample(PINHOLE, views=2, level=Level.UNOBSERVABLE),
    "no noise at all": sample(noise=0.0, views=3, level=Level.POOR),
    "hexagonal dots": sample(board=Board(BoardType.CIRCLES_HEX, 7, 6, 0.01), views=3),
}


@pytest.mark.parametrize("calibration", CASES.values(), ids=CASES)
def test_pages_are_well_formed_and_self_contained(calibration: Calibration) -> None:
    document = assert_sound(render(calibration))
    found = [anchor for anchor in document.values("id") if anchor in (*SECTIONS, "warp")]
    assert found == SECTIONS + (["warp"] if calibration.warp else [])
    assert calibration.verdict.level.value in document.words
    text = " ".join(document.words)
    for name in calibration.camera.lens.param_names:
        assert name in document.words
    for view in calibration.views:
        assert view.name in text


@pytest.mark.parametrize("level", Level)
def test_every_level_has_its_badge(level: Level) -> None:
    document = parse(render(sample(views=2, level=level)))
    assert {"class": f"badge {level.value}"} in document.all("span")


def test_names_reasons_and_titles_are_text_not_markup() -> None:
    calibration = CASES["brown"]
    page = render(calibration, title="<script>alert(1)</script>")
    document = assert_sound(page)
    rejected = page[page.index('id="rejected"') :]
    for name, reason in REJECTED:
        assert html.escape(name) in rejected
        assert html.escape(reason) in rejected
    assert "<b>bad" not in page
    assert "<script>alert(1)</script>" in document.words
    assert calibration.warnings[0] in document.words


def test_a_file_name_that_is_not_unicode_can_be_written() -> None:
    calibration = sample(views=2)
    strange = replace(calibration.views[0], picture=Drawn("caf\udce9.jpg", BROWN))
    page = render(replace(calibration, views=(strange, *calibration.views[1:])))
    assert b"caf\\udce9.jpg" in page.encode("utf-8")


def test_the_same_calibration_gives_the_same_page() -> None:
    assert render(CASES["brown"]) == render(CASES["brown"])


@pytest.mark.slow
def test_a_page_of_300_views_is_bounded() -> None:
    calibration = sample(views=300, rejected=REJECTED * 12)
    asked: list[str] = []
    load = gray_of(calibration)

    def counted(name: str) -> np.ndarray | None:
        asked.append(name)
        return load(name)

    page = calibration_page(calibration, counted, "many")
    document = assert_sound(page)
    assert len(page) < 8_000_000
    assert len(asked) == MOST_VIEWS + MOST_REJECTED
    worst = sorted(calibration.used, key=lambda view: -view.rms_px)[:MOST_VIEWS]
    assert set(asked[:MOST_VIEWS]) == {view.name for view in worst}
    assert all(view.name in document.words for view in calibration.views)


def test_large_noisy_pictures_do_not_swell_the_page() -> None:
    camera = Camera("brown5", 2560, 1920, tuple(v * 4 for v in BROWN.params[:4]) + BROWN.params[4:])
    calibration = sample(camera, views=24)
    noise = np.random.default_rng(1).integers(0, 256, (1920, 2560), np.uint8)
    assert len(calibration_page(calibration, lambda name: noise, "noise")) < 8_000_000


def test_without_a_single_readable_picture_the_page_still_stands() -> None:
    page = calibration_page(CASES["brown"], lambda name: None, "gone")
    document = assert_sound(page)
    assert document.words.count("no picture") == len(CASES["brown"].views)


def test_a_calibration_without_used_views_still_has_its_page() -> None:
    calibration = sample(views=2, level=Level.UNOBSERVABLE, rejected=REJECTED)
    page = render(replace(calibration, views=calibration.rejected, noise_px=math.nan, rms_px=math.nan))
    assert_sound(page)


def shown_pictures(page: str) -> list[np.ndarray]:
    encoded = re.findall(r"data:image/jpeg;base64,([^\"]*)", page)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(e), np.uint8), cv2.IMREAD_GRAYSCALE) for e in encoded]


@pytest.mark.parametrize("own_size", [(640, 480), (480, 640), (1280, 960), (2400, 3200)])
def test_pictures_are_turned_and_scaled_under_their_corners(own_size: tuple[int, int]) -> None:
    calibration = sample(views=2)
    common = (640, 480)
    framing = framings(own_size, 1, common, 1)[0]
    own_from_common = np.linalg.inv(framing.matrix)
    spot = np.array([500.0, 90.0])
    own = own_from_common @ (spot - framing.offset)
    y, x = np.mgrid[0 : own_size[1], 0 : own_size[0]]
    radius = 12.0 * np.sqrt(abs(np.linalg.det(own_from_common)))
    gray = np.where(np.hypot(x - own[0], y - own[1]) < radius, 255, 0).astype(np.uint8)
    view = replace(calibration.views[0], framing=framing)
    changed = replace(calibration, views=(view, calibration.views[1]))
    first = shown_pictures(calibration_page(changed, lambda name: gray if name == view.name else None, "turned"))[0]
    assert first.shape == common[::-1]
    moments = cv2.moments((first > 127).astype(np.uint8), binaryImage=True)
    centre = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    np.testing.assert_allclose(centre, spot, atol=0.25)


def test_the_chosen_model_is_marked() -> None:
    document = parse(render(CASES["brown"]))
    assert [row for row in document.all("tr") if row.get("class") == "chosen"] == [{"class": "chosen"}]


def test_a_warp_is_told_in_millimetres_only_where_the_scale_is_known() -> None:
    known = sample(views=3, warp=True)
    assert "height, mm" in parse(render(known)).words
    assert "1.200" in parse(render(known)).words
    unknown = replace(known, board=known.board.with_square(None))
    assert "height, squares" in parse(render(unknown)).words


def test_a_stretch_is_told_with_and_without_bending() -> None:
    bent = sample(views=3, warp=True)
    assert bent.warp is not None
    both = " ".join(parse(render(replace(bent, warp=replace(bent.warp, stretch=-0.0347, stretch_std=0.0002)))).words)
    assert "3.470 % (± 0.020) longer along its columns than along its rows" in both
    assert "height, squares" in both or "height, mm" in both
    alone = " ".join(parse(render(replace(bent, warp=Warp((0.0,) * 3, (0.0,) * 3, 0.0347, math.nan)))).words)
    assert "(not determined) longer along its rows" in alone
    assert "height, " not in alone
    assert "longer along" not in " ".join(parse(render(bent)).words)


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (math.nan, 3, "–"),
        (math.inf, 3, "∞"),
        (0.0, 3, "0"),
        (0.24531, 3, "0.245"),
        (0.9996, 3, "1.00"),
        (123456.0, 3, "123456"),
        (-0.0012345, 2, "−0.0012"),
        (3.2e-9, 2, "3.2e−09"),
    ],
)
def test_numbers_keep_their_digits(value: float, digits: int, expected: str) -> None:
    assert number(value, digits) == expected


@pytest.mark.parametrize(
    ("value", "sigma", "expected"),
    [
        (535.91234, 0.0831, ("535.912", "0.083")),
        (535.91234, 0.0996, ("535.91", "0.10")),
        (-0.265, 12.0, ("−0", "12")),
        (535.9, 0.0, ("535.900", "held")),
        (535.9, math.nan, ("535.900", "not determined")),
        (1.2346e-9, 2.1e-11, ("1.235e−9", "0.021e−9")),
    ],
)
def test_deviations_set_the_decimals(value: float, sigma: float, expected: tuple[str, str]) -> None:
    assert with_sigma(value, sigma) == expected


def test_text_is_escaped_once_and_markup_is_kept() -> None:
    inner = tag("b", "a<b & 'c'")
    assert tag("p", inner, title='"x"') == '<p title="&quot;x&quot;"><b>a&lt;b &amp; &#x27;c&#x27;</b></p>'

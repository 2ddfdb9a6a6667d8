"""The page that a person reads after the calibration of a rig: how good it is, where its cameras sit, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cv3d.calibration.rig.result import CameraPair, RigCalibration, RigView
from cv3d.reporting.calibration_page import warp_section
from cv3d.reporting.page import Html, figure, joined, number, page, section, table, tag, with_sigma
from cv3d.reporting.rectified_example import PairRectification, rectified_example
from cv3d.reporting.report_parts import (
    MOST_REJECTED,
    bar,
    board_words,
    in_pixels,
    page_footer,
    page_head,
    plus_minus,
    small_note,
    tile,
)
from cv3d.reporting.result_folder import PictureLoader
from cv3d.reporting.rig_camera_section import camera_section
from cv3d.reporting.rig_figures import (
    camera_colour,
    rig_drawings,
    shared_frames,
    timeline_figure,
    timeline_key,
)
from cv3d.reporting.rig_place import place_of
from cv3d.reporting.view_cards import Gallery, gallery_for, legend, reason_of, rejected_card, used_card

MOST_RIG_VIEWS = 36
"""Used views shown with their picture, of all cameras together; of more, those with the largest residuals."""
_ROWS_OPEN = 40
_MOST_NAMES = 12


def rig_page(calibration: RigCalibration, title: str, rectification: PairRectification | None = None) -> str:
    """The calibration of a rig as one self-contained HTML page.

    The page needs no network and runs no script; it is readable on paper, in light and dark, from phone to wide screen.
    The same calibration and pictures give the same text. Pictures are decoded only where they are shown.

    Args:
        calibration: the result.
        title: heads the page; any text.
        rectification: of a pair; it is then shown on one of its frames.

    Returns:
        The document.
    """
    sections = [
        _rig_section(calibration),
        _pair_section(calibration, rectification),
        _frame_section(calibration),
        *(camera_section(calibration, index, _camera_anchor(index)) for index in range(len(calibration.cameras))),
        *_view_sections(calibration),
    ]
    if calibration.warp is not None:
        sections.append(warp_section(calibration.board, calibration.warp))
    foot = page_footer(calibration.seed, calibration.seconds)
    return page(title, [_headline(calibration, title), *sections, foot])


def _camera_anchor(index: int) -> str:
    return f"camera-{index}"


def _unit(calibration: RigCalibration) -> str:
    return "m" if calibration.board.square_m is not None else "squares"


def _headline(calibration: RigCalibration, title: str) -> Html:
    used_frames = sum(frame.cam0_from_board is not None for frame in calibration.frames)
    used = sum(view.used for view in calibration.views)
    tiles = [
        tile("Cameras", str(len(calibration.cameras)), ", ".join(item.name for item in calibration.cameras)),
        tile("RMS", in_pixels(calibration.rms_px), "all cameras, projected to detected"),
        *_pair_tiles(calibration),
        tile("Frames used", f"{used_frames} of {len(calibration.frames)}", _synchronised_words(calibration)),
        tile("Pictures used", f"{used} of {len(calibration.views)}", f"{len(calibration.views) - used} rejected"),
        tile("Corner noise", in_pixels(calibration.noise_px), "1 σ of a coordinate"),
        tile("Board", *board_words(calibration.board)),
    ]
    links = [
        ("rig", "The rig"),
        ("pairs", "Pairs"),
        ("frames", "Frames"),
        *((_camera_anchor(i), item.name) for i, item in enumerate(calibration.cameras)),
        ("views", "Views"),
        ("rejected", "Rejected pictures"),
        *([("warp", "Board shape")] if calibration.warp is not None else []),
    ]
    return page_head(title, calibration.verdict, calibration.warnings, tiles, links)


def _pair_tiles(calibration: RigCalibration) -> list[Html]:
    """The worst pair's epipolar error; of two cameras also how they stand to each other."""
    pairs = calibration.pairs
    if not pairs:
        return []
    worst = max(pairs, key=lambda pair: np.nan_to_num(pair.epipolar_px, nan=np.inf))
    words = "mean distance to the epipolar line" if len(pairs) == 1 else f"worst pair, {_pair_name(calibration, worst)}"
    tiles = [tile("Epipolar error", in_pixels(worst.epipolar_px), words)]
    if len(calibration.cameras) == 2:
        distance, sigma = with_sigma(pairs[0].baseline, pairs[0].baseline_std)
        spread = plus_minus(sigma, pairs[0].baseline_std)
        tiles.append(tile("Baseline", f"{distance} {_unit(calibration)}", spread))
        tiles.append(tile("Angle", f"{number(pairs[0].angle_deg)}°", "between the optical axes"))
    return tiles


def _synchronised_words(calibration: RigCalibration) -> str:
    words = {
        "name": "matched by file name",
        "stamp": "matched by time stamp",
        "table": "matched by the table of stamps",
        "offset": "clocks aligned by the board's motion",
        "order": "matched by position",
    }
    return words[calibration.synchronisation.method.value]


def _pair_name(calibration: RigCalibration, pair: CameraPair) -> str:
    return f"{calibration.cameras[pair.first].name} – {calibration.cameras[pair.second].name}"


def _rig_section(calibration: RigCalibration) -> Html:
    unit = _unit(calibration)
    drawings = [
        figure(drawn.drawing, drawn.title, f"{drawn.caption}. {remark}")
        for drawn, remark in zip(rig_drawings(calibration), _DRAWING_REMARKS, strict=True)
    ]
    note = (
        f"Position of each camera's centre in the frame of {calibration.cameras[0].name}: x right, y down, z forward. "
        "The angle is between the optical axes. Deviations are 1 σ, the rotation's about its worst axis."
    )
    return section(
        "rig", "The rig", tag("div", *drawings, class_="pair"), _place_table(calibration, unit), small_note(note)
    )


_DRAWING_REMARKS = (
    "Pyramids: what each camera sees; grey: boards.",
    "All axes are those of the first camera.",
    "The same scale in both directions.",
    "Pyramids open away from the viewer.",
)


def _place_table(calibration: RigCalibration, unit: str) -> Html:
    rows = []
    for index, item in enumerate(calibration.cameras):
        place = place_of(item)
        name = _coloured(item.name, index)
        if index == 0:
            rows.append(("", [name, "0", "0", "0", "", "", "", "", "the rig's frame"]))
            continue
        distance, sigma = with_sigma(place.distance, place.distance_std)
        decimals = len(distance.partition(".")[2])
        centre = [f"{value:.{decimals}f}".replace("-", "−") for value in place.centre]
        through = f"through {', '.join(item.linked_through)}" if item.linked_through else "sees the board with it"
        cells = [
            name,
            *centre,
            distance,
            plus_minus(sigma, place.distance_std),
            f"{place.angle_deg:.2f}°",
            f"± {number(place.rotation_std_deg, 2)}°" if math.isfinite(place.rotation_std_deg) else "not determined",
            through,
        ]
        rows.append(("", cells))
    first = calibration.cameras[0].name
    titles = ["camera", f"x, {unit}", "y", "z", f"from {first}, {unit}", "", "angle", "rotation", "tied to it"]
    return tag("div", table(titles, rows, numeric=range(1, 8)), style="margin-top:14px")


def _coloured(name: str, index: int) -> Html:
    dot = tag("span", "●", style=f"color:{camera_colour(index)};margin-right:6px", aria_hidden="true")
    return joined([dot, tag("b", name)])


def _pair_section(calibration: RigCalibration, rectification: PairRectification | None) -> Html:
    unit = _unit(calibration)
    longest = max((p.epipolar_px for p in calibration.pairs if math.isfinite(p.epipolar_px)), default=1.0)
    rows = []
    for pair in calibration.pairs:
        distance, sigma = with_sigma(pair.baseline, pair.baseline_std)
        cells = [
            tag("b", _pair_name(calibration, pair)),
            str(pair.frames),
            str(pair.corners),
            number(pair.epipolar_px),
            bar(pair.epipolar_px, longest, on=True),
            number(pair.epipolar_rms_px),
            distance,
            plus_minus(sigma, pair.baseline_std),
            f"{number(pair.angle_deg)}°",
        ]
        rows.append(("", cells))
    titles = ["pair", "frames", "corners", "epipolar, px", "", "epipolar RMS, px", f"baseline, {unit}", "", "angle"]
    note = (
        "Epipolar error: mean distance of a corner from the epipolar line of its counterpart, over both cameras, in "
        "pixels of the undistorted pictures. It is what stereo matching has to live with."
    )
    grid = table(titles, rows, numeric=(1, 2, 3, 5, 6, 7, 8))
    return section("pairs", "Pairs", grid, small_note(note), *_rectified(calibration, rectification))


def _rectified(calibration: RigCalibration, rectification: PairRectification | None) -> list[Html]:
    if rectification is None:
        return []
    if rectification.rectified is None:
        return [small_note(f"The pair cannot be rectified: {rectification.reason}.")]
    example = rectified_example(calibration, rectification.rectified)
    return [tag("div", example, class_="broad", style="margin-top:14px")] if example is not None else []


def _frame_section(calibration: RigCalibration) -> Html:
    both = "Frames used of both cameras; on the diagonal, of each alone."
    if not shared_frames(calibration).all():
        both += " Zero: these two are tied through other cameras only."
    strip = figure(timeline_figure(calibration), "Who saw the board when", calibration.synchronisation.sentence)
    return section(
        "frames",
        "Frames",
        timeline_key(),
        tag("div", strip, figure(_matrix(calibration), "Frames in common", both), class_="pair"),
        _frame_table(calibration),
    )


def _matrix(calibration: RigCalibration) -> Html:
    counts = shared_frames(calibration)
    most = max(int(counts.max()), 1)
    names = [item.name for item in calibration.cameras]
    rows = []
    for i, name in enumerate(names):
        cells = [tag("th", _coloured(name, i), scope="row")]
        for j in range(len(names)):
            share = round(55.0 * int(counts[i, j]) / most)
            style = f"background:color-mix(in srgb,var(--accent) {share}%,transparent)"
            cells.append(tag("td", str(counts[i, j]), class_="n", style=style))
        rows.append(tag("tr", *cells))
    titles = tag("tr", tag("th", ""), *(tag("th", name, class_="n", scope="col") for name in names))
    return tag("div", tag("table", tag("thead", titles), tag("tbody", *rows)), class_="scroll")


def _frame_table(calibration: RigCalibration) -> Html:
    has_times = any(frame.time is not None for frame in calibration.frames)
    rows = []
    for frame in calibration.frames:
        views = {calibration.views[i].camera: calibration.views[i] for i in frame.views}
        cells: list[str] = [tag("span", frame.name, class_="file")]
        if has_times:
            cells.append("" if frame.time is None else f"{frame.time:.3f}")
        cells += [_frame_cell(views.get(index)) for index in range(len(calibration.cameras))]
        rows.append(("" if frame.cam0_from_board is not None else "off", cells))
    times = ["time, s"] if has_times else []
    titles = ["frame", *times, *(f"{item.name}, px" for item in calibration.cameras)]
    summary = tag("summary", f"RMS of all {len(rows)} frames in numbers")
    return tag("details", summary, table(titles, rows, numeric=range(1, len(titles))), open=0 < len(rows) <= _ROWS_OPEN)


def _frame_cell(view: RigView | None) -> str:
    if view is None:
        return ""
    return number(view.rms_px) if view.used else "not used" if len(view.pixels) else ""


def _view_sections(calibration: RigCalibration) -> list[Html]:
    count = len(calibration.cameras)
    each = max(1, MOST_RIG_VIEWS // count)
    used = [calibration.used_views(index) for index in range(count)]
    shown = [_most_telling(views, each) for views in used]
    rejected = [_rejected_of(calibration, index) for index in range(count)]
    room = sum(map(len, shown)) + sum(min(len(views), max(1, MOST_REJECTED // count)) for views in rejected)
    galleries = _galleries(calibration, used, room)
    cards: list[Html] = []
    for index, views in enumerate(shown):
        heading = joined(
            [_coloured(calibration.cameras[index].name, index), _shown_words(len(views), len(used[index]))]
        )
        cards += [
            tag("h3", heading, style="margin-top:18px"),
            tag("div", *(used_card(galleries[index], view) for view in views), class_="gallery"),
        ]
    outliers = any(view.outliers.any() for views in used for view in views)
    note = tag("p", "Select a picture to enlarge it.", class_="soft")
    views_section = section("views", "Views", note, legend(galleries[0].factor, outliers), *cards)
    return [views_section, _rejected_section(calibration, rejected, galleries)]


def _shown_words(shown: int, used: int) -> str:
    return f", the {shown} of {used} with the largest residuals" if shown < used else ""


def _most_telling(used: Sequence[RigView], most: int) -> list[RigView]:
    """The views whose residuals are largest, in the order of the input."""
    rms = np.nan_to_num(np.array([view.rms_px for view in used]), nan=np.inf)
    return [used[i] for i in np.sort(np.argsort(-rms, kind="stable")[:most])]


def _rejected_of(calibration: RigCalibration, camera: int) -> list[RigView]:
    """The pictures of a camera that were not used, those that show a board first."""
    views = [view for view in calibration.views if view.camera == camera and not view.used]
    return sorted(views, key=lambda view: len(view.pixels) == 0)


def _galleries(calibration: RigCalibration, used: Sequence[Sequence[RigView]], pictures: int) -> list[Gallery]:
    """How the cards of each camera are drawn, residuals exaggerated alike."""
    galleries = []
    for index, item in enumerate(calibration.cameras):
        loader = PictureLoader(view for view in calibration.views if view.camera == index)
        size = (item.camera.width, item.camera.height)
        galleries.append(gallery_for(calibration.board, size, loader, used[index], pictures))
    factor = min(gallery.factor for gallery in galleries)
    return [replace(gallery, factor=factor) for gallery in galleries]


def _rejected_section(
    calibration: RigCalibration, rejected: Sequence[Sequence[RigView]], galleries: Sequence[Gallery]
) -> Html:
    total = sum(map(len, rejected))
    if not total:
        return section("rejected", "Rejected pictures", tag("p", "Every picture was used.", class_="soft"))
    each = max(1, MOST_REJECTED // len(rejected))
    rows: list[tuple[str, Sequence[str]]] = []
    cards: list[Html] = []
    for index, views in enumerate(rejected):
        name = calibration.cameras[index].name
        by_reason: dict[str, list[str]] = {}
        for view in views:
            by_reason.setdefault(reason_of(view), []).append(view.name)
        for reason, names in by_reason.items():
            more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
            files = tag("span", f"{', '.join(names[:_MOST_NAMES])}{more}", class_="file")
            rows.append(("", [_coloured(name, index), str(len(names)), reason, files]))
        cards += [rejected_card(galleries[index], view, with_picture=True) for view in views[:each]]
    words = f"{total} of {len(calibration.views)} pictures took no part in the fit."
    return section(
        "rejected",
        "Rejected pictures",
        tag("p", words, class_="soft"),
        table(["camera", "pictures", "reason", "which"], rows, numeric=(1,)),
        tag("div", *cards, class_="gallery", style="margin-top:14px"),
    )

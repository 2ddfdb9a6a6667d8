"""The pictures of a scene as cards: what became of each, and what would help those that were left out."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cv3d.mapping.scene import LeftOut, Scene, SceneImage
from cv3d.reporting.page import Html, data_uri, number, section, tag
from cv3d.reporting.report_parts import small_note
from cv3d.reporting.scene_pictures import MOST_THUMBNAILS

_GALLERY = "grid-template-columns:repeat(auto-fill,minmax(min(46%,{width}px),1fr))"
_PICTURE = "display:block;width:100%;aspect-ratio:4/3;object-fit:contain;background:var(--grid)"
_WIDTHS = ((60, 200), (250, 160), (100_000, 128))
"""Up to how many cards one is at least so wide, CSS pixels."""
_OPEN_CARDS = 100
"""Cards up to which they are unfolded."""


def picture_sections(scene: Scene, thumbnails: Mapping[str, bytes]) -> list[tuple[str, str, Html]]:
    """Anchor, title and content of the pictures that were left out, and of the others.

    Args:
        scene: with its pictures.
        thumbnails: small JPEG files; pictures without one are not shown, but for those that were left out.
    """
    sections = []
    places = {name: place for place, name in enumerate(scene.graph.names, 1)}
    if scene.left_out:
        shown = scene.left_out[:MOST_THUMBNAILS]
        cards = [_left_out_card(one, places[one.name], thumbnails.get(one.name)) for one in shown]
        notes = _more(len(scene.left_out) - len(cards))
        content = section("left-out", "Left out", _gallery(cards), *notes)
        sections.append(("left-out", "Left out", content))
    total = sum(len(model.images) for model in scene.models)
    cards = [
        _card(
            image,
            places[image.picture.name],
            thumbnails[image.picture.name],
            f"model {number_}" if len(scene.models) > 1 else "",
        )
        for number_, model in enumerate(scene.models)
        for image in model.images
        if image.picture.name in thumbnails
    ]
    if cards:
        note = small_note("Points: those that the picture sees. Error: root mean square of its reprojection errors.")
        content = section("pictures", "Pictures", _gallery(cards), note, *_more(total - len(cards)))
        sections.append(("pictures", "Pictures", content))
    return sections


def _more(hidden: int) -> list[Html]:
    return [small_note(f"{hidden:,} more are not shown here; pictures.csv lists all.")] if hidden > 0 else []


def _gallery(cards: list[Html]) -> Html:
    width = next(width for count, width in _WIDTHS if len(cards) <= count)
    gallery = tag("div", *cards, class_="gallery", style=_GALLERY.format(width=width))
    if len(cards) <= _OPEN_CARDS:
        return gallery
    return tag("details", tag("summary", f"{len(cards):,} pictures"), gallery)


def _card(image: SceneImage, place: int, jpeg: bytes, where: str) -> Html:
    # A number stays on one line with its unit.
    rms = f", {number(image.rms_px, 2)}\N{NO-BREAK SPACE}px" if math.isfinite(image.rms_px) else ""
    words = f"{image.point_count:,}\N{NO-BREAK SPACE}points{rms}" if image.point_count else "oriented"
    lines = [tag("b", f"{place}: {_breakable(image.picture.name)}"), tag("br"), words]
    lines += [tag("br"), tag("span", where, class_="soft")] if where else []
    return tag("div", _picture(jpeg, image.picture.name), tag("div", *lines, class_="cap"), class_="view")


def _left_out_card(one: LeftOut, place: int, jpeg: bytes | None) -> Html:
    picture = tag("div", "no picture to show", class_="none") if jpeg is None else _picture(jpeg, one.name)
    reason = one.reason.removeprefix(f"{one.name}: ")
    lines = [tag("b", f"{place}: {_breakable(one.name)}"), tag("br"), reason]
    lines += [tag("br"), tag("span", one.advice, class_="soft")] if one.advice else []
    return tag("div", picture, tag("div", *lines, class_="cap"), class_="view", style="border-color:var(--poor)")


def _breakable(name: str) -> str:
    """A name that breaks between a clip's name and the number of its frame, not within either."""
    return name.replace("#", "\N{ZERO WIDTH SPACE}#")


def _picture(jpeg: bytes, name: str) -> Html:
    return tag("img", src=data_uri(jpeg, "image/jpeg"), alt=name, loading="lazy", style=_PICTURE)

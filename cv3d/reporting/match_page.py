"""The report of a matched set: one self-contained HTML page with its view graph, its pairs and its pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import cv3d
from cv3d.features.matching import SetMatch, SetPicture
from cv3d.features.store import FeatureStore
from cv3d.reporting.match_cards import choose_examples, pair_card, thumbnails
from cv3d.reporting.match_summary import methods_words
from cv3d.reporting.page import Html, figure, joined, page, percent, section, table, tag
from cv3d.reporting.report_parts import bar, small_note, tile
from cv3d.reporting.set_pictures import LoadPixels
from cv3d.reporting.stored_pairs import StoredPair, stored_pairs
from cv3d.reporting.view_graph import graph_figure
from cv3d.reporting.view_matrix import matrix_figure

MOST_ROWS = 1000
"""Pictures of the table; those of larger sets are in pictures.csv."""
_OPEN_ROWS = 60
"""Pictures up to which the table is unfolded."""
_LONGEST_NAME = 60
_GALLERY = "grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr))"


def match_page(result: SetMatch, store: FeatureStore, load: LoadPixels, title: str) -> str:
    """A matched set as one HTML page, which needs no network and runs no script; its size is bounded.

    Args:
        result: the set.
        store: its store.
        load: the pixels of a picture by its name; asked for those of a few pairs.
        title: any text.
    """
    links = [("graph", "View graph")]
    sections = [_graph_section(result)]
    for anchor, words, content in _pair_sections(result, store, load):
        links.append((anchor, words))
        sections.append(content)
    links.append(("pictures", "Pictures"))
    sections.append(_picture_section(result))
    return page(title, [_headline(result, title, links), *sections, _footer(result)])


def _headline(result: SetMatch, title: str, links: Sequence[tuple[str, str]]) -> Html:
    groups = result.components()
    is_whole = len(groups) == 1 and len(result.used) == len(result.pictures)
    words, level = ("connected", "good") if is_whole else ("in parts", "usable")
    if not len(result.edges):
        words, level = "nothing verified", "poor"
    elif not is_whole and len(groups) == 1:
        words = "some unreadable"
    head = tag("div", tag("h1", title), tag("span", words, class_=f"badge {level}"), class_="head")
    sentence = result.sentence()
    judged = tag("div", tag("p", f"{sentence[:1].upper()}{sentence[1:]}."), class_=f"verdict {level}")
    notes = []
    if result.warnings:
        lines = tag("ul", *(tag("li", line) for line in result.warnings))
        notes.append(tag("div", tag("b", "Warnings"), lines, class_="note"))
    navigation = tag("nav", *(tag("a", name, href=f"#{anchor}") for anchor, name in links))
    return tag("header", head, judged, *notes, tag("dl", *_tiles(result, groups), class_="tiles"), navigation)


def _tiles(result: SetMatch, groups: Sequence[Sequence[int]]) -> list[Html]:
    used, total = len(result.used), len(result.pictures)
    keypoints = [picture.keypoints for picture in result.used]
    each = f"{int(np.median(keypoints)):,} keypoints each (median)" if keypoints else "none could be read"
    verified = len(result.edges)
    share = percent(verified / result.planned) if result.planned else "–"
    middle = f"{int(np.median(result.inliers)):,} a pair (median)" if verified else "no pair has any"
    alone = sum(len(group) == 1 for group in groups)
    largest = f"{'largest of' if len(groups) > 1 else 'of'} {len(groups[0]):,} pictures" if groups else "no pictures"
    refined = f"in two or more pictures; {result.refined:,} keypoints refined"
    methods = [(name, count) for name, count in result.methods.items() if name != "unrelated"]
    learned = f"{methods[1][1]:,} by {methods[1][0]}" if len(methods) > 1 else "no second matcher"
    return [
        tile("Pictures", f"{used:,}" if used == total else f"{used:,} of {total:,}", each),
        tile("Pairs verified", f"{verified:,}", f"{share} of {result.planned:,} looked at ({result.choice})"),
        tile("Inliers", f"{int(result.inliers.sum()):,}", middle),
        tile("Tracks", f"{result.tracks:,}" if result.tracks else "–", refined if result.tracks else "not refined"),
        tile("Groups", f"{len(groups):,}", largest + (f"; {alone:,} alone" if alone else "")),
        tile("Methods", result.extractor, f"{methods[0][1]:,} pairs by {methods[0][0]}, {learned}" if methods else ""),
    ]


def _graph_section(result: SetMatch) -> Html:
    if not len(result.edges):
        return section("graph", "View graph", tag("p", "No pair is verified, so there is no graph to draw."))
    drawn, words = graph_figure(result)
    matrix, reading = matrix_figure(result)
    cards = [figure(drawn, "Who sees the same as whom", words), figure(matrix, "Pictures against pictures", reading)]
    return section("graph", "View graph", tag("div", *cards, class_="pair"))


def _pair_sections(result: SetMatch, store: FeatureStore, load: LoadPixels) -> list[tuple[str, str, Html]]:
    """Anchor, title and content of every kind of pairs that there is."""
    names = [name for name in result.methods if name != "unrelated"]
    learned = names[1] if len(names) > 1 else None
    chosen = choose_examples(stored_pairs(store, result), learned)
    kinds: list[tuple[str, str, tuple[StoredPair, ...], str]] = [
        ("strongest", "Strongest pairs", chosen.strongest, "The most inliers, each of other pictures where possible."),
        ("helped", f"Found by {learned}", chosen.helped, f"Where {learned} added most to what {names[0]} had found."),
        ("weakest", "Weakest verified pairs", chosen.weakest, "Look here first for false ones."),
        (
            "unverified",
            "Unverified pairs",
            chosen.unverified,
            f"Those that came closest, and pairs with nothing in common. In all: {methods_words(result)}.",
        ),
    ]
    pixels = thumbnails((pair for _, _, pairs, _ in kinds for pair in pairs), result, load)
    sections = []
    for anchor, title, pairs, words in kinds:
        if pairs:
            cards = [pair_card(pair, result, store, pixels) for pair in pairs]
            gallery = tag("div", *cards, class_="gallery", style=_GALLERY)
            sections.append((anchor, title, section(anchor, title, tag("p", words, class_="soft"), gallery)))
    return sections


def _picture_section(result: SetMatch) -> Html:
    groups = {place: number for number, group in enumerate(result.components(), 1) for place in group}
    order = list(range(len(result.pictures)))
    note = "Lines with a reason stand out: pictures that could not be read, or that no other picture fits."
    if len(order) > MOST_ROWS:
        # What has a reason is what a person looks for.
        order.sort(key=lambda place: (not result.pictures[place].reason, place))
        order = sorted(order[:MOST_ROWS])
        note += f" {MOST_ROWS:,} of {len(result.pictures):,} pictures are listed here, all of them in pictures.csv."
    most = max((picture.neighbours for picture in result.pictures), default=0)
    rows = [
        ("off" if result.pictures[place].reason else "", _picture_row(place, result.pictures[place], groups, most))
        for place in order
    ]
    head = ["", "picture", "size", "keypoints", "neighbours", "", "group", "why not"]
    numeric = (0, 3, 4, 6)
    if not any(picture.reason for picture in result.pictures):
        head, rows = head[:-1], [(css, cells[:-1]) for css, cells in rows]
        note = "Neighbours: pictures that a verified pair joins it with."
    listed = table(head, rows, numeric=numeric)
    if len(order) > _OPEN_ROWS:
        listed = tag("details", tag("summary", f"All {len(order):,} pictures listed"), listed)
    return section("pictures", "Pictures", listed, small_note(note))


def _picture_row(place: int, picture: SetPicture, groups: dict[int, int], most: int) -> list[str]:
    size = "–" if picture.size is None else f"{picture.size[0]} × {picture.size[1]}"
    name = picture.name if len(picture.name) <= _LONGEST_NAME else f"…{picture.name[1 - _LONGEST_NAME :]}"
    known = picture.image_id is not None
    return [
        str(place + 1),
        tag("span", name, class_="file", title=picture.name if name != picture.name else None),
        size,
        f"{picture.keypoints:,}" if known else "",
        str(picture.neighbours) if known else "",
        bar(float(picture.neighbours), float(most)) if known else "",
        str(groups.get(place, "")),
        picture.reason.removeprefix(f"{picture.name}: "),
    ]


def _footer(result: SetMatch) -> Html:
    times = [f"{stage} {taken:.2f} s" for stage, taken in result.seconds.items()]
    words = [f"cv3d {cv3d.__version__}", f"seed {result.seed}", *times, f"store {result.store.name}"]
    return tag("footer", joined([" · ".join(words)]))

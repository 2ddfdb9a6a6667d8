"""What `cv3d match` says on a terminal of pairs, sets and methods: readable at 80 columns and without colour."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cv3d.features.listing import MethodRow, Presence
from cv3d.features.matching import PairMatch, SetMatch
from cv3d.reporting.text_lines import WIDTH, labelled, shortened, wrapped

_MOST_NAMES = 5
_MOST_REASONS = 6
_MOST_GROUPS = 12

LISTING_SCHEMA = "cv3d.match_methods/1"
_LISTING_HEAD = ("name", "kind", "licence", "MB", "speed", "weights")
_SIZE_COLUMN = 3
"""The column of numbers."""
_SPEEDS = "fast: tens of ms, medium: hundreds, slow: more (VGA picture or pair, one core)"


def describe_pair(result: PairMatch) -> str:
    """A matched pair for a person: the sentence, then what stands behind it."""
    geometry = result.geometry
    keypoints = f"{len(result.keypoints0)} and {len(result.keypoints1)}"
    lines = [*wrapped(result.sentence()), ""]
    for label, name, size in zip(("first", "second"), result.names, result.sizes, strict=True):
        lines += labelled(label, f"{shortened(name, 50)}, {size[0]}x{size[1]}")
    lines += labelled("keypoints", f"{keypoints} ({result.extractor})")
    lines += labelled("matches", f"{len(result.indices)} ({result.matcher})")
    if result.decision:
        lines += labelled("decision", result.decision)
    if geometry.verified:
        refined = int((result.refined & geometry.inliers).sum())
        moved = f", {refined} of them refined" if refined else ""
        lines += labelled("verified", f"{result.inlier_count}{moved}; {_error_words(result)}")
        lines += _pose_lines(result)
    stages = ((stage, taken) for stage, taken in result.seconds.items() if taken > 0.0)
    lines += labelled("time", ", ".join(f"{stage} {_time(taken)}" for stage, taken in stages))
    return "\n".join(lines)


def describe_set(result: SetMatch, out: Path | None = None, files: Sequence[str] = ()) -> str:
    """A matched set for a person: the sentence, then what stands behind it.

    Args:
        result: the set.
        out: where it was written.
        files: what was written there.
    """
    groups = result.components()
    lines = [*wrapped(result.sentence()), ""]
    lines += labelled("pictures", _picture_words(result))
    earlier = result.planned - result.computed
    known = f", {earlier:,} of them in an earlier run" if 0 < earlier <= result.planned else ""
    lines += labelled("pairs", f"{result.planned:,} looked at ({shortened(result.choice, 30)}){known}")
    lines += labelled("matchers", methods_words(result))
    if len(result.edges):
        median = int(np.median(result.inliers))
        lines += labelled("inliers", f"{int(result.inliers.sum()):,} verified matches, {median:,} a pair (median)")
    if result.tracks:
        lines += labelled(
            "tracks", f"{result.tracks:,} points in two or more pictures, {result.refined:,} keypoints refined"
        )
    together = [len(group) for group in groups if len(group) > 1]
    if len(groups) > 1 and together:
        more = f" and {len(together) - _MOST_GROUPS} more" if len(together) > _MOST_GROUPS else ""
        lines += labelled("groups", f"of {', '.join(map(str, together[:_MOST_GROUPS]))}{more} pictures")
    stages = ((stage, taken) for stage, taken in result.seconds.items() if taken >= 0.0005)
    lines += labelled("time", ", ".join(f"{stage} {_time(taken)}" for stage, taken in stages))
    alone = [(result.pictures[group[0]].name, result.pictures[group[0]].reason) for group in groups if len(group) == 1]
    left_out = [(picture.name, picture.reason) for picture in result.pictures if picture.image_id is None]
    lines += _reasons("alone", alone) + _reasons("left out", left_out)
    if result.warnings:
        lines.append("")
    for warning in result.warnings:
        lines += wrapped(f"warning: {warning}", "  ")
    if out is not None:
        lines += ["", *wrapped(f"written to {out}:"), *wrapped(f"  {', '.join(files or [result.store.name])}", "  ")]
    return "\n".join(lines)


def methods_words(result: SetMatch) -> str:
    """How many pairs were verified by which matcher, and what became of the others."""
    unrelated = result.methods.get("unrelated", 0)
    words = [f"{name} {count:,}" for name, count in result.methods.items() if name != "unrelated"]
    others = result.planned - len(result.edges) - unrelated
    words += [f"unrelated {unrelated:,}"] if unrelated else []
    words += [f"unsure {others:,}"] if others > 0 else []
    return ", ".join(words)


def listing_result(rows: Sequence[MethodRow]) -> dict[str, object]:
    """The listing as plain data, with its schema."""
    return {"schema": LISTING_SCHEMA, "methods": [_listed_method(row) for row in rows]}


def describe_listing(rows: Sequence[MethodRow]) -> str:
    """The listing for a person, at most 80 columns wide: a table, and what to do about weights that are not here."""
    cells = [_LISTING_HEAD, *(_listing_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_LISTING_HEAD))]
    lines = []
    for row in cells:
        padded = [
            text.rjust(width) if column == _SIZE_COLUMN else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    lines += ["", _SPEEDS]
    return "\n".join(lines + _hint_lines(rows))


def _picture_words(result: SetMatch) -> str:
    keypoints = [picture.keypoints for picture in result.used]
    if not keypoints:
        return "none could be read"
    each = f"{min(keypoints)}" if min(keypoints) == max(keypoints) else f"{min(keypoints)} to {max(keypoints)}"
    return f"{len(result.used):,}, {each} keypoints each ({result.extractor})"


def _error_words(result: PairMatch) -> str:
    rms = result.geometry.rms
    return f"{rms:.2f} px RMS" if math.isfinite(rms) else "error not known"


def _pose_lines(result: PairMatch) -> list[str]:
    lines: list[str] = []
    turned, moved = result.deviations_deg()
    if math.isfinite(result.rotation_deg):
        lines += labelled("rotation", f"{result.rotation_deg:.3f}°{_plus_minus(turned)}")
    if result.direction is not None:
        x, y, z = (f"{value + 0.0:.4f}" for value in result.direction.tolist())
        lines += labelled("direction", f"({x}, {y}, {z}){_plus_minus(moved)}, of the second camera's translation")
    if math.isfinite(result.geometry.parallax):
        lines += labelled("parallax", f"{math.degrees(result.geometry.parallax):.2f}° (median)")
    focal = result.geometry.focal
    if focal is not None:
        lines += labelled("focal length", " and ".join(f"{value:.1f}" for value in focal.focals) + " px")
    return lines


def _plus_minus(deviation: float) -> str:
    return f" ± {deviation:.2g}°" if math.isfinite(deviation) else ""


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms" if seconds < 1.0 else f"{seconds:.1f} s"


def _reasons(title: str, pictures: Iterable[tuple[str, str]]) -> list[str]:
    """Pictures with their reasons, those with one reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in pictures:
        by_reason.setdefault(reason.removeprefix(f"{name}: ") or "no reason is known", []).append(name)
    if not by_reason:
        return []
    lines = ["", f"{title}:"]
    for reason, names in list(by_reason.items())[:_MOST_REASONS]:
        shown = ", ".join(shortened(name, 40) for name in names[:_MOST_NAMES])
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        lines += wrapped(f"  {shown}{more}: {reason}", "    ")
    if len(by_reason) > _MOST_REASONS:
        lines.append("  and more, see report.html")
    return lines


def _hint_lines(rows: Sequence[MethodRow]) -> list[str]:
    """What brings the weights that cannot be used, methods that one line helps together."""
    hints: dict[tuple[Presence, str], list[str]] = {}
    for row in rows:
        for weights in row.weights:
            if weights.hint and row.name not in hints.setdefault((weights.presence, weights.hint), []):
                hints[weights.presence, weights.hint].append(row.name)
    lines = ["", "weights that cannot be used yet:"] if hints else []
    for (presence, hint), names in hints.items():
        lines += textwrap.wrap(f"{', '.join(names)}:", WIDTH, initial_indent="  ", subsequent_indent="  ")
        # A command is copied from the terminal, so it is never broken.
        is_command = presence is Presence.MISSING
        indent = "    "
        lines += (
            [indent + hint]
            if is_command
            else textwrap.wrap(hint, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
        )
    return lines


def _listing_cells(row: MethodRow) -> tuple[str, ...]:
    size = f"{row.megabytes:.1f}" if row.weights else ""
    state = "none needed" if not row.weights else f"here ({row.source})" if row.is_ready else row.source
    return row.name, row.kind.value, row.licence, size, row.speed, state


def _listed_method(row: MethodRow) -> dict[str, object]:
    return {
        "name": row.name,
        "kind": row.kind.value,
        "summary": row.summary,
        "licence": row.licence,
        "speed": row.speed,
        "megabytes": round(row.megabytes, 3),
        "extractors": list(row.extractors),
        "ready": row.is_ready,
        "weights": [
            {
                "name": weights.name,
                "bytes": weights.bytes,
                "licence": weights.licence,
                "state": weights.presence.value,
                "path": None if weights.path is None else str(weights.path),
                "source": weights.source,
                "install": weights.hint if weights.presence is Presence.MISSING else "",
                "problem": weights.hint if weights.presence is Presence.WRONG else "",
                "url": weights.url,
            }
            for weights in row.weights
        ],
    }

"""What dense stereo says, as the object of `--json`, as lines on a terminal, and as figures to hold bounds against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cv3d.depth.stereo import StereoResult, StereoScore
from cv3d.formats.json_text import jsonable
from cv3d.reporting.page import number, percent
from cv3d.reporting.text_lines import labelled, wrapped

SCHEMA = "cv3d.stereo/1"
MEASURES = ("coverage", "mean_confidence", "bad_1", "bad_2", "mean_error_px")
_OF_TRUTH = ("bad_1", "bad_2", "mean_error_px")


def stereo_content(result: StereoResult, score: StereoScore | None) -> dict[str, Any]:
    """The figures, ready for JSON; no files yet.

    Args:
        result: of the pair.
        score: how far the disparities are from the truth; None: that is not known.
    """
    judged = None
    if score is not None:
        judged = {
            "bad_1": score.bad_1,
            "bad_2": score.bad_2,
            "mean_error_px": score.mean_error,
            "coverage": score.coverage,
            "pixels": score.pixels,
        }
    content = jsonable(result.as_result() | {"truth": judged})
    if not isinstance(content, dict):
        raise TypeError("a result is an object")
    return content


def measures(content: Mapping[str, Any]) -> dict[str, float]:
    """The figures of :data:`MEASURES` that there are."""
    truth = content["truth"] or {}
    known = {name: content[name] for name in ("coverage", "mean_confidence")}
    known |= {name: truth[name] for name in _OF_TRUTH if truth.get(name) is not None}
    return {name: float(value) for name, value in known.items()}


def describe_stereo(content: Mapping[str, Any], name: str, out: str, is_done: bool) -> str:
    """Lines for a person.

    Args:
        content: of :func:`stereo_content`, with its files.
        name: of the pair.
        out: the folder.
        is_done: whether an earlier run had done it all.
    """
    size = f"{content['width']}x{content['height']}"
    lines = wrapped(
        f"{name}: {size}, a disparity for {percent(content['coverage'])} of the pixels, "
        f"mean confidence {content['mean_confidence']:.2f}"
    )
    lines.append("")
    unit = " m" if content["is_metric"] else ""
    if content["median_disparity_px"] is not None:
        words = f"median {number(content['median_disparity_px'])} px, up to {content['max_disparity']} px looked for"
        lines += labelled("disparity", words)
    if content["median_depth"] is not None:
        words = f"median {number(content['median_depth'])}{unit}, baseline {number(content['baseline'])}{unit}"
        lines += labelled("depth", words)
    if content["row_offset_px"] is not None:
        lines += labelled("rows", f"off by {content['row_offset_px']:.2f} px, of {content['row_matches']} matches")
    truth = content["truth"]
    if truth is not None:
        bad = f"bad-1 {percent(truth['bad_1'])}, bad-2 {percent(truth['bad_2'])}"
        error = truth["mean_error_px"]
        mean = f", mean error {number(error)} px" if error is not None else ""
        lines += labelled("truth", f"{bad}{mean}, of {truth['pixels']} pixels")
    for warning in content["warnings"]:
        lines += labelled("warning", warning)
    lines += labelled("time", f"{number(content['seconds']['total'])} s on {content['device']}")
    state = "up to date in" if is_done else "written to"
    return "\n".join([*lines, "", *wrapped(f"{state} {out}:"), *wrapped(f"  {', '.join(content['files'])}", "  ")])

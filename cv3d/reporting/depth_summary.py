"""What dense depth says, as the object of `--json`, as lines on a terminal, and as figures to hold bounds against."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from cv3d.depth.result import DepthMap, DepthResult
from cv3d.formats.json_text import jsonable
from cv3d.reporting.page import number, percent
from cv3d.reporting.text_lines import labelled, shortened, wrapped

SCHEMA = "cv3d.depth/1"
MEASURES = ("maps", "maps_share", "median_confidence", "coverage")
_LISTED = 6
_NAME_COLUMNS = 34


def depth_result(result: DepthResult, *, is_metric: bool) -> dict[str, Any]:
    """The figures, ready for JSON; no files yet.

    Args:
        result: the maps.
        is_metric: whether lengths are metres.
    """
    found = [one.confidence[one.depth > 0.0] for one in result.maps]
    confidences = np.concatenate([np.zeros(0, np.float32), *found])
    pixels = sum(one.depth.size for one in result.maps)
    content = jsonable(
        {
            "schema": SCHEMA,
            "maps": len(result.maps),
            "total": len(result.maps) + len(result.left_out),
            "median_confidence": float(np.median(confidences)) if len(confidences) else None,
            "coverage": len(confidences) / pixels if pixels else 0.0,
            "is_metric": is_metric,
            "pictures": [picture_result(one) for one in result.maps],
            "left_out": [{"name": one.name, "reason": one.reason} for one in result.left_out],
            "warnings": list(result.warnings),
            "seconds": dict(result.seconds),
            "device": result.device,
            "seed": result.seed,
        }
    )
    if not isinstance(content, dict):
        raise TypeError("a result is an object")
    return content


def picture_result(one: DepthMap) -> dict[str, Any]:
    """What is said of one map."""
    depths = one.depth[one.depth > 0.0]
    near, middle, far = np.quantile(depths, (0.02, 0.5, 0.98)).tolist() if depths.size else (None, None, None)
    confidences = one.confidence[one.depth > 0.0]
    return {
        "name": one.name,
        "width": one.camera.width,
        "height": one.camera.height,
        "coverage": one.coverage,
        "median_confidence": float(np.median(confidences)) if confidences.size else None,
        "near": near,
        "median": middle,
        "far": far,
    }


def measures(content: Mapping[str, Any]) -> dict[str, float]:
    """The figures of :data:`MEASURES`."""
    confidence = content["median_confidence"]
    return {
        "maps": float(content["maps"]),
        "maps_share": content["maps"] / max(content["total"], 1),
        "median_confidence": math.nan if confidence is None else float(confidence),
        "coverage": float(content["coverage"]),
    }


def headline(content: Mapping[str, Any]) -> str:
    """What was found, in a sentence."""
    maps, total = content["maps"], content["total"]
    pictures = f"depth of {maps} of {total} pictures" if maps < total else f"depth of all {total} pictures"
    if not maps:
        return f"no depth of {total} pictures"
    confidence = content["median_confidence"]
    sure = f", median confidence {confidence:.2f}" if confidence is not None else ""
    return f"{pictures}, {percent(content['coverage'])} of the pixels{sure}"


def describe_depth(content: Mapping[str, Any], name: str, out: str, files: Iterable[str], is_done: bool) -> str:
    """Lines for a person.

    Args:
        content: of :func:`depth_result`.
        name: of the source.
        out: the folder.
        files: within it, as they are to be listed.
        is_done: whether an earlier run had done it all.
    """
    lines = wrapped(f"{name}: {headline(content)}")
    lines.append("")
    for one in content["pictures"][:_LISTED]:
        span = f"{number(one['near'])} to {number(one['far'])}" if one["near"] is not None else "nothing"
        unit = " m" if content["is_metric"] and one["near"] is not None else ""
        size, covered = f"{one['width']}x{one['height']}", percent(one["coverage"])
        named = f"{shortened(one['name'], _NAME_COLUMNS):<{_NAME_COLUMNS}}"
        lines.append(f"  {named} {size:>9} {covered:>6}  {span}{unit}")
    more = len(content["pictures"]) - _LISTED
    lines += [f"  and {more} more"] if more > 0 else []
    for one in content["left_out"][:_LISTED]:
        lines += labelled("left out", f"{one['name']}: {one['reason']}")
    more = len(content["left_out"]) - _LISTED
    lines += labelled("", f"and {more} more") if more > 0 else []
    for warning in content["warnings"]:
        lines += labelled("warning", warning)
    if "total" in content["seconds"]:
        lines += labelled("time", f"{number(content['seconds']['total'])} s on {content['device']}")
    state = "up to date in" if is_done else "written to"
    return "\n".join([*lines, "", *wrapped(f"{state} {out}:"), *wrapped(f"  {', '.join(files)}", "  ")])

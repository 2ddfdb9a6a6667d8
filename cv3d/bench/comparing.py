"""Two machines, or two versions, side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cv3d.bench.result import SCHEMA, BenchResult
from cv3d.errors import FormatError, InputError

Key = tuple[str, str, str]
"""Stage, program and device."""


@dataclass(frozen=True)
class Comparison:
    """The times of one result over those of an earlier one."""

    file: str
    machine: str
    """Where the earlier one was measured."""
    version: str
    """Of cv3d then."""
    ratios: Mapping[Key, float]
    """Time now over time then, of what both have; below 1: faster now."""

    def as_result(self) -> dict[str, object]:
        """The object that JSON carries."""
        return {
            "file": self.file,
            "machine": self.machine,
            "cv3d": self.version,
            "ratios": [
                {"stage": stage, "program": program, "device": device, "ratio": ratio}
                for (stage, program, device), ratio in self.ratios.items()
            ],
        }


def read_bench(path: str | Path) -> dict[str, Any]:
    """What `cv3d bench` wrote.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise FormatError(f"{path}: is no JSON: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise FormatError(f"{path}: is not what cv3d bench writes: its schema is not {SCHEMA}")
    return content


def compare_with(result: BenchResult, path: str | Path) -> Comparison:
    """Put a result beside one that was written to a file.

    A device that only one of them has is put beside the other's of another kind, so that machines can be compared: the
    best time of a stage and program stands under the device "best".

    Raises:
        InputError: the file cannot be read.
        FormatError: it is something else, or has nothing in common with the result.
    """
    content = read_bench(path)
    now = {(one.stage, one.program, one.device): one.median_ms for one in result.timings}
    try:
        then = {(one["stage"], one["program"], one["device"]): one["median_ms"] for one in content["timings"]}
        machine = content["machine"]
        place, version = f"{machine['processor']}, {machine['cores']} cores", str(content["versions"]["cv3d"])
    except (KeyError, TypeError) as error:
        raise FormatError(f"{path}: is not what cv3d bench writes: {error} is missing") from error
    ratios = _ratios(_with_best(now), _with_best(then))
    if not ratios:
        raise FormatError(f"{path}: has no stage in common with this run")
    return Comparison(str(path), place, version, ratios)


def _ratios(now: Mapping[Key, float | None], then: Mapping[Key, float | None]) -> dict[Key, float]:
    found = {}
    for key, time in now.items():
        before = then.get(key)
        if time is not None and before is not None and math.isfinite(time) and math.isfinite(before) and before > 0.0:
            found[key] = time / before
    return found


def _with_best(times: Mapping[Key, float | None]) -> dict[Key, float | None]:
    """The same, and of every stage and program the best of its devices."""
    result = dict(times)
    for (stage, program, _), time in times.items():
        key = stage, program, "best"
        best = result.get(key)
        if time is not None and math.isfinite(time) and (best is None or time < best):
            result[key] = time
    return result

"""What `cv3d odometry` says: the object that `--json` prints, the figures of `--require`, the summary for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cv3d.formats.json_text import jsonable
from cv3d.odometry.results import FrameResult, OdometryResult, Sensor, State
from cv3d.reporting.odometry_truth import TruthComparison
from cv3d.reporting.text_lines import labelled, shortened, wrapped

SCHEMA = "cv3d.odometry/1"
MEASURES = (
    "tracked_fraction",
    "segments",
    "keyframes",
    "loops",
    "fps",
    "realtime_factor",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "ate_rmse",
    "ate_percent",
    "rpe_rmse",
)
"""The figures that `--require` knows; the last three need a truth."""
SENSOR_WORDS = {Sensor.MONO: "one camera", Sensor.STEREO: "stereo", Sensor.RGBD: "colour and depth"}
_MOST_LOOPS = 4
_MOST_SEGMENTS = 6


@dataclass(frozen=True)
class StateCount:
    """How many frames were in a state."""

    state: State
    frames: int
    first: FrameResult
    """The first of them."""
    reason: str
    """The one that most of them give."""


def state_counts(result: OdometryResult) -> tuple[StateCount, ...]:
    """Every state that came up, in the order in which they did."""
    by_state: dict[State, list[FrameResult]] = {}
    for frame in result.frames:
        by_state.setdefault(frame.state, []).append(frame)
    return tuple(
        StateCount(state, len(frames), frames[0], Counter(frame.reason for frame in frames).most_common(1)[0][0])
        for state, frames in by_state.items()
    )


def odometry_result(result: OdometryResult, truth: TruthComparison | None) -> dict[str, Any]:
    """The object that `--json` prints, with None for figures that are not known.

    Args:
        result: the path.
        truth: of :func:`cv3d.reporting.odometry_truth.compare_with_truth`.
    """
    states = state_counts(result)
    trajectory = result.trajectory
    content = {
        "schema": SCHEMA,
        "source": result.source,
        "sensor": result.sensor,
        "frames": len(result.frames),
        "tracked_frames": len(trajectory),
        "tracked_fraction": result.tracked_fraction,
        "segments": sum(size > 0 for size in result.segment_sizes),
        "segment_sizes": [size for size in result.segment_sizes if size > 0],
        "keyframes": len(result.key_frames),
        "points": len(result.map.points),
        "loops": len(result.loops),
        "loop_closures": [
            {
                "frame": loop.frame,
                "earlier_frame": loop.earlier_frame,
                "inliers": loop.inliers,
                "joined_segments": loop.joined_segments,
            }
            for loop in result.loops
        ],
        "path_length": trajectory.length_m,
        "fps": result.fps,
        "ms": result.timing.as_dict(),
        "realtime_factor": result.realtime_factor,
        "elapsed_s": result.elapsed_s,
        "scale": "metric" if result.is_metric else "arbitrary",
        "intrinsics": "estimated" if result.is_camera_estimated else "given",
        "focal_deviation_px": result.focal_deviation,
        "camera": result.camera.as_dict(),
        "states": {one.state: one.frames for one in states},
        "doubts": [
            {
                "state": one.state,
                "frames": one.frames,
                "first_frame": one.first.index,
                "first_name": one.first.name,
                "reason": one.reason,
            }
            for one in states
            if one.state is not State.OK
        ],
        "warnings": list(result.warnings),
        "truth": None if truth is None else truth.as_dict(),
        "interrupted": result.interrupted,
        "seed": result.seed,
    }
    plain = jsonable(content)
    if not isinstance(plain, dict):
        raise TypeError("a result is an object")
    return plain


def measures(content: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures that a requirement can be put on, from a result; None for what it does not know."""
    truth = content["truth"] or {}
    ate, rpe = truth.get("ate") or {}, truth.get("rpe") or {}
    spent = {f"{name}_ms": value for name, value in content["ms"].items()}
    plain = {name: content[name] for name in MEASURES if name in content}
    errors = {"ate_rmse": ate.get("rmse_m"), "ate_percent": ate.get("percent"), "rpe_rmse": rpe.get("rmse_m")}
    return {name: None if value is None else float(value) for name, value in (plain | spent | errors).items()}


def describe_odometry(content: Mapping[str, Any], out: str, files: Sequence[str], up_to_date: bool = False) -> str:
    """A path for a person, at most 80 columns wide.

    Args:
        content: of :func:`odometry_result`, or as a `result.json` holds it.
        out: where it was written; "" where it was not.
        files: what was written there; none where `out` is the only one.
        up_to_date: whether it was there already.
    """
    lines = [*wrapped(headline(content)), ""]
    lines += labelled("sensor", f"{SENSOR_WORDS[Sensor(content['sensor'])]}, {_scale_words(content)}")
    lines += labelled("camera", _camera_words(content))
    lines += labelled("key frames", f"{content['keyframes']:,}, in a map of {content['points']:,} points")
    sizes = content["segment_sizes"]
    if len(sizes) > 1:
        more = f" and {len(sizes) - _MOST_SEGMENTS} more" if len(sizes) > _MOST_SEGMENTS else ""
        listed = ", ".join(f"{size:,}" for size in sizes[:_MOST_SEGMENTS])
        lines += labelled("segments", f"{len(sizes)} that were not joined, of {listed}{more} frames")
    lines += labelled("loops", _loop_words(content["loop_closures"]))
    lines += labelled("speed", speed_words(content))
    for number, doubt in enumerate(content["doubts"]):
        reason = f": {doubt['reason']}" if doubt["reason"] else ""
        words = f"{doubt['state']} in {_frames(doubt['frames'])}, first in {doubt['first_frame']}{reason}"
        lines += labelled("" if number else "not ok", words)
    lines += _truth_lines(content)
    for warning in content["warnings"]:
        lines += wrapped(f"warning: {warning}", "  ")
    state = "up to date in" if up_to_date else "written to"
    if out:
        lines += ["", *wrapped(f"{state} {out}{':' if files else ''}")]
    return "\n".join(lines + (wrapped(f"  {', '.join(files)}", "  ") if files else []))


def headline(content: Mapping[str, Any]) -> str:
    """The one sentence that a user needs."""
    total, tracked, segments = content["frames"], content["tracked_frames"], content["segments"]
    name = shortened(Path(content["source"]).name or content["source"], 40) or "recording"
    ended = ", interrupted" if content["interrupted"] else ""
    if not tracked:
        return f"{name}: not one of {_frames(total)} could be tracked{ended}"
    where = "one piece" if segments == 1 else f"the largest of {segments} segments"
    share = f"{100.0 * content['tracked_fraction']:.1f}".removesuffix(".0")
    length = f"{content['path_length']:.4g}{' m' if content['scale'] == 'metric' else ' units'} of path"
    return f"{name}: {tracked:,} of {_frames(total)} tracked ({share} %) in {where}, {length}{ended}"


def speed_words(content: Mapping[str, Any]) -> str:
    """How fast it was."""
    spent, factor = content["ms"], content["realtime_factor"]
    if content["fps"] is None or spent["p50"] is None:
        return "no frames"
    times = f", {factor:.3g} × real time" if factor is not None else ""
    return (
        f"{content['fps']:.3g} frames/s{times}; a frame {spent['p50']:.3g} ms (median), "
        f"{spent['p95']:.3g} (p95), {spent['p99']:.3g} (p99)"
    )


def truth_words(truth: Mapping[str, Any]) -> str:
    """How far the path is from the truth."""
    if "problem" in truth:
        return f"not compared with {truth['source']}: {truth['problem']}"
    ate, rpe, scale = truth["ate"], truth["rpe"], truth["scale"]
    share = f" ({ate['percent']:.2g} % of {truth['path_length_m']:.4g} m)" if ate["percent"] is not None else ""
    words = f"ATE {ate['rmse_m']:.3g} m RMS{share}"
    if rpe is not None:
        words += f", RPE {rpe['rmse_m']:.3g} m and {rpe['rmse_deg']:.3g} deg a frame"
    if truth["drift"] is not None:
        words += f", drift {truth['drift']['t_rel_percent']:.3g} %"
    if truth["alignment"] == "se3" and scale is not None:
        words += f", scale off by {100.0 * (1.0 / scale - 1.0):+.2g} %"
    return f"{words}, aligned by {truth['alignment']}; compared with {truth['source']}, which was not used"


def _scale_words(content: Mapping[str, Any]) -> str:
    return "scale metric" if content["scale"] == "metric" else "scale arbitrary: lengths have no unit"


def _camera_words(content: Mapping[str, Any]) -> str:
    camera = content["camera"]
    fx, fy = camera["params"]["fx"], camera["params"]["fy"]
    focal = f"f {fx:.1f}" if abs(fx - fy) < 0.05 else f"f {fx:.1f}, {fy:.1f}"
    sigma = content["focal_deviation_px"]
    origin = "given"
    if content["intrinsics"] == "estimated":
        focal += f" ± {sigma:.2g}" if sigma is not None else ""
        origin = "assumed" if sigma is None else "estimated from the recording"
    return f"{camera['model']}, {camera['width']}x{camera['height']}, {focal} px, {origin}"


def _loop_words(loops: Sequence[Mapping[str, Any]]) -> str:
    if not loops:
        return "none found"
    shown = ", ".join(f"frame {loop['frame']} to {loop['earlier_frame']}" for loop in loops[:_MOST_LOOPS])
    more = f" and {len(loops) - _MOST_LOOPS} more" if len(loops) > _MOST_LOOPS else ""
    return f"{len(loops)} closed: {shown}{more}"


def _truth_lines(content: Mapping[str, Any]) -> list[str]:
    return [] if content["truth"] is None else labelled("truth", truth_words(content["truth"]))


def _frames(count: int) -> str:
    return f"{count:,} frame{'' if count == 1 else 's'}"

"""What `cv3d reconstruct` says: the result that `--json` prints, the figures of `--require`, a summary for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cv3d.formats.json_text import jsonable
from cv3d.mapping.scene import SCENE_SCHEMA, IntrinsicsSource, ScaleSource, Scene, SceneCamera, SceneModel
from cv3d.reconstruction.options import ORDER
from cv3d.reporting.page import with_sigma
from cv3d.reporting.text_lines import labelled, shortened, wrapped

MEASURES = (
    "registered",
    "registered_share",
    "models",
    "mean_reprojection_px",
    "points",
    "track_length",
    "maps",
    "coverage",
    "median_confidence",
    "triangles",
)
"""The figures that `--require` knows."""
SOURCE_WORDS = {
    IntrinsicsSource.GIVEN: "given, held",
    IntrinsicsSource.EXIF: "begun from EXIF, then estimated",
    IntrinsicsSource.ESTIMATED: "estimated from the pictures",
}
SCALE_WORDS = {
    ScaleSource.ARBITRARY: "arbitrary: lengths have no unit",
    ScaleSource.DISTANCE: "metric, by the distance given",
    ScaleSource.BOARD: "metric, by the board in the pictures",
    ScaleSource.DEPTH: "metric, by measured depth",
    ScaleSource.GPS: "metric, by the pictures' GPS positions",
}
_MOST_CAMERAS = 4
_MOST_MODELS = 6
_MOST_REASONS = 8
_MOST_NAMES = 4
_LONGEST_NAME = 34


def scene_result(scene: Scene) -> dict[str, Any]:
    """The object that `--json` prints, with None for figures that are not known.

    `points`, `observations`, `mean_reprojection_px` and `track_length` are of all models together.
    """
    points = sum(len(model.points) for model in scene.models)
    observations = sum(model.observation_count for model in scene.models)
    errors = np.concatenate([np.zeros(0), *(model.reprojection_errors() for model in scene.models)])
    content = {
        "schema": SCENE_SCHEMA,
        "images": {
            "total": scene.total,
            "registered": scene.registered,
            "left_out": [{"file": one.name, "reason": one.reason, "advice": one.advice} for one in scene.left_out],
        },
        "models": [
            {
                "images": len(model.images),
                "points": len(model.points),
                "observations": model.observation_count,
                "mean_reprojection_px": model.mean_reprojection_px,
                "track_length": model.track_length,
                "oriented_only": model.is_oriented_only,
            }
            for model in scene.models
        ],
        "points": points,
        "observations": observations,
        "mean_reprojection_px": float(errors.mean()) if len(errors) else None,
        "track_length": observations / points if points else None,
        "intrinsics": [
            _intrinsics(number, model, index, camera)
            for number, model in enumerate(scene.models)
            for index, camera in enumerate(model.cameras)
        ],
        "scale": scene.scale,
        "upright": scene.is_upright,
        "geodetic_origin": scene.geodetic_origin,
        "mapper": scene.mapper,
        "seconds": dict(scene.seconds),
        "device": scene.device,
        "seed": scene.seed,
        "warnings": list(scene.warnings),
        "interrupted": scene.interrupted,
    }
    plain = jsonable(content)
    if not isinstance(plain, dict):
        raise TypeError("a result is an object")
    return plain


def measures(content: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures that a requirement can be put on, from a result; None for what it does not know."""
    images, depth, mesh = content["images"], content.get("depth") or {}, content.get("mesh") or {}
    return {
        "registered": float(images["registered"]),
        "registered_share": images["registered"] / images["total"] if images["total"] else None,
        "models": float(len(content["models"])),
        "mean_reprojection_px": content["mean_reprojection_px"],
        "points": float(content["points"]),
        "track_length": content["track_length"],
        "maps": float(depth.get("maps", 0)),
        "coverage": depth.get("coverage"),
        "median_confidence": depth.get("median_confidence"),
        "triangles": float(mesh.get("triangles", 0)),
    }


def describe_scene(
    content: Mapping[str, Any], title: str, out: str, files: Sequence[str], up_to_date: bool = False
) -> str:
    """A scene for a person, at most 80 columns wide.

    Args:
        content: of :func:`scene_result`, or as a `result.json` holds it.
        title: what the inputs are called.
        out: where it was written.
        files: what was written there.
        up_to_date: whether it was there already.
    """
    lines = [*wrapped(f"{shortened(title, 40)}: {headline(content)}"), ""]
    if len(content["models"]) > 1:
        for number, model in enumerate(content["models"][:_MOST_MODELS]):
            lines += labelled(f"model {number}", model_words(model))
        if (more := len(content["models"]) - _MOST_MODELS) > 0:
            lines += labelled("", f"and {more} more")
    lines += labelled("poses", f"{content['mapper']}; scale {SCALE_WORDS[ScaleSource(content['scale'])]}")
    lines += labelled("", frame_words(content)) if frame_words(content) else []
    lines += labelled("points", points_words(content))
    lines += _camera_lines(content["intrinsics"])
    lines += _dense_lines(content)
    lines += labelled("time", seconds_words(content["seconds"]))
    if content["models"] and content["images"].get("folder"):
        lines += labelled("pictures", f"in {content['images']['folder']} (COLMAP's image path)")
    lines += _left_out_lines(content["images"]["left_out"])
    for warning in content["warnings"]:
        lines += wrapped(f"warning: {warning}", "  ")
    state = "up to date in" if up_to_date else "written to"
    return "\n".join([*lines, "", *wrapped(f"{state} {out}:"), *wrapped(f"  {', '.join(files)}", "  ")])


def _dense_lines(content: Mapping[str, Any]) -> list[str]:
    """Depth and surface, where there are any."""
    depth, mesh = content.get("depth"), content.get("mesh")
    lines: list[str] = []
    if depth is not None:
        sure = depth["median_confidence"]
        words = f"{depth['maps']:,} maps, {100.0 * depth['coverage']:.0f} % of the pixels"
        lines += labelled("depth", words + (f", median confidence {sure:.2f}" if sure is not None else ""))
    if mesh is not None:
        words = f"{mesh['triangles']:,} triangles, {mesh['vertices']:,} vertices"
        lines += labelled("surface", words + (", textured" if mesh["textured"] else ""))
    return lines


def describe_stages(content: Mapping[str, Any], title: str, out: str) -> str:
    """What the stages before the poses have done, for a person; arguments as of :func:`describe_scene`."""
    count = content["images"]["total"]
    words = f"{shortened(title, 40)}: {count:,} picture{'' if count == 1 else 's'}, done up to {content['stage']}"
    lines = [*wrapped(words), "", *labelled("time", seconds_words(content["seconds"]))]
    lines += _left_out_lines(content["images"]["left_out"])
    for warning in content["warnings"]:
        lines += wrapped(f"warning: {warning}", "  ")
    return "\n".join([*lines, "", *wrapped(f"kept in {out}; a run with --to poses goes on from there")])


def headline(content: Mapping[str, Any]) -> str:
    """The one sentence that a user needs, without an end."""
    images, models = content["images"], content["models"]
    ended = ", interrupted" if content["interrupted"] else ""
    count = f"{images['total']:,} picture{'' if images['total'] == 1 else 's'}"
    if not models:
        return f"not one of {count} could be placed{ended}"
    where = "one model" if len(models) == 1 else f"{len(models)} models"
    if models[0]["oriented_only"]:
        return f"{images['registered']:,} of {count} oriented in {where}, none placed: the camera only turned{ended}"
    return f"{images['registered']:,} of {count} placed in {where} of {content['points']:,} points{ended}"


def model_words(model: Mapping[str, Any]) -> str:
    """What a model has."""
    words = f"{model['images']:,} pictures"
    if model["oriented_only"]:
        return f"{words}, oriented only"
    error = model["mean_reprojection_px"]
    return f"{words}, {model['points']:,} points" + (f", {error:.2f} px" if error is not None else "")


def frame_words(content: Mapping[str, Any]) -> str:
    """How the world lies; empty where nothing is known of it."""
    words = ["z is up"] if content["upright"] else []
    origin = content["geodetic_origin"]
    if origin is not None:
        words.append(f"x east, y north; origin at {origin[0]:.6f}, {origin[1]:.6f} deg, {origin[2]:.1f} m")
    return "; ".join(words)


def points_words(content: Mapping[str, Any]) -> str:
    """How many points there are and how well the pictures agree on them."""
    if not content["points"]:
        return "none"
    error, length = content["mean_reprojection_px"], content["track_length"]
    return (
        f"{content['points']:,}, each in {length:.1f} pictures; reprojection error {error:.2f} px (mean of "
        f"{content['observations']:,})"
    )


def seconds_words(seconds: Mapping[str, float]) -> str:
    """Where the time went."""
    # As a file tells them, they are in the order of their names.
    known = {stage.value: place for place, stage in enumerate(ORDER)}
    ordered = sorted(seconds.items(), key=lambda one: known.get(one[0], len(known)))
    stages = [f"{name} {spent:.1f} s" for name, spent in ordered if name != "total"]
    return ", ".join([*stages, *([f"in all {seconds['total']:.1f} s"] if "total" in seconds else [])]) or "unknown"


def camera_words(camera: Mapping[str, Any]) -> str:
    """A camera's model, size, focal length and where these are from."""
    names = ["fx"] if abs(camera["params"]["fx"] - camera["params"]["fy"]) < 0.05 else ["fx", "fy"]
    focal = ", ".join(_with_sigma(camera, name) for name in names)
    source = SOURCE_WORDS[IntrinsicsSource(camera["source"])]
    return f"{camera['model']}, {camera['width']}x{camera['height']}, f {focal} px, {source}"


def left_out_groups(left_out: Sequence[Mapping[str, str]]) -> list[tuple[str, str, list[str]]]:
    """Reason, advice and names of the pictures that were left out, those with one reason together; most first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in left_out:
        groups.setdefault((one["reason"].removeprefix(f"{one['file']}: "), one["advice"]), []).append(one["file"])
    ranked = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [(reason, advice, names) for (reason, advice), names in ranked]


def _intrinsics(number: int, model: SceneModel, index: int, camera: SceneCamera) -> dict[str, Any]:
    """What is known of a camera, and how many pictures have it."""
    deviations = dict(zip(camera.camera.lens.param_names, camera.deviations, strict=True))
    images = sum(image.camera == index for image in model.images)
    own = {"deviations": deviations, "free": camera.free, "source": camera.source, "images": images}
    return {"in_model": number, **camera.camera.as_dict(), **own}


def _with_sigma(camera: Mapping[str, Any], name: str) -> str:
    value, sigma = camera["params"][name], camera["deviations"][name]
    if not sigma:
        return f"{value:.1f}" + (" ± ?" if sigma is None else "")
    return " ± ".join(with_sigma(value, sigma))


def _camera_lines(cameras: Sequence[Mapping[str, Any]]) -> list[str]:
    lines: list[str] = []
    for number, camera in enumerate(cameras[:_MOST_CAMERAS]):
        of = f" ({camera['images']:,} pictures)" if len(cameras) > 1 else ""
        lines += labelled("" if number else "camera", camera_words(camera) + of)
    more = len(cameras) - _MOST_CAMERAS
    return lines + (labelled("", f"and {more} more, see report.html") if more > 0 else [])


def _left_out_lines(left_out: Sequence[Mapping[str, str]]) -> list[str]:
    groups = left_out_groups(left_out)
    if not groups:
        return []
    lines = ["", f"left out, {len(left_out):,}:"]
    for reason, advice, names in groups[:_MOST_REASONS]:
        shown = ", ".join(shortened(name, _LONGEST_NAME) for name in names[:_MOST_NAMES])
        more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
        lines += wrapped(f"  {shown}{more}: {reason}", "    ")
        lines += wrapped(f"    > {advice}", "      ") if advice else []
    if len(groups) > _MOST_REASONS:
        lines += ["  and more, see report.html"]
    return [*lines, ""]

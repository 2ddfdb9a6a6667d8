"""`cv3d evaluate matches`: how good an extractor and a matcher are on pairs with ground truth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cv3d.cli.common import RequireOption, Run, read_names
from cv3d.errors import UsageError

if TYPE_CHECKING:
    from cv3d.evaluation.matches import MatchEvaluation, TruePair
    from cv3d.evaluation.matches.result import PairOutcome

_MATCHER_OF = {"xfeat": "lighterglue", "aliked": "lightglue-aliked", "disk": "lightglue-disk", "sift": "ratio"}
"""The matcher that an extractor gets where none is named."""
_SHOWN_FAILURES = 5


def matches(
    run: Run,
    folders: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FOLDER]...",
            help="Folders with ground truth: HPatches or Oxford homographies, .camera files, transforms.json; - reads "
            "a list from stdin.",
            show_default=False,
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", metavar="FILE", help="A list of pairs in SuperGlue's format.", show_default=False),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="DIR",
            help="Folder of the list's pictures. Otherwise the list's own.",
            show_default=False,
        ),
    ] = None,
    extractor: Annotated[
        str, typer.Option("--extractor", metavar="NAME", help="xfeat, aliked, disk or sift.")
    ] = "xfeat",
    matcher: Annotated[
        str | None,
        typer.Option(
            "--matcher",
            metavar="NAME",
            help="mutual, ratio, lighterglue, lightglue-aliked, lightglue-disk. Otherwise the extractor's best.",
            show_default=False,
        ),
    ] = None,
    max_keypoints: Annotated[
        int, typer.Option("--max-keypoints", min=8, metavar="N", help="Keypoints of a picture, at most.")
    ] = 2048,
    detection_threshold: Annotated[
        float | None,
        typer.Option(
            "--detection-threshold", metavar="SCORE", help="On the extractor's own scale.", show_default="its own"
        ),
    ] = None,
    resize: Annotated[
        int,
        typer.Option("--resize", min=0, metavar="PX", help="Shrink longer sides to this; 0 takes pictures as stored."),
    ] = 1600,
    keep_border: Annotated[
        bool, typer.Option("--keep-border", help="Also take keypoints in and at a constant border around pictures.")
    ] = False,
    max_error: Annotated[
        float, typer.Option("--max-error", metavar="PX", help="Of the estimator's inliers, in pixels as stored.")
    ] = 2.0,
    correct: Annotated[
        float | None,
        typer.Option(
            "--correct",
            metavar="PX",
            help="Error of a correct match. Otherwise SuperGlue's 5e-4, or 3 px for homographies.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Folder for result.json and pairs.csv. Without it nothing is written.",
            show_default=False,
        ),
    ] = None,
    require: RequireOption = None,
) -> None:
    """Measure an extractor and a matcher on pairs of pictures with ground truth.

    Every pair is matched and its geometry estimated: the relative pose where cameras and poses are known, a homography
    where the truth is one. Prints the area under the recall curve (AUC) of the pose error at 5, 10 and 20 degrees, or
    of the corners' error at 1, 3 and 5 pixels; the precision of the matches; and the matching score, the share of
    keypoints with a correct match. All in percent. Folders are recognised by their content; a folder with poses gives
    all pairs of its pictures. A pair that fails counts as infinitely wrong and is listed.

    Figures for --require: auc5, auc10, auc20, auc1, auc3, precision, matching_score, failures, error (the median).

    Example: cv3d evaluate matches --pairs pairs_with_gt.txt --images scans --extractor aliked --require 'auc10>20'
    """
    from cv3d.errors import QualityError
    from cv3d.evaluation.matches import MatchEvaluationOptions, evaluate_matches, pairs_of_folder, pairs_of_list
    from cv3d.evaluation.matches.result import MEASURES
    from cv3d.evaluation.requirements import check, check_names, parse_requirement
    from cv3d.features.direct_matcher import DirectMatcher, DirectMatcherOptions
    from cv3d.features.extractors.base import ExtractorOptions
    from cv3d.features.extractors.registry import create_extractor
    from cv3d.features.matchers.registry import create_matcher
    from cv3d.reporting.matches_files import matches_result, write_matches

    requirements = [parse_requirement(text) for text in require or []]
    check_names(requirements, MEASURES)
    names = read_names(folders or [])
    if pairs is None and not names:
        raise UsageError("nothing to evaluate on: name a folder with ground truth, or a list with --pairs")
    if images is not None and pairs is None:
        raise UsageError("--images goes with --pairs")
    chosen = check_matcher(extractor, matcher)
    options = MatchEvaluationOptions(max_error, correct, run.options.seed)
    preparation = DirectMatcherOptions(resize or None, trims_border=not keep_border)
    found: list[TruePair] = [] if pairs is None else list(pairs_of_list(pairs, images))
    for folder in names:
        found += pairs_of_folder(folder, run.progress)
    direct = DirectMatcher(
        create_extractor(extractor, run.compute, ExtractorOptions(max_keypoints, detection_threshold)),
        create_matcher(chosen, run.compute),
        run.compute,
        preparation,
    )
    evaluation = evaluate_matches(found, direct, options, run.progress)
    settings: dict[str, object] = {
        "inputs": [str(one) for one in ([pairs] if pairs else []) + names],
        "extractor": extractor,
        "matcher": chosen,
        "max_keypoints": max_keypoints,
        "detection_threshold": detection_threshold,
        "resize": resize,
        "keep_border": keep_border,
        "max_error_px": max_error,
        "correct_px": correct,
        "device": run.compute.device.type,
    }
    if output is None:
        result = matches_result(evaluation, settings)
    else:
        result = write_matches(evaluation, settings, output, run.options.overwrite)
    run.emit(result, lambda: describe(evaluation, f"{extractor} + {chosen}", output))
    failures = check(requirements, evaluation.measures())
    if failures:
        raise QualityError("; ".join(str(failure) for failure in failures))


def check_matcher(extractor: str, matcher: str | None) -> str:
    """The matcher to use.

    Raises:
        UsageError: there is no such extractor or matcher, or they do not go together.
    """
    from cv3d.features.extractors.registry import EXTRACTORS
    from cv3d.features.matchers.registry import MATCHERS

    if extractor not in EXTRACTORS:
        raise UsageError(f"no extractor is called '{extractor}': one of {', '.join(EXTRACTORS)}")
    chosen = _MATCHER_OF.get(extractor, "mutual") if matcher is None else matcher
    if chosen not in MATCHERS:
        raise UsageError(f"no matcher is called '{chosen}': one of {', '.join(MATCHERS)}")
    takes = MATCHERS[chosen].extractors
    if takes and extractor not in takes:
        raise UsageError(f"--matcher {chosen} takes features of {', '.join(takes)}, not of {extractor}")
    return chosen


def describe(evaluation: MatchEvaluation, method: str, out: Path | None) -> str:
    """The evaluation for a person."""
    unit = "degrees" if evaluation.kind == "pose" else "px"
    what = "pose" if evaluation.kind == "pose" else "homography"
    thresholds = "/".join(str(threshold) for threshold in evaluation.auc)
    areas = " / ".join(f"{area:.1f}" for area in evaluation.auc.values())
    failures = evaluation.failures
    error = evaluation.median_error
    lines = [
        f"{method} on {len(evaluation.pairs)} pairs",
        "",
        f"{what} AUC       {areas} % at {thresholds} {unit}",
        f"median error   {f'{error:.3g} {unit}' if math.isfinite(error) else 'none: most pairs failed'}",
        f"precision      {evaluation.precision:.1f} %",
        f"matching score {evaluation.matching_score:.1f} %",
        "time           " + ", ".join(f"{stage} {_time(ms)}" for stage, ms in evaluation.ms.items()),
    ]
    if failures:
        lines += ["", f"{len(failures)} of {len(evaluation.pairs)} pairs failed:", *_failure_lines(failures)]
    if out is not None:
        lines += ["", f"written to {out}: result.json, pairs.csv"]
    return "\n".join(lines)


def _failure_lines(failures: tuple[PairOutcome, ...]) -> list[str]:
    lines = [f"  {pair.name}: {pair.failure}" for pair in failures[:_SHOWN_FAILURES]]
    more = len(failures) - len(lines)
    return lines + ([f"  and {more} more; --json or -o OUT lists them all"] if more else [])


def _time(ms: float) -> str:
    return f"{ms:.0f} ms" if math.isfinite(ms) else "-"

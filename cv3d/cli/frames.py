"""`cv3d frames`: the key frames of a clip as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cv3d.cli.common import OutputOption, Run


def frames(
    run: Run,
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="A video.", show_default=False)],
    output: OutputOption = None,
    max_frames: Annotated[
        int, typer.Option("--max-frames", min=1, metavar="N", help="Most frames; where more would do, they lie apart.")
    ] = 300,
    step: Annotated[
        float,
        typer.Option("--step", metavar="SHARE", help="Motion between neighbours, share of the picture's diagonal."),
    ] = 0.05,
    form: Annotated[str, typer.Option("--format", metavar="png|jpg", help="Of the pictures.")] = "png",
) -> None:
    """Choose the key frames of a clip: sharp, well exposed, a step of motion apart.

    A camera at rest gives one frame, a quick one many; repeated, blurred and badly lit frames are passed over where a
    better one is near, and a cut begins anew. OUT gets the pictures in images, upright and named by index and time,
    frames.csv and result.json. Without -o, OUT is named after CLIP.

    Example: cv3d frames walk.mp4 -o walk --max-frames 150 --format jpg
    """
    from cv3d.cli.calibrate import default_name
    from cv3d.media.key_choice import frames as choose
    from cv3d.media.key_choice.extracting import SCHEMA
    from cv3d.reporting.frames_files import write_frames_files
    from cv3d.reporting.result_folder import files_digest, look_at_output, remove_earlier_result

    out = output if output is not None else Path(f"{default_name(str(clip))}_frames")
    digest = files_digest([clip], max_frames, step, form)
    earlier = look_at_output(out, digest, run.options.overwrite, SCHEMA).result if clip.exists() else None
    if earlier is not None:
        run.emit(earlier, lambda: f"nothing to do: {out} holds the frames of just this")
        return
    if run.options.overwrite:
        remove_earlier_result(out)
    result = choose(
        clip,
        out,
        max_frames=max_frames,
        step=step,
        form=form,
        overwrite=run.options.overwrite,
        progress=run.progress,
    )
    for warning in result.warnings:
        run.progress.warn(warning)
    content = write_frames_files(result, out, digest)
    run.emit(content, lambda: _summary(content, out))


def _summary(content: Mapping[str, Any], out: Path) -> str:
    """A few lines for a person."""
    counts, scenes = content["frames"], content["scenes"]
    width, height = content["size"]
    cuts = "" if scenes == 1 else f", {scenes} scenes"
    lines = [
        f"{counts['chosen']} of {counts['total']} frames chosen, {width}x{height}{cuts}; "
        f"{100.0 * content['step']:.1f} % of the diagonal from one to the next"
    ]
    if counts["passed_over"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts["passed_over"].items())
        lines.append(f"passed over: {reasons}")
    return "\n".join([*lines, f"written to {out}: images/, frames.csv, result.json"])

"""The files of `cv3d depth --stereo`: disparity, depth and confidence as pictures, a cloud, the report, the result.

`disparity.pfm` holds the disparities as they are, `disparity.png` in 16 bits, 256 steps a pixel as KITTI has them; 0 is
where there is none. With a calibration, `depth.png` holds the depth in 16 bits, whose step is `depth_step` in
`result.json`, `points.ply` the points in colour, and `camera.json` the camera of the rectified left picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv3d.depth.stereo import StereoResult, StereoScore
from cv3d.formats import CAMERA_FORMATS
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.json_text import to_json
from cv3d.formats.ply import write_ply
from cv3d.geometry.mesh import Mesh
from cv3d.media.writing import write_picture
from cv3d.reporting.depth_pictures import bgr, confidence_in_steps, depth_in_steps, depth_step, disparity_colors
from cv3d.reporting.depth_space import points_of
from cv3d.reporting.result_folder import REPORT_FILE, RESULT_FILE, earlier_files, remove_earlier_result
from cv3d.reporting.stereo_page import stereo_page
from cv3d.reporting.stereo_summary import SCHEMA, stereo_content

DISPARITY_STEPS = 256.0
"""Of `disparity.png`, a pixel."""


def write_stereo(
    result: StereoResult, out: Path, *, score: StereoScore | None = None, title: str = "Stereo", digest: str = ""
) -> dict[str, Any]:
    """Write everything; files of an earlier run are replaced, and those that this one does not have are removed.

    `result.json` comes last, so that its presence means that all is there.

    Args:
        result: of the pair.
        out: the folder, created where absent.
        score: how far the disparities are from the truth, where that is known.
        title: heads the report.
        digest: of the inputs and options, kept as `run_digest` so that an identical run can be told.

    Returns:
        The result as `result.json` holds it.

    Raises:
        OutputError: a file cannot be written.
    """
    stale = earlier_files(out, SCHEMA)
    remove_earlier_result(out)
    disparity = result.disparity
    pictures: dict[str, NDArray[Any]] = {
        "left.png": bgr(result.color),
        "disparity.pfm": disparity.disparity,
        "disparity.png": depth_in_steps(disparity.disparity, 1.0 / DISPARITY_STEPS),
        "confidence.png": confidence_in_steps(disparity.confidence),
        "preview.jpg": disparity_colors(disparity.disparity),
    }
    content = stereo_content(result, score)
    found = result.depth_map
    if found is not None:
        content["depth_step"] = depth_step([found], result.is_metric)
        pictures["depth.png"] = depth_in_steps(found.depth, content["depth_step"])
    for name, pixels in pictures.items():
        write_picture(out / name, pixels)
    files = list(pictures)
    if found is not None:
        points, colors = points_of(found)
        write_ply(out / "points.ply", Mesh(points, np.zeros((0, 3), np.int32), colors=colors))
        atomic_write_text(out / "camera.json", CAMERA_FORMATS["cv3d"].dumps(found.camera))
        files += ["points.ply", "camera.json"]
    atomic_write_text(out / REPORT_FILE, stereo_page(result, content, title))
    content |= {"files": [*files, REPORT_FILE, RESULT_FILE], "run_digest": digest}
    for name in stale - set(content["files"]):
        (out / name).unlink(missing_ok=True)
    atomic_write_text(out / RESULT_FILE, to_json(content, indent=2) + "\n")
    return content

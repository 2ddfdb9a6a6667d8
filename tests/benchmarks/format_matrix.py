"""Every camera format against every model: how true a camera is after going there and back.

    python tests/benchmarks/format_matrix.py

prints a markdown table of the largest difference over the image, pixels, between a camera and what is read back from
its file. Bold: the format says the model itself. Otherwise the file holds the closest of its models, and the number is
measured here by projecting a dense grid, beside the one that the conversion states. A dash: none comes within 2 px.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time

import numpy as np
import torch

import cv3d
from cv3d.errors import FormatError
from cv3d.formats import FORMATS
from cv3d.formats.approximation import write_camera
from cv3d.formats.camera_file import ReadOptions
from cv3d.formats.content import Content
from cv3d.formats.sights import sights_of_camera
from cv3d.formats.stand_ins import SPLINED, stand_ins
from cv3d.geometry.cameras.camera import Camera

LENSES: dict[str, Camera] = {
    "pinhole": Camera("pinhole", 1280, 960, (1100.0, 1102.0, 642.0, 477.0)),
    "brown4": Camera("brown4", 1280, 960, (1000.0, 1001.0, 642.0, 477.0, -0.28, 0.09, 8e-4, -5e-4)),
    "brown5": Camera("brown5", 1280, 960, (1000.0, 1001.0, 642.0, 477.0, -0.28, 0.09, 8e-4, -5e-4, -0.01)),
    "brown8": Camera("brown8", 1280, 960, (900.0, 901.0, 642.0, 477.0, 0.4, 0.05, 2e-4, -3e-4, 1e-3, 0.75, 0.12, 5e-3)),
    "brown12": Camera(
        "brown12",
        1280,
        960,
        (1000.0, 1001.0, 642.0, 477.0, -0.28, 0.07, 1e-4, -5e-5, -3e-3, 0.011, -0.02, 1e-3, 5e-4, -1e-4, 8e-4, 1e-4),
    ),
    "kannala_brandt4": Camera("kannala_brandt4", 1280, 960, (400.0, 401.0, 642.0, 477.0, -0.02, 3e-3, -2e-3, 2e-4)),
    "ucm": Camera("ucm", 1280, 960, (600.0, 601.0, 642.0, 477.0, 0.62)),
    "omni": Camera("omni", 1280, 960, (1300.0, 1302.0, 642.0, 477.0, 1.2, -0.15, 0.03, 4e-4, -3e-4)),
    "eucm": Camera("eucm", 1280, 960, (580.0, 581.0, 642.0, 477.0, 0.6, 1.1)),
    "double_sphere": Camera("double_sphere", 1280, 960, (420.0, 421.0, 642.0, 477.0, -0.2, 0.6)),
    "division": Camera("division", 1280, 960, (800.0, 801.0, 642.0, 477.0, -0.2)),
}
"""One plausible lens of each model; the wide ones see 130 to 190 degrees from corner to corner."""


def with_splined() -> dict[str, Camera]:
    """The lenses, and a splined one that follows the omnidirectional."""
    splined = stand_ins(sights_of_camera(LENSES["omni"]), [SPLINED])[0].camera
    return LENSES | {"splined": splined}


def measured(camera: Camera, back: Camera) -> float:
    """Largest difference of the two projections over a dense grid of the part of the image where both are valid."""
    x = np.linspace(-0.5, camera.width - 0.5, 121)
    y = np.linspace(-0.5, camera.height - 0.5, 91)
    pixels = torch.as_tensor(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2))
    params = torch.tensor(camera.params, dtype=torch.float64)
    pixels = pixels[camera.lens.valid_pixels(params, pixels)]
    off = back.project(camera.unproject(pixels)) - pixels
    return float(torch.linalg.vector_norm(off, dim=-1).max())


def cell(name: str, camera: Camera) -> str:
    """One entry of the table."""
    form = FORMATS[name]
    try:
        written = write_camera(camera, form)
    except FormatError:
        return "–"
    back = form.decode(Content(written.data, name), ReadOptions()).rig.cameras[0].camera
    error = measured(camera, back)
    if written.max_px == 0.0:
        return f"**{error:.0e}**"
    word = "splined" if written.model.startswith("splined") else written.model
    return f"{error:.1g} ({written.max_px:.1g}, {word})"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), help="only these")
    chosen = parser.parse_args().formats
    torch.set_num_threads(1)
    start = time.perf_counter()
    cameras = with_splined()
    print("| lens (diagonal view) | " + " | ".join(chosen) + " |")
    print("|---" * (len(chosen) + 1) + "|")
    for label, camera in cameras.items():
        view = np.degrees(camera.field_of_view()[2])
        print(f"| {label} ({view:.0f}°) | " + " | ".join(cell(name, camera) for name in chosen) + " |", flush=True)
    print(
        f"\ncv3d {cv3d.__version__}, torch {torch.__version__}, {platform.machine()}; "
        f"{time.perf_counter() - start:.0f} s on one thread",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

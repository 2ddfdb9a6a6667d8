"""The samples that are timed: rendered pictures and clips, shipped with the source but not with the wheel."""

from __future__ import annotations

from pathlib import Path

import cv3d
from cv3d.errors import InputError

PARTS = ("checkerboard", "stereo", "rgbd", "room.mp4", "room_ground_truth.json")
"""What is used of them."""


def find_samples(folder: str | Path | None = None) -> Path:
    """The folder of the samples.

    Args:
        folder: where they are; None: beside the package, as in a checkout.

    Raises:
        InputError: they are not there, or not all of them.
    """
    place = Path(cv3d.__file__).resolve().parents[1] / "data" / "samples" if folder is None else Path(folder)
    if not place.is_dir():
        told = "name their folder with --samples" if folder is None else "that is no folder"
        raise InputError(
            f"{place}: no samples there: {told}. They are the folder data/samples of cv3d's source distribution "
            "(pip download --no-deps --no-binary cv3d cv3d) and of its repository"
        )
    missing = [part for part in PARTS if not (place / part).exists()]
    if missing:
        raise InputError(f"{place}: not cv3d's samples, or not all of them: {', '.join(missing)} is missing")
    return place

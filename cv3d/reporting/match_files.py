"""What `cv3d match` leaves beside the store: the result, tables of pairs and pictures, the report; arrays of a pair."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.features.matching import PairMatch, SetMatch
from cv3d.features.store import FeatureStore
from cv3d.formats.atomic import atomic_directory, atomic_write_text
from cv3d.formats.json_text import to_json
from cv3d.media.writing import replacing
from cv3d.reporting.match_figures import draw_pair
from cv3d.reporting.match_page import match_page
from cv3d.reporting.result_folder import REPORT_FILE, RESULT_FILE, remove_earlier_result
from cv3d.reporting.set_pictures import LoadPixels
from cv3d.reporting.stored_pairs import stored_pairs

PAIRS_FILE = "pairs.csv"
PICTURES_FILE = "pictures.csv"
MATCHES_FILE = "matches.npz"
PLOT_FILE = "matches.png"
PAIR_COLUMNS = ("name0", "name1", "inliers", "matcher", "verified", "decision")
PICTURE_COLUMNS = ("name", "width", "height", "keypoints", "neighbours", "group", "reason")


def write_set(
    result: SetMatch, out: Path, load: LoadPixels, title: str = "Matched pictures", digest: str = ""
) -> dict[str, object]:
    """Write everything of a matched set but its store; files of an earlier run are replaced.

    `result.json` comes last, so that its presence means that all is there.

    Args:
        result: with the store that it names.
        out: the folder, created where absent.
        load: the pixels of a picture by its name.
        title: heads the report.
        digest: of the inputs and options, kept as `run_digest` so that an identical run can be told.

    Returns:
        The result as `result.json` holds it.

    Raises:
        InputError: the store is not there any more.
        OutputError: a file cannot be written.
    """
    remove_earlier_result(out)
    with FeatureStore.open(result.store, read_only=True) as store:
        _write_table(out / PAIRS_FILE, PAIR_COLUMNS, _pair_rows(store, result))
        _write_table(out / PICTURES_FILE, PICTURE_COLUMNS, _picture_rows(result))
        atomic_write_text(out / REPORT_FILE, match_page(result, store, load, title))
    own = [result.store.name] if result.store.parent.resolve() == out.resolve() else []
    files = [*own, PAIRS_FILE, PICTURES_FILE, REPORT_FILE, RESULT_FILE]
    content: dict[str, object] = result.as_result() | {"files": files, "run_digest": digest}
    atomic_write_text(out / RESULT_FILE, to_json(content, indent=2) + "\n")
    return content


def write_pair(
    result: PairMatch,
    *,
    npz: Path | None = None,
    out: Path | None = None,
    pixels: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None,
    overwrite: bool = False,
) -> dict[str, object]:
    """Write a matched pair, where that is asked for.

    Args:
        result: the pair.
        npz: a file for its arrays; one that is there is replaced.
        out: a folder for its result, its arrays and its picture, which appears whole.
        pixels: of both pictures, (H, W) or (H, W, 3) RGB; without them the folder has no picture.
        overwrite: whether a folder that is there may be replaced.

    Returns:
        The result as `result.json` holds it; with the names of the folder's files where there is one.

    Raises:
        OutputError: the folder is there and not empty, or something cannot be written.
    """
    content: dict[str, object] = result.as_result()
    if out is not None:
        content["files"] = [MATCHES_FILE, *([] if pixels is None else [PLOT_FILE]), RESULT_FILE]
        with atomic_directory(out, overwrite) as folder:
            write_pair_arrays(result, folder / MATCHES_FILE)
            if pixels is not None:
                draw_pair(result, *pixels, folder / PLOT_FILE)
            atomic_write_text(folder / RESULT_FILE, to_json(content, indent=2) + "\n")
    if npz is not None:
        write_pair_arrays(result, npz)
    return content


def write_pair_arrays(result: PairMatch, path: Path) -> None:
    """Write the keypoints, matches and geometry of a pair into an `.npz` file; see `PairMatch.arrays`.

    Raises:
        OutputError: the file cannot be written.
    """
    # NumPy appends the suffix to a name without it, and then the file would be another than the one asked for.
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **result.arrays())  # type: ignore[arg-type]


def _pair_rows(store: FeatureStore, result: SetMatch) -> Iterator[tuple[object, ...]]:
    for pair in stored_pairs(store, result):
        first, second = (result.pictures[place].name for place in pair.places)
        yield first, second, pair.inliers, pair.matcher, str(pair.verified).lower(), pair.decision


def _picture_rows(result: SetMatch) -> Iterator[tuple[object, ...]]:
    groups = {place: number for number, group in enumerate(result.components(), 1) for place in group}
    for place, picture in enumerate(result.pictures):
        width, height = picture.size or ("", "")
        group = groups.get(place, "")
        yield picture.name, width, height, picture.keypoints, picture.neighbours, group, picture.reason


def _write_table(path: Path, head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    """Write rows as CSV while they come; text that UTF-8 cannot say is written as escape sequences."""
    with (
        replacing(path) as temporary,
        temporary.open("wb") as raw,
        io.TextIOWrapper(raw, "utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)

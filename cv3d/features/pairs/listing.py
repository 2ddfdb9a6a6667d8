"""Pairs from a text file: two names a line, and whatever follows them.

COLMAP's lists of image pairs have the two names alone; SuperGlue's go on with rotations, intrinsics and a pose, which
are not needed to match. Empty lines and those that begin with # say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cv3d.errors import FormatError, InputError
from cv3d.features.pairs.base import Pair
from cv3d.features.pairs.selectors import Listed


def read_pair_list(path: Path | str, names: Sequence[str]) -> Listed:
    """The pairs that a file names, each once, in its order.

    Args:
        path: the file.
        names: of the set's pictures, as the file has them.

    Raises:
        InputError: the file cannot be read, or names a picture that the set does not have, or a picture with itself.
        FormatError: a line has no two names, or there is no pair at all.
    """
    places = {name: index for index, name in enumerate(names)}
    found: dict[Pair, None] = {}
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise FormatError(f"{path}: is no list of pairs: it is no text") from None
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{path}, line {number}"
        if len(words) < 2:
            raise FormatError(f"{where}: should begin with the names of two pictures, but is '{line.strip()[:80]}'")
        for name in words[:2]:
            if name not in places:
                raise InputError(f"{where}: there is no picture '{name}' among the {len(places)} given")
        first, second = sorted((places[words[0]], places[words[1]]))
        if first == second:
            raise InputError(f"{where}: pairs '{words[0]}' with itself")
        found[first, second] = None
    if not found:
        raise FormatError(f"{path}: lists no pair")
    return Listed(tuple(found))

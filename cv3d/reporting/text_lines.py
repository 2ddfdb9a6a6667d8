"""Lines of a summary on a terminal: 80 columns, a name before each, whatever a file's name holds."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

WIDTH = 80
LABEL = 13
"""Columns of the names of lines, with the space after them."""


def labelled(label: str, words: str) -> list[str]:
    """Words after the name of their line, wrapped beside it."""
    return wrapped(f"{label:<{LABEL}}{words}", " " * LABEL)


def wrapped(words: str, indent: str = "") -> list[str]:
    """Words in lines of :data:`WIDTH` columns; following lines begin with `indent`, else as the first does."""
    # File names hold anything; what a terminal's encoding cannot say must not stop the summary.
    text = words.encode("utf-8", "backslashreplace").decode("utf-8")
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    own = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(text, WIDTH, initial_indent="", subsequent_indent=indent or own, break_on_hyphens=False) or [
        ""
    ]


def shortened(name: str, most: int) -> str:
    """A name, its end where it is too long: that is what tells files of one folder apart."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def folded_files(files: Iterable[str]) -> list[str]:
    """Files as a summary lists them: those in folders by the folder's name alone."""
    return list(dict.fromkeys(f"{name.split('/')[0]}/" if "/" in name else name for name in files))

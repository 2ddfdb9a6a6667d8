"""The `--version` of the program and of every command."""

from __future__ import annotations

from typing import Annotated

import typer

import cv3d

COMMON_PANEL = "Common options"
"""Heading of the common options in every command's help."""


def _show(wanted: bool) -> None:
    if wanted:
        print(f"cv3d {cv3d.__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version",
        help="Print the version and stop.",
        is_eager=True,
        callback=_show,
        rich_help_panel=COMMON_PANEL,
        show_default=False,
    ),
]

"""The `cv3d` command. One thin file per verb: parse, call one library function, print."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        argv: the arguments after the program's name; None takes those of this process and sets the process up as a
            command-line program (warnings of libraries off, output that never fails on a character).
    """
    from cv3d.cli.app import run_command_line

    if argv is None:
        _set_up_process()
        argv = sys.argv[1:]
    return run_command_line(argv)


def _set_up_process() -> None:
    import io
    import os
    import warnings

    # A stream that the caller has closed is one that nobody reads, or that holds nothing.
    sys.stdin = sys.stdin or os.fdopen(os.open(os.devnull, os.O_RDONLY))
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

"""What the user sees of an exception, and the exit code that it ends with."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from typing import TYPE_CHECKING

from cv3d.errors import EXIT_BUG, EXIT_FAILURE, EXIT_INTERRUPTED, Cv3dError

if TYPE_CHECKING:
    from cv3d.reporting.progress import Reporter

EXIT_BROKEN_PIPE = 141
"""128 + SIGPIPE: the reader of our output has gone, as a shell reports it for other programs."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What writing to a stream fails with when the file behind it has no room."""


def report_failure(error: BaseException, reporter: Reporter, *, verbose: bool = False) -> int:
    """Tell the user what went wrong and return the exit code.

    A known failure is one line, with its traceback only under `verbose`. An interruption is one line, with the
    message that a library function may have given its KeyboardInterrupt. A broken pipe is silent. Anything else is a
    bug in cv3d: its whole traceback.
    """
    if isinstance(error, BrokenPipeError):
        _discard_output()
        reporter.close()
        return EXIT_BROKEN_PIPE
    if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
        _discard_output()
        reporter.error(f"standard output cannot be written: {error.strerror}", EXIT_FAILURE)
        return EXIT_FAILURE
    if isinstance(error, KeyboardInterrupt):
        note = str(error)
        reporter.error(f"interrupted: {note}" if note else "interrupted", EXIT_INTERRUPTED)
        return EXIT_INTERRUPTED
    reporter.close()
    if isinstance(error, Cv3dError):
        reporter.error(one_line(str(error)), error.exit_code, _traceback(error) if verbose else "")
        return error.exit_code
    summary = one_line(f"{type(error).__name__}: {error}")
    message = f"{summary}; this is a bug in cv3d: please report it with its traceback"
    reporter.error(message, EXIT_BUG, _traceback(error))
    return EXIT_BUG


def one_line(message: str) -> str:
    """`message` with its line breaks and runs of blanks folded into single blanks."""
    return " ".join(message.split())


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _discard_output() -> None:
    """Point standard output at nothing, so that the flush at the interpreter's end has nowhere to fail."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)

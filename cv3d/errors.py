"""The exception tree. Every known failure derives from :class:`Cv3dError` and carries its exit code.

The command line prints a known failure as one line and exits with its code; any other exception is a bug
and ends with a traceback and :data:`EXIT_BUG`.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_BELOW_QUALITY = 3
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class Cv3dError(Exception):
    """A known failure. The message says what was wrong, in which file, and what to do about it."""

    exit_code: ClassVar[int] = EXIT_FAILURE


class InputError(Cv3dError):
    """The pictures, files or folders given cannot be used."""


class PictureError(InputError):
    """One picture or frame cannot be decoded; the rest of the set may still be good."""


class OutputError(Cv3dError):
    """A result cannot be written where it was asked for."""


class FormatError(InputError):
    """A file is not what its format prescribes, or holds something that format cannot say."""


class DependencyError(Cv3dError):
    """A package or system library that this job needs is missing; the message holds the line that installs it."""


class DeviceError(Cv3dError):
    """The compute device asked for is not available on this machine."""


class EstimationError(Cv3dError):
    """The data do not determine what was asked for (too few views, no motion, no convergence)."""


class UsageError(Cv3dError):
    """The options contradict each other or cannot be understood."""

    exit_code: ClassVar[int] = EXIT_USAGE


class QualityError(Cv3dError):
    """The job is done and written, but its result is below the quality asked for or not trustworthy."""

    exit_code: ClassVar[int] = EXIT_BELOW_QUALITY

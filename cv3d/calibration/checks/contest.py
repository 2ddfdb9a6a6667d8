"""Which effects the views show: every suspect is tried, the best wins, and the others have to explain what it leaves.

A focal length that varies, a principal point that moves and a rolling shutter bend the image of a plane in much the
same ways, so that each explains a part of the others' traces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cv3d.calibration.checks.freedom import Freed, Tangents, free_per_view

_SURPRISE = 6.0
"""Standard deviations by which chance has to be exceeded..."""
_SURPRISE_WITHOUT = 4.0
"""...and when the view that contributes most is left out: a single bad view is no habit of the camera."""
_RATIO = 3.0
"""How many times the share of chance and misfit a freedom has to explain."""
_LEAST_DEGREES = 3.0


@dataclass(frozen=True)
class Suspect:
    """An effect that may be in the pictures."""

    freedom: str
    """Its freedom, a group of columns of :class:`Tangents`."""
    placebo: tuple[str, ...]
    """What chance and misfit are measured by."""
    matters: Callable[[Freed, Tangents], bool]
    """Whether the effect, if real, is large enough to matter."""


def convicted(tangent: Tangents, suspects: Mapping[str, Suspect]) -> dict[str, Freed]:
    """The suspects that the views speak against beyond chance, misfit and one another, the clearest first.

    Args:
        tangent: displacements at the solution.
        suspects: by name.

    Returns:
        What each of them explains, given those before it.
    """
    found: dict[str, Freed] = {}
    given: list[str] = []
    open_cases = dict(suspects)
    while open_cases:
        verdicts = {name: _tried(tangent, suspect, given) for name, suspect in open_cases.items()}
        proven = {name: freed for name, freed in verdicts.items() if freed is not None}
        if not proven:
            break
        name = max(proven, key=lambda name: proven[name].surprise)
        found[name] = proven[name]
        given.append(open_cases.pop(name).freedom)
        open_cases = {other: suspect for other, suspect in open_cases.items() if other in proven}
    return found


def _tried(tangent: Tangents, suspect: Suspect, given: list[str]) -> Freed | None:
    """What a suspect's freedom explains; None where that may be chance, misfit, a single view, or does not matter."""
    placebo = tuple(name for name in suspect.placebo if name not in given)
    freed = free_per_view(tangent, suspect.freedom, given, placebo)
    convincing = (
        freed.degrees >= _LEAST_DEGREES
        and freed.surprise >= _SURPRISE
        and freed.explained >= _RATIO * freed.degrees
        and suspect.matters(freed, tangent)
    )
    if not convincing:
        return None
    others = free_per_view(tangent.without(int(freed.share.argmax())), suspect.freedom, given, placebo)
    return freed if others.surprise >= _SURPRISE_WITHOUT else None

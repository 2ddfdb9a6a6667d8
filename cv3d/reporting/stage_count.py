"""How far a stage is, and when that is to be told next."""

from __future__ import annotations

from dataclasses import dataclass, field

from cv3d.reporting.pace import Pace


@dataclass
class StageCount:
    """A stage that is running."""

    total: int | None
    """Its number of steps; None: not known."""
    started: float
    """Seconds of the reporter's clock."""
    next_told: int = 1
    """The count at which it is told next."""
    told: float = field(init=False)
    """When it was told last."""
    done: int = field(init=False, default=0)
    """Steps so far."""
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self.told = self.started
        self.pace = Pace(self.started)

    def advance(self, steps: int, now: float) -> None:
        """`steps` more are done."""
        self.done += steps
        self.pace.update(now, self.done)

"""Which loops are believed: those that two key frames tell alike, or one beyond doubt."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from cv3d.odometry.places.meeting import Agreement, Meeting


@dataclass(frozen=True)
class ConfirmOptions:
    """When a meeting is believed."""

    sure_inliers: int = 60
    """Fewest inliers of a meeting that needs no second one."""
    sure_share: float = 0.5
    """Fewest inliers over matches of such a one."""
    sure_coverage: float = 0.2
    """Share of the picture that its inliers cover at least."""
    memory: int = 3
    """How many key frames back the second meeting may be."""
    agreement: Agreement = field(default_factory=Agreement)


@dataclass(frozen=True, eq=False)
class _Judged:
    """Meetings of one key frame."""

    waiting: list[Meeting]
    believed: list[Meeting]

    def split(self, is_alike: Callable[[Meeting], bool]) -> tuple[list[Meeting], list[Meeting]]:
        """Those that are alike, of the waiting and of the believed."""
        return [one for one in self.waiting if is_alike(one)], [one for one in self.believed if is_alike(one)]

    def believe(self, meetings: list[Meeting]) -> None:
        """Move meetings that waited to the believed."""
        self.waiting[:] = [one for one in self.waiting if all(one is not other for other in meetings)]
        self.believed.extend(meetings)


class LoopGate:
    """Holds meetings back until another key frame confirms them."""

    def __init__(self, options: ConfirmOptions | None = None) -> None:
        self.options = options or ConfirmOptions()
        self._recent: deque[_Judged] = deque(maxlen=self.options.memory)

    def judge(self, meetings: Sequence[Meeting]) -> list[Meeting]:
        """The meetings that are now believed.

        Args:
            meetings: of the latest key frame, with as many places as it was found at; also to be called, with none,
                for key frames that were found nowhere.

        Returns:
            those of this key frame that are sure or confirmed, and those of earlier ones that they confirm; each is
            returned once.
        """
        now = _Judged([], [])
        newly: list[Meeting] = []
        for meeting in meetings:
            alike = [judged.split(partial(self._is_alike, meeting)) for judged in self._recent]
            confirms = any(waiting or believed for waiting, believed in alike)
            if not confirms and not self._is_sure(meeting):
                now.waiting.append(meeting)
                continue
            newly.append(meeting)
            now.believed.append(meeting)
            for judged, (waiting, _) in zip(self._recent, alike, strict=True):
                newly.extend(waiting)
                judged.believe(waiting)
        self._recent.append(now)
        return newly

    def forget(self) -> None:
        """Drop what waits: after the poses were corrected, meetings before and after lie in different worlds."""
        self._recent.clear()

    def _is_sure(self, meeting: Meeting) -> bool:
        options = self.options
        return (
            meeting.inliers >= options.sure_inliers
            and meeting.inliers >= options.sure_share * meeting.matches
            and meeting.coverage >= options.sure_coverage
        )

    def _is_alike(self, meeting: Meeting, other: Meeting) -> bool:
        if meeting.query == other.query:
            return False
        return meeting.agrees(other.place_world_from_query_world, self.options.agreement)

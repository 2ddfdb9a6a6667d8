"""How fast a stage goes, and how long it still takes."""

from __future__ import annotations

from collections import deque

_OVER_S = 20.0
_BETWEEN_S = 0.25


class Pace:
    """The rate of a stage of late, over some twenty seconds; over two steps where they take longer."""

    def __init__(self, now: float) -> None:
        """Begin at `now`, seconds of any clock."""
        self._marks: deque[tuple[float, int]] = deque([(now, 0)])
        self._latest = (now, 0)

    def update(self, now: float, done: int) -> None:
        """At `now` so many steps are done."""
        if now - self._latest[0] >= _BETWEEN_S and self._latest != self._marks[-1]:
            self._marks.append(self._latest)
        self._latest = (now, done)
        while len(self._marks) > 1 and now - self._marks[1][0] >= _OVER_S:
            self._marks.popleft()

    @property
    def rate(self) -> float | None:
        """Steps a second; None: not known yet."""
        since, before = self._marks[0]
        now, done = self._latest
        return (done - before) / (now - since) if now > since and done > before else None

    def left_s(self, total: int | None) -> float | None:
        """Seconds until `total` steps are done; None: not known."""
        rate = self.rate
        return None if rate is None or total is None else max(0, total - self._latest[1]) / rate

    def words(self, total: int | None) -> str:
        """Rate and time left for a person, ", 3.1/s, 12 s left"; empty where nothing is known."""
        rate, left = self.rate, self.left_s(total)
        told = "" if rate is None else f", {rate:.3g}/s"
        return told + (f", {time_words(left)} left" if left else "")


def time_words(seconds: float) -> str:
    """A time span to read at a glance: "12 s", "3 min 05 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

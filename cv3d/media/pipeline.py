"""Stages of a stream that run beside one another, with little held between them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

_PATIENCE_S = 0.05


class _End:
    """What a stage leaves behind its last item."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def in_background(items: Iterable[T], depth: int = 4) -> Generator[T, None, None]:
    """The same items, produced by a thread of their own up to `depth` ahead of their use.

    Closing the iterator, as leaving a loop over it does in the end, stops the thread. What the thread raises is raised
    here, after the items that came before.

    Args:
        items: run through once, in the other thread.
        depth: most items that wait.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: T | _End) -> bool:
        while not stopped.is_set():
            with suppress(queue.Full):
                waiting.put(item, timeout=_PATIENCE_S)
                return True
        return False

    def produce() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not put(item):
                    break
        except BaseException as raised:
            error = raised
        finally:
            # A generator holds decoders open; it is to be closed by the thread that ran it.
            close = getattr(items, "close", None)
            if close is not None:
                close()
        put(_End(error))

    thread = threading.Thread(target=produce, name="cv3d-stage", daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        thread.join()

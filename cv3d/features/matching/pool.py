"""Threads for pieces of work that wait for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def working_pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads whose waiting work is dropped when the block is left early."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="cv3d-matching")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

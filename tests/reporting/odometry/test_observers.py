"""Those who look on while odometry runs: the progress line, and the rerun viewer through a recording in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cv3d.reporting.frame_observers import FrameStatus, together

Maker = Callable[..., Any]


class Notes:
    """Keeps remarks."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_the_remark_is_the_state(make_odometry: Maker) -> None:
    notes: Any = Notes()
    status = FrameStatus(notes)
    seen: list[int] = []
    on_frame = together([status, lambda frame, gray: seen.append(frame.index)])
    for frame in make_odometry(frames=60).frames:
        on_frame(frame, np.zeros((4, 4), np.uint8))
    assert notes.notes[0] == "initializing"
    assert notes.notes[10] == "ok"
    assert notes.notes[31] == "blur"
    assert seen == list(range(60))


def test_rerun_gets_the_frames_and_the_final_map(make_odometry: Maker, tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    from cv3d.reporting.rerun_stream import RerunStream

    result = make_odometry(frames=60, segments=2)
    stream = RerunStream.to_file(tmp_path / "a.rrd", "a walk")
    for frame in result.frames:
        stream(frame, np.full((480, 1300), frame.index, np.uint8))
    assert stream.finish(result) == ""
    data = (tmp_path / "a.rrd").read_bytes()
    assert data.startswith(b"RRF2")
    for name in (b"camera/picture", b"world/segment0/camera", b"world/segment1/map", b"tracking/inliers", b"timing/ms"):
        assert b"/" + name in data

"""A recording that goes on and on, inside bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cv3d.errors import UsageError
from cv3d.fusion.memory import resident_bytes, voxel_budget

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fuse_long_run.py"


@pytest.mark.slow
def test_a_long_run_stays_inside_its_memory_with_the_same_surface(data_root: Path) -> None:
    source = data_root / "rgbd" / "seven_scenes"
    if not source.is_dir():
        pytest.skip("no rgbd/seven_scenes")
    command = [sys.executable, str(SCRIPT), "--data", str(source), "--frames", "500", "--max-memory", "600"]
    done = subprocess.run([*command, "--voxel", "0.01"], capture_output=True, text=True, check=False)
    assert "the same surface: True" in done.stdout, done.stderr
    assert "inside 600 MB: True" in done.stdout


def test_the_budget_leaves_room_for_the_program() -> None:
    most = resident_bytes() + 500_000_000
    small, large = voxel_budget(most, 320 * 240), voxel_budget(most, 640 * 480)
    assert 0 < large < small < 500_000_000
    with pytest.raises(UsageError, match="without any voxel; allow"):
        voxel_budget(resident_bytes(), 640 * 480)

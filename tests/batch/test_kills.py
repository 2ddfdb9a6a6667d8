"""A batch that is killed, and its workers, at random moments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_nothing_is_missing_half_or_twice(project_root: Path) -> None:
    script = project_root / "tests" / "benchmarks" / "batch_kills.py"
    command = [sys.executable, str(script), "--rounds", "8", "--jobs", "200", "--longest", "2", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "missing 0, half-written 0, changed 0, not as the journal says 0" in done.stdout

"""What all tests share: where real data lies, and an environment free of the user's own settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# A deadline would make an absolute-time assertion of every property test.
settings.register_profile("cv3d", deadline=None)
settings.load_profile("cv3d")


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data with ground truth; skips the test where there is none."""
    root = Path(os.environ.get("CV3D_DATA") or ROOT.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip("no real data: set CV3D_DATA to its folder")
    return root


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if (name.startswith("CV3D_") and name != "CV3D_DATA") or name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
            monkeypatch.delenv(name)

"""Watch-out checks: what users never think of, told from the pictures and the residuals."""

from __future__ import annotations

from cv3d.calibration.checks.base import Finding, Severity
from cv3d.calibration.checks.looking import look_for_trouble

__all__ = ["Finding", "Severity", "look_for_trouble"]

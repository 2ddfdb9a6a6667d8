"""Findings on the report page and in the terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import cv3d
from cv3d.calibration.checks.base import Finding, Severity, listed
from cv3d.calibration.result import Calibration
from cv3d.reporting.calibration_page import calibration_page
from cv3d.reporting.calibration_summary import summary

FINDINGS = (
    Finding(
        "autofocus", Severity.WARNING, "the focal length differs by 1 % < 2 %", {"spread_percent": 1.0}, ("a", "b")
    ),
    Finding("inverted_board", Severity.INFO, "the board is inverted"),
)


@pytest.fixture(scope="module")
def calibration(photograph: Callable[..., Any]) -> Calibration:
    pictures = photograph(photograph.charuco(), count=4)  # type: ignore[attr-defined]
    return cv3d.calibrate(pictures, model="pinhole", board_warp="off")


def test_the_page_lists_findings(calibration: Calibration) -> None:
    assert calibration.findings == ()
    without = calibration_page(calibration, lambda _: None, "x")
    assert "Watch-out checks" not in without
    page = calibration_page(replace(calibration, findings=FINDINGS), lambda _: None, "x")
    assert 'href="#checks"' in page
    assert "the focal length differs by 1 % &lt; 2 %" in page
    assert "the board is inverted" in page


def test_the_terminal_shows_warnings_and_notes(calibration: Calibration, tmp_path: Path) -> None:
    result = replace(calibration, findings=FINDINGS, warnings=(FINDINGS[0].sentence,)).as_dict()
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(summary({**result, "files": [], "formats": {}}, tmp_path, False))
    text = console.export_text()
    assert text.count("the focal length differs") == 1
    assert "warning: the focal length differs" in text
    assert "note: the board is inverted" in text


def test_many_names_are_cut_short() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(k) for k in range(9)]) == "0, 1, 2, 3 and 5 more"

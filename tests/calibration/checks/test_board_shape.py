"""Boards that are stretched or skewed, told from pixels that are not square."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cv3d


@pytest.mark.parametrize(
    "stretch", [0.003, pytest.param(-0.004, marks=pytest.mark.slow), pytest.param(0.04, marks=pytest.mark.slow)]
)
def test_a_stretched_board_is_measured(stretch: float, make_views: Callable[..., Any]) -> None:
    findings = make_views(seed=1, stretch=stretch).findings()
    assert list(findings) == ["board_shape"]
    figures = findings["board_shape"].figures
    std = figures["stretch_std_percent"]
    assert abs(figures["stretch_percent"] - 100 * stretch) < 4.0 * std
    assert std < 0.05
    assert abs(figures["skew_deg"]) < 4.0 * figures["skew_std_deg"]
    assert figures["rms_reshaped_px"] == pytest.approx(0.05 * 2**0.5, rel=0.1)
    assert figures["rms_px"] > figures["rms_reshaped_px"]


def test_a_skewed_board_is_measured(make_views: Callable[..., Any]) -> None:
    finding = make_views(seed=1, skew=0.005).findings()["board_shape"]
    assert finding.figures["skew_deg"] == pytest.approx(0.2865, abs=4.0 * finding.figures["skew_std_deg"])
    assert "right angle" in finding.sentence


def test_pixels_that_are_not_square_are_not_the_boards_fault(make_views: Callable[..., Any]) -> None:
    params = (900.0, 960.0, 650.3, 349.1, -0.28, 0.09, 8e-4, -5e-4, -0.01)
    findings = make_views(seed=1, params=params).findings()
    assert list(findings) == ["pixels_not_square"]
    assert findings["pixels_not_square"].figures["fx_over_fy"] == pytest.approx(900 / 960, abs=1e-3)


@pytest.mark.slow
def test_opencvs_old_stereo_board_is_stretched_alike_in_both_cameras(data_root: Path) -> None:
    stretches = []
    for side in ("left", "right"):
        pictures = sorted((data_root / "calib" / "opencv_chess").glob(f"{side}*.jpg"))
        result = cv3d.calibrate(pictures, board="7x5", model="brown4", board_warp="off")
        findings = {finding.kind: finding for finding in result.findings}
        assert list(findings) == ["board_shape"]
        figures = findings["board_shape"].figures
        assert figures["rms_reshaped_px"] < 0.35 * figures["rms_px"]
        stretches.append((figures["stretch_percent"], figures["stretch_std_percent"]))
        assert findings["board_shape"].sentence in result.warnings
        assert findings["board_shape"].advice in result.verdict.advice
    (left, left_std), (right, right_std) = stretches
    assert abs(left - right) < 3.0 * (left_std**2 + right_std**2) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["opencv_left", "charuco"])
def test_nothing_is_said_of_ordinary_sets(name: str, data_root: Path) -> None:
    boards = {"opencv_left": "9x6", "charuco": "charuco:5x7:6X6_250"}
    result = cv3d.calibrate(data_root / "calib" / name, board=boards[name], model="brown5", board_warp="off")
    assert result.findings == ()
    assert result.as_dict()["findings"] == []

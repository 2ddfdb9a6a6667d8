"""Autofocus, stabilisation, rolling shutter: told from noise, from misfit and from one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cv3d.calibration.checks.base import Severity
from cv3d.calibration.checks.freedom import Tangents, free_per_view, normal_score

MISFIT: dict[str, Any] = {
    "model": "brown4",
    "params": (900.0, 903.0, 650.3, 349.1, -0.28, 0.09, 8e-4, -5e-4, -0.03),
}
"""A lens with a sixth-order term, solved without."""


def test_normal_score_is_standard_normal() -> None:
    rng = np.random.default_rng(1)
    for degrees in (3, 20, 80):
        scores = [normal_score(float(value), degrees) for value in rng.chisquare(degrees, 4000)]
        assert abs(np.mean(scores)) < 0.06
        assert abs(np.std(scores) - 1.0) < 0.06
    assert normal_score(5.0, 0.0) == 0.0


class TestFreedom:
    @pytest.fixture
    def tangent(self, make_views: Callable[..., Any]) -> Tangents:
        return make_views(seed=5, focal=0.01).given().tangent  # type: ignore[no-any-return]

    @pytest.mark.slow
    def test_explains_its_degrees_of_freedom_by_chance(self, make_views: Callable[..., Any]) -> None:
        ratios: dict[str, list[float]] = {"focal": [], "centre": [], "rolling": []}
        for seed in range(8):
            tangent = make_views(seed=seed).given().tangent
            for freedom, values in ratios.items():
                freed = free_per_view(tangent, freedom, placebo=("quadratic",))
                values.append(freed.explained / freed.degrees)
        for values in ratios.values():
            assert 0.7 < np.mean(values) < 1.15

    def test_finds_the_values(self, make_views: Callable[..., Any]) -> None:
        true = 0.01 * np.random.default_rng(5 + 77).standard_normal(18)
        views = make_views(seed=5, focal=0.01)
        freed = free_per_view(views.given().tangent, "focal")
        assert views.observations.views == 18
        found = freed.values[:, 0].numpy()
        certain = freed.std[:, 0].numpy() < 0.004
        assert certain.sum() >= 8
        assert np.corrcoef(found[certain], true[certain])[0, 1] > 0.9

    def test_the_order_of_views_does_not_matter(self, tangent: Tangents) -> None:
        order = torch.randperm(tangent.views, generator=torch.Generator().manual_seed(0))
        shuffled = Tangents(
            tangent.factors[order], tangent.scales[order], tangent.counts[order], tangent.shared, tangent.columns
        )
        one, other = free_per_view(tangent, "focal"), free_per_view(shuffled, "focal")
        assert other.explained == pytest.approx(one.explained, rel=1e-6)
        torch.testing.assert_close(other.values, one.values[order], rtol=1e-4, atol=1e-7)

    def test_the_scale_of_noise_does_not_matter(self, tangent: Tangents) -> None:
        factors = tangent.factors.clone()
        factors[..., -1] *= 7.0
        louder = Tangents(factors, tangent.scales, tangent.counts, tangent.shared, tangent.columns)
        one, other = free_per_view(tangent, "centre"), free_per_view(louder, "centre")
        assert other.explained == pytest.approx(one.explained, rel=1e-6)
        assert other.rms_px == pytest.approx(7.0 * one.rms_px, rel=1e-6)

    def test_given_freedoms_leave_nothing_to_explain(self, tangent: Tangents) -> None:
        alone = free_per_view(tangent, "centre")
        after = free_per_view(tangent, "centre", given=("focal",))
        assert after.explained < alone.explained


@pytest.mark.parametrize(
    "seed", [0, 1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("options", [{}, MISFIT, {"blurred": True}, {**MISFIT, "blurred": True, "noise_px": 0.02}])
def test_nothing_is_said_of_a_steady_camera(seed: int, options: dict[str, Any], make_views: Callable[..., Any]) -> None:
    assert make_views(seed=seed, **options).findings() == {}


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, MISFIT, {**MISFIT, "blurred": True, "noise_px": 0.02}])
def test_false_alarms_are_below_one_percent(options: dict[str, Any], make_views: Callable[..., Any]) -> None:
    alarms = sum(bool(make_views(seed=seed, **options).findings()) for seed in range(100, 300))
    assert alarms < 2


DISTURBANCES = [
    ("autofocus", {"focal": 0.005}, "spread_percent", 0.5),
    ("autofocus", {"focal": 0.03}, "spread_percent", 3.0),
    ("stabilisation", {"centre_px": 3.0}, "spread_px", 3.0),
    ("rolling_shutter", {"rolling_px": 2.0}, "spread_px", 2.0),
]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kind", "options", "figure", "size"), DISTURBANCES)
def test_a_disturbance_is_named_and_sized(
    kind: str, options: dict[str, float], figure: str, size: float, seed: int, make_views: Callable[..., Any]
) -> None:
    findings = make_views(seed=seed, **options).findings()
    assert list(findings) == [kind]
    finding = findings[kind]
    assert finding.severity is Severity.WARNING
    assert finding.figures[figure] == pytest.approx(size, rel=0.5)
    assert finding.figures["standard_errors"] > 6.0
    assert finding.advice
    assert "\n" not in finding.sentence
    assert set(finding.views) <= {f"view {v}" for v in range(18)}


@pytest.mark.parametrize(("kind", "options", "figure", "size"), DISTURBANCES)
def test_misfit_does_not_hide_a_disturbance(
    kind: str, options: dict[str, float], figure: str, size: float, make_views: Callable[..., Any]
) -> None:
    findings = make_views(seed=11, **MISFIT, **options).findings()
    assert list(findings) == [kind]
    assert findings[kind].figures[figure] == pytest.approx(size, rel=0.5)


def test_views_that_stand_out_are_named(make_views: Callable[..., Any]) -> None:
    true = 0.02 * np.random.default_rng(3 + 77).standard_normal(18)
    named = make_views(seed=3, focal=0.02).findings()["autofocus"].views
    assert named
    far = np.abs(true - np.median(true))
    assert all(far[int(name.split()[1])] > 0.01 for name in named)


def test_one_strange_view_is_no_autofocus(make_views: Callable[..., Any]) -> None:
    views = make_views(seed=2)
    spoiled = views.observations.pixels.clone()
    spoiled[4] = 1.01 * spoiled[4] - 5.0
    clean = type(views)(
        type(views.observations)(
            views.observations.points, spoiled, views.observations.seen, views.observations.extent
        ),
        views.solution,
        views.size,
    )
    assert clean.findings() == {}

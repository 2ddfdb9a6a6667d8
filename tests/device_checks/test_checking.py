"""The check of a device: it finds what is wrong, says it in a line, and goes on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from cv3d.compute import Compute
from cv3d.device_checks import KERNELS, Verdict, check_device
from cv3d.device_checks.inputs import Layout, placed, shifted_pair, textured
from cv3d.device_checks.kernels import Case, Kernel, Limit, Outputs, at_once, numbers_within
from cv3d.device_checks.primitive_kernels import PRIMITIVES
from cv3d.features.extractors import fused

CPU = Compute(torch.device("cpu"), torch.float32)
GPU = Compute(torch.device("cpu", 0), torch.float32)
"""A second name of the same device, by which kernels of these tests tell that they are to be wrong."""


def kernel(on_device: object, name: str = "toy", twin: Outputs | None = None, weights: tuple[str, ...] = ()) -> Kernel:
    """Gives 0, 1, 2 on the CPU, and what is asked for on the device; an exception is raised, a warning spoken."""

    def run(compute: Compute) -> Outputs:
        right = np.arange(3.0)
        if compute is not GPU:
            return {"numbers": right}
        if isinstance(on_device, Warning):
            warnings.warn(on_device, stacklevel=1)
            return {"numbers": right}
        if isinstance(on_device, Exception):
            raise on_device
        return {"numbers": np.asarray(on_device)}

    def cases(_: int) -> Sequence[Case]:
        return [Case("three numbers", at_once(run), None if twin is None else at_once(lambda _: twin))]

    return Kernel(name, ("fuse", "match"), cases, numbers_within(numbers=Limit(0.1)), weights)


@pytest.mark.parametrize(
    ("on_device", "words"),
    [
        ([0.0, 1.0, 2.5], "numbers is off by 0.5, 0.1 is allowed"),
        ([0.0, 1.0, np.nan], "off by inf"),
        ([0.0, 1.0], "numbers of (2,) for (3,)"),
        (NotImplementedError("The operator 'aten::svd' is not there.\nMore of it."), "The operator 'aten::svd' is not"),
        (UserWarning("The operator 'aten::svd' will fall back to run on the CPU"), "fall back"),
    ],
)
def test_a_wrong_kernel_fails_with_a_line(on_device: object, words: str) -> None:
    report = check_device(GPU, kernels=[kernel(on_device), kernel([0.0, 1.0, 2.05], "good")])
    bad, good = report.kernels
    assert bad.verdict is Verdict.FAIL
    assert words in bad.reason
    assert "\n" not in bad.reason
    assert np.isnan(bad.device_ms)
    assert good.verdict is Verdict.PASS
    assert good.error == pytest.approx(0.05)
    assert good.device_ms >= 0.0
    assert report.failed == (bad,)
    assert report.unsafe_commands == {"fuse": ["toy"], "match": ["toy"]}
    assert report.safe_commands == ()


def test_the_fused_twin_is_held_to_the_device_too() -> None:
    report = check_device(GPU, kernels=[kernel([0.0, 1.0, 2.0], twin={"numbers": np.array([0.0, 1.0, 3.0])})])
    assert "fused twin" in report.kernels[0].reason


def test_a_kernel_without_its_weights_is_left_out() -> None:
    report = check_device(GPU, kernels=[kernel([5.0], weights=("disk",)), kernel([0.0, 1.0, 2.0])])
    left_out = report.kernels[0]
    if left_out.verdict is Verdict.FAIL:
        pytest.skip("the weights are here")
    assert left_out.verdict is Verdict.SKIPPED
    assert report.safe_commands == ("fuse", "match")


def test_the_parts_of_all_paths_are_right_on_the_cpu() -> None:
    report = check_device(CPU, kernels=PRIMITIVES)
    assert report.failed == ()
    assert all(one.cases == len(Layout) for one in report.kernels)
    assert report.as_result()["ok"] is True


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_whole_catalogue_is_right_on_the_cpu(seed: int) -> None:
    assert check_device(CPU, seed=seed).failed == ()


def test_every_kernel_has_cases_and_commands() -> None:
    assert len({one.name for one in KERNELS}) == len(KERNELS)
    for one in KERNELS:
        assert one.commands
        assert len(one.cases(0)) >= 2


def test_twins_are_used_where_commands_use_them(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    def watched(network: torch.nn.Module) -> torch.nn.Module:
        used.append(network)
        return network

    monkeypatch.setattr(fused, "TWINS", {"cpu": watched})
    (xfeat,) = [one for one in KERNELS if one.name == "extraction: xfeat"]
    case = xfeat.cases(0)[0]
    report = check_device(CPU, kernels=[Kernel("x", ("match",), lambda _: [case], xfeat.compare, xfeat.weights)])
    if report.kernels[0].verdict is Verdict.SKIPPED:
        pytest.skip("the weights are not here")
    # Once for the comparison and once for the time: not on the device's own path.
    assert len(used) == 2


@pytest.mark.parametrize("layout", list(Layout))
def test_layouts_hold_the_same_numbers(layout: Layout) -> None:
    values = np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float32)
    tensor = placed(values, CPU, layout)
    assert np.array_equal(tensor.numpy(), values)
    assert tensor.is_contiguous() == (layout is Layout.PLAIN)


def test_pictures_have_detail_and_move_as_told() -> None:
    rng = np.random.default_rng(0)
    picture = textured(rng, 60, 80)
    assert 0.05 < picture.std() < 0.3
    first, second = (one.astype(float) for one in shifted_pair(rng, 60, 80, (3.0, -2.0)))
    assert np.abs(first[2:60, 0:77] - second[0:58, 3:80]).mean() < 1.0
    assert np.abs(first - second).mean() > 5.0


@pytest.mark.parametrize(
    ("found", "limit", "is_within"),
    [
        ([1.0, 2.0, 3.05], Limit(0.1), True),
        ([1.0, 2.0, 3.2], Limit(0.1), False),
        ([1.0, 2.0, 3.2], Limit(0.1, relative=0.1), True),
        ([1.0, 2.0, 9.0], Limit(0.1, strays=0.34), True),
        ([1.0, 7.0, 9.0], Limit(0.1, strays=0.34), False),
        ([1.0, 2.0, np.inf], Limit(0.1), False),
    ],
)
def test_limits(found: list[float], limit: Limit, is_within: bool) -> None:
    expected = {"x": np.array([1.0, 2.0, 3.0])}
    (difference,) = numbers_within(x=limit)({"x": np.array(found)}, expected)
    assert difference.is_within is is_within


def test_what_is_not_finite_on_both_sides_agrees() -> None:
    both = {"x": np.array([np.nan, np.inf, -np.inf])}
    (difference,) = numbers_within(x=Limit(0.0))(both, both)
    assert difference.value == 0.0

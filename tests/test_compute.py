from __future__ import annotations

import dataclasses
import os

import pytest
import torch

from cv3d.compute import Compute, DeviceName
from cv3d.errors import DeviceError


def test_the_cpu_is_always_there() -> None:
    compute = Compute.choose("cpu")
    assert compute.device == torch.device("cpu")
    assert compute.dtype == torch.float32


@pytest.mark.parametrize("name", list(DeviceName))
def test_solvers_run_in_double_precision_on_the_cpu_whatever_the_device(
    name: DeviceName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    compute = Compute.choose(name)
    assert compute.solver_device == torch.device("cpu")
    assert compute.solver_dtype == torch.float64
    assert compute.dtype == torch.float32


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_first_device_that_is_there(
    cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert Compute.choose("auto").device.type == expected


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused_with_a_way_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="--device cpu") as caught:
        Compute.choose(name)
    assert "\n" not in str(caught.value)


def test_an_unknown_device_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DeviceError, match="auto, cpu, mps, cuda"):
        Compute.choose("tpu")


def test_the_metal_fallback_is_never_switched_on_behind_ones_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTORCH_ENABLE_MPS_FALLBACK", raising=False)
    Compute.choose("auto")
    assert "PYTORCH_ENABLE_MPS_FALLBACK" not in os.environ
    with pytest.raises(DeviceError, match="before torch is loaded"):
        Compute.choose("auto", allow_cpu_fallback=True)
    monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    assert Compute.choose("cpu", allow_cpu_fallback=True).device.type == "cpu"


def test_the_policy_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Compute.choose("cpu").dtype = torch.float64  # type: ignore[misc]


def test_half_precision_has_to_be_asked_for() -> None:
    assert Compute.choose("cpu").dtype is torch.float32
    half = Compute.choose("cpu", precision="float16")
    assert half.dtype is torch.float16
    assert half.solver_dtype is torch.float64
    with pytest.raises(DeviceError, match="float16"):
        Compute.choose("cpu", precision="half")

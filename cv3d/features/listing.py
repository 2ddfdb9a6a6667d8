"""What extractors and matchers there are: licence, size, speed, and whether their weights are here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cv3d.errors import DependencyError, FormatError
from cv3d.features import weights
from cv3d.features.extractors.registry import EXTRACTORS
from cv3d.features.matchers.registry import MATCHERS


class Kind(StrEnum):
    """What a method does."""

    EXTRACTOR = "extractor"
    MATCHER = "matcher"


class Presence(StrEnum):
    """Whether a file of weights can be used."""

    HERE = "here"
    MISSING = "missing"
    WRONG = "wrong"
    """A file is here, but it is not the published one."""


@dataclass(frozen=True)
class WeightRow:
    """One file of weights that a method needs."""

    name: str
    """Its key in the catalogue of weights."""
    bytes: int
    licence: str
    """SPDX identifier."""
    presence: Presence
    path: Path | None
    """The file, where it is here and right."""
    source: str
    """"folder", "package" or "cache"; empty where it is not here."""
    hint: str
    """What to do about it, one line; empty where it is here."""
    url: str
    """Where its authors publish it."""


@dataclass(frozen=True)
class MethodRow:
    """One extractor or matcher."""

    kind: Kind
    name: str
    """Its key in the registry."""
    summary: str
    licence: str
    """SPDX identifier of the method and its weights."""
    speed: str
    """fast (tens of ms), medium (hundreds) or slow (more), a VGA picture or a pair of 1024 keypoints, one CPU core."""
    weights: tuple[WeightRow, ...]
    """What it needs beside the code; empty for classical methods."""
    extractors: tuple[str, ...]
    """For a matcher the extractors whose features it takes; none stands for all."""

    @property
    def is_ready(self) -> bool:
        """Whether it can run now."""
        return all(row.presence is Presence.HERE for row in self.weights)

    @property
    def megabytes(self) -> float:
        """Size of its weights, 10^6 bytes."""
        return sum(row.bytes for row in self.weights) / 1e6

    @property
    def source(self) -> str:
        """Where its weights come from, or what is the matter with them, for a table."""
        states = dict.fromkeys(row.source or row.presence.value for row in self.weights)
        return ", ".join(states)


def list_methods() -> tuple[MethodRow, ...]:
    """Every extractor, then every matcher, in the order of their registries. Files of weights are found and checked.

    No network is touched.
    """
    checked = {name: _weight_row(name) for name in weights.CATALOGUE}
    extractors = (
        MethodRow(Kind.EXTRACTOR, name, entry.summary, entry.licence, entry.speed, _rows(entry.weights, checked), ())
        for name, entry in EXTRACTORS.items()
    )
    matchers = (
        MethodRow(
            Kind.MATCHER,
            name,
            entry.summary,
            entry.licence,
            entry.speed,
            _rows(entry.weights, checked),
            entry.extractors,
        )
        for name, entry in MATCHERS.items()
    )
    return (*extractors, *matchers)


def _rows(names: tuple[str, ...], checked: dict[str, WeightRow]) -> tuple[WeightRow, ...]:
    return tuple(checked[name] for name in names)


def _weight_row(name: str) -> WeightRow:
    entry = weights.CATALOGUE[name]
    path, source, hint = None, "", ""
    try:
        found = weights.locate(name)
        presence, path, source = Presence.HERE, found.path, found.source
    except DependencyError:
        presence, hint = Presence.MISSING, entry.install
    except FormatError as error:
        presence, hint = Presence.WRONG, str(error)
    return WeightRow(name, entry.bytes, entry.licence, presence, path, source, hint, entry.url)

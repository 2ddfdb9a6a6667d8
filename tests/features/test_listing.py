from __future__ import annotations

from pathlib import Path

import pytest

from cv3d.features import weights
from cv3d.features.extractors.registry import EXTRACTORS
from cv3d.features.listing import Kind, MethodRow, Presence, list_methods
from cv3d.features.matchers.registry import MATCHERS


def row(name: str) -> MethodRow:
    return next(row for row in list_methods() if row.name == name)


def test_every_method_is_listed_once() -> None:
    rows = list_methods()
    assert [r.name for r in rows if r.kind is Kind.EXTRACTOR] == list(EXTRACTORS)
    assert [r.name for r in rows if r.kind is Kind.MATCHER] == list(MATCHERS)


def test_a_method_has_the_licence_of_its_weights_and_a_known_speed() -> None:
    for method in list_methods():
        assert {weight.licence for weight in method.weights} <= {method.licence}
        assert method.speed in ("fast", "medium", "slow")
        assert set(method.extractors) <= set(EXTRACTORS)


def test_sizes_are_those_of_the_files() -> None:
    for method in list_methods():
        for weight in method.weights:
            if weight.path is not None:
                assert weight.path.stat().st_size == weight.bytes
    assert row("sift").megabytes == 0.0
    assert row("xfeat").megabytes == pytest.approx(6.25, abs=0.01)


def test_the_default_method_is_ready() -> None:
    assert row("xfeat").is_ready
    assert row("lighterglue").source == "package"
    assert row("mutual").is_ready
    assert row("mutual").source == ""


def test_a_wrong_file_is_said_to_be_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / weights.CATALOGUE["xfeat"].file).write_bytes(b"something else")
    monkeypatch.setenv(weights.WEIGHTS_VARIABLE, str(tmp_path))
    method = row("xfeat")
    assert not method.is_ready
    assert method.source == Presence.WRONG
    assert "SHA-256" in method.weights[0].hint


def test_missing_weights_come_with_the_line_that_installs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "_package_folder", lambda _package: None)
    method = row("disk")
    assert not method.is_ready
    assert method.source == Presence.MISSING
    assert method.weights[0].hint == weights.CATALOGUE["disk"].install
    assert method.weights[0].path is None

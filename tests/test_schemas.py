"""The forms that cv3d ships: that they are JSON Schemas, complete, closed, explained, and none is missing."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import cv3d
from cv3d.errors import UsageError
from cv3d.reporting.progress import JsonEvents
from cv3d.schemas import load, names

NO_RESULTS = {
    "cv3d.device_checks/1",  # a part of cv3d.doctor/1
    "cv3d.depth_map/1",
    "cv3d.depth_step/1",
    "cv3d.key_frames/1",
    "cv3d.scene/1",
    "cv3d.tracks/1",
    "cv3d.view_surface/1",
    "cv3d.voxel_grid/1",
}
"""Names in the source of what is within other forms, in arrays' files or in a folder of stages."""
OPEN = {"cv3d.camera/1", "cv3d.rig/1"}
"""Files that may hold what others put there."""

PLAIN = {"fscore", "precision", "recall", "scale", "share", "tracked_fraction"}
"""Numbers without a unit."""


def parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and those within it."""
    yield schema
    within = [*schema.get("properties", {}).values(), *schema.get("anyOf", []), *schema.get("oneOf", [])]
    within += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    for one in within:
        yield from parts(one)


@pytest.mark.parametrize("name", names())
def test_a_form_is_a_schema_of_2020_12_that_names_itself(name: str) -> None:
    schema = load(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == name
    assert schema["$id"] == f"urn:{name.replace('.', ':').replace('/', ':')}"
    if name != "cv3d.progress/1":
        forms = schema.get("oneOf", [schema])
        assert {form["properties"]["schema"]["const"] for form in forms} == {name}
        assert all("schema" in form["required"] for form in forms)


@pytest.mark.parametrize("name", names())
def test_objects_are_closed_and_ask_for_their_fields(name: str) -> None:
    for part in parts(load(name)):
        if "properties" in part and name not in OPEN and "oneOf" not in part:
            assert set(part["required"]) <= set(part["properties"])
            extra = part.get("additionalProperties")
            assert extra is False or isinstance(extra, dict), part
        if part.get("type") == "object" and "properties" not in part and "required" not in part and "oneOf" not in part:
            assert isinstance(part.get("additionalProperties", name == "cv3d.schema/1"), dict | bool)


@pytest.mark.parametrize("name", names())
def test_a_number_with_a_unit_says_it(name: str) -> None:
    """In its own words, in those of what it is in, or by its name."""

    def look(schema: dict[str, Any], key: str, told: str) -> None:
        told = schema.get("description", told)
        kinds = schema.get("type", [])
        if "number" in (kinds if isinstance(kinds, list) else [kinds]):
            assert told or key in PLAIN or re.search(r"_(m|mm|px|deg|s|ms)$", key), f"{name}: {key} has no unit"
        for inner, one in schema.get("properties", {}).items():
            look(one, inner, "" if schema is whole else told)
        for one in [*schema.get("anyOf", []), *schema.get("oneOf", [])]:
            look(one, key, told)
        for kind in ("items", "additionalProperties"):
            if isinstance(schema.get(kind), dict):
                look(schema[kind], key, told)

    whole = load(name)
    look(whole, "", "")


def test_every_form_that_the_source_names_is_here() -> None:
    source = Path(cv3d.__file__).parent
    found = {
        name for path in source.rglob("*.py") for name in re.findall(r'"(cv3d\.[a-z_.]+/\d+)"', path.read_text("utf-8"))
    }
    assert found - NO_RESULTS - {"cv3d.progress/1"} == set(names()) - {"cv3d.progress/1"}


def test_names_may_be_short() -> None:
    whole = load("cv3d.evaluate_matches/1")
    for name in ("evaluate_matches/1", "evaluate_matches", "evaluate matches", "evaluate-matches"):
        assert load(name) == whole
    for wrong in ("evaluate", "match/2", "../match-1", ""):
        with pytest.raises(UsageError, match="cv3d schema"):
            load(wrong)
    with pytest.raises(UsageError, match=r"did you mean cv3d\.reconstruct/1"):
        load("reconstuct")


def test_every_event_has_the_form_of_events_and_nothing_else_does() -> None:
    stream = io.StringIO()
    events = JsonEvents(stream)
    events.start("look", 3)
    events.note("well")
    for _ in range(3):
        events.advance("look")
    events.finish("look")
    events.start("think")
    events.advance("think", 2)
    events.info("a")
    events.warn("b")
    events.result({"schema": "x/1"})
    events.error("c", 1)
    events.error("d", 70, "Traceback\n")
    validator = Draft202012Validator(load("cv3d.progress/1"))
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {event["event"] for event in told} == {"start", "progress", "finish", "info", "warning", "result", "error"}
    for event in told:
        assert validator.is_valid(event), event
        assert not validator.is_valid(event | {"more": 1})
        for key in set(event) - {"note", "traceback"}:
            assert not validator.is_valid({other: value for other, value in event.items() if other != key})

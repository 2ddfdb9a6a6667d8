"""What a reconstruction says of itself: to a script, to a person, to a quality gate."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cv3d.formats.json_text import to_json
from cv3d.mapping.scene import SCENE_SCHEMA, IntrinsicsSource, LeftOut, ScaleSource
from cv3d.reporting.scene_summary import (
    MEASURES,
    SCALE_WORDS,
    SOURCE_WORDS,
    describe_scene,
    headline,
    left_out_groups,
    measures,
    scene_result,
)

from ...simulated_scene import BROWN, PINHOLE, oriented_only, simulated_scene


def test_the_result_counts_what_the_models_hold(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path, (6, 4), (BROWN, PINHOLE))
    content = scene_result(scene)
    assert json.loads(to_json(content)) == content
    assert content["schema"] == SCENE_SCHEMA
    assert (content["images"]["total"], content["images"]["registered"]) == (13, 10)
    assert [one["file"] for one in content["images"]["left_out"]] == [one.name for one in scene.left_out]
    shown = sum(int((image.points >= 0).sum()) for model in scene.models for image in model.images)
    assert content["observations"] == shown == sum(model["observations"] for model in content["models"])
    assert content["points"] == 300
    assert content["track_length"] == pytest.approx(shown / 300)
    errors = np.concatenate([model.reprojection_errors() for model in scene.models])
    assert content["mean_reprojection_px"] == pytest.approx(errors.mean())
    # The length of a vector whose coordinates have a deviation of 0.3 px.
    assert content["mean_reprojection_px"] == pytest.approx(0.3 * math.sqrt(math.pi / 2.0), rel=0.05)
    assert [one["in_model"] for one in content["intrinsics"]] == [0, 0, 1, 1]
    assert [one["images"] for one in content["intrinsics"]] == [3, 3, 2, 2]
    assert content["intrinsics"][1]["params"] == dict(zip(("fx", "fy", "cx", "cy"), PINHOLE.params, strict=True))
    assert content["seconds"]["total"] == 4.5


def test_measures_are_those_that_are_announced(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path, (6,))
    known = measures(scene_result(scene))
    assert tuple(known) == MEASURES
    assert known["registered_share"] == pytest.approx(6 / 9)
    turned = measures(scene_result(oriented_only(scene)))
    assert turned["mean_reprojection_px"] is None
    assert turned["track_length"] is None


def test_there_are_words_for_every_source() -> None:
    assert set(SCALE_WORDS) == set(ScaleSource)
    assert set(SOURCE_WORDS) == set(IntrinsicsSource)


def test_a_summary_fits_a_terminal_and_says_what_was_left_out(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path, (6, 4), (BROWN, PINHOLE))
    names = [LeftOut(f"{'long' * 20}{number}.jpg", "blurred", "hold still") for number in range(9)]
    scene = replace(scene, left_out=(*scene.left_out, *names), geodetic_origin=(47.376887, 8.541694, 408.0))
    content = scene_result(scene)
    text = describe_scene(content, "a/very/long" * 20, "out", ["sparse/", "points.ply"])
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    assert "10 of 13 pictures placed in 2 models of 300 points" in flat
    assert "and 5 more: blurred > hold still" in flat
    assert "elsewhere.jpg, elsewhere2.jpg: no verified pair with any other picture" in flat
    assert "f 260.0 ± 1.2, 261.0 ± 1.3 px, estimated from the pictures" in flat
    assert "origin at 47.376887, 8.541694 deg, 408.0 m" in flat
    assert "warning: the pictures are <few>" in flat
    assert "written to out: sparse/, points.ply" in flat
    assert "up to date in out" in describe_scene(content, "x", "out", [], up_to_date=True)


def test_reasons_come_with_the_most_frequent_first() -> None:
    left_out = [{"file": name, "reason": reason, "advice": ""} for name, reason in ("ax", "by", "cy")]
    left_out[0]["reason"] = "a: x"
    assert left_out_groups(left_out) == [("y", "", ["b", "c"]), ("x", "", ["a"])]


def test_headlines_tell_the_three_endings_apart(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path, (6,))
    assert headline(scene_result(scene)) == "6 of 9 pictures placed in one model of 150 points"
    assert "none placed: the camera only turned" in headline(scene_result(oriented_only(scene)))
    assert headline(scene_result(replace(scene, models=()))) == "not one of 9 pictures could be placed"
    assert headline(scene_result(replace(scene, interrupted=True))).endswith(", interrupted")

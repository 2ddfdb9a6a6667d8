"""From a source to its depth, as one function: what is handed on, kept and said. What estimates it is a stand-in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import cv3d
from cv3d.compute import Compute
from cv3d.depth.api import depth_of, forget_maps
from cv3d.depth.options import DepthOptions
from cv3d.depth.posed import PosedSet
from cv3d.depth.result import DepthMap, DepthResult, LeftOutView
from cv3d.depth.sources import source_content
from cv3d.depth.store import DepthStore
from cv3d.depth.undistorting import ideal_view
from cv3d.formats.nerfstudio_frames import write_set

from .conftest import Room

CPU = Compute.choose("cpu")


class Estimating:
    """Gives every picture a depth of 1, and keeps the maps."""

    def __init__(self) -> None:
        self.computed = 0
        self.posed: PosedSet | None = None

    def depth_maps(
        self, posed: PosedSet, *, options: DepthOptions, keep: DepthStore | None, compute: Compute, **_: Any
    ) -> DepthResult:
        self.posed = posed
        maps = []
        for view in posed.views:
            found = None if keep is None else keep.load(view.picture.name, "own")
            if found is None:
                self.computed += 1
                camera, color = ideal_view(view, options.max_side)
                ones = np.ones(color.shape[:2], np.float32)
                found = DepthMap(view.picture.name, camera, view.cam_from_world, ones, ones, color)
                if keep is not None:
                    keep.save(found, "own")
            maps.append(found)
        left_out = (LeftOutView("late.png", "late"),)
        return DepthResult(tuple(maps), left_out, posed.warnings, {"fine": 1.0, "total": 1.0}, compute.device.type)


@pytest.fixture
def estimating(monkeypatch: pytest.MonkeyPatch) -> Estimating:
    stands = Estimating()
    module = ModuleType("cv3d.depth.multi_view")
    module.depth_maps = stands.depth_maps  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "cv3d.depth.multi_view", module)
    return stands


@pytest.fixture
def source(room: Room, tmp_path: Path) -> Path:
    """A folder with a transforms.json of the room's first four frames, of which one is missing."""
    (tmp_path / "room").mkdir()
    pictures = [*room.pictures[:4], replace(room.pictures[4], file=tmp_path / "room" / "gone.png")]
    write_set(tmp_path / "room" / "transforms.json", pictures)
    return tmp_path / "room"


@pytest.mark.slow
def test_maps_are_kept_and_what_is_odd_is_said_once(source: Path, estimating: Estimating, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = DepthOptions(max_side=128)
    found = depth_of(source, out, options=options, compute=CPU)
    assert estimating.computed == 4
    assert estimating.posed is found.posed
    assert [one.name for one in found.result.left_out] == ["gone.png", "late.png"]
    assert len(set(found.result.warnings)) == len(found.result.warnings)
    assert found.result.seconds["total"] >= found.result.seconds["poses"]
    assert depth_of(source, out, options=options, compute=CPU).result.maps[0].depth.shape == (96, 128)
    assert estimating.computed == 4
    depth_of(source, out, options=replace(options, rounds=1), compute=CPU)
    assert estimating.computed == 8
    forget_maps(out)
    depth_of(source, out, options=options, compute=CPU)
    assert estimating.computed == 12
    assert cv3d.depth(source, options=options, compute=CPU).maps[0].name == found.result.maps[0].name


def test_what_a_source_says_tells_it_from_others(room: Room, tmp_path: Path) -> None:
    folder = tmp_path / "room"
    folder.mkdir()
    write_set(folder / "transforms.json", room.pictures)
    files, said = source_content(folder)
    assert len(files) == len(room.pictures)
    assert source_content(folder) == (files, said)
    (folder / "notes.txt").write_text("of no account")
    assert source_content(folder) == (files, said)
    moved = room.pictures[1].cam_from_world.copy()
    moved[0, 3] += 1e-6
    write_set(folder / "transforms.json", [room.pictures[0], replace(room.pictures[1], cam_from_world=moved)])
    assert source_content(folder)[1] != said
    assert source_content(folder, room.pictures[0].camera.scaled(2.0))[1] != source_content(folder)[1]

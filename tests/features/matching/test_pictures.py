"""Pictures that a caller holds, each with its own camera or none, into a store that is read by their order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cv3d.compute import Compute, torch_threads
from cv3d.errors import InputError
from cv3d.features.matching import MatchOptions, PairChoice, SetMatch, match_pictures, match_set
from cv3d.features.store import FeatureStore
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import ModelKind
from cv3d.media.inputs import find_pictures
from cv3d.media.picture import Picture

from .conftest import Room

CPU = Compute.choose("cpu")
PLAIN = MatchOptions(max_keypoints=300, max_side=320, matcher="mutual", refine=False)


@pytest.fixture(scope="module")
def pictures(folder: Path) -> list[Picture]:
    return list(find_pictures(folder))[:4]


def run(pictures: list[Picture], out: Path, cameras: list[Camera | None] | None = None, **more: object) -> SetMatch:
    with torch_threads(1):
        return match_pictures(pictures, out, PLAIN, cameras=cameras, compute=CPU, **more)  # type: ignore[arg-type]


def cameras_of(store: Path) -> dict[str, int]:
    """The camera's id of every picture, by name."""
    with FeatureStore.open(store, read_only=True) as opened:
        rows = opened._connection.raw.execute("SELECT name, camera_id FROM images").fetchall()
    return dict(rows)


def test_pictures_give_what_their_folder_gives(pictures: list[Picture], folder: Path, tmp_path: Path) -> None:
    held = run(pictures, tmp_path / "held")
    with torch_threads(1):
        found = match_set([folder / one.name for one in pictures], tmp_path / "found", PLAIN, compute=CPU)
    assert held.edges.tolist() == found.edges.tolist()
    assert held.inliers.tolist() == found.inliers.tolist()


def test_the_store_is_read_by_the_order_of_the_pictures(pictures: list[Picture], tmp_path: Path) -> None:
    backwards = pictures[::-1]
    result = run(backwards, tmp_path)
    assert [one.name for one in result.pictures] == [one.name for one in backwards]
    with FeatureStore.open(result.store, read_only=True) as store:
        for place, other in result.edges.tolist():
            first, second = result.pictures[place].image_id, result.pictures[other].image_id
            assert first is not None
            assert second is not None
            pair = min(first, second), max(first, second)
            matches, geometry = store.matches(pair), store.two_view(pair)
            assert matches is not None
            assert geometry is not None
            assert geometry.verified
            assert len(geometry.inliers) == len(matches)
            for side, image_id in enumerate(pair):
                keypoints, detected = store.keypoints(image_id), store.notes.detected(image_id)
                assert keypoints is not None
                assert detected is not None
                assert np.array_equal(keypoints, detected)
                assert matches.indices[:, side].max() < len(keypoints)


def test_each_picture_has_its_own_camera_or_none(pictures: list[Picture], room: Room, tmp_path: Path) -> None:
    half = replace(room.camera.scaled(0.5), width=320, height=240)
    wide = replace(room.camera, params=(room.camera.params[0] * 1.1, *room.camera.params[1:]))
    result = run(pictures, tmp_path, [half, half, wide, None])
    ids = cameras_of(result.store)
    first, second, third, fourth = (ids[one.name] for one in pictures)
    assert first == second
    assert len({first, third, fourth}) == 3
    kinds = {}
    with FeatureStore.open(result.store, read_only=True) as store:
        for pair in store.verified_pairs():
            geometry = store.two_view(pair)
            assert geometry is not None
            kinds[pair] = geometry.model
    assert kinds[(1, 2)] != ModelKind.FUNDAMENTAL
    assert all(kind != ModelKind.ESSENTIAL for pair, kind in kinds.items() if 4 in pair)


def test_unknown_cameras_are_one_or_as_many_as_pictures(pictures: list[Picture], tmp_path: Path) -> None:
    shared = run(pictures, tmp_path / "shared")
    assert len(set(cameras_of(shared.store).values())) == 1
    apart = run(pictures, tmp_path / "apart", shares_camera=False)
    assert len(set(cameras_of(apart.store).values())) == len(pictures)


def test_what_does_not_fit_is_refused(pictures: list[Picture], room: Room, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not fit 4 pictures"):
        run(pictures, tmp_path, [room.camera])
    with pytest.raises(InputError, match="two pictures of the set are called"):
        run([*pictures, pictures[0]], tmp_path)


def test_frames_of_a_video_are_told_by_the_caller(pictures: list[Picture], tmp_path: Path) -> None:
    choice = PairChoice()
    assert choice.resolved(500, is_video=True).how == "sequential"
    assert choice.resolved(500, is_video=False).how == "retrieval"
    assert run(pictures, tmp_path, choice=choice, is_video=True).choice == "exhaustive"

"""A set of pictures into a store: what a second run does, what an interruption leaves, what COLMAP makes of it."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cv3d.compute import Compute, torch_threads
from cv3d.errors import InputError, UsageError
from cv3d.features.matching import CascadeOptions, MatchOptions, PairChoice, SetMatch, match_set
from cv3d.features.matching.set_matching import SetMatcher
from cv3d.features.store import FeatureStore
from cv3d.progress import Progress, Silent

from .conftest import Room

CPU = Compute.choose("cpu")
SMALL = MatchOptions(max_keypoints=500, max_side=320, cascade=CascadeOptions(thick_support=60, wanted_neighbours=2))
"""Small, and with the learned matcher for few pairs."""


def run(folder: Path, out: Path, options: MatchOptions = SMALL, **more: object) -> SetMatch:
    # The order of sums, and with it the last bits of features, depends on the number of threads.
    with torch_threads(1):
        return match_set(folder, out, options, compute=CPU, **more)  # type: ignore[arg-type]


def content(out: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of a store but for the order of its frames."""
    with sqlite3.connect(out / "database.db") as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(database.execute(f"SELECT * FROM {name}"), key=repr) for name in tables}


@pytest.fixture(scope="module")
def done(folder: Path, room: Room, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SetMatch]:
    out = tmp_path_factory.mktemp("set")
    return out, run(folder, out, camera=room.camera)


def test_a_walk_through_a_room_hangs_together(done: tuple[Path, SetMatch]) -> None:
    _, result = done
    assert [picture.name for picture in result.pictures] == [f"{i:03d}.png" for i in range(0, 48, 8)]
    assert result.components() == [list(range(6))]
    assert result.planned == 15
    assert result.choice == "exhaustive"
    assert {(i, i + 1) for i in range(5)} <= set(map(tuple, result.edges.tolist()))
    assert result.methods["mutual"] + result.methods["lighterglue"] == len(result.edges)
    assert result.refined > 500


def test_a_second_run_computes_nothing(done: tuple[Path, SetMatch], folder: Path, room: Room, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(done[0], out)
    before = content(out)
    again = run(folder, out, camera=room.camera)
    assert again.computed == 0
    assert content(out) == before
    assert again.as_result()["pairs"]["verified"] == done[1].as_result()["pairs"]["verified"]


@pytest.mark.slow
def test_the_same_set_gives_the_same_rows(
    done: tuple[Path, SetMatch], folder: Path, room: Room, tmp_path: Path
) -> None:
    run(folder, tmp_path, camera=room.camera)
    assert content(tmp_path) == content(done[0])


def test_a_run_that_was_stopped_goes_on_to_the_same_end(
    done: tuple[Path, SetMatch], folder: Path, room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = SetMatcher._keep_first_look
    seen: list[object] = []

    def stop(self: SetMatcher, *arguments: object) -> None:
        if len(seen) == 7:
            raise KeyboardInterrupt
        seen.append(None)
        keep(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(SetMatcher, "_keep_first_look", stop)
        with pytest.raises(KeyboardInterrupt):
            run(folder, tmp_path, camera=room.camera)
    again = run(folder, tmp_path, camera=room.camera)
    assert again.computed == done[1].computed - 7
    assert content(tmp_path) == content(done[0])


def test_a_new_picture_costs_only_its_own_pairs(folder: Path, room: Room, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    shutil.copytree(folder, pictures)
    last = pictures / "040.png"
    held = last.read_bytes()
    last.unlink()
    options = MatchOptions(max_keypoints=300, max_side=320, refine=False, matcher="mutual")
    assert run(pictures, tmp_path / "out", options).computed == 10
    last.write_bytes(held)
    result = run(pictures, tmp_path / "out", options)
    assert result.computed == 5
    assert result.planned == 15


def test_refinement_can_be_taken_back(done: tuple[Path, SetMatch], folder: Path, room: Room, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(done[0], out)
    run(folder, out, replace(SMALL, refine=False), camera=room.camera)
    with FeatureStore.open(out / "database.db", read_only=True) as store:
        for image_id, features in store.all_features():
            detected = store.notes.detected(image_id)
            assert features.covariances is None
            assert detected is not None
            assert np.array_equal(features.keypoints, detected)
    run(folder, out, camera=room.camera)
    assert content(out) == content(done[0])


def test_refinement_of_a_part_of_a_set_is_not_that_of_the_whole(folder: Path, tmp_path: Path) -> None:
    options = MatchOptions(max_keypoints=300, max_side=320, matcher="mutual")
    run(folder, tmp_path, replace(options, refine=False))
    part = match_set([folder / f"{i:03d}.png" for i in (0, 8)], tmp_path, options, compute=CPU)
    whole = run(folder, tmp_path, options)
    assert 0 < part.refined < whole.refined
    assert whole.computed == 0
    with FeatureStore.open(tmp_path / "database.db", read_only=True) as store:
        assert all(features.covariances is not None for _, features in store.all_features())


def test_a_pair_that_was_matched_anew_is_refined_anew(folder: Path, room: Room, tmp_path: Path) -> None:
    options = MatchOptions(max_keypoints=300, matcher="mutual")
    pictures = [folder / f"{i:03d}.png" for i in (0, 8)]
    first = match_set(pictures, tmp_path, options, camera=room.camera, compute=CPU)
    before = content(tmp_path)
    # A camera so little different that no inlier comes or goes.
    twin = replace(room.camera, params=tuple(np.array(room.camera.params) * (1.0 + 1e-9)))
    again = match_set(pictures, tmp_path, options, camera=twin, compute=CPU)
    assert again.computed == 1
    assert again.inliers.tolist() == first.inliers.tolist()
    after = content(tmp_path)
    assert [row[0] for row in after["cv3d_detected_two_views"]] == [row[0] for row in before["cv3d_detected_two_views"]]


def test_pictures_that_cannot_be_used_are_left_out_with_a_reason(folder: Path, room: Room, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("000.png", "008.png"):
        shutil.copy(folder / name, pictures / name)
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    cv2.imwrite(str(pictures / "cropped.png"), np.zeros((100, 640), np.uint8))
    cv2.imwrite(str(pictures / "black.png"), np.zeros((480, 640), np.uint8))
    cv2.imwrite(str(pictures / "deep.png"), (room.frames[24][..., 0].astype(np.uint16) * 257))
    alpha = np.dstack([room.frames[24], np.full((480, 640), 255, np.uint8)])
    cv2.imwrite(str(pictures / "alpha.png"), alpha)
    result = run(pictures, tmp_path / "out", camera=room.camera)
    reasons = {picture.name: picture.reason for picture in result.pictures}
    assert "broken.jpg" in reasons["broken.jpg"]
    assert "another shape" in reasons["cropped.png"]
    assert "keypoints" in reasons["black.png"]
    assert reasons["000.png"] == reasons["deep.png"] == reasons["alpha.png"] == ""
    assert [entry["picture"] for entry in result.as_result()["left_out"]] == ["broken.jpg", "cropped.png"]
    assert [entry["picture"] for entry in result.as_result()["alone"]] == ["black.png"]


def test_one_picture_is_no_set(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs two"):
        run(folder / "000.png", tmp_path)


def test_pairs_are_those_of_the_choice(folder: Path, tmp_path: Path) -> None:
    options = MatchOptions(max_keypoints=300, max_side=320, matcher="mutual", refine=False)
    listed = tmp_path / "pairs.txt"
    listed.write_text("000.png 008.png\n024.png 016.png\n")
    result = run(folder, tmp_path / "listed", options, choice=PairChoice(str(listed)))
    assert result.planned == 2
    assert result.edges.tolist() == [[0, 1], [2, 3]]
    sequential = run(folder, tmp_path / "listed", options, choice=PairChoice("sequential", overlap=3))
    assert sequential.planned == 5 + 4 + 3 + 2
    assert sequential.computed == sequential.planned - 2
    alike = run(folder, tmp_path / "listed", options, choice=PairChoice("retrieval", neighbours=2))
    assert 6 <= alike.planned <= 12


def test_choices_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UsageError, match="no choice of pairs"):
        PairChoice("everything")
    with pytest.raises(UsageError, match="need the folder"):
        PairChoice("poses")


def test_a_video_gives_its_sharp_frames(project_root: Path, tmp_path: Path) -> None:
    clip = project_root / "data" / "samples" / "room.mp4"
    options = MatchOptions(max_keypoints=300, max_side=320, matcher="mutual", refine=False)
    result = run(clip, tmp_path, options, max_frames=5, choice=PairChoice("sequential", overlap=1))
    assert len(result.pictures) == 5
    assert all(picture.name.startswith("room.mp4#") for picture in result.pictures)
    assert len(result.edges) >= 3


@pytest.mark.slow
def test_the_learned_matcher_is_asked_where_pictures_are_thinly_linked(folder: Path, tmp_path: Path) -> None:
    never = MatchOptions(
        max_keypoints=300, max_side=320, refine=False, cascade=CascadeOptions(thick_support=1, wanted_neighbours=1)
    )
    always = replace(never, cascade=CascadeOptions(thick_support=10**6, wanted_neighbours=1))
    choice = PairChoice("sequential", overlap=2)
    assert run(folder, tmp_path / "never", never, choice=choice).methods["lighterglue"] == 0
    result = run(folder, tmp_path / "always", always, choice=choice)
    assert result.methods["lighterglue"] > 0
    with FeatureStore.open(tmp_path / "always" / "database.db", read_only=True) as store:
        looks = [store.notes.first_look(pair) for pair in store.verified_pairs()]
    assert any(look is not None and "lighterglue found" in look.decision for look in looks)


def test_second_opinions_are_as_many_as_the_set_pays_for(folder: Path, tmp_path: Path) -> None:
    thin = CascadeOptions(thick_support=10**6, second_opinions=0.0)
    options = MatchOptions(max_keypoints=300, max_side=320, refine=False, cascade=thin)
    choice = PairChoice("sequential", overlap=3)
    assert run(folder, tmp_path, options, choice=choice).methods["lighterglue"] == 0
    with FeatureStore.open(tmp_path / "database.db", read_only=True) as store:
        pairs = list(store.verified_pairs())
        looks = [store.notes.first_look(pair) for pair in pairs]
    assert pairs
    assert all(look is not None and "not asked further" in look.decision for look in looks)
    some = replace(options, cascade=replace(thin, second_opinions=0.3))
    run(folder, tmp_path, some, choice=choice)
    with FeatureStore.open(tmp_path / "database.db", read_only=True) as store:
        asked = [store.notes.first_look(pair) for pair in store.matched_pairs()]
    assert sum(look is not None and "lighterglue found" in look.decision for look in asked) == 2


def test_progress_counts_every_pair_once(folder: Path, tmp_path: Path) -> None:
    class Counting(Progress):
        def __init__(self) -> None:
            self.totals: dict[str, int | None] = {}
            self.done: dict[str, int] = {}

        def start(self, stage: str, total: int | None = None) -> None:
            self.totals[stage] = total

        def advance(self, stage: str, step: int = 1) -> None:
            self.done[stage] = self.done.get(stage, 0) + step

        def finish(self, stage: str) -> None: ...

        def info(self, message: str) -> None: ...

        def expect(self, message: str) -> None: ...

        def warn(self, message: str) -> None: ...

    for _ in range(2):
        counting = Counting()
        run(folder, tmp_path, progress=counting)
        for stage in ("extract features", "match pairs", "match thin pairs"):
            assert counting.done.get(stage, 0) == counting.totals[stage]


def test_colmap_reads_the_store_and_maps_from_it(done: tuple[Path, SetMatch], folder: Path, tmp_path: Path) -> None:
    import pycolmap

    database = tmp_path / "database.db"
    shutil.copy(done[0] / "database.db", database)
    options = pycolmap.IncrementalPipelineOptions()
    # The camera is known; left free, twelve coefficients of six small pictures run away.
    options.ba_refine_focal_length = options.ba_refine_extra_params = False
    maps = pycolmap.incremental_mapping(database, folder, tmp_path, options)
    assert len(maps) == 1
    assert maps[0].num_reg_images() == 6
    assert maps[0].compute_mean_reprojection_error() < 0.8
    assert maps[0].num_points3D() > 200


def test_more_matches_than_memory_is_meant_for_are_left_unrefined_and_that_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Listening(Silent):
        def expect(self, message: str) -> None: ...

        def warn(self, message: str) -> None:
            said.append(message)

    monkeypatch.setattr("cv3d.features.matching.set_refinement.MOST_MATCHES", 10)
    options = MatchOptions(max_keypoints=200, max_side=320, matcher="mutual")
    result = run(folder, tmp_path, options, choice=PairChoice("sequential", overlap=3), progress=Listening())
    assert result.refined == 0
    assert any(message.startswith("not refined") for message in said)

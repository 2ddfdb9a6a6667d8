"""The feature store: round trips, what a second run has to do, COLMAP's view of it, and two processes at once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError, OutputError
from cv3d.features.store import STORE_VERSION, FeatureStore, PairMatches, PictureFeatures, config_text, pad, unpad
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import Degeneracy, FocalEstimate, ModelKind, TwoView, estimate_two_view

EXTRACTOR = config_text("xfeat", {"max_keypoints": 64})
MATCHER = config_text("mutual", {})
VERIFIER = config_text("two_view", {"max_error": 2.0})
SIZE = (640, 480)
CAMERA = Camera("pinhole", 640, 480, (520.0, 520.0, 319.5, 239.5))


def some_features(seed: int, count: int = 40, dtype: type = np.float16, width: int = 64) -> PictureFeatures:
    rng = np.random.default_rng(seed)
    spread = rng.normal(size=(count, 2, 2)).astype(np.float32)
    return PictureFeatures(
        (rng.random((count, 2)) * SIZE).astype(np.float32),
        rng.integers(0, 255, (count, width)).astype(dtype),
        rng.random(count).astype(np.float32),
        spread @ spread.transpose(0, 2, 1),
    )


def filled(path: Path, count: int = 3) -> FeatureStore:
    """A store of `count` pictures of one camera, with features."""
    store = FeatureStore.open(path)
    camera_id = store.add_camera("phone", SIZE, CAMERA)
    for index in range(count):
        image_id = store.add_picture(f"{index}.jpg", f"digest {index}", camera_id)
        store.put_features(image_id, some_features(index), EXTRACTOR)
    return store


def views_of_points(count: int = 200, views: int = 2) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Poses cam_from_world along an arc around a cloud of points, and the cloud's pixels in each."""
    rng = np.random.default_rng(5)
    points = rng.uniform(-1.0, 1.0, (count, 3))
    poses, pixels = [], []
    for angle in np.linspace(-0.5, 0.5, views):
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        cam_from_world = np.eye(4)
        cam_from_world[:3, :3], cam_from_world[:3, 3] = turn, (0.0, 0.05 * angle, 5.0)
        poses.append(cam_from_world)
        pixels.append(CAMERA.project(points @ turn.T + cam_from_world[:3, 3]))
    return poses, pixels


def plain_features(pixels: NDArray[np.float64]) -> PictureFeatures:
    return PictureFeatures(pixels.astype(np.float32), np.zeros((len(pixels), 64), np.float16))


def assert_equal_features(found: PictureFeatures | None, put: PictureFeatures) -> None:
    assert found is not None
    np.testing.assert_allclose(found.keypoints, put.keypoints, atol=6e-5)
    np.testing.assert_array_equal(found.descriptors, put.descriptors)
    assert found.descriptors.dtype == put.descriptors.dtype
    np.testing.assert_array_equal(found.scores, put.scores)
    np.testing.assert_array_equal(found.covariances, put.covariances)


def assert_equal_geometry(found: TwoView | None, put: TwoView) -> None:
    assert found is not None
    for field in fields(TwoView):
        mine, theirs = getattr(found, field.name), getattr(put, field.name)
        if field.name == "errors":
            np.testing.assert_allclose(mine, theirs, rtol=1e-6)
        elif isinstance(theirs, FocalEstimate):
            assert (mine.focals, mine.deviations) == (theirs.focals, theirs.deviations)
            np.testing.assert_array_equal(mine.covariance, theirs.covariance)
        else:
            np.testing.assert_array_equal(mine, theirs, err_msg=field.name)


@pytest.mark.parametrize(("dtype", "width"), [(np.float16, 64), (np.float32, 96), (np.uint8, 128), (np.uint8, 32)])
def test_features_come_back_as_they_were_put(tmp_path: Path, dtype: type, width: int) -> None:
    put = some_features(1, dtype=dtype, width=width)
    with FeatureStore.open(tmp_path / "database.db") as store:
        image_id = store.add_picture("a.jpg", "digest", store.add_camera("a", SIZE))
        assert store.features(image_id) is None
        store.put_features(image_id, put, EXTRACTOR)
    with FeatureStore.open(tmp_path / "database.db", read_only=True) as store:
        assert_equal_features(store.features(image_id), put)
        assert [found for found, _ in store.all_features()] == [image_id]


def test_a_picture_without_keypoints_is_one_with_features(tmp_path: Path) -> None:
    with FeatureStore.open(tmp_path / "database.db") as store:
        image_id = store.add_picture("black.png", "digest", store.add_camera("a", SIZE))
        store.put_features(image_id, PictureFeatures(np.zeros((0, 2), np.float32), np.zeros((0, 64), np.float16)), "x")
        found = store.features(image_id)
        assert found is not None
        assert found.descriptors.shape == (0, 64)
        assert list(store.missing_features(["black.png"], ["digest"], "x")) == []


def test_matches_and_geometry_come_back_as_they_were_put(tmp_path: Path) -> None:
    _, (first, second) = views_of_points()
    geometry = estimate_two_view(first, second, CAMERA, CAMERA)
    assert geometry.verified
    matches = PairMatches(np.stack([np.arange(200)] * 2, 1), np.linspace(1, 0, 200, dtype=np.float32))
    with FeatureStore.open(tmp_path / "database.db") as store:
        camera_id = store.add_camera("a", SIZE, CAMERA)
        pair = (store.add_picture("a.jpg", "a", camera_id), store.add_picture("b.jpg", "b", camera_id))
        for image_id, pixels in zip(pair, (first, second), strict=True):
            store.put_features(image_id, plain_features(pixels), EXTRACTOR)
        assert store.matches(pair) is None
        assert store.two_view(pair) is None
        store.put_matches(pair, matches, MATCHER)
        found = store.matches(pair)
        assert found is not None
        np.testing.assert_array_equal(found.indices, matches.indices)
        np.testing.assert_array_equal(found.scores, matches.scores)
        focal = FocalEstimate((500.0, 501.5), (1.0, 2.0), np.array([[0.1, 0.01], [0.01, 0.2]]))
        unrelated = estimate_two_view(first[:4], second[:4], CAMERA, CAMERA)
        for put in (geometry, replace(geometry, focal=focal, alternative=np.eye(4), degeneracy=Degeneracy.PLANAR)):
            store.put_two_view(pair, put, VERIFIER)
            assert_equal_geometry(store.two_view(pair), put)
        assert list(store.verified_pairs()) == [pair]
        counts = store.counts()
        assert (counts.pictures, counts.keypoints, counts.matched_pairs, counts.matches) == (2, 400, 1, 200)
        assert (counts.verified_pairs, counts.inliers) == (1, geometry.inlier_count)
        store.put_matches(pair, PairMatches(matches.indices[:4]), MATCHER)
        assert store.two_view(pair) is None
        store.put_two_view(pair, unrelated, VERIFIER)
        assert_equal_geometry(store.two_view(pair), unrelated)
        assert list(store.verified_pairs()) == []


def test_only_what_is_new_is_missing(tmp_path: Path) -> None:
    names, digests = [f"{i}.jpg" for i in range(4)], [f"digest {i}" for i in range(4)]
    with filled(tmp_path / "database.db") as store:
        assert list(store.missing_features(names, digests, EXTRACTOR)) == ["3.jpg"]
        assert list(store.missing_features(names, ["other", *digests[1:]], EXTRACTOR)) == ["0.jpg", "3.jpg"]
        assert list(store.missing_features(names, digests, config_text("sift", {}))) == names
        one = PairMatches(np.array([[0, 1]]))
        store.put_matches((1, 2), one, MATCHER)
        store.put_two_view((1, 2), estimate_two_view(np.zeros((1, 2)), np.zeros((1, 2))), VERIFIER)
        store.put_matches((1, 3), one, MATCHER)
        pairs = [(1, 2), (1, 3), (2, 3)]
        assert list(store.missing_pairs(pairs, MATCHER)) == [(2, 3)]
        assert list(store.missing_pairs(pairs, MATCHER, verification=VERIFIER)) == [(1, 3), (2, 3)]
        assert list(store.missing_pairs(pairs, "other")) == pairs


def test_a_changed_picture_loses_what_was_computed_from_it_and_no_more(tmp_path: Path) -> None:
    with filled(tmp_path / "database.db") as store:
        for pair in ((1, 2), (1, 3), (2, 3)):
            store.put_matches(pair, PairMatches(np.array([[0, 1]])), MATCHER)
        camera_id = store.add_camera("phone", SIZE, CAMERA)
        assert camera_id == 1
        assert store.add_picture("1.jpg", "digest 1", camera_id) == 2
        assert list(store.matched_pairs()) == [(1, 2), (1, 3), (2, 3)]
        assert store.add_picture("1.jpg", "edited", camera_id) == 2
        assert store.features(2) is None
        assert list(store.matched_pairs()) == [(1, 3)]
        assert_equal_features(store.features(1), some_features(0))


def test_another_camera_loses_the_geometry_and_keeps_the_matches(tmp_path: Path) -> None:
    with filled(tmp_path / "database.db") as store:
        nothing = estimate_two_view(np.zeros((1, 2)), np.zeros((1, 2)))
        for pair in ((1, 2), (1, 3), (2, 3)):
            store.put_matches(pair, PairMatches(np.array([[0, 1]])), MATCHER)
            store.put_two_view(pair, nothing, VERIFIER)
        store.add_picture("0.jpg", "digest 0", store.add_camera("tablet", SIZE))
        assert [store.two_view(pair) is None for pair in ((1, 2), (1, 3), (2, 3))] == [True, True, False]
        assert store.counts().matched_pairs == 3
        frames = store._connection.raw.execute(
            "SELECT data_id, sensor_id, rig_id FROM frame_data JOIN frames USING (frame_id) ORDER BY data_id"
        )
        assert frames.fetchall() == [(1, 2, 2), (2, 1, 1), (3, 1, 1)]
        store.add_camera("phone", SIZE, replace(CAMERA, params=(500.0, 500.0, 320.0, 240.0)))
        assert store.two_view((2, 3)) is None


def test_a_removed_picture_leaves_nothing_behind(tmp_path: Path) -> None:
    with filled(tmp_path / "database.db") as store:
        store.put_matches((1, 2), PairMatches(np.array([[0, 1]])), MATCHER)
        store.remove_picture(1)
        database = store._connection.raw
        assert database.execute("SELECT count(*) FROM frames").fetchone() == (2,)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert list(store.pictures()) == [(2, "1.jpg"), (3, "2.jpg")]
        counts = store.counts()
        assert (counts.pictures, counts.pictures_with_features, counts.matched_pairs) == (2, 2, 0)
        assert store.image_id("0.jpg") is None


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    with filled(tmp_path / "database.db") as store:
        with pytest.raises(ValueError, match="order of their ids"):
            store.put_matches((2, 1), PairMatches(np.array([[0, 1]])), MATCHER)
        with pytest.raises(InputError, match="40 keypoints there, and a match points to number 40"):
            store.put_matches((1, 2), PairMatches(np.array([[0, 40]])), MATCHER)
        with pytest.raises(InputError, match="no keypoints"):
            store.put_matches((1, 9), PairMatches(np.array([[0, 1]])), MATCHER)
        with pytest.raises(InputError, match="no matches"):
            store.put_two_view((1, 2), estimate_two_view(np.zeros((1, 2)), np.zeros((1, 2))), VERIFIER)
        with pytest.raises(InputError, match="no picture 9"):
            store.put_features(9, some_features(0), EXTRACTOR)
        with pytest.raises(InputError, match="no camera 7"):
            store.add_picture("x.jpg", "digest", 7)
        with pytest.raises(InputError, match="640×480"):
            store.add_camera("y", (100, 100), CAMERA)
        with pytest.raises(FormatError, match="double_sphere"):
            store.add_camera("z", SIZE, Camera("double_sphere", 640, 480, (300.0, 300.0, 320.0, 240.0, -0.2, 0.5)))
    with pytest.raises(ValueError, match=r"\(40, D\)"):
        PictureFeatures(np.zeros((40, 2), np.float32), np.zeros((39, 64), np.float16))


def test_a_failing_block_leaves_no_trace(tmp_path: Path) -> None:
    with filled(tmp_path / "database.db") as store:

        def interrupted() -> None:
            with store.transaction():
                store.put_matches((1, 2), PairMatches(np.array([[0, 1]])), MATCHER)
                store.add_picture("new.jpg", "digest", 1)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert store.counts().matched_pairs == 0
        assert store.image_id("new.jpg") is None
        store.put_matches((1, 2), PairMatches(np.array([[0, 1]])), MATCHER)
        assert store.counts().matched_pairs == 1


def test_padding_and_its_removal_are_inverse() -> None:
    pictures = [replace(some_features(i, count=count), covariances=None) for i, count in enumerate((5, 9, 0))]
    batch = pad(pictures, [SIZE] * 3, 12)
    assert batch.descriptors.shape == (3, 12, 64)
    assert batch.descriptors.dtype is torch.float16
    assert batch.counts().tolist() == [5, 9, 0]
    for put, found in zip(pictures, unpad(batch), strict=True):
        np.testing.assert_array_equal(found.keypoints, put.keypoints)
        np.testing.assert_array_equal(found.descriptors, put.descriptors)
        np.testing.assert_array_equal(found.scores, put.scores)
    assert pad(pictures, [SIZE] * 3, 4).counts().tolist() == [4, 4, 0]


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "database.db"
    filled(path).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE cv3d_store SET version = ?, written_by = '9.9'", (STORE_VERSION + 1,))
    database.close()
    for read_only in (False, True):
        with pytest.raises(FormatError, match=f"version {STORE_VERSION + 1}, written by cv3d 9.9.*update it") as caught:
            FeatureStore.open(path, read_only=read_only)
        assert "\n" not in str(caught.value)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database, and long enough to be taken for a header of one" * 40)
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE TABLE songs (title TEXT)")
    database.close()
    with sqlite3.connect(tmp_path / "old.db") as database:
        database.execute("CREATE TABLE cameras (camera_id INTEGER)")
        database.execute("CREATE TABLE images (image_id INTEGER, name TEXT, camera_id INTEGER)")
    database.close()
    for name, sentence in (("text.db", "is no feature store"), ("other.db", "neither"), ("old.db", "has no column")):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(FormatError, match=sentence):
            FeatureStore.open(tmp_path / name)
        assert name == "text.db" or len((tmp_path / name).read_bytes()) == len(before)
    with pytest.raises(InputError, match="no such feature store"):
        FeatureStore.open(tmp_path / "absent.db", read_only=True)
    with pytest.raises(OutputError, match="folder does not exist"):
        FeatureStore.open(tmp_path / "absent" / "database.db")


def test_reading_only_never_writes(tmp_path: Path) -> None:
    path = tmp_path / "database.db"
    filled(path).close()
    before = path.read_bytes()
    with FeatureStore.open(path, read_only=True) as store:
        assert store.counts().pictures == 3
        with pytest.raises(OutputError, match="reading only"):
            store.add_camera("b", SIZE)
    assert path.read_bytes() == before


def test_a_closed_store_is_one_file_and_reading_leaves_it_one(tmp_path: Path) -> None:
    path = tmp_path / "database.db"
    with filled(path) as first, FeatureStore.open(path) as second:
        second.put_features(1, some_features(9), EXTRACTOR)
        assert first.counts().pictures == 3
        assert (tmp_path / "database.db-wal").exists()
    with FeatureStore.open(path, read_only=True) as reader, FeatureStore.open(path) as writer:
        writer.put_features(2, some_features(8), EXTRACTOR)
        assert_equal_features(reader.features(1), some_features(9))
        assert_equal_features(reader.features(2), some_features(8))
    # A reader that was there longer than the last writer could not do it.
    FeatureStore.open(path).close()
    with FeatureStore.open(path, read_only=True) as reader:
        assert reader.counts().pictures == 3
    assert [one.name for one in tmp_path.iterdir()] == ["database.db"]


def test_a_folder_that_cannot_be_written_to_is_read_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "database.db"
    filled(path).close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with FeatureStore.open(path, read_only=True) as store:
        assert_equal_features(store.features(1), some_features(0))
        assert [entry.name for entry in tmp_path.iterdir()] == ["database.db"]


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path: Path) -> None:
    with filled(tmp_path / "database.db") as store:
        database = store._connection.raw
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages + 2}")
        image_id = store.image_id("2.jpg")
        assert image_id is not None
        with pytest.raises(OutputError, match="the disk is full") as caught:
            store.put_features(image_id, some_features(7, count=2000), EXTRACTOR)
        assert "\n" not in str(caught.value)
        assert_equal_features(store.features(image_id), some_features(2))
    with FeatureStore.open(tmp_path / "database.db") as store:
        assert store.counts().pictures_with_features == 3


WRITER = """
import sys, time
import numpy as np
from pathlib import Path
from cv3d.features.store import FeatureStore, PairMatches, PictureFeatures
path, name, count, go = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
go.with_name(name).touch()
while not go.exists():
    time.sleep(0.001)
with FeatureStore.open(path) as store:
    camera_id = store.add_camera(name, (64, 48))
    for index in range(count):
        image_id = store.add_picture(f"{name}/{index}.jpg", f"{name} {index}", camera_id)
        features = PictureFeatures(np.full((50, 2), index, np.float32), np.full((50, 64), index, np.float16))
        store.put_features(image_id, features, "config")
        if index == 9:
            go.with_name(name + " under way").touch()
"""


def start_writer(path: Path, name: str, count: int, go: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(count), str(go)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


@pytest.mark.slow
def test_two_processes_write_at_once_and_a_third_is_killed(tmp_path: Path) -> None:
    path, go = tmp_path / "database.db", tmp_path / "go"
    left, victim = start_writer(path, "left", 20, go), start_writer(path, "victim", 100_000, go)
    for name, process in (("left", left), ("victim", victim)):
        wait_for(tmp_path / name, process)
    go.touch()
    with FeatureStore.open(path) as store:
        camera_id = store.add_camera("right", SIZE)
        for index in range(20):
            image_id = store.add_picture(f"right/{index}.jpg", f"right {index}", camera_id)
            constant = np.full((50, 64), index, np.float16)
            store.put_features(image_id, PictureFeatures(np.zeros((50, 2), np.float32), constant), "config")
    wait_for(tmp_path / "victim under way", victim)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    _, complaint = left.communicate()
    assert left.returncode == 0, complaint
    with FeatureStore.open(path) as store:
        assert store._connection.raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert store._connection.raw.execute("PRAGMA foreign_key_check").fetchall() == []
        names, digests = zip(*((f"{n}/{i}.jpg", f"{n} {i}") for n in ("left", "right") for i in range(20)), strict=True)
        assert list(store.missing_features(names, digests, "config")) == []
        done = [name for _, name in store.pictures() if name.startswith("victim")]
        assert len(done) >= 10
        missing = list(store.missing_features(done, [f"victim {i}" for i in range(len(done))], "config"))
        assert missing in ([], done[-1:])
        for image_id, features in store.all_features():
            assert len(np.unique(features.descriptors)) == 1, image_id


def test_a_writer_that_does_not_end_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "database.db"
    with filled(path) as store, FeatureStore.open(path, busy_seconds=0.05) as other:
        with store.transaction():
            store.put_matches((1, 2), PairMatches(np.array([[0, 1]])), MATCHER)
            assert other.matches((1, 2)) is None
            with pytest.raises(OutputError, match=r"another process has been writing for 0.05 s"):
                other.put_matches((1, 3), PairMatches(np.array([[0, 1]])), MATCHER)
        assert other.matches((1, 2)) is not None


def test_colmap_reads_what_was_put(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    path = tmp_path / "database.db"
    _, (first, second) = views_of_points()
    calibrated = estimate_two_view(first, second, CAMERA, CAMERA)
    uncalibrated = estimate_two_view(first, second)
    assert uncalibrated.model is ModelKind.FUNDAMENTAL
    matches = PairMatches(np.stack([np.arange(200)] * 2, 1))
    with FeatureStore.open(path) as store:
        known = store.add_camera("a", SIZE, CAMERA)
        unknown = store.add_camera("b", SIZE)
        sift = some_features(3, count=200, dtype=np.uint8, width=128)
        for name, camera_id, features in (
            ("a.jpg", known, plain_features(first)),
            ("b.jpg", known, plain_features(second)),
            ("c.jpg", unknown, replace(sift, keypoints=second.astype(np.float32))),
        ):
            store.put_features(store.add_picture(name, name, camera_id), features, EXTRACTOR)
        for pair, geometry in (((1, 2), calibrated), ((1, 3), uncalibrated)):
            store.put_matches(pair, matches, MATCHER)
            store.put_two_view(pair, geometry, VERIFIER)
        store.put_matches((2, 3), PairMatches(np.array([[0, 1]])), MATCHER)
        store.put_two_view((2, 3), estimate_two_view(first[:1], second[:1]), VERIFIER)
    database = pycolmap.Database.open(str(path))
    try:
        images = database.read_all_images()
        assert [(image.image_id, image.name) for image in images] == [(1, "a.jpg"), (2, "b.jpg"), (3, "c.jpg")]
        camera = database.read_camera(known)
        assert camera.model.name == "PINHOLE"
        assert camera.has_prior_focal_length
        np.testing.assert_array_equal(camera.params, [520.0, 520.0, 320.0, 240.0])
        assert not database.read_camera(unknown).has_prior_focal_length
        assert (database.num_rigs(), database.num_frames()) == (2, 3)
        np.testing.assert_allclose(database.read_keypoints(1)[:, :2], first + 0.5, atol=1e-4)
        np.testing.assert_array_equal(database.read_descriptors(3).data, sift.descriptors)
        np.testing.assert_array_equal(database.read_matches(1, 2), matches.indices)
        assert database.num_inlier_matches() == calibrated.inlier_count + uncalibrated.inlier_count
        geometry = database.read_two_view_geometry(1, 2)
        assert geometry.config == pycolmap.TwoViewGeometryConfiguration.CALIBRATED.value
        np.testing.assert_array_equal(geometry.inlier_matches, matches.indices[calibrated.inliers])
        np.testing.assert_allclose(geometry.E, calibrated.matrix)
        assert calibrated.cam1_from_cam0 is not None
        np.testing.assert_allclose(geometry.cam2_from_cam1.matrix(), calibrated.cam1_from_cam0[:3], atol=1e-12)
        fundamental = database.read_two_view_geometry(1, 3).F
        ends = [np.c_[database.read_keypoints(i)[:, :2].astype(float), np.ones(200)] for i in (1, 3)]
        lines = ends[0] @ fundamental.T
        assert np.abs((lines * ends[1]).sum(1) / np.linalg.norm(lines[:, :2], axis=1)).max() < 1e-2
        assert database.read_two_view_geometry(2, 3).config == pycolmap.TwoViewGeometryConfiguration.DEGENERATE.value
    finally:
        database.close()
    with FeatureStore.open(path) as store:
        assert store.counts().verified_pairs == 2


def test_a_homography_is_in_colmaps_pixels(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    rng = np.random.default_rng(0)
    first = rng.random((100, 2)) * SIZE
    mapping = np.array([[0.9, 0.1, 20.0], [-0.1, 1.1, 5.0], [1e-4, 0.0, 1.0]])
    moved = np.c_[first, np.ones(100)] @ mapping.T
    geometry = estimate_two_view(first, moved[:, :2] / moved[:, 2:])
    assert geometry.model is ModelKind.HOMOGRAPHY
    with filled(tmp_path / "database.db", count=0) as store:
        for name, pixels in (("a", first), ("b", moved[:, :2] / moved[:, 2:])):
            store.put_features(store.add_picture(name, name, 1), plain_features(pixels), EXTRACTOR)
        store.put_matches((1, 2), PairMatches(np.stack([np.arange(100)] * 2, 1)), MATCHER)
        store.put_two_view((1, 2), geometry, VERIFIER)
    database = pycolmap.Database.open(str(tmp_path / "database.db"))
    try:
        found = database.read_two_view_geometry(1, 2)
        ends = [np.c_[database.read_keypoints(i)[:, :2].astype(float), np.ones(100)] for i in (1, 2)]
    finally:
        database.close()
    assert found.config == pycolmap.TwoViewGeometryConfiguration.PLANAR_OR_PANORAMIC.value
    carried = ends[0] @ found.H.T
    assert np.abs(carried[:, :2] / carried[:, 2:] - ends[1][:, :2]).max() < 1e-2


def test_a_database_of_colmaps_own_becomes_a_store(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    path = tmp_path / "database.db"
    database = pycolmap.Database.open(str(path))
    camera = pycolmap.Camera(model="PINHOLE", width=640, height=480, params=[500.0, 500.0, 320.0, 240.0])
    camera_id = database.write_camera(camera)
    database.write_image(pycolmap.Image(name="theirs.jpg", camera_id=camera_id))
    database.close()
    with pytest.raises(FormatError, match="open it for writing first"):
        FeatureStore.open(path, read_only=True)
    with FeatureStore.open(path) as store:
        assert list(store.pictures()) == [(1, "theirs.jpg")]
        assert list(store.missing_features(["theirs.jpg"], ["digest"], EXTRACTOR)) == ["theirs.jpg"]
        image_id = store.add_picture("theirs.jpg", "digest", store.add_camera("a", SIZE, CAMERA))
        store.put_features(image_id, some_features(0), EXTRACTOR)
    database = pycolmap.Database.open(str(path))
    try:
        assert database.num_keypoints() == 40
    finally:
        database.close()


@pytest.mark.parametrize("mapper", ["incremental", "global"])
def test_colmap_maps_from_it(tmp_path: Path, mapper: str) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    poses, pixels = views_of_points(count=300, views=6)
    path = tmp_path / "database.db"
    rng = np.random.default_rng(1)
    noisy = [view + rng.normal(scale=0.05, size=view.shape) for view in pixels]
    everything = PairMatches(np.stack([np.arange(300)] * 2, 1))
    with FeatureStore.open(path) as store:
        camera_id = store.add_camera("a", SIZE, CAMERA)
        for index, view in enumerate(noisy):
            image_id = store.add_picture(f"{index}.jpg", str(index), camera_id)
            store.put_features(image_id, plain_features(view), EXTRACTOR)
        for first in range(6):
            for second in range(first + 1, 6):
                pair = (first + 1, second + 1)
                store.put_matches(pair, everything, MATCHER)
                store.put_two_view(pair, estimate_two_view(noisy[first], noisy[second], CAMERA, CAMERA), VERIFIER)
    (tmp_path / "images").mkdir()
    folders = (str(path), str(tmp_path / "images"), str(tmp_path / "sparse"))
    if mapper == "global":
        if not hasattr(pycolmap, "global_mapping"):
            pytest.skip("this pycolmap has no global mapper")
        maps = pycolmap.global_mapping(*folders, pycolmap.GlobalPipelineOptions(num_threads=1))
    else:
        maps = pycolmap.incremental_mapping(*folders, pycolmap.IncrementalPipelineOptions(num_threads=1))
    assert len(maps) == 1
    assert maps[0].num_reg_images() == 6
    assert maps[0].compute_mean_reprojection_error() < 0.15
    centres = np.array([maps[0].images[i + 1].projection_center() for i in range(6)])
    truth = np.array([-pose[:3, :3].T @ pose[:3, 3] for pose in poses])
    scale = np.linalg.norm(truth[5] - truth[0]) / np.linalg.norm(centres[5] - centres[0])
    for i in range(5):
        ours, theirs = np.linalg.norm(truth[i + 1] - truth[i]), np.linalg.norm(centres[i + 1] - centres[i])
        assert theirs * scale == pytest.approx(ours, rel=0.01)

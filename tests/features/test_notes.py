"""The notes of matching in a feature store: round trips, and what is forgotten with what."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.errors import InputError, OutputError
from cv3d.features.store import FeatureStore, FirstLook, PairMatches, PictureFeatures
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import TwoView, estimate_two_view

SIZE = (640, 480)
CAMERA = Camera("pinhole", *SIZE, (520.0, 520.0, 319.5, 239.5))
COUNT = 60
LOOK = FirstLook("mutual with its options", 41, True, -12.5, "")
PAIRS = ((1, 2), (1, 3), (2, 3))


def views() -> list[NDArray[np.float64]]:
    """A cloud of points in three views, (60, 2) pixels each."""
    points = np.random.default_rng(5).uniform(-1.0, 1.0, (COUNT, 3))
    pixels = []
    for angle in (-0.3, 0.0, 0.3):
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        pixels.append(CAMERA.project(points @ turn.T + (0.0, 0.0, 5.0)))
    return pixels


def geometry_of(first: NDArray[np.float64], second: NDArray[np.float64]) -> TwoView:
    found = estimate_two_view(first, second, CAMERA, CAMERA)
    assert found.verified
    return found


def features(pixels: NDArray[np.float64]) -> PictureFeatures:
    return PictureFeatures(pixels.astype(np.float32), np.zeros((len(pixels), 64), np.float16))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Three pictures of one camera with pictures 1 to 3, all pairs matched, verified and looked at."""
    with FeatureStore.open(tmp_path / "database.db") as store:
        camera_id, pixels = store.add_camera("all", SIZE, CAMERA), views()
        for index, seen in enumerate(pixels):
            image_id = store.add_picture(f"{index}.jpg", f"digest {index}", camera_id)
            store.put_features(image_id, features(seen), "extractor")
        matches = PairMatches(np.stack([np.arange(COUNT)] * 2, 1))
        for pair in PAIRS:
            store.put_matches(pair, matches, "mutual")
            store.put_two_view(pair, geometry_of(pixels[pair[0] - 1], pixels[pair[1] - 1]), "verification")
            store.notes.put_first_look(pair, LOOK)
        yield store


def moved(store: FeatureStore, image_id: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Keypoints of a picture refined by a quarter of a pixel, the last one not, with their covariances."""
    keypoints = store.keypoints(image_id)
    assert keypoints is not None
    covariances = np.tile(np.array([[0.01, 0.002], [0.002, 0.03]], np.float32), (COUNT, 1, 1))
    covariances[-1] = np.nan
    return keypoints + np.float32([0.25, -0.25]) * np.isfinite(covariances[:, :1, 0]), covariances


def refined_twin(geometry: TwoView) -> TwoView:
    """Another verdict on the same matches, as refinement may give."""
    inliers = geometry.inliers.copy()
    inliers[:20] = False
    return replace(geometry, inliers=inliers)


@pytest.mark.parametrize(
    "look",
    [
        LOOK,
        FirstLook("ratio", 0, False, math.inf, "unrelated: its matches agree no better than chance"),
        FirstLook("mutual", 7, False, 3.25, "größer"),
    ],
)
def test_a_first_look_comes_back_as_it_was_put(store: FeatureStore, look: FirstLook) -> None:
    store.notes.put_first_look((1, 3), look)
    assert store.notes.first_look((1, 3)) == look
    assert store.notes.first_look((1, 2)) == LOOK
    assert store.notes.first_look((1, 4)) is None


def test_a_decision_changes_nothing_else_of_a_look(store: FeatureStore) -> None:
    store.notes.put_decision((1, 2), "lighterglue found 80")
    assert store.notes.first_look((1, 2)) == replace(LOOK, decision="lighterglue found 80")
    assert store.notes.first_look((1, 3)) == LOOK
    store.notes.put_decision((1, 4), "never looked at")
    assert store.notes.first_look((1, 4)) is None


def test_marks_come_back_and_the_last_one_stands(store: FeatureStore) -> None:
    assert store.notes.mark("refined") is None
    store.notes.put_mark("refined", "one")
    store.notes.put_mark("other", "word")
    store.notes.put_mark("refined", "two")
    assert (store.notes.mark("refined"), store.notes.mark("other")) == ("two", "word")


def test_sizes_and_configs(store: FeatureStore) -> None:
    assert store.notes.size(2) == SIZE
    assert store.notes.size(9) is None
    assert store.notes.matched_with((1, 2)) == ("mutual", "verification")
    assert store.notes.matched_with((1, 9)) == (None, None)
    matches = store.matches((1, 2))
    assert matches is not None
    store.put_matches((1, 2), matches, "lighterglue")
    assert store.notes.matched_with((1, 2)) == ("lighterglue", None)


def test_refined_keypoints_are_what_others_read_and_detected_ones_are_kept(store: FeatureStore) -> None:
    before = store.keypoints(1)
    after, covariances = moved(store, 1)
    store.notes.put_refined(1, after, covariances)
    found = store.features(1)
    assert found is not None
    np.testing.assert_array_equal(found.keypoints, after)
    np.testing.assert_array_equal(found.covariances, covariances)
    np.testing.assert_array_equal(store.notes.detected(1), before)
    np.testing.assert_array_equal(store.notes.detected(2), store.keypoints(2))
    assert store.notes.detected(9) is None
    assert store.matches((1, 2)) is not None
    assert store.notes.first_look((1, 2)) == LOOK


def test_refinement_twice_keeps_where_keypoints_were_detected(store: FeatureStore) -> None:
    before = store.keypoints(1)
    for _ in range(2):
        store.notes.put_refined(1, *moved(store, 1))
    np.testing.assert_array_equal(store.notes.detected(1), before)
    store.notes.forget_refined(1)
    found = store.features(1)
    assert found is not None
    np.testing.assert_array_equal(found.keypoints, before)
    assert found.covariances is None
    np.testing.assert_array_equal(store.notes.detected(1), before)
    store.notes.forget_refined(1)
    store.notes.forget_refined(9)
    np.testing.assert_array_equal(store.keypoints(1), before)


def test_another_number_of_keypoints_is_refused(store: FeatureStore) -> None:
    after, covariances = moved(store, 1)
    with pytest.raises(InputError, match="60 keypoints, not 59"):
        store.notes.put_refined(1, after[1:], covariances[1:])
    with pytest.raises(InputError, match="no keypoints"):
        store.notes.put_refined(9, after, covariances)
    assert store.features(1).covariances is None  # type: ignore[union-attr]


def test_the_geometry_of_detected_keypoints_outlives_refinement(store: FeatureStore) -> None:
    detected = store.two_view((1, 2))
    assert detected is not None
    refined = refined_twin(detected)
    assert not store.notes.is_detected_two_view_kept((1, 2))
    for _ in range(2):
        store.notes.keep_detected_two_view((1, 2))
        store.put_two_view((1, 2), refined, "verification again")
    held, standing = store.notes.detected_two_view((1, 2)), store.two_view((1, 2))
    assert held is not None
    assert standing is not None
    assert (held.inlier_count, standing.inlier_count) == (detected.inlier_count, refined.inlier_count)
    np.testing.assert_array_equal(held.inliers, detected.inliers)
    np.testing.assert_array_equal(held.cam1_from_cam0, detected.cam1_from_cam0)
    assert dict(store.notes.supports()) == dict.fromkeys(PAIRS, detected.inlier_count)
    assert [store.notes.is_detected_two_view_kept(pair) for pair in PAIRS] == [True, False, False]
    back = store.notes.forget_refined_two_view((1, 2))
    assert back is not None
    assert back[1] == "verification"
    np.testing.assert_array_equal(back[0].inliers, detected.inliers)
    assert store.notes.forget_refined_two_view((1, 2)) is None


def test_without_refinement_the_geometry_is_the_detected_one(store: FeatureStore) -> None:
    held = store.notes.detected_two_view((1, 3))
    assert held is not None
    np.testing.assert_array_equal(held.inliers, store.two_view((1, 3)).inliers)  # type: ignore[union-attr]
    assert store.notes.detected_two_view((1, 9)) is None


def refine_all(store: FeatureStore) -> None:
    for image_id in (1, 2, 3):
        store.notes.put_refined(image_id, *moved(store, image_id))
    for pair in PAIRS:
        store.notes.keep_detected_two_view(pair)


def test_new_features_forget_what_was_noted_of_the_old(store: FeatureStore) -> None:
    refine_all(store)
    store.put_features(1, features(views()[0][:30]), "another extractor")
    for pair in PAIRS[:2]:
        assert store.notes.first_look(pair) is None
        assert store.notes.detected_two_view(pair) is None
    np.testing.assert_array_equal(store.notes.detected(1), store.keypoints(1))
    assert store.notes.first_look((2, 3)) == LOOK
    assert store.notes.detected_two_view((2, 3)) is not None


def test_another_content_or_no_picture_forgets_the_same(store: FeatureStore) -> None:
    refine_all(store)
    assert store.add_picture("0.jpg", "another digest", store.add_camera("all", SIZE, CAMERA)) == 1
    assert store.notes.detected(1) is None
    store.remove_picture(3)
    assert [store.notes.first_look(pair) for pair in PAIRS] == [None] * 3
    assert list(store.notes.supports()) == []


def test_new_matches_forget_both_geometries(store: FeatureStore) -> None:
    refine_all(store)
    store.put_matches((1, 2), PairMatches(np.zeros((0, 2), np.int64)), "lighterglue")
    assert store.notes.detected_two_view((1, 2)) is None
    assert store.notes.first_look((1, 2)) == LOOK
    assert {pair for pair, _ in store.notes.supports()} == set(PAIRS[1:])


def test_other_parameters_of_a_camera_forget_looks_and_geometries(store: FeatureStore) -> None:
    refine_all(store)
    refined = store.keypoints(1)
    store.add_camera("all", SIZE, CAMERA)
    assert [store.notes.first_look(pair) for pair in PAIRS] == [LOOK] * 3
    store.add_camera("all", SIZE, Camera("pinhole", *SIZE, (500.0, 500.0, 319.5, 239.5)))
    assert [store.notes.first_look(pair) for pair in PAIRS] == [None] * 3
    assert [store.notes.detected_two_view(pair) for pair in PAIRS] == [None] * 3
    assert store.matches((1, 2)) is not None
    np.testing.assert_array_equal(store.keypoints(1), refined)


def test_another_camera_of_one_picture_forgets_its_own_pairs(store: FeatureStore) -> None:
    other = store.add_camera("other", SIZE)
    store.add_picture("2.jpg", "digest 2", other)
    assert [store.notes.first_look(pair) for pair in PAIRS] == [LOOK, None, None]


def test_the_store_may_be_written_to_while_supports_are_read(store: FeatureStore) -> None:
    held = store.two_view((1, 3))
    assert held is not None
    store.put_two_view((1, 3), replace(held, verified=False), "verification")
    found = []
    for pair, _ in store.notes.supports():
        store.notes.put_decision(pair, "written while reading")
        found.append(pair)
    assert found == [(1, 2), (2, 3)]


def test_notes_of_a_store_open_for_reading(store: FeatureStore) -> None:
    with FeatureStore.open(store.path, read_only=True) as reader:
        assert reader.notes.first_look((1, 2)) == LOOK
        with pytest.raises(OutputError, match="reading only"):
            reader.notes.put_mark("refined", "x")


def test_notes_belong_to_the_transaction_around_them(store: FeatureStore) -> None:
    def change() -> None:
        with store.transaction():
            store.notes.put_mark("refined", "x")
            store.notes.put_decision((1, 2), "y")
            store.notes.put_refined(1, *moved(store, 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()
    assert store.notes.mark("refined") is None
    assert store.notes.first_look((1, 2)) == LOOK
    assert store.features(1).covariances is None  # type: ignore[union-attr]

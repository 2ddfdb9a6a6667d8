"""Which pictures are paired: sequences, lists, known poses, retrieval."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import FormatError, InputError
from cv3d.features.pairs import (
    Exhaustive,
    Listed,
    Neighbours,
    PairSelector,
    PoseOptions,
    Ranked,
    RetrievalOptions,
    Sequential,
    StoredDescriptors,
    VocabularyOptions,
    global_descriptors,
    nearest,
    pose_neighbours,
    read_pair_list,
    retrieval_recall,
    retrieve,
)
from cv3d.features.store import FeatureStore, PictureFeatures
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid

CAMERA = Camera("pinhole", 640, 480, (520.0, 520.0, 319.5, 239.5))
CPU = Compute.choose("cpu")


class InMemory:
    """Descriptors of a set held as arrays."""

    def __init__(self, arrays: Sequence[NDArray[np.generic]]) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays)

    def descriptors(self, picture: int) -> NDArray[np.generic]:
        return self.arrays[picture]


def places(count: int, views: int, seed: int = 0, points: int = 150) -> tuple[InMemory, list[set[int]]]:
    """`views` pictures of each of `count` places in random order, and for each picture the others of its place.

    Each view shows three quarters of its place, with noise; two fifths of its descriptors are of things that every
    place has, in bursts.
    """
    rng = np.random.default_rng(seed)
    everywhere = rng.normal(size=(60, 64))
    where = rng.permutation(np.repeat(np.arange(count), views))
    own = [rng.normal(size=(points, 64)) for _ in range(count)]
    arrays = []
    for place in where:
        seen = own[place][rng.permutation(points)[: 3 * points // 4]]
        common = everywhere[rng.integers(0, 60, points // 2)]
        both = np.concatenate([seen, common])
        arrays.append((both + rng.normal(scale=0.35, size=both.shape)).astype(np.float16))
    relevant = [set(np.flatnonzero(where == place).tolist()) - {i} for i, place in enumerate(where)]
    return InMemory(arrays), relevant


def some_neighbours(count: int, rank: int, seed: int) -> Neighbours:
    rng = np.random.default_rng(seed)
    indices = np.full((count, rank), -1)
    for picture in range(count):
        others = rng.permutation([other for other in range(count) if other != picture])[: rng.integers(0, rank + 1)]
        indices[picture, : len(others)] = others
    return Neighbours(indices, np.where(indices < 0, -np.inf, 0.5).astype(np.float32))


@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 100))
def test_every_choice_gives_each_pair_once_and_ascending(count: int, rank: int, seed: int) -> None:
    neighbours = some_neighbours(count, rank, seed)
    every = 1 + seed % 4
    selectors: list[PairSelector] = [
        Exhaustive(),
        Sequential(overlap=rank),
        Sequential(overlap=rank, loop_every=every, loop_candidates=1 + seed % 3, neighbours=neighbours),
        Ranked(neighbours),
        Listed(((0, 1),)),
    ]
    for selector in selectors:
        pairs = list(selector.pairs(count))
        assert len(set(pairs)) == len(pairs)
        assert all(0 <= first < second < count for first, second in pairs)
    ranked = set(Ranked(neighbours).pairs(count))
    assert ranked == {
        (min(i, j), max(i, j)) for i, row in enumerate(neighbours.indices.tolist()) for j in row if j >= 0
    }
    looped = set(selectors[2].pairs(count))
    near = set(Sequential(overlap=rank).pairs(count))
    assert near <= looped
    assert all(first % every == 0 or second % every == 0 for first, second in looped - near)


def test_the_number_of_pairs() -> None:
    assert len(list(Exhaustive().pairs(20))) == 190
    assert list(Exhaustive().pairs(1)) == []
    plain = list(Sequential(overlap=3, is_quadratic=False).pairs(100))
    assert {second - first for first, second in plain} == {1, 2, 3}
    assert len(plain) == 99 + 98 + 97
    quadratic = list(Sequential(overlap=6).pairs(100))
    assert {second - first for first, second in quadratic} == {1, 2, 3, 4, 5, 6, 8, 16, 32}
    doubled = list(Sequential(overlap=2, doublings=5).pairs(100))
    assert {second - first for first, second in doubled} == {1, 2, 4, 8, 16}


def test_a_loop_is_closed_at_every_nth_picture() -> None:
    indices = np.full((40, 3), -1)
    for picture in range(20):
        indices[picture, 0], indices[picture, 1] = (picture + 1) % 20, picture + 20
        indices[picture + 20, 0] = picture
    neighbours = Neighbours(indices, np.zeros((40, 3), np.float32))
    selector = Sequential(overlap=2, is_quadratic=False, loop_every=5, loop_candidates=1, neighbours=neighbours)
    loops = {pair for pair in selector.pairs(40) if pair[1] - pair[0] > 2}
    assert loops == {(0, 20), (5, 25), (10, 30), (15, 35)}
    with pytest.raises(ValueError, match="ranked neighbours"):
        Sequential(loop_every=5)
    with pytest.raises(InputError, match="40 pictures, but the set has 41"):
        list(selector.pairs(41))
    with pytest.raises(InputError, match="40 pictures, but the set has 41"):
        Ranked(neighbours).pairs(41)


def test_lists_of_colmap_and_of_superglue_are_read(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/2.jpg", "b.jpg"]
    path = tmp_path / "pairs.txt"
    path.write_text("# image pairs\na/1.jpg a/2.jpg\n\nb.jpg a/1.jpg\na/2.jpg a/1.jpg\n")
    assert read_pair_list(path, names).listed == ((0, 1), (0, 2))
    numbers = " ".join(["0.5"] * 34)
    path.write_text(f"a/1.jpg b.jpg 0 0 {numbers}\r\na/2.jpg b.jpg 0 1 {numbers}\r\n")
    assert list(read_pair_list(path, names).pairs(3)) == [(0, 2), (1, 2)]


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        (b"a b\na c\n", InputError, "line 2: there is no picture 'c' among the 2 given"),
        (b"a b\na\n", FormatError, "line 2: should begin with the names of two pictures"),
        (b"a a\n", InputError, "line 1: pairs 'a' with itself"),
        (b"# nothing\n", FormatError, "lists no pair"),
        (b"\xff\xd8\xff\x00", FormatError, "it is no text"),
    ],
)
def test_a_bad_list_is_one_line(tmp_path: Path, content: bytes, error: type[Exception], sentence: str) -> None:
    path = tmp_path / "pairs.txt"
    path.write_bytes(content)
    with pytest.raises(error, match=sentence) as caught:
        read_pair_list(path, ["a", "b"])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_list_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pairs\.txt: cannot be read"):
        read_pair_list(tmp_path / "pairs.txt", ["a"])
    with pytest.raises(InputError, match="not one of 2 pictures"):
        list(Listed(((0, 2),)).pairs(2))


def looking(centres: NDArray[np.float64], axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """cam_from_world, (n, 4, 4), of upright cameras at `centres` that look along horizontal `axes`; world y is down."""
    world_from_cam = np.tile(np.eye(4), (len(centres), 1, 1))
    forward = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    down = np.tile((0.0, 1.0, 0.0), (len(centres), 1))
    world_from_cam[:, :3, 0] = np.cross(down, forward)
    world_from_cam[:, :3, 1], world_from_cam[:, :3, 2] = down, forward
    world_from_cam[:, :3, 3] = centres
    return inverse_rigid(world_from_cam)


def ring(count: int, radius: float) -> NDArray[np.float64]:
    angles = np.arange(count) * 2 * np.pi / count
    return radius * np.stack([np.cos(angles), np.zeros(count), np.sin(angles)], 1)


def test_cameras_around_an_object_are_paired_along_the_ring() -> None:
    centres = ring(36, 3.0)
    options = PoseOptions(top_k=6, depths=(2.0, 4.0))
    found = pose_neighbours(looking(centres, -centres), [CAMERA] * 36, options)
    for picture, row in enumerate(found.indices):
        apart = np.abs((row - picture + 18) % 36 - 18)
        np.testing.assert_array_equal(np.sort(apart), [1, 1, 2, 2, 3, 3])
    assert (np.diff(found.similarities, axis=1) <= 0).all()
    wide = pose_neighbours(looking(centres, -centres), [CAMERA] * 36, PoseOptions(top_k=35, depths=(2.0, 4.0)))
    apart = np.abs((wide.indices - np.arange(36)[:, None] + 18) % 36 - 18)
    assert apart[wide.indices >= 0].max() < 9


def test_cameras_that_look_apart_are_not_paired() -> None:
    outwards = ring(4, 0.5)
    found = pose_neighbours(looking(outwards, outwards), [CAMERA] * 4, PoseOptions(top_k=3))
    assert (found.indices == -1).all()
    street = np.stack([np.zeros(30), np.zeros(30), np.arange(30.0)], 1)
    both_ways = np.concatenate([looking(street, np.tile((0.0, 0.0, s), (30, 1))) for s in (1.0, -1.0)])
    found = pose_neighbours(both_ways, [CAMERA] * 60, PoseOptions(top_k=8))
    for picture, row in enumerate(found.indices):
        there = row[row >= 0]
        assert len(there) > 0
        assert (there // 30 == picture // 30).all()


def test_neighbours_by_pose_do_not_depend_on_the_unit() -> None:
    rng = np.random.default_rng(3)
    centres = rng.uniform(-4, 4, (40, 3)) * (1, 0.1, 1)
    axes = rng.normal(size=(40, 3)) * (1, 0, 1)
    metres = pose_neighbours(looking(centres, axes), [CAMERA] * 40)
    millimetres = pose_neighbours(looking(centres * 1000, axes), [CAMERA] * 40)
    np.testing.assert_array_equal(metres.indices, millimetres.indices)
    assert (metres.indices >= 0).any()


def test_poses_that_say_nothing_are_refused() -> None:
    poses = np.tile(np.eye(4), (3, 1, 1))
    with pytest.raises(InputError, match="all in one place"):
        pose_neighbours(poses, [CAMERA] * 3)
    assert pose_neighbours(poses, [CAMERA] * 3, PoseOptions(depths=(1.0, 5.0))).similarities[0, 0] == 1.0
    with pytest.raises(InputError, match="2 cameras need"):
        pose_neighbours(poses, [CAMERA] * 2)


@pytest.mark.parametrize("seed", [0, 1])
def test_pictures_of_one_place_find_each_other(seed: int) -> None:
    source, relevant = places(count=20, views=5, seed=seed)
    found = retrieve(source, CPU, RetrievalOptions(top_k=10, vocabulary=VocabularyOptions(seed=seed)))
    assert found.indices.shape == (100, 10)
    assert (found.indices != np.arange(100)[:, None]).all()
    assert (np.diff(found.similarities, axis=1) <= 0).all()
    assert retrieval_recall(found, relevant, 1) > 0.99
    assert retrieval_recall(found, relevant, 4) > 0.9


def test_whitening_finds_more_in_a_large_set() -> None:
    source, relevant = places(count=60, views=5, points=80)
    recall, lengths = [], []
    for whiten_from in (10_000, 256):
        options = RetrievalOptions(top_k=4, whiten_from=whiten_from, vocabulary=VocabularyOptions(words=16))
        vectors = global_descriptors(source, CPU, options)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
        lengths.append(vectors.shape[1])
        recall.append(retrieval_recall(nearest(vectors, 4, CPU), relevant, 4))
    assert lengths == [16 * 64, 300 // 4]
    assert recall[1] > recall[0] + 0.1
    assert recall[1] > 0.9


def test_the_same_seed_gives_the_same_bytes() -> None:
    source, _ = places(count=6, views=3)
    first, again = (global_descriptors(source, CPU) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    other = global_descriptors(source, CPU, RetrievalOptions(vocabulary=VocabularyOptions(seed=1)))
    assert first.tobytes() != other.tobytes()


def test_few_pictures_are_held_at_a_time() -> None:
    source, _ = places(count=30, views=3, points=40)

    class Watched(InMemory):
        alive = 0
        most = 0

        def descriptors(self, picture: int) -> NDArray[np.generic]:
            array = self.arrays[picture].copy()
            self.alive += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(array, self._gone)
            return array

        def _gone(self) -> None:
            self.alive -= 1

    watched = Watched(source.arrays)
    retrieve(watched, CPU)
    assert watched.most <= 2


def test_pictures_without_keypoints_do_no_harm() -> None:
    source, relevant = places(count=8, views=4)
    arrays = [*source.arrays, np.zeros((0, 64), np.float16), np.zeros((0, 0), np.float32)]
    found = retrieve(InMemory(arrays), CPU, RetrievalOptions(top_k=3))
    kept = Neighbours(found.indices[:32], found.similarities[:32])
    assert retrieval_recall(kept, relevant, 3) > 0.95
    assert (found.similarities[32:] == 0.0).all()
    with pytest.raises(InputError, match="no picture of the set has descriptors"):
        retrieve(InMemory(arrays[-2:]), CPU)
    with pytest.raises(InputError, match="several lengths"):
        retrieve(InMemory([np.ones((50, 64), np.float32), np.ones((50, 128), np.float32)]), CPU)


def test_small_sets_have_few_neighbours() -> None:
    source, _ = places(count=1, views=2)
    found = retrieve(source, CPU, RetrievalOptions(top_k=5))
    np.testing.assert_array_equal(found.indices, [[1, -1, -1, -1, -1], [0, -1, -1, -1, -1]])
    assert list(Ranked(found).pairs(2)) == [(0, 1)]
    assert nearest(np.zeros((1, 8), np.float32), 3, CPU).indices.tolist() == [[-1, -1, -1]]


def test_a_store_is_a_source(tmp_path: Path) -> None:
    source, relevant = places(count=5, views=3)
    with FeatureStore.open(tmp_path / "database.db") as store:
        camera_id = store.add_camera("a", (640, 480))
        image_ids = []
        for index, array in enumerate(source.arrays):
            image_ids.append(store.add_picture(f"{index}.jpg", str(index), camera_id))
            store.put_features(image_ids[-1], PictureFeatures(np.zeros((len(array), 2), np.float32), array), "config")
        found = retrieve(StoredDescriptors(store, image_ids), CPU, RetrievalOptions(top_k=2))
    np.testing.assert_array_equal(found.indices, retrieve(source, CPU, RetrievalOptions(top_k=2)).indices)
    assert retrieval_recall(found, relevant, 2) == 1.0


def test_recall_counts_what_could_be_found() -> None:
    neighbours = Neighbours(np.array([[1, 2], [2, 0], [0, -1]]), np.zeros((3, 2), np.float32))
    assert retrieval_recall(neighbours, [{1, 2}, set(), {1}], 2) == 0.5
    assert retrieval_recall(neighbours, [{1, 2}, set(), {0}], 1) == 1.0
    with pytest.raises(ValueError, match="no picture has"):
        retrieval_recall(neighbours, [set()] * 3, 1)


def sift_of(paths: Sequence[Path], side: int) -> list[NDArray[np.float32]]:
    """SIFT descriptors, their square roots of unit length, of pictures no larger than `side`."""
    found = []
    for path in paths:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        scale = min(1.0, side / max(picture.shape))
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        _, descriptors = cv2.SIFT_create(1000).detectAndCompute(picture, None)
        assert descriptors is not None
        found.append(np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9)))
    return found


def strecha_poses(folder: Path) -> NDArray[np.float64]:
    """cam_from_world of `*.camera` files: K, distortion, R (world from camera), centre, size, one row a line."""
    poses = []
    for path in sorted(folder.glob("*.camera")):
        rows = [np.array(line.split(), float) for line in path.read_text().splitlines() if line.strip()]
        world_from_cam = np.eye(4)
        world_from_cam[:3, :3], world_from_cam[:3, 3] = np.stack(rows[4:7]), rows[7]
        poses.append(inverse_rigid(world_from_cam))
    return np.stack(poses)


@pytest.mark.slow
def test_overlapping_views_of_real_scenes_rank_first(data_root: Path) -> None:
    fountain = sorted((data_root / "views" / "fountain-P11" / "images").glob("*.jpg"))
    bull = sorted((data_root / "views" / "seoul_bull").glob("*.jpg"))
    if len(fountain) != 11 or len(bull) != 17:
        pytest.skip("views/fountain-P11 or views/seoul_bull is not there")
    found = retrieve(InMemory(sift_of([*fountain, *bull], 640)), CPU, RetrievalOptions(top_k=5))
    scene = np.array([0] * 11 + [1] * 17)
    assert (scene[found.indices] == scene[:, None]).all()
    camera = Camera("pinhole", 3072, 2048, (2759.48, 2764.16, 1520.69, 1006.81))
    poses = strecha_poses(data_root / "views" / "fountain-P11" / "gt_dense_cameras")
    by_pose = pose_neighbours(poses, [camera] * 11, PoseOptions(top_k=4, depths=(6.0, 10.0), min_overlap=0.3))
    relevant = [{int(other) for other in row if other >= 0} for row in by_pose.indices]
    assert min(map(len, relevant)) >= 2
    first = Neighbours(found.indices[:11], found.similarities[:11])
    assert retrieval_recall(first, relevant, 1) == 1.0
    assert retrieval_recall(first, relevant, 2) > 0.9
    # The bull was photographed walking around it, so the pictures before and after see it most alike.
    apart = np.abs(found.indices[11:] - np.arange(11, 28)[:, None])
    assert (apart[:, 0] <= 2).all()
    assert (np.diff(sorted(np.unique(found.indices[11:]))) == 1).all()
    assert all(second - first == 1 for first, second in pairwise(sorted({*found.indices[:11].ravel().tolist()})))

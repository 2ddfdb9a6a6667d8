"""Turned pictures keep their geometry; sets of pairs are found by their content."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cv3d.errors import FormatError, InputError
from cv3d.evaluation.matches import HomographyTruth, PairView, PoseTruth, pairs_of_folder, pairs_of_list
from cv3d.evaluation.matches.pairs import quarter_turn, turned_pinhole
from cv3d.evaluation.matches.sets import is_about_poses
from cv3d.geometry.cameras.camera import Camera
from cv3d.media.picture import Picture

LIST = "a.png b.png 0 1 500 0 31 0 510 23 0 0 1 600 0 30 0 610 20 0 0 1 1 0 0 2 0 1 0 0 0 0 1 0 0 0 0 1"


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_turned_picture_shows_a_point_where_its_turned_camera_says(turns: int, tmp_path: Path) -> None:
    camera = Camera("pinhole", 64, 48, (50.0, 55.0, 30.0, 25.0))
    seen = np.array([[40, 20], [3, 45], [60, 0]])
    points = camera.unproject(seen.astype(np.float64))
    pixels = np.zeros((48, 64), np.uint8)
    pixels[seen[:, 1], seen[:, 0]] = 100, 150, 200
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    view = PairView(Picture("a.png", tmp_path / "a.png"), turns, matrix=camera.matrix)
    read = view.read()[..., 0]
    turned = view.camera_of(read.shape[1], read.shape[0])
    assert turned == turned_pinhole(camera, turns)
    assert turned is not None
    places = turned.project(points @ quarter_turn(turns)[:3, :3].T)
    np.testing.assert_allclose(places, places.round(), atol=1e-9)
    places = places.round().astype(int)
    assert read[places[:, 1], places[:, 0]].tolist() == [100, 150, 200]


def test_the_truth_turns_with_the_pictures() -> None:
    motion = np.eye(4)
    motion[:3, 3] = (1.0, 2.0, 3.0)
    picture = Picture("a.png", Path("a.png"))
    first, second = PairView(picture, 1), PairView(picture, 3)
    between = PoseTruth(motion).between(first, second)
    point = np.array([0.3, -0.7, 2.0, 1.0])
    turned = quarter_turn(1) @ point
    np.testing.assert_allclose(between @ turned, quarter_turn(3) @ (motion @ point), atol=1e-12)
    assert np.linalg.det(between[:3, :3]) == pytest.approx(1.0)


def test_cameras_of_resized_and_of_other_pictures() -> None:
    view = PairView(Picture("a.png", Path("a.png")), camera=Camera("pinhole", 640, 480, (500.0, 500.0, 319.5, 239.5)))
    half = view.camera_of(320, 240)
    assert half is not None
    assert half.params == (250.0, 250.0, 159.5, 119.5)
    with pytest.raises(InputError, match=r"a\.png: is 480x640 pixels, but its camera takes 640x480"):
        view.camera_of(480, 640)


def test_a_list_with_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text(f"{LIST}\n\n# nothing\n")
    with pytest.raises(InputError, match=r"none of its pictures is in .*a\.png; --images"):
        pairs_of_list(tmp_path / "pairs.txt")
    (tmp_path / "a.png").write_bytes(b"")
    (pair,) = pairs_of_list(tmp_path / "pairs.txt")
    assert (pair.name, pair.first.turns, pair.second.turns) == ("a.png b.png", 0, 1)
    assert is_about_poses([pair])
    assert pair.second.camera_of(48, 64) == Camera("pinhole", 48, 64, (610.0, 600.0, 20.0, 63.0 - 30.0))


def homographies(folder: Path, picture: str, matrix: str) -> None:
    folder.mkdir(parents=True)
    for number in (1, 2, 3):
        cv2.imwrite(str(folder / picture.format(number)), np.zeros((8, 8, 3), np.uint8))
    for number in (2, 3):
        (folder / matrix.format(number)).write_text(f"1 0 {number}\n0 1 0\n0 0 1\n")


@pytest.mark.parametrize(("picture", "matrix"), [("{}.ppm", "H_1_{}"), ("img{}.png", "H1to{}p")])
def test_homographies_of_both_datasets(picture: str, matrix: str, tmp_path: Path) -> None:
    homographies(tmp_path / "set" / "v_wall", picture, matrix)
    homographies(tmp_path / "set" / "i_leaf", picture, matrix)
    pairs = pairs_of_folder(tmp_path / "set" / "v_wall")
    assert [pair.name for pair in pairs] == [f"{picture.format(1)} {picture.format(n)}" for n in (2, 3)]
    truth = pairs[1].truth
    assert isinstance(truth, HomographyTruth)
    assert truth.matrix[0, 2] == 3.0
    assert len(pairs_of_folder(tmp_path / "set")) == 4
    (tmp_path / "set" / "v_wall" / picture.format(3)).unlink()
    with pytest.raises(InputError, match=r"v_wall.*the picture that it names is missing: 3\.ppm or img3\.ppm"):
        pairs_of_folder(tmp_path / "set")


def test_all_pairs_of_posed_pictures(data_root: Path) -> None:
    pairs = pairs_of_folder(data_root / "views" / "fountain-P11")
    assert len(pairs) == 55
    assert all(pair.first.camera is not None and pair.first.picture.source.is_file() for pair in pairs)
    # The cameras stand on an arc and look inward: neighbours differ by some degrees.
    truth = pairs[0].truth
    assert isinstance(truth, PoseTruth)
    assert 3.0 < np.degrees(np.arccos((np.trace(truth.cam1_from_cam0[:3, :3]) - 1.0) / 2.0)) < 20.0


def test_folders_without_truth(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        pairs_of_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no ground truth that cv3d knows"):
        pairs_of_folder(tmp_path)
    (tmp_path / "list.txt").write_text(LIST)
    with pytest.raises(InputError, match="--pairs"):
        pairs_of_folder(tmp_path / "list.txt")
    (tmp_path / "transforms.json").write_text("[]")
    with pytest.raises(FormatError, match=r"transforms\.json"):
        pairs_of_folder(tmp_path)


def test_kinds_are_not_mixed(tmp_path: Path) -> None:
    homographies(tmp_path / "wall", "{}.ppm", "H_1_{}")
    (tmp_path / "pairs.txt").write_text(LIST)
    (tmp_path / "a.png").write_bytes(b"")
    planar, posed = pairs_of_folder(tmp_path / "wall"), pairs_of_list(tmp_path / "pairs.txt")
    assert not is_about_poses(planar)
    with pytest.raises(InputError, match="one kind"):
        is_about_poses([*planar, *posed])
    with pytest.raises(InputError, match="no pairs"):
        is_about_poses([])

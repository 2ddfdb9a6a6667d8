from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cv3d.errors import InputError
from cv3d.media import find_pictures
from cv3d.media.inputs import natural_key


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")


def names(*inputs: str | Path) -> list[str]:
    return [picture.name for picture in find_pictures(inputs)]


def test_folder_in_natural_order_without_the_rest(tmp_path: Path) -> None:
    put(
        tmp_path, "img10.jpg", "img2.JPG", "img1.png", "notes.txt", ".hidden.jpg", "._img1.png", "Thumbs.db", "clip.mp4"
    )
    (tmp_path / "looks_like.jpg").mkdir()
    found = find_pictures([tmp_path])
    assert [picture.name for picture in found] == ["img1.png", "img2.JPG", "img10.jpg"]
    assert found.videos == ()
    assert len(found) == 3
    assert found[0].source == tmp_path / "img1.png"


def test_every_kind_of_picture(tmp_path: Path) -> None:
    kinds = ["jpg", "jpeg", "png", "bmp", "tif", "tiff", "webp", "pgm", "ppm", "heic", "HEIF"]
    put(tmp_path, *(f"{i:02d}.{kind}" for i, kind in enumerate(kinds)))
    assert len(names(tmp_path)) == len(kinds)


def test_videos_of_a_folder_without_pictures(tmp_path: Path) -> None:
    put(tmp_path, "b.MOV", "a.mp4", "readme.md")
    found = find_pictures([tmp_path])
    assert [video.name for video in found.videos] == ["a.mp4", "b.MOV"]
    assert len(found) == 0


def test_globs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a", "left2.jpg", "left10.jpg", "right1.jpg", ".left0.jpg")
    put(tmp_path / "a" / "deep", "left1.jpg", "left1.txt")
    assert names(f"{tmp_path}/a/left*.jpg") == ["left2.jpg", "left10.jpg"]
    assert names(f"{tmp_path}/**/left*") == ["a/deep/left1.jpg", "a/left2.jpg", "a/left10.jpg"]
    assert names(f"{tmp_path}/*") == ["left2.jpg", "left10.jpg", "right1.jpg"]
    monkeypatch.chdir(tmp_path / "a")
    assert names("left*") == ["left2.jpg", "left10.jpg"]


def test_a_name_with_brackets_is_a_name_first(tmp_path: Path) -> None:
    put(tmp_path, "a[1].jpg")
    assert names(tmp_path / "a[1].jpg") == ["a[1].jpg"]


def test_several_inputs_keep_their_order_and_names_stay_distinct(tmp_path: Path) -> None:
    put(tmp_path / "right", "1.jpg", "2.jpg")
    put(tmp_path / "left", "1.jpg", "3.jpg")
    assert names(tmp_path / "right", tmp_path / "left") == ["right/1.jpg", "2.jpg", "left/1.jpg", "3.jpg"]
    assert names(tmp_path / "left", tmp_path / "left" / "1.jpg") == ["1.jpg", "3.jpg"]
    put(tmp_path / "x" / "left", "1.jpg")
    assert len(set(names(tmp_path / "left", tmp_path / "x" / "left"))) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("empty", r"empty: no pictures and no videos in this folder"),
        ("rig", r"rig: no pictures in this folder itself, but in its sub-folders cam1 \(2\), cam10 \(1\)"),
        ("phots", r"phots: no such file or folder; did you mean .*photos\?"),
        ("Photos/a.jgp", r"no such file or folder; did you mean .*photos"),
        ("photos/b.jpg.bak", r"neither a picture nor a video"),
        ("photos/z*.jpg", r"z\*\.jpg: nothing matches"),
        ("photos/*.bak", r"matches 1 files, but no picture"),
        ("qqqqqq", r"qqqqqq: no such file or folder$"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, given: str, message: str) -> None:
    put(tmp_path / "empty", "readme.txt")
    put(tmp_path / "photos", "a.jpg", "b.jpg.bak")
    put(tmp_path / "rig" / "cam10", "1.jpg")
    put(tmp_path / "rig" / "cam1", "1.jpg", "2.jpg")
    with pytest.raises(InputError, match=message) as caught:
        find_pictures([str(tmp_path / given)])
    assert "\n" not in str(caught.value)


def test_no_input_at_all() -> None:
    with pytest.raises(InputError, match="no input"):
        find_pictures([])


def test_natural_key_orders_like_people_do() -> None:
    given = ["img10", "IMG2", "img1", "img01", "a", "10", "9"]
    assert sorted(given, key=natural_key) == ["9", "10", "a", "img01", "img1", "IMG2", "img10"]


def test_found_pictures_decode(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 77, np.uint8)).save(tmp_path / "a.png")
    (picture,) = find_pictures(tmp_path)
    assert find_pictures(str(tmp_path)) == find_pictures([tmp_path])
    assert (picture.read_gray().array == 77).all()

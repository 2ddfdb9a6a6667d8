"""Pictures with poses: Strecha's files and transforms.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cv3d.errors import FormatError, InputError
from cv3d.formats.posed_pictures import has_posed_pictures, read_posed_pictures

CAMERA = "500 0 320 0 510 240 0 0 1 0 0 0 0 -1 0 1 0 0 0 0 1 1 2 3 640 480"


def test_a_strecha_camera(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.jpg.camera").write_text(CAMERA)
    posed = read_posed_pictures(tmp_path)
    (picture,) = posed.pictures
    assert (posed.kind, picture.name, picture.file) == ("strecha", "a.jpg", tmp_path / "a.jpg")
    assert (picture.camera.width, picture.camera.params) == (640, (500.0, 510.0, 320.0, 240.0))
    # The file's rotation is world_from_cam, and its position the camera's centre.
    np.testing.assert_allclose(picture.cam_from_world @ [1.0, 2.0, 3.0, 1.0], [0.0, 0.0, 0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(picture.cam_from_world[:3, :3] @ [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CAMERA + " 1", "should hold 26 numbers"),
        (CAMERA.replace("0 0 1 0 0 0 0 -1", "0 0 1 0.1 0 0 0 -1"), "distortion"),
        (CAMERA.replace("0 -1 0", "0 -2 0"), "not a rotation"),
        (CAMERA.replace("640", "0"), "positive"),
    ],
)
def test_what_is_no_strecha_camera(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg.camera").write_text(text)
    with pytest.raises(FormatError, match=message) as caught:
        read_posed_pictures(tmp_path)
    assert "a.jpg.camera" in str(caught.value)


def test_the_fountain_projects_into_its_neighbours(data_root: Path) -> None:
    posed = read_posed_pictures(data_root / "views" / "fountain-P11")
    assert (len(posed.pictures), posed.missing) == (11, ())
    # The optical axes of all cameras pass near one place of the scene: the poses are the right way round.
    centres = [-one.cam_from_world[:3, :3].T @ one.cam_from_world[:3, 3] for one in posed.pictures]
    axes = [one.cam_from_world[2, :3] for one in posed.pictures]
    spread = sum(np.eye(3) - np.outer(axis, axis) for axis in axes)
    middle = np.linalg.solve(spread, sum((np.eye(3) - np.outer(a, a)) @ c for a, c in zip(axes, centres, strict=True)))
    for one in posed.pictures:
        seen = one.camera.project(one.cam_from_world[:3, :3] @ middle + one.cam_from_world[:3, 3])
        assert (seen > 0).all()
        assert (seen < (one.camera.width, one.camera.height)).all()


def test_frames_of_a_transforms_file(tmp_path: Path) -> None:
    # A camera at (1, 2, 3) without rotation, in OpenGL axes: it looks along -z of the world, its y down is -y.
    matrix = [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    frames = [
        {"file_path": "images/a", "transform_matrix": matrix},
        {"file_path": "images/b.jpg", "transform_matrix": matrix, "fl_x": 400.0, "fl_y": 400.0},
    ]
    content = {"fl_x": 500.0, "cx": 320.0, "cy": 240.0, "w": 640, "h": 480, "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    assert has_posed_pictures(tmp_path)
    with pytest.raises(InputError, match=r"none of its 2 posed pictures is there, e\.g\. images/a"):
        read_posed_pictures(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    posed = read_posed_pictures(tmp_path)
    assert posed.missing == ("images/b.jpg",)
    (picture,) = posed.pictures
    assert picture.camera.params == (500.0, 500.0, 319.5, 239.5)
    np.testing.assert_allclose(picture.cam_from_world @ [1.0, 2.0, -7.0, 1.0], [0.0, 0.0, 10.0, 1.0])
    np.testing.assert_allclose(picture.cam_from_world @ [1.0, 3.0, 3.0, 1.0], [0.0, -1.0, 0.0, 1.0])
    (tmp_path / "images" / "b.jpg").touch()
    assert read_posed_pictures(tmp_path).pictures[1].camera.params[:2] == (400.0, 400.0)


def test_the_fox(data_root: Path) -> None:
    posed = read_posed_pictures(data_root / "views" / "fox")
    assert (len(posed.pictures), len(posed.missing)) == (50, 17)
    assert posed.pictures[0].camera.model == "brown4"

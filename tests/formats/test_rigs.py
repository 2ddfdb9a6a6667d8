"""Several cameras: names, order and poses through every format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cv3d.errors import FormatError
from cv3d.formats import FORMATS, cv3d_rig
from cv3d.formats.camera_file import ReadOptions
from cv3d.formats.content import Content
from cv3d.formats.converting import convert
from cv3d.formats.reading import read_cameras
from cv3d.formats.writing import write_cameras
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

POSED = [name for name, form in FORMATS.items() if form.has_poses]
SHAPE = (-0.28, 0.07, 1.2e-4, -5.5e-5)


def pose(index: int) -> np.ndarray:
    if index == 0:
        return np.eye(4)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec([0.3 * index, -0.7 + index, 0.11]).as_matrix()
    matrix[:3, 3] = (-0.1 * index, 0.02, 0.05 * index)
    return matrix


def rig(count: int, posed: bool = True) -> Rig:
    cameras = [
        Camera("brown4", 640 + index, 480, (600.0 + index, 601.0, 320.0, 240.0, *SHAPE)) for index in range(count)
    ]
    names = ["left", "right", "back", "top"]
    return Rig(tuple(RigCamera(names[i], one, pose(i) if posed else None) for i, one in enumerate(cameras)))


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("name", FORMATS)
def test_a_rig_comes_back_through_its_files(name: str, count: int, tmp_path: Path) -> None:
    original, form = rig(count), FORMATS[name]
    written = write_cameras(original, form)
    for file, data in written.files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(data)
    is_one = form.max_cameras is None or count <= form.max_cameras
    assert written.is_single == is_one
    files = [next(iter(written.files))] if is_one else list(written.files)
    reads = [read_cameras(tmp_path / file) for file in files]
    assert [one.camera for read in reads for one in read.cameras] == [one.camera for one in original.cameras]
    if is_one and count > 1 and form.has_poses:
        assert reads[0].is_posed
        for index in range(count):
            assert np.abs(reads[0].cam_from_cam(index, 0) - pose(index)).max() < 1e-9
    assert bool(written.losses) == (count > 1 and (not form.has_poses or (form.max_cameras == 2 and count > 2)))


@pytest.mark.parametrize("name", ["mrcal", "euroc"])
def test_a_folder_of_single_files_is_a_rig(name: str, tmp_path: Path) -> None:
    written = write_cameras(rig(3), FORMATS[name])
    for file, data in written.files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        # EuRoC's folders are called cam0, cam1…
        target = tmp_path / file if name == "mrcal" else tmp_path / f"cam_{file}"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data)
    back = read_cameras(tmp_path)
    assert [one.name.removeprefix("cam_") for one in back.cameras] == ["back", "left", "right"]
    order = [2, 0, 1]
    for first in range(3):
        for second in range(3):
            expected = rig(3).cam_from_cam(order[first], order[second])
            assert np.abs(back.cam_from_cam(first, second) - expected).max() < 1e-9


@pytest.mark.parametrize("name", FORMATS)
def test_cameras_without_poses_stay_without(name: str, tmp_path: Path) -> None:
    if name == "basalt":
        with pytest.raises(FormatError, match="a pose for every camera, and these are not all known"):
            write_cameras(rig(2, posed=False), FORMATS[name])
        return
    written = write_cameras(rig(2, posed=False), FORMATS[name])
    assert written.losses == ()
    for file, data in written.files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(data)
    if written.is_single:
        back = read_cameras(tmp_path / next(iter(written.files)))
        assert not back.is_posed
        assert len(back.cameras) == 2


def test_own_rig_file_says_everything() -> None:
    original = Rig(rig(3).cameras, is_metric=False)
    text = cv3d_rig.dumps(original, {"rms_px": 0.2})
    parsed = json.loads(text)
    assert (parsed["schema"], parsed["is_metric"], parsed["rms_px"]) == ("cv3d.rig/1", False, 0.2)
    assert parsed["cameras"][1]["name"] == "right"
    back, extra = cv3d_rig.loads_with_extra(text)
    assert extra == {"rms_px": 0.2}
    assert not back.is_metric
    for one, other in zip(back.cameras, original.cameras, strict=True):
        assert (one.name, one.camera) == (other.name, other.camera)
        assert np.array_equal(one.cam_from_cam0, other.cam_from_cam0)
    unposed = cv3d_rig.loads(cv3d_rig.dumps(rig(2, posed=False)))
    assert [one.cam_from_cam0 for one in unposed.cameras] == [None, None]
    with pytest.raises(FormatError, match="second field cameras"):
        cv3d_rig.dumps(original, {"cameras": 1})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), "cv3d.rig/2", "field 'schema' is 'cv3d.rig/2'"),
        (("is_metric",), "yes", "field 'is_metric' should be true or false"),
        (("cameras",), {}, "field 'cameras' should be a list"),
        (("cameras",), [], "at least one camera"),
        (("cameras", 1, "name"), "left", "two cameras of the rig have the same name"),
        (("cameras", 1, "model"), "magic", r"field 'model': unknown camera model 'magic'"),
        (("cameras", 1, "width"), "x", r"field 'cameras\[1\].width' should be a finite number"),
        (("cameras", 1, "cam_from_cam0"), [[1, 2], [3, 4]], "should hold 16 numbers, but holds 4"),
        (("cameras", 1, "cam_from_cam0"), np.diag([1, 1, 2, 1]).tolist(), "its 3x3 part is not a rotation"),
        (("cameras", 1, "cam_from_cam0"), np.diag([1, 1, -1, 1]).tolist(), "its 3x3 part is not a rotation"),
        (("cameras", 1, "cam_from_cam0"), np.diag([1, 1, 1, 2]).tolist(), "the last row of a pose is 0 0 0 1"),
    ],
)
def test_own_rig_file_names_the_field(path: tuple[str | int, ...], value: object, message: str) -> None:
    entries = json.loads(cv3d_rig.dumps(rig(2)))
    part = entries
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(FormatError, match=message) as caught:
        cv3d_rig.loads(json.dumps(entries), "rig.json")
    assert str(caught.value).startswith("rig.json: ")


def test_kalibr_chain_of_four() -> None:
    """Each link takes points of the camera before: walking along the chain ends where our poses say."""
    import yaml

    original = rig(4)
    chain = yaml.safe_load(FORMATS["kalibr"].encode(original))
    assert list(chain) == ["cam0", "cam1", "cam2", "cam3"]
    assert "T_cn_cnm1" not in chain["cam0"]
    point = np.array([0.3, -0.2, 2.0, 1.0])
    for index in range(1, 4):
        point = np.array(chain[f"cam{index}"]["T_cn_cnm1"]) @ point
        assert np.abs(point - pose(index) @ [0.3, -0.2, 2.0, 1.0]).max() < 1e-12
    assert chain["cam2"]["rostopic"] == "/back/image_raw"


def test_kalibr_overlaps_follow_from_the_poses() -> None:
    import yaml

    camera = Camera("pinhole", 640, 480, (600.0, 600.0, 319.5, 239.5))
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_rotvec([0.0, np.pi, 0.0]).as_matrix()
    ring = Rig((RigCamera("a", camera, np.eye(4)), RigCamera("b", camera, np.eye(4)), RigCamera("c", camera, turned)))
    chain = yaml.safe_load(FORMATS["kalibr"].encode(ring))
    assert [chain[f"cam{i}"]["cam_overlaps"] for i in range(3)] == [[1], [0], []]


def test_a_broken_chain_leaves_the_rest_without_pose() -> None:
    lines = FORMATS["kalibr"].encode(rig(4)).decode()
    start = lines.index("cam2:\n") + len("cam2:\n")
    cut = lines[:start] + lines[lines.index("  cam_overlaps", start) :]
    back = FORMATS["kalibr"].decode(Content(cut.encode(), "chain"), ReadOptions()).rig
    assert [one.cam_from_cam0 is not None for one in back.cameras] == [True, True, False, False]


def test_a_rounded_rotation_is_squared_up_and_a_wrong_one_refused() -> None:
    text = FORMATS["kalibr"].encode(rig(2)).decode()
    rounded = "\n".join(
        "  - [" + ", ".join(f"{float(x):.4f}" for x in line.strip()[3:-1].split(",")) + "]" if "  - [" in line else line
        for line in text.splitlines()
    )
    back = FORMATS["kalibr"].decode(Content(rounded.encode(), "chain"), ReadOptions()).rig
    matrix = back.cam_from_cam(1, 0)
    assert np.abs(matrix[:3, :3] @ matrix[:3, :3].T - np.eye(3)).max() < 1e-14
    assert np.abs(matrix - pose(1)).max() < 1e-3
    row = next(line for line in text.splitlines() if "  - [" in line)
    with pytest.raises(FormatError, match="chain: T_cn_cnm1: its 3x3 part is not a rotation"):
        FORMATS["kalibr"].decode(
            Content(text.replace(row, "  - [1.0, 1.0, 0.0, 0.5]").encode(), "chain"), ReadOptions()
        )


def test_opencv_keeps_two_sizes_apart() -> None:
    text = FORMATS["opencv"].encode(rig(2)).decode()
    assert "image_width1: 640\n" in text
    assert "image_width2: 641\n" in text
    with pytest.raises(FormatError, match="holds 2, not 3 cameras"):
        FORMATS["opencv"].encode(rig(3))


def test_squares_are_not_metres(tmp_path: Path) -> None:
    (tmp_path / "rig.json").write_text(cv3d_rig.dumps(Rig(rig(2).cameras, is_metric=False)))
    conversion = convert(tmp_path, "kalibr", tmp_path / "chain.yaml")
    assert any("squares of the board" in loss for loss in conversion.content.losses)
    assert not convert(tmp_path, "cv3d").content.losses


@settings(max_examples=20, deadline=None)
@given(
    name=st.sampled_from(
        [name for name in POSED if FORMATS[name].max_cameras is None and not name.startswith("colmap")]
    ),
    vectors=st.lists(
        st.tuples(*[st.floats(-3.0, 3.0)] * 3, *[st.floats(-2.0, 2.0)] * 3),
        min_size=1,
        max_size=4,
    ),
)
def test_any_poses_come_back(name: str, vectors: list[tuple[float, ...]]) -> None:
    camera = Camera("pinhole", 640, 480, (600.0, 600.0, 319.5, 239.5))
    cameras = [RigCamera("c0", camera, np.eye(4))]
    for index, vector in enumerate(vectors, start=1):
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_rotvec(vector[:3]).as_matrix()
        matrix[:3, 3] = vector[3:]
        cameras.append(RigCamera(f"c{index}", camera, matrix))
    original = Rig(tuple(cameras))
    back = FORMATS[name].decode(Content(FORMATS[name].encode(original), "file"), ReadOptions()).rig
    for index in range(len(cameras)):
        assert np.abs(back.cam_from_cam(index, 0) - original.cam_from_cam(index, 0)).max() < 1e-9

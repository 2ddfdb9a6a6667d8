"""The library function: what is parsed and checked before any work, what a run depends on, and one small run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cv3d.calibration.rig.api import calibrate_rig, prepare_rig, rig_digest
from cv3d.calibration.rig.given import camera_names, given_cameras, parse_intrinsics
from cv3d.calibration.rig.result import RigCalibration, SyncMethod
from cv3d.errors import FormatError, InputError, UsageError
from cv3d.formats import FORMATS, cv3d_rig
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

LEFT = Camera("brown4", 640, 480, (531.2, 530.6, 316.9, 243.7, -0.21, 0.052, 0.0006, -0.0004))
RIGHT = Camera("brown4", 640, 480, (534.9, 534.1, 324.4, 236.2, -0.205, 0.047, -0.0003, 0.0007))
NAMES = ("left", "right")


@pytest.fixture
def rig_file(tmp_path: Path) -> Callable[..., Path]:
    """A rig.json of cameras by their names."""

    def write(**cameras: Camera) -> Path:
        path = tmp_path / "rig.json"
        path.write_text(cv3d_rig.dumps(Rig(tuple(RigCamera(name, camera) for name, camera in cameras.items()))))
        return path

    return write


@pytest.fixture
def camera_file(tmp_path: Path) -> Callable[[str, Camera], Path]:
    """A file of one camera in the format that the file's ending tells."""

    def write(name: str, camera: Camera) -> Path:
        path = tmp_path / name
        kind = "cv3d" if path.suffix == ".json" else "opencv"
        path.write_text(FORMATS[kind].dumps(camera))
        return path

    return write


@pytest.fixture
def folders(project_root: Path, tmp_path: Path) -> Path:
    """The first four frames of the stereo sample."""
    for name in NAMES:
        (tmp_path / "rig" / name).mkdir(parents=True)
        for path in sorted((project_root / "data" / "samples" / "stereo" / name).glob("*.jpg"))[:4]:
            shutil.copy(path, tmp_path / "rig" / name)
    return tmp_path / "rig"


class TestNames:
    def test_are_those_found_unless_given(self) -> None:
        assert camera_names(NAMES, None) == NAMES
        assert camera_names(NAMES, ["a", " b "]) == ("a", "b")

    @pytest.mark.parametrize(
        ("names", "message"),
        [(["a"], "1 names for 2"), (["a", "b", "c"], "3 names for 2"), (["a", "a"], "distinct"), (["a", ""], "empty")],
    )
    def test_are_as_many_as_the_cameras_and_distinct(self, names: list[str], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            camera_names(NAMES, names)


class TestIntrinsics:
    def test_none_are_given(self) -> None:
        assert parse_intrinsics([]) is None
        assert given_cameras(None, NAMES) == (None, None)

    def test_one_for_each_in_order(self, camera_file: Callable[[str, Camera], Path]) -> None:
        files = [camera_file("a.json", LEFT), camera_file("b.yaml", RIGHT)]
        assert given_cameras(files, NAMES) == (LEFT, RIGHT)
        assert given_cameras([str(files[1]), None], NAMES) == (RIGHT, None)
        assert given_cameras([LEFT, files[1]], NAMES) == (LEFT, RIGHT)

    def test_for_some_by_name(self, camera_file: Callable[[str, Camera], Path]) -> None:
        file = camera_file("b.yaml", RIGHT)
        assert given_cameras(parse_intrinsics([f"right={file}"]), NAMES) == (None, RIGHT)
        assert given_cameras({"left": LEFT}, NAMES) == (LEFT, None)

    def test_one_file_of_all_by_name_or_in_order(self, rig_file: Callable[..., Path]) -> None:
        turned = rig_file(right=RIGHT, left=LEFT)
        assert given_cameras(turned, NAMES) == (LEFT, RIGHT)
        assert given_cameras([str(turned)], ("a", "b")) == (RIGHT, LEFT)
        assert given_cameras([f"{turned}#left", f"{turned}#right"], NAMES) == (LEFT, RIGHT)

    def test_a_file_may_have_an_equals_sign_in_its_name(self, camera_file: Callable[[str, Camera], Path]) -> None:
        file = camera_file("left=1.json", LEFT)
        assert parse_intrinsics([str(file)]) == [str(file)]

    @pytest.mark.parametrize(
        ("texts", "message"),
        [
            (["left=a.yaml", "b.yaml"], "b.yaml"),
            (["left=a.yaml", "left=b.yaml"], "left is given twice"),
            (["=a.yaml"], "'=a.yaml'"),
            (["left="], "'left='"),
        ],
    )
    def test_texts_that_contradict_each_other(self, texts: list[str], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            parse_intrinsics(texts)

    def test_not_as_many_as_cameras(
        self, rig_file: Callable[..., Path], camera_file: Callable[[str, Camera], Path]
    ) -> None:
        single = camera_file("a.json", LEFT)
        with pytest.raises(UsageError, match="intrinsics for 3 cameras, but there are 2"):
            given_cameras([single] * 3, NAMES)
        with pytest.raises(UsageError, match=r"a\.json: holds 1 camera, but the rig has 2"):
            given_cameras(single, NAMES)
        with pytest.raises(UsageError, match=r"rig\.json: holds 3 cameras, but the rig has 2"):
            given_cameras(rig_file(a=LEFT, b=LEFT, c=LEFT), NAMES)
        with pytest.raises(UsageError, match=r"rig\.json#a'"):
            given_cameras([rig_file(a=LEFT, b=LEFT), single], NAMES)

    def test_a_name_that_is_no_camera_s(self) -> None:
        with pytest.raises(UsageError, match="'centre', but the cameras are left, right"):
            given_cameras({"centre": LEFT}, NAMES)

    def test_files_that_hold_no_camera(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty.yaml"
        empty.write_text("")
        with pytest.raises(InputError, match=r"empty\.yaml"):
            given_cameras([empty, None], NAMES)
        with pytest.raises(InputError, match=r"missing\.yaml"):
            given_cameras({"left": tmp_path / "missing.yaml"}, NAMES)
        strange = tmp_path / "strange.json"
        strange.write_text(
            '{"schema": "cv3d.camera/1", "model": "no_such_lens", "width": 1, "height": 1, "params": {}}'
        )
        with pytest.raises((FormatError, UsageError), match="no_such_lens"):
            given_cameras([strange, None], NAMES)


class TestDigest:
    def digest(self, folders: Path, **changes: object) -> str:
        names, options = prepare_rig([folders], names=changes.get("names"))  # type: ignore[arg-type]
        options = replace(options, **changes.get("options", {}))  # type: ignore[arg-type]
        return rig_digest([folders], names, options, changes.get("stamps"), int(str(changes.get("frames", 60))))  # type: ignore[arg-type]

    def test_is_the_same_for_the_same_run(self, folders: Path) -> None:
        assert self.digest(folders) == self.digest(folders)
        assert self.digest(folders) == self.digest(folders, options={"workers": 1})

    @pytest.mark.parametrize(
        "changes",
        [
            {"names": ["a", "b"]},
            {"frames": 30},
            {"options": {"seed": 1}},
            {"options": {"square_m": 0.04}},
            {"options": {"intrinsics": (LEFT, None)}},
        ],
    )
    def test_tells_other_options(self, changes: dict[str, object], folders: Path) -> None:
        assert self.digest(folders, **changes) != self.digest(folders)

    def test_tells_other_pictures(self, folders: Path) -> None:
        before = self.digest(folders)
        picture = folders / "right" / "002.jpg"
        cv2.imwrite(str(picture), cv2.imread(str(picture)) // 2)
        changed = self.digest(folders)
        picture.unlink()
        assert len({before, changed, self.digest(folders)}) == 3

    def test_tells_another_table_of_stamps(self, folders: Path) -> None:
        before = self.digest(folders)
        table = folders / "timestamps.csv"
        rows = [f"{camera},{frame},{0.1 * frame + 0.001 * camera}" for frame in range(4) for camera in range(2)]
        table.write_text("\n".join(["camera,frame,time_s", *rows]))
        beside = self.digest(folders)
        table.write_text(table.read_text().replace("0.301", "0.302"))
        assert len({before, beside, self.digest(folders)}) == 3


class TestRun:
    def test_a_small_rig(self, folders: Path, tmp_path: Path) -> None:
        """Pose and scale are right, names are the user's, held cameras stay as they are."""
        result = calibrate_rig(
            [folders / "left", folders / "right"],
            names=["port", "starboard"],
            board="7x5",
            square="40mm",
            board_warp="off",
            intrinsics=[LEFT, RIGHT],
            journal=tmp_path / "detections.jsonl",
        )
        assert isinstance(result, RigCalibration)
        assert [item.name for item in result.cameras] == ["port", "starboard"]
        assert [item.camera for item in result.cameras] == [LEFT, RIGHT]
        assert all(item.held and item.alone is None and not item.covariance.any() for item in result.cameras)
        assert result.synchronisation.method is SyncMethod.NAME
        assert result.pairs[0].frames == 4
        # The samples' own lens has a k3 of -0.004, which these cameras lack.
        assert result.pairs[0].baseline == pytest.approx(0.12033, abs=2e-4)
        np.testing.assert_array_equal(result.cameras[0].cam_from_cam0, np.eye(4))
        assert (tmp_path / "detections.jsonl").read_text().count("\n") >= 8

    @pytest.mark.slow
    def test_intrinsics_of_another_picture_size(self, folders: Path) -> None:
        with pytest.raises(InputError, match=r"320x240.*640x480|640x480.*320x240"):
            calibrate_rig([folders / "left", folders / "right"], board="7x5", intrinsics=[LEFT, RIGHT.scaled(0.5)])

    def test_one_camera_is_no_rig(self, folders: Path) -> None:
        with pytest.raises(InputError, match="two or more"):
            calibrate_rig([folders / "left"])

    def test_no_input_at_all(self) -> None:
        with pytest.raises(InputError, match="no input"):
            calibrate_rig([])

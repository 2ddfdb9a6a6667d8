"""Recordings without a layout, options, and what is told of those that cannot be opened."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from cv3d.errors import Cv3dError, FormatError, InputError, PictureError, UsageError
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera
from cv3d.odometry.results import Sensor
from cv3d.odometry.sources import open_sequence

WIDTH, HEIGHT = 64, 48
CAMERA = Camera("pinhole", WIDTH, HEIGHT, (60.0, 61.0, 31.5, 23.5))
RIGHT_FROM_LEFT = np.array([[1.0, 0.0, 0.0, -0.1], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
RIG = Rig((RigCamera("a", CAMERA, np.eye(4)), RigCamera("b", CAMERA, RIGHT_FROM_LEFT)))


def put(folder: Path, *names: str, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full(size, 50 + 10 * index, np.uint8))


def put_depth(folder: Path, *names: str, value: int = 1500, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full(size, value + index, np.uint16))


def put_video(path: Path, count: int, start_ms: int = 0) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "ultrafast", "bf": "0"}
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 40 + index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = start_ms + 40 * index, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def said(notes: tuple[str, ...], part: str) -> bool:
    return any(part in note for note in notes)


def test_a_folder_of_pictures_counts_its_frames(tmp_path: Path) -> None:
    put(tmp_path, "img2.png", "img3.png", "img6.png", "img10.png")
    sequence = open_sequence(tmp_path)
    assert (sequence.kind, sequence.sensor, sequence.camera) == ("pictures", Sensor.MONO, None)
    assert not sequence.is_timed
    assert said(sequence.notes, "no time stamps: 30 Hz, assumed")
    assert said(sequence.notes, "no calibration was found")
    frames = list(sequence.frames())
    np.testing.assert_allclose([frame.time for frame in frames], np.array([0, 1, 4, 8]) / 30.0)
    assert [frame.name for frame in frames] == ["img2.png", "img3.png", "img6.png", "img10.png"]
    slow = list(open_sequence(str(tmp_path / "img?.png"), fps=2.0).frames())
    assert [frame.time for frame in slow] == [0.0, 0.5, 2.0]


def test_names_that_are_stamps(tmp_path: Path) -> None:
    put(tmp_path, "1403715274012143104.png", "1403715274062142976.png")
    sequence = open_sequence(tmp_path)
    assert sequence.is_timed
    assert [frame.time for frame in sequence.frames()] == [1403715274012143104 / 1e9, 1403715274062142976 / 1e9]


def test_odd_stamps_are_kept_and_told(tmp_path: Path) -> None:
    put(tmp_path / "rgb", "a1.png", "a2.png", "a3.png", "a4.png")
    (tmp_path / "times.txt").write_text("1.0\n1.0\n0.5\n2.0\n")
    sequence = open_sequence(tmp_path)
    assert [frame.time for frame in sequence.frames()] == [1.0, 1.0, 0.5, 2.0]
    assert said(sequence.notes, "1 frames repeat the time stamp")
    assert said(sequence.notes, "go back 1 times")
    (tmp_path / "times.txt").write_text("1.0\n2.0\n")
    assert said(open_sequence(tmp_path).notes, "times.txt does not have a time stamp for each of the 4 pictures")


def test_pictures_of_two_cameras_in_one_folder(tmp_path: Path) -> None:
    put(tmp_path / "stereo", "left01.png", "left02.png", "right01.png", "right02.png")
    stereo = open_sequence(tmp_path / "stereo", camera=RIG)
    assert stereo.sensor is Sensor.STEREO
    assert all(frame.right_gray is not None for frame in stereo.frames())
    assert [frame.name for frame in stereo.frames()] == ["left01.png", "left02.png"]
    put(tmp_path / "rgbd", "0001_rgb.png", "0002_rgb.png")
    put_depth(tmp_path / "rgbd", "0001_depth.png", "0002_depth.png")
    rgbd = open_sequence(tmp_path / "rgbd")
    assert rgbd.sensor is Sensor.RGBD
    depths = [frame.depth for frame in rgbd.frames()]
    assert [None if depth is None else round(float(depth[0, 0]), 4) for depth in depths] == [1.5, 1.501]


def test_pairs_by_number_and_what_has_no_partner(tmp_path: Path) -> None:
    put(tmp_path / "color", *(f"{index:04d}.jpg" for index in range(6)))
    put_depth(tmp_path / "depth", *(f"d_{index}.png" for index in (0, 1, 3, 4, 5, 9)))
    sequence = open_sequence(tmp_path)
    assert said(sequence.notes, "1 of 6 frames have no depth picture")
    assert said(sequence.notes, "1 depth pictures belong to no frame")
    assert [frame.depth is not None for frame in sequence.frames()] == [True, True, False, True, True, True]


def test_depth_that_does_not_go_with_the_pictures(tmp_path: Path) -> None:
    put(tmp_path / "color", "a.jpg", "b.jpg", "c.jpg")
    put_depth(tmp_path / "depth", "x.png", "y.png")
    with pytest.raises(InputError, match=r"its 2 depth pictures do not go with the 3 pictures"):
        open_sequence(tmp_path)


def test_options_name_what_lies_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "clip", "1.png", "2.png")
    put(tmp_path / "other", "1.png", "2.png")
    put_depth(tmp_path / "clip" / "range", "1.png", "2.png")
    rgbd = open_sequence(tmp_path / "clip", depth="range", depth_scale=0.002, camera=CAMERA)
    assert (rgbd.sensor, rgbd.depth_scale) == (Sensor.RGBD, 0.002)
    assert said(rgbd.notes, "depth: 0.002 m a unit, as given")
    frame = next(rgbd.frames())
    assert frame.depth is not None
    assert frame.depth[3, 3] == pytest.approx(3.0)
    stereo = open_sequence(tmp_path / "clip", stereo=(tmp_path / "clip", tmp_path / "other"), camera=RIG)
    assert (stereo.sensor, stereo.right_camera) == (Sensor.STEREO, CAMERA)
    np.testing.assert_array_equal(stereo.right_from_left, RIGHT_FROM_LEFT)
    assert all(frame.right_gray is not None for frame in stereo.frames())


def test_a_pair_that_nobody_placed_is_read_as_mono(tmp_path: Path) -> None:
    put(tmp_path / "left", "1.png", "2.png")
    put(tmp_path / "right", "1.png", "2.png")
    for camera in (None, CAMERA, Rig((RigCamera("a", CAMERA), RigCamera("b", CAMERA)))):
        sequence = open_sequence(tmp_path, camera=camera)
        assert (sequence.sensor, sequence.sensors) == (Sensor.MONO, (Sensor.MONO, Sensor.STEREO))
        assert said(sequence.notes, "read as mono: nothing says in metres how its two cameras stand")
        assert len(sequence.inputs) == 2
        with pytest.raises(InputError, match="name a rig with --camera"):
            open_sequence(tmp_path, camera=camera, sensor="stereo")
    clips = (put_video(tmp_path / "l.mp4", 3), put_video(tmp_path / "r.mp4", 3))
    assert open_sequence(clips[0], stereo=clips).sensor is Sensor.MONO


def test_what_lies_beside_folders_that_are_named(tmp_path: Path) -> None:
    put(tmp_path / "shots", "1.png", "2.png")
    put_depth(tmp_path / "range", "1.png", "2.png")
    (tmp_path / "K.txt").write_text("60 0 31.5\n0 61 23.5\n0 0 1")
    (tmp_path / "times.txt").write_text("4.0\n4.5\n")
    assert open_sequence(tmp_path / "shots").camera is None
    with_depth = open_sequence(tmp_path / "shots", depth=tmp_path / "range")
    shutil.rmtree(tmp_path / "range")
    for sequence in (with_depth, open_sequence(tmp_path)):
        assert sequence.camera == CAMERA
        with open_sequence(tmp_path).frames() as stream:
            assert [frame.time for frame in stream] == [4.0, 4.5]


@pytest.mark.parametrize(("stored", "scale"), [(1500, 0.001), (60000, 0.0002), (60, 0.01)])
def test_a_depth_scale_that_makes_a_room(stored: int, scale: float, tmp_path: Path) -> None:
    put(tmp_path / "rgb", "1.png", "2.png")
    put_depth(tmp_path / "depth", "1.png", "2.png", value=stored)
    found = open_sequence(tmp_path)
    assert found.depth_scale == pytest.approx(scale)
    assert said(found.notes, f"depth: {found.depth_scale:g} m a unit")


def test_tum_lists_with_millimetres_are_seen_through(tmp_path: Path) -> None:
    put(tmp_path / "rgb", "1.0.png", "1.1.png")
    put_depth(tmp_path / "depth", "1.0.png", "1.1.png", value=900)
    for name in ("rgb", "depth"):
        (tmp_path / f"{name}.txt").write_text(f"1.0 {name}/1.0.png\n1.1 {name}/1.1.png\n")
    found = open_sequence(tmp_path)
    assert found.depth_scale == 0.001
    assert said(found.notes, "would put things 0.18 m before the camera")


def test_calibrations_of_any_kind(tmp_path: Path) -> None:
    put(tmp_path / "images", "1.png", "2.png")
    whole = {"schema": "cv3d.camera/1", **CAMERA.as_dict()}
    for name, text in {
        "K.txt": "60 0 31.5\n0 61 23.5\n0 0 1",
        "camera.json": json.dumps(whole),
        "intrinsics.json": json.dumps({"fx": 60, "fy": 61, "cx": 31.5, "cy": 23.5}),
        "cameras.txt": "1 PINHOLE 64 48 60 61 32 24\n",
        "calib.txt": "P0: 60 0 31.5 0 0 61 23.5 0 0 0 1 0\n",
    }.items():
        path = tmp_path / name
        path.write_text(text)
        for sequence in (open_sequence(tmp_path), open_sequence(tmp_path / "images", camera=path)):
            assert sequence.camera == CAMERA
            assert path in sequence.inputs
        assert said(open_sequence(tmp_path).notes, f"calibration: {name}")
        path.unlink()
    (tmp_path / "calib.txt").write_text("gain: 3\n")
    found = open_sequence(tmp_path)
    assert found.camera is None
    assert said(found.notes, "not taken as calibration: ")
    with pytest.raises(FormatError, match=r"calib\.txt"):
        open_sequence(tmp_path, camera=tmp_path / "calib.txt")
    with pytest.raises(InputError, match="no such file"):
        open_sequence(tmp_path, camera=tmp_path / "gone.json")


def test_calibrations_of_other_sizes(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "2.png")
    twice = Camera("pinhole", 2 * WIDTH, 2 * HEIGHT, (120.0, 122.0, 63.5, 47.5))
    found = open_sequence(tmp_path, camera=twice)
    assert found.camera is not None
    assert (found.camera.width, found.camera.params) == (WIDTH, (60.0, 61.0, 31.5, 23.5))
    assert said(found.notes, "is for pictures of 128x96; resized to 64x48")
    with pytest.raises(InputError, match="of other proportions"):
        open_sequence(tmp_path, camera=Camera("pinhole", 100, 48, (60.0, 61.0, 49.5, 23.5)))
    (tmp_path / "K.txt").write_text("600 0 320\n0 600 240\n0 0 1")
    assert said(open_sequence(tmp_path).notes, "is it of pictures of another size?")


def test_a_video_alone_with_depth_and_in_a_pair(tmp_path: Path) -> None:
    clip = put_video(tmp_path / "clip.mp4", 4)
    alone = open_sequence(clip)
    assert (alone.kind, alone.sensor, alone.frame_count, alone.fps) == ("video", Sensor.MONO, 4, 25.0)
    np.testing.assert_allclose([frame.time for frame in alone.frames()], [0.0, 0.04, 0.08, 0.12])
    put_depth(tmp_path / "depth", "1.png", "2.png", "3.png", "4.png", size=(24, 32))
    for rgbd in (open_sequence(clip, depth=tmp_path / "depth", camera=CAMERA), open_sequence(tmp_path)):
        assert rgbd.sensor is Sensor.RGBD
        frames = list(rgbd.frames())
        depths = [frame.depth for frame in frames]
        assert [None if one is None else round(1000 * float(one[0, 0])) for one in depths] == [1500, 1501, 1502, 1503]
    pair = open_sequence(clip, stereo=(clip, put_video(tmp_path / "right.mp4", 4, 2)), camera=RIG)
    assert pair.sensor is Sensor.STEREO
    assert all(frame.right_gray is not None for frame in pair.frames())
    with pytest.raises(InputError, match="2 videos"):
        open_sequence(tmp_path)
    (tmp_path / "depth" / "4.png").unlink()
    (tmp_path / "depth" / "3.png").rename(tmp_path / "depth" / "900.png")
    with pytest.raises(InputError, match="do not go with the 4 frames"):
        open_sequence(clip, depth=tmp_path / "depth")
    with pytest.raises(UsageError, match="two videos or two folders"):
        open_sequence(clip, stereo=(clip, tmp_path / "depth"))


def test_stray_scanner_s_video_takes_the_stamps_of_its_table(tmp_path: Path) -> None:
    put_video(tmp_path / "rgb.mp4", 4)
    put_depth(tmp_path / "depth", *(f"{index:06d}.png" for index in range(4)), size=(24, 32))
    np.savetxt(tmp_path / "camera_matrix.csv", CAMERA.matrix, delimiter=",")
    rows = [f"{700.5 + index}, {index:06d}, 0, 0, {index}, 0, 0, 0, 1\n" for index in range(4)]
    (tmp_path / "odometry.csv").write_text("timestamp, frame, x, y, z, qx, qy, qz, qw\n" + "".join(rows))
    sequence = open_sequence(tmp_path)
    assert (sequence.kind, sequence.sensor, sequence.camera) == ("stray_scanner", Sensor.RGBD, CAMERA)
    frames = list(sequence.frames())
    assert [frame.time for frame in frames] == [700.5, 701.5, 702.5, 703.5]
    assert sequence.truth is not None
    assert sequence.truth.positions[:, 2].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_folder_around_recordings(tmp_path: Path) -> None:
    put(tmp_path / "whole" / "walk" / "rgb", "1.png", "2.png")
    assert open_sequence(tmp_path / "whole").name == "walk"
    put(tmp_path / "whole" / "run" / "rgb", "1.png", "2.png")
    with pytest.raises(InputError, match=r"holds 2 recordings: run, walk; name one of them"):
        open_sequence(tmp_path / "whole")


def test_several_folders_could_be_meant(tmp_path: Path) -> None:
    put(tmp_path / "rgb", "1.png", "2.png")
    put(tmp_path / "images", "1.png")
    with pytest.raises(InputError, match=r"could be meant: images \(1 pictures\), rgb \(2 pictures\)"):
        open_sequence(tmp_path)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("", InputError, "no recording was recognised; looked for a video"),
        ("gone", InputError, "no such file or folder"),
        ("text", InputError, "no recording was recognised"),
        ("broken", PictureError, "none of the first pictures can be read"),
        ("text/notes.txt", InputError, "neither a picture nor a video"),
        ("cut.mp4", PictureError, "cut.mp4"),
    ],
)
def test_what_cannot_be_opened(source: str, error: type[Cv3dError], message: str, tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    if source.startswith("text"):
        (tmp_path / "text" / "notes.txt").write_text("nothing to see")
    if source == "broken":
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    if source == "cut.mp4":
        content = put_video(tmp_path / "whole.mp4", 3).read_bytes()
        (tmp_path / "cut.mp4").write_bytes(content[:300])
    with pytest.raises(error, match=message):
        open_sequence(tmp_path / source if source else tmp_path)


def test_options_that_cannot_be_met(tmp_path: Path) -> None:
    put(tmp_path / "rgb", "1.png", "2.png")
    put_depth(tmp_path / "depth", "1.png", "2.png")
    with pytest.raises(UsageError, match="no sensor 'lidar'; known: auto, mono, stereo, rgbd"):
        open_sequence(tmp_path, sensor="lidar")
    with pytest.raises(UsageError, match="has no pictures of a right camera; name them with --stereo"):
        open_sequence(tmp_path, sensor="stereo")
    with pytest.raises(UsageError, match=r"metres per stored unit, such as 0\.001"):
        open_sequence(tmp_path, depth_scale=1000.0)
    with pytest.raises(UsageError, match="frames per second"):
        open_sequence(tmp_path, fps=0.0)
    with pytest.raises(UsageError, match="is read alone"):
        open_sequence("camera:0", depth=tmp_path / "depth")
    with pytest.raises(UsageError, match="named by its number or path"):
        open_sequence("camera:")
    with pytest.raises(InputError, match=r"camera:/dev/no_such: cannot be opened"):
        open_sequence("camera:/dev/no_such")
    put(tmp_path / "tall", "1.png", "2.png", size=(WIDTH, HEIGHT))
    with pytest.raises(InputError, match="do not fit the colour pictures"):
        open_sequence(
            tmp_path / "tall", depth=tmp_path / "depth", camera=Camera("pinhole", 48, 64, (60, 60, 23.5, 31.5))
        )
    for path in (tmp_path / "depth").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"not one of 2 depth pictures looked at can be read: .*0 bytes"):
        open_sequence(tmp_path)
    assert open_sequence(tmp_path, sensor="mono").sensor is Sensor.MONO


def test_a_live_camera_takes_its_size_from_a_first_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    class Capture:
        is_released = False

        def read(self) -> tuple[bool, np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None]:
            return True, np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8)

        def release(self) -> None:
            self.is_released = True

    capture = Capture()
    monkeypatch.setattr("cv3d.odometry.sources.live.open_camera", lambda device: capture)
    sequence = open_sequence("camera:3", camera=CAMERA)
    assert capture.is_released
    assert (sequence.is_live, sequence.frame_count, sequence.inputs) == (True, None, ())
    assert sequence.camera is not None
    assert (sequence.camera.width, sequence.camera.height) == (WIDTH // 2, HEIGHT // 2)
    monkeypatch.setattr(capture, "read", lambda: (False, None))
    with pytest.raises(InputError, match="camera:3: gives no picture"):
        open_sequence("camera:3")

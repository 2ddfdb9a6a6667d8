"""Pictures and videos through `undistort` and `rectify_pair`."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cv3d.errors import InputError, OutputError, UsageError
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera
from cv3d.geometry.views import choose_view, pixel_map
from cv3d.media import probe_video, video_frames
from cv3d.media.orientation import upright
from cv3d.media.pipeline import in_background
from cv3d.media.resampling import FrameMap, Interpolation
from cv3d.media.undistorting import rectify_pair, undistort
from cv3d.progress import Silent

WIDTH, HEIGHT = 160, 120
CAMERA = Camera("brown5", WIDTH, HEIGHT, (130.0, 130.0, 79.0, 60.5, -0.2, 0.05, 0.0, 0.0, 0.0))


def scene(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Smooth colours, so that interpolation and video compression change little."""
    noise = np.random.default_rng(seed).uniform(0.0, 255.0, (6, 8, 3)).astype(np.float32)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def clip(
    path: Path, pictures: Sequence[NDArray[np.uint8]], stamps: Sequence[int] | None = None, rotation: int | None = None
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.gop_size = "yuv420p", 6
        stream.options = {"crf": "8", "preset": "ultrafast"}
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")
            frame.time_base, frame.pts = Fraction(1, 1000), 50 * i if stamps is None else stamps[i]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def expected(picture: NDArray[np.uint8], camera: Camera = CAMERA, alpha: float = 0.0) -> NDArray[np.uint8]:
    return cv2.remap(picture, pixel_map(camera, choose_view(camera, alpha=alpha)).source, None, cv2.INTER_LINEAR)


class Told(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def expect(self, message: str) -> None: ...

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), scene(1))
    cv2.imwrite(str(folder / "b.png"), scene(2).astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "c.tif"), scene(3)[..., 0].astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "d.jpg"), scene(4))
    return folder


def test_pictures_keep_name_depth_and_channels(tmp_path: Path, photos: Path) -> None:
    result = undistort(photos, CAMERA, tmp_path / "out")
    assert [item.output for item in result.written] == ["a.png", "b.png", "c.tif", "d.jpg"]
    read = {p.name: cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in (tmp_path / "out").iterdir()}
    np.testing.assert_array_equal(read["a.png"], expected(scene(1)))
    assert (read["b.png"].dtype, read["c.tif"].dtype, read["c.tif"].ndim) == (np.uint16, np.uint16, 2)
    np.testing.assert_allclose(read["b.png"], expected(scene(2).astype(np.uint16) * 257))
    np.testing.assert_allclose(read["c.tif"], expected(scene(3)[..., 0].astype(np.uint16) * 257))
    assert np.abs(read["d.jpg"].astype(int) - expected(scene(4))).mean() < 6.0
    assert (result.frames, result.skipped) == (4, ())
    assert result.as_dict()["valid_share"] == 1.0


def test_one_bad_picture_does_not_stop_the_others(tmp_path: Path, photos: Path) -> None:
    (photos / "b.png").write_bytes(b"")
    (photos / "d.jpg").write_bytes((photos / "d.jpg").read_bytes()[:300])
    cv2.imwrite(str(photos / "e.png"), scene(5, 160, 90))
    cv2.imwrite(str(photos / "f.png"), scene(5, 120, 160))
    told = Told()
    result = undistort(photos, CAMERA, tmp_path / "out", progress=told)
    reasons = {item.name: item.reason for item in result.skipped}
    assert set(reasons) == {"b.png", "d.jpg", "e.png", "f.png"}
    assert reasons["b.png"] == "empty file (0 bytes)"
    assert "160x90" in str(reasons["e.png"])
    assert "160x120" in str(reasons["e.png"])
    assert "turned by 90 degrees" in str(reasons["f.png"])
    assert len(told.warnings) == 4
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "c.tif"]


def test_none_that_works_is_an_error(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), scene(1, 160, 90))
    with pytest.raises(InputError, match=r"a\.png: is 160x90, but the camera was calibrated at 160x120"):
        undistort(tmp_path / "a.png", CAMERA, tmp_path / "out")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(InputError, match="none of the 2 inputs"):
        undistort(tmp_path, CAMERA, tmp_path / "out")


def test_resized_pictures_scale_the_camera_and_are_told(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), scene(1, 320, 240))
    cv2.imwrite(str(tmp_path / "b.png"), scene(1, 321, 241))
    told = Told()
    result = undistort(tmp_path, CAMERA, tmp_path / "out", workers=1, progress=told)
    assert result.views[0].camera.params[0] == pytest.approx(2.0 * CAMERA.params[0])
    assert {(view.camera.width, view.camera.height) for view in result.views} == {(320, 240), (321, 241)}
    assert any("a.png: is 320x240, calibrated at 160x120: the camera is scaled" in line for line in told.warnings)
    np.testing.assert_array_equal(
        cv2.imread(str(tmp_path / "out" / "a.png")), expected(scene(1, 320, 240), CAMERA.scaled(2.0))
    )


def test_turned_pictures_are_undistorted_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    stored = np.rot90(scene(1), k=-1)
    Image.fromarray(stored[..., ::-1]).save(tmp_path / "a.png", exif=exif)
    undistort(tmp_path / "a.png", CAMERA, tmp_path / "out")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out" / "a.png")), expected(scene(1)))


def test_crop_leaves_valid_pixels_and_moves_the_centre(tmp_path: Path, photos: Path) -> None:
    whole = undistort(photos / "a.png", CAMERA, tmp_path / "whole", alpha=1.0)
    part = undistort(photos / "a.png", CAMERA, tmp_path / "part", alpha=1.0, crop=True)
    assert whole.views[0].map.valid_share < 1.0
    assert part.views[0].map.valid_share == 1.0
    a, b = cv2.imread(str(tmp_path / "whole" / "a.png")), cv2.imread(str(tmp_path / "part" / "a.png"))
    left = round(whole.views[0].view.cx - part.views[0].view.cx)
    top = round(whole.views[0].view.cy - part.views[0].view.cy)
    np.testing.assert_array_equal(a[top : top + b.shape[0], left : left + b.shape[1]], b)


@pytest.mark.parametrize("to", ["fisheye", "equirect"])
def test_other_projections(tmp_path: Path, photos: Path, to: str) -> None:
    result = undistort(photos / "a.png", CAMERA, tmp_path / "out", to=to, size=(200, 100), interpolation="cubic")
    assert cv2.imread(str(tmp_path / "out" / "a.png")).shape == (100, 200, 3)
    assert result.as_dict()["projection"] == to


@pytest.mark.parametrize("codec", ["h264", pytest.param("mpeg4", marks=pytest.mark.slow)])
def test_videos_keep_count_stamps_and_content(tmp_path: Path, codec: str) -> None:
    stamps = [500, 540, 610, 640, 700, 810, 850, 900, 1000, 1040, 1100, 1133]
    pictures = [scene(i) for i in range(12)]
    clip(tmp_path / "clip.mp4", pictures, stamps)
    result = undistort(tmp_path / "clip.mp4", CAMERA, tmp_path / "out", codec=codec)
    frames = list(video_frames(tmp_path / "out" / "clip.mp4"))
    assert [frame.time for frame in frames] == pytest.approx([stamp / 1000 for stamp in stamps], abs=1e-6)
    assert (result.frames, result.written[0].reason) == (12, None)
    for frame, picture in zip(frames, pictures, strict=True):
        assert np.abs(frame.rgb()[..., ::-1].astype(int) - expected(picture)).mean() < 6.0


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_videos_are_written_upright(tmp_path: Path, rotation: int) -> None:
    """A colour per corner tells a wrong turn of luma and of chroma."""
    upright = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    upright[:60, :80], upright[:60, 80:], upright[60:, :80] = (200, 40, 40), (40, 200, 40), (40, 40, 200)
    clip(tmp_path / "clip.mp4", [np.rot90(upright, k=-(rotation // 90))] * 5, rotation=rotation)
    assert probe_video(tmp_path / "clip.mp4").rotation_deg == rotation
    undistort(tmp_path / "clip.mp4", CAMERA, tmp_path / "out")
    info = probe_video(tmp_path / "out" / "clip.mp4")
    assert (info.width, info.height, info.rotation_deg) == (WIDTH, HEIGHT, 0)
    for frame in video_frames(tmp_path / "out" / "clip.mp4"):
        assert np.abs(frame.rgb()[..., ::-1].astype(int) - expected(upright)).mean() < 4.0


def test_a_video_that_is_not_distorted_stays_itself(tmp_path: Path) -> None:
    pinhole = Camera("pinhole", WIDTH, HEIGHT, (130.0, 130.0, 79.0, 60.5))
    clip(tmp_path / "clip.mp4", [scene(3)] * 3)
    undistort(tmp_path / "clip.mp4", pinhole, tmp_path / "out")
    pairs = zip(video_frames(tmp_path / "clip.mp4"), video_frames(tmp_path / "out" / "clip.mp4"), strict=True)
    for before, after in pairs:
        assert np.abs(before.rgb().astype(int) - after.rgb()).mean() < 3.0


def plane_values(x: NDArray[np.float64], y: NDArray[np.float64], kind: int) -> NDArray[np.float64]:
    """A smooth field over upright pixel coordinates, another one for each plane."""
    return 128.0 + 60.0 * np.sin(x / (17.0 + 3 * kind) + kind) * np.cos(y / (13.0 + 2 * kind))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_planes_are_sampled_where_their_samples_lie(orientation: int) -> None:
    """Chroma lies on even columns and between rows of the stored frame; half a pixel wrong would show."""
    stored_size = (WIDTH, HEIGHT) if orientation < 5 else (HEIGHT, WIDTH)
    index = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1)
    # Orientation 6 undoes 8 and the other way round; every other one undoes itself.
    stored_index = upright(index, {6: 8, 8: 6}.get(orientation, orientation))
    assert stored_index.shape[1::-1] == stored_size
    frame = av.VideoFrame(*stored_size, "yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    for kind, plane in enumerate(frame.planes):
        x, y = np.moveaxis(stored_index.astype(np.float64), -1, 0)
        if kind:
            x, y = (0.5 * (part[0::2, 0::2] + part[1::2, 0::2]) for part in (x, y))
        memory = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        memory[: plane.height, : plane.width] = plane_values(x, y, kind).round()
    pixels = pixel_map(CAMERA, choose_view(CAMERA))
    result = FrameMap.of(pixels, orientation, Interpolation.LINEAR).apply(frame)
    for kind, plane in enumerate(result.planes):
        memory = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        source = pixels.source.astype(np.float64)
        if kind:
            source = 0.5 * (source[0::2, 0::2] + source[1::2, 0::2])
        wanted = plane_values(source[..., 0], source[..., 1], kind)
        inner = np.s_[2:-2, 2:-2]
        assert np.abs(memory[: plane.height, : plane.width][inner] - wanted[inner]).max() < 1.8


def test_odd_sizes_become_even(tmp_path: Path) -> None:
    clip(tmp_path / "clip.mp4", [scene(1)] * 2)
    result = undistort(tmp_path / "clip.mp4", CAMERA, tmp_path / "out", size=(151, 101))
    info = probe_video(tmp_path / "out" / "clip.mp4")
    assert (info.width, info.height) == (150, 100) == (result.views[0].view.width, result.views[0].view.height)


def test_a_damaged_video_keeps_what_is_whole(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mkv", [scene(i) for i in range(40)])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    readable = sum(1 for _ in video_frames(path))
    told = Told()
    result = undistort(path, CAMERA, tmp_path / "out", progress=told)
    assert 5 < readable < 40
    assert result.frames == readable == sum(1 for _ in video_frames(tmp_path / "out" / "clip.mkv"))
    assert result.written[0].reason is not None
    assert any("whole are written" in line for line in told.warnings)


def test_a_video_without_its_index_is_told(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", [scene(1)] * 5)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="truncated"):
        undistort(path, CAMERA, tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


def test_results_are_not_written_over_anything(tmp_path: Path, photos: Path) -> None:
    before = (photos / "a.png").read_bytes()
    with pytest.raises(OutputError, match="would replace the input itself"):
        undistort(photos, CAMERA, photos, overwrite=True)
    assert (photos / "a.png").read_bytes() == before
    undistort(photos, CAMERA, tmp_path / "out")
    with pytest.raises(OutputError, match="--overwrite"):
        undistort(photos, CAMERA, tmp_path / "out")
    undistort(photos, CAMERA, tmp_path / "out", overwrite=True)


def test_options_that_cannot_be_understood(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(UsageError, match="equirect"):
        undistort(photos, CAMERA, tmp_path / "out", to="cylinder")
    with pytest.raises(UsageError, match="lanczos"):
        undistort(photos, CAMERA, tmp_path / "out", interpolation="nearest")


def test_an_interruption_leaves_no_part_of_a_video(tmp_path: Path) -> None:
    class Interrupting(Silent):
        count = 0

        def advance(self, stage: str, steps: int = 1) -> None:
            self.count += steps
            if self.count == 5:
                raise KeyboardInterrupt

    clip(tmp_path / "clip.mp4", [scene(i) for i in range(30)])
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        undistort(tmp_path / "clip.mp4", CAMERA, tmp_path / "out", progress=Interrupting())
    assert list((tmp_path / "out").iterdir()) == []
    assert threading.active_count() <= threads + 1


def rig(model: str = "kannala_brandt4") -> Rig:
    camera = Camera(model, WIDTH, HEIGHT, (75.0, 75.0, 79.0, 60.5, -0.02, 0.004, -0.003, 0.0005))
    pose = np.eye(4)
    pose[:3, 3] = -0.1, 0.002, 0.001
    return Rig((RigCamera("left", camera, np.eye(4)), RigCamera("right", camera, pose)))


def test_a_pair_of_folders_and_of_videos(tmp_path: Path, photos: Path) -> None:
    clip(tmp_path / "right.mp4", [scene(i) for i in range(6)])
    result = rectify_pair(photos, tmp_path / "right.mp4", rig(), tmp_path / "out", alpha=0.4)
    outputs = [item.output for item in result.written]
    assert outputs == ["left/a.png", "left/b.png", "left/c.tif", "left/d.jpg", "right/right.mp4"]
    assert all((tmp_path / "out" / str(output)).is_file() for output in outputs)
    pair = result.rectification
    assert pair is not None
    assert result.as_dict()["baseline"] == pytest.approx(float(np.linalg.norm([0.1, 0.002, 0.001])))
    np.testing.assert_array_equal(
        cv2.imread(str(tmp_path / "out" / "left" / "a.png")),
        cv2.remap(scene(1), pair.first.map.source, None, cv2.INTER_LINEAR),
    )


def test_pairs_that_make_no_sense(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(UsageError, match="two different cameras"):
        rectify_pair(photos, photos, rig(), tmp_path / "out", cameras=(0, 0))
    unposed = Rig((rig().cameras[0], RigCamera("right", rig().cameras[1].camera)))
    with pytest.raises(InputError, match="pose of camera right"):
        rectify_pair(photos, photos, unposed, tmp_path / "out")


def test_stages_hand_on_items_and_errors() -> None:
    def numbers() -> Iterator[int]:
        yield from range(20)
        raise ValueError("at the end")

    seen: list[int] = []

    def collect() -> None:
        for item in in_background(in_background(numbers()), depth=1):
            seen.append(item)

    with pytest.raises(ValueError, match="at the end"):
        collect()
    assert seen == list(range(20))
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    stage = in_background(endless(), depth=2)
    assert next(stage) == 1
    stage.close()
    assert closed.wait(5.0)


def test_views_that_no_memory_holds_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), scene())
    for size in ((40_000, 100), (30_000, 30_000)):
        with pytest.raises(UsageError, match=f"{size[0]}x{size[1]} pixels is too large"):
            undistort(tmp_path / "one.png", CAMERA, tmp_path / "out", size=size)

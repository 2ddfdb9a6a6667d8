"""From folders, globs, pictures, videos and tables to the moments of a rig."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from cv3d.calibration.rig.clocks import Clocks
from cv3d.calibration.rig.frames import Moment, RigSources, Timeline
from cv3d.calibration.rig.inputs import gather_rig, resample_rig
from cv3d.calibration.rig.names import split_cameras, stamp_in_name
from cv3d.calibration.rig.result import Synchronisation, SyncMethod
from cv3d.calibration.rig.stamps import drifts, group_nearest, match_stamps
from cv3d.errors import InputError

_counter = iter(range(1_000_000))


def _picture(path: Path, taken: datetime | None = None) -> Path:
    """A picture that no other is a copy of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(next(_counter))
    image = Image.fromarray(rng.integers(0, 255, (12, 16), dtype=np.uint8))
    exif = Image.Exif()
    if taken is not None:
        details = exif.get_ifd(0x8769)
        details[0x9003] = taken.strftime("%Y:%m:%d %H:%M:%S")
        details[0x9291] = f"{taken.microsecond // 1000:03d}"
    image.save(path, exif=exif)
    return path


def _pictures(root: Path, *names: str) -> None:
    for name in names:
        _picture(root / name)


def _video(path: Path, frames: int = 30, rate: int = 10, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        for index in range(frames):
            coarse = np.random.default_rng(1000 * seed + index).integers(0, 255, (6, 8), dtype=np.uint8)
            gray = cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_NEAREST)
            frame = av.VideoFrame.from_ndarray(np.repeat(gray[..., None], 3, axis=2), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _moments(sources: RigSources) -> list[tuple[str | None, ...]]:
    """The names of the pictures of each moment."""
    assert sources.timeline is not None
    return [
        tuple(
            None if index is None else camera.pictures[index].name
            for camera, index in zip(sources.cameras, moment.members, strict=True)
        )
        for moment in sources.timeline.moments
    ]


def _method(sources: RigSources) -> SyncMethod:
    assert sources.timeline is not None
    return sources.timeline.synchronisation.method


def _expect(message: str, inputs: Sequence[Path], stamps: Path | None = None) -> None:
    with pytest.raises(InputError, match=message) as raised:
        gather_rig(inputs, stamps=stamps)
    assert "\n" not in str(raised.value)


# Which camera took which picture


@pytest.mark.parametrize(
    ("stems", "cameras"),
    [
        (["left01", "left02", "right01", "right02"], {"left": [0, 1], "right": [2, 3]}),
        (["01_left", "02_left", "01_right", "02_right"], {"left": [0, 1], "right": [2, 3]}),
        (["cam0_0001", "cam0_0002", "cam1_0001", "cam1_0002"], {"cam0": [0, 1], "cam1": [2, 3]}),
        (["0001-c2", "0001-c3", "0002-c2", "0002-c3", "0003-c2"], {"c2": [0, 2, 4], "c3": [1, 3]}),
        (["a_left", "b_left", "a_right", "b_right"], {"left": [0, 1], "right": [2, 3]}),
        (["left", "right"], {"left": [0], "right": [1]}),
    ],
)
def test_pictures_are_dealt_by_their_names(stems: list[str], cameras: dict[str, list[int]]) -> None:
    assert split_cameras(stems) == cameras


@pytest.mark.parametrize("stems", [["img01", "img02", "img03"], ["000", "001", "002"], ["IMG_1", "IMG_2"]])
def test_pictures_of_one_camera_are_not_dealt(stems: list[str]) -> None:
    assert split_cameras(stems) is None


@pytest.mark.parametrize(
    "given",
    [
        lambda root: [root],
        lambda root: [root / "left*.png", root / "right*.png"],
        lambda root: sorted(root.glob("*.png")),
    ],
)
def test_one_folder_of_left_and_right(tmp_path: Path, given: Callable[[Path], list[Path]]) -> None:
    _pictures(tmp_path, *(f"{side}{i:02d}.png" for side in ("left", "right") for i in range(1, 4)))
    sources = gather_rig(given(tmp_path))
    assert [camera.name for camera in sources.cameras] == ["left", "right"]
    assert _moments(sources) == [(f"left{i:02d}.png", f"right{i:02d}.png") for i in range(1, 4)]
    assert _method(sources) is SyncMethod.NAME
    assert sources.timeline is not None
    assert [moment.name for moment in sources.timeline.moments] == ["01", "02", "03"]
    assert not sources.warnings


@pytest.mark.parametrize("alone", [True, False])
def test_a_folder_for_each_camera(tmp_path: Path, alone: bool) -> None:
    _pictures(tmp_path, *(f"{side}/{i:03d}.png" for side in ("left", "right") for i in range(3)))
    sources = gather_rig([tmp_path] if alone else [tmp_path / "left", tmp_path / "right"])
    assert [camera.name for camera in sources.cameras] == ["left", "right"]
    assert _moments(sources) == [(f"left/{i:03d}.png", f"right/{i:03d}.png") for i in range(3)]


def test_folders_of_data_take_the_name_above(tmp_path: Path) -> None:
    stamps = [1403715274012143104 + 50_000_000 * i for i in range(4)]
    _pictures(tmp_path, *(f"mav0/cam{c}/data/{stamp}.png" for c in (0, 1) for stamp in stamps))
    for given in ([tmp_path], [tmp_path / "mav0/cam0", tmp_path / "mav0/cam1"]):
        sources = gather_rig(given)
        assert [camera.name for camera in sources.cameras] == ["cam0", "cam1"]
        assert _method(sources) is SyncMethod.STAMP
        assert sources.timeline is not None
        assert sources.timeline.synchronisation.spread_s == 0.0
        assert sources.cameras[0].times is not None
        np.testing.assert_allclose(np.diff(sources.cameras[0].times), 0.05, atol=1e-5)


def test_equal_names_of_folders_are_told_apart(tmp_path: Path) -> None:
    _pictures(tmp_path, *(f"{rig}/wide/{i}.png" for rig in ("a", "b") for i in range(3)))
    sources = gather_rig([tmp_path / "a/wide", tmp_path / "b/wide"])
    assert [camera.name for camera in sources.cameras] == ["a", "b"]


# Which pictures belong together


def test_pictures_without_a_partner_stay_single(tmp_path: Path) -> None:
    _pictures(tmp_path, *(f"left/{i:03d}.png" for i in range(6)), *(f"right/{i:03d}.png" for i in (0, 2, 3, 7)))
    sources = gather_rig([tmp_path / "left", tmp_path / "right"])
    complete = [moment for moment in _moments(sources) if None not in moment]
    assert complete == [(f"left/{i:03d}.png", f"right/{i:03d}.png") for i in (0, 2, 3)]
    assert sum(len(camera.pictures) for camera in sources.cameras) == 10
    assert len(_moments(sources)) == 7
    (warning,) = sources.warnings
    assert "3 of 6 of left" in warning
    assert "1 of 4 of right" in warning


@pytest.mark.parametrize(
    ("stem", "seconds"),
    [
        ("1403715274012143104", 1403715274.012143104),
        ("frame_1403715274012", 1403715274.012),
        ("cam0-1403715274012143", 1403715274.012143),
        ("1403715274.062143", 1403715274.062143),
        ("IMG_20230105_123007250", 1672921807.25),
        ("2023-01-05_12-30-07", 1672921807.0),
        ("left01", None),
        ("IMG_20239905_123007", None),
    ],
)
def test_stamps_in_names(stem: str, seconds: float | None) -> None:
    found = stamp_in_name(stem)
    assert found == pytest.approx(seconds, abs=1e-6) if seconds is not None else found is None


def test_stamps_match_with_jitter_gaps_and_different_rates() -> None:
    rng = np.random.default_rng(0)
    first = np.arange(0.0, 10.0, 0.1) + rng.normal(0.0, 0.004, 100)
    second = np.arange(0.0, 10.0, 0.05)[rng.random(200) > 0.3] + 0.003
    match = match_stamps([first.tolist(), second.tolist()])
    assert match is not None
    both = match.members[(match.members >= 0).all(axis=1)]
    assert len(both) > 65
    assert np.abs(first[both[:, 0]] - second[both[:, 1]]).max() <= 0.025
    for camera, count in ((0, 100), (1, len(second))):
        assert sorted(match.members[match.members[:, camera] >= 0, camera]) == list(range(count))


def moments_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Stamps of the moments of two cameras, (M, 2), frames nearest in time put together; NaN for none."""
    members = group_nearest([first, second])
    both = [np.where(own >= 0, times[own], np.nan) for own, times in zip(members.T, (first, second), strict=True)]
    return np.stack(both, axis=1)


@pytest.mark.parametrize(
    ("count", "rate", "jitter_s", "is_told"),
    [
        (10, 0.06, 0.0, True),
        (300, 1e-3, 0.02, True),
        (300, -0.02, 0.005, True),  # the differences begin anew six times
        (300, 0.0, 0.05, False),
        (300, 2e-4, 0.05, False),  # 30 ms in the end, less than the stamps scatter
    ],
)
def test_stamps_that_drift_are_told(count: int, rate: float, jitter_s: float, is_told: bool) -> None:
    rng = np.random.default_rng(0)
    times = 0.5 * np.arange(count)
    stamps = moments_of(times, times * (1.0 + rate) + rng.normal(0.0, jitter_s, count))
    said = drifts(stamps, ["left", "right"])
    assert len(said) == is_told
    for sentence in said:
        found = re.fullmatch(
            r"the stamps of right run away from those of left, by \S+ s over \S+ s \((\S+) ppm\): .*", sentence
        )
        assert found is not None
        assert float(found[1]) == pytest.approx(1e6 * rate, rel=0.05)


def test_other_frame_rates_are_no_drift() -> None:
    for period in (0.1, 0.04, 1.0 / 24.0):
        assert not drifts(moments_of(np.arange(300) / 30.0, np.arange(300) * period), ["left", "right"])


def test_clocks_may_differ_where_stamps_are_irregular() -> None:
    rng = np.random.default_rng(1)
    first = np.cumsum(rng.uniform(2.0, 9.0, 20))
    match = match_stamps([first.tolist(), (first[3:] + 3600.0 + rng.normal(0.0, 0.05, 17)).tolist()])
    assert match is not None
    assert match.clock_shifts_s[1] == pytest.approx(-3600.0, abs=0.1)
    both = match.members[(match.members >= 0).all(axis=1)]
    np.testing.assert_array_equal(both, np.stack([np.arange(3, 20), np.arange(17)], axis=1))


def test_regular_stamps_of_unlike_clocks_are_not_guessed() -> None:
    first = np.arange(100) * 0.05
    assert match_stamps([first.tolist(), (first + 1000.0).tolist()]) is None


def test_three_clocks_join_where_the_first_has_a_gap() -> None:
    steady = np.arange(20) * 0.1
    members = group_nearest([steady[:8], steady + 0.01, steady[5:] - 0.01])
    assert (members[5:8] >= 0).all()
    assert (members[8:, 1:] >= 0).all()
    assert len(members) == 20


def test_exif_times_join_unlike_numbers(tmp_path: Path) -> None:
    start = datetime(2024, 5, 1, 12, 0, 0)
    for i in range(6):
        taken = start + timedelta(seconds=3.0 * i + 0.4 * (i % 3))
        _picture(tmp_path / f"a/DSC_{100 + i}.jpg", taken)
        _picture(tmp_path / f"b/P{2000 + 7 * i}.jpg", taken + timedelta(milliseconds=120))
    sources = gather_rig([tmp_path / "a", tmp_path / "b"])
    assert _method(sources) is SyncMethod.STAMP
    assert _moments(sources) == [(f"DSC_{100 + i}.jpg", f"P{2000 + 7 * i}.jpg") for i in range(6)]
    assert sources.timeline is not None
    assert sources.timeline.synchronisation.spread_s == pytest.approx(0.12, abs=1e-6)


def test_exif_times_overrule_running_numbers_that_do_not_agree(tmp_path: Path) -> None:
    start = datetime(2024, 5, 1, 12, 0, 0)
    seconds = [0, 3, 7, 12, 14, 21, 23, 30]
    for i, second in enumerate(seconds):
        _picture(tmp_path / f"a/IMG_{i:04d}.jpg", start + timedelta(seconds=second))
        _picture(tmp_path / f"b/IMG_{i + 2:04d}.jpg", start + timedelta(seconds=second))
    sources = gather_rig([tmp_path / "a", tmp_path / "b"])
    assert _method(sources) is SyncMethod.STAMP
    assert all(None not in moment for moment in _moments(sources))
    assert any("different times by their EXIF" in warning for warning in sources.warnings)


def test_order_is_the_last_resort(tmp_path: Path) -> None:
    _pictures(tmp_path, *(f"a/x{i}.png" for i in (1, 2, 3)), *(f"b/y{i}.png" for i in (11, 12, 13)))
    sources = gather_rig([tmp_path / "a", tmp_path / "b"])
    assert _method(sources) is SyncMethod.ORDER
    assert _moments(sources) == [("x1.png", "y11.png"), ("x2.png", "y12.png"), ("x3.png", "y13.png")]
    assert any("n-th picture" in warning for warning in sources.warnings)
    _picture(tmp_path / "b/y14.png")
    _expect("nothing tells which pictures are of one moment.*a 3, b 4", [tmp_path / "a", tmp_path / "b"])


# Tables of stamps


def _long_table(
    path: Path, rows: list[tuple[object, ...]], head: str = "sync_index,cam_id,frame_index,frame_time"
) -> Path:
    path.write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_a_table_beside_videos(tmp_path: Path) -> None:
    for camera in range(3):
        _video(tmp_path / f"cam_{camera}.mp4", 30, seed=camera)
    rows = [
        (26 + i, camera, 26 + i, 100.0 + 0.1 * i + 0.002 * camera)
        for i in range(30)
        for camera in (2, 1, 0)
        if not (camera == 1 and i == 4)
    ]
    _long_table(tmp_path / "timestamps.csv", rows)
    sources = gather_rig([tmp_path], max_frames=15)
    assert [camera.name for camera in sources.cameras] == ["cam_0", "cam_1", "cam_2"]
    assert _method(sources) is SyncMethod.TABLE
    assert sources.timeline is not None
    assert len(sources.timeline.moments) == 30
    assert sources.timeline.synchronisation.spread_s == pytest.approx(0.004, abs=1e-6)
    for moment in _moments(sources):
        numbers = {name.rpartition("#")[2] for name in moment if name}
        assert len(numbers) == 1
    assert sources.timeline.moments[4].members[1] is None
    assert sources.timeline.moments[7].time == pytest.approx(100.7)


def test_as_many_moments_as_asked_for(tmp_path: Path) -> None:
    for camera in range(2):
        _video(tmp_path / f"cam_{camera}.mp4", 40, seed=camera)
    rows = [(i, camera, i, 0.1 * i) for i in range(40) for camera in range(2)]
    _long_table(tmp_path / "timestamps.csv", rows)
    sources = gather_rig([tmp_path / "cam_0.mp4", tmp_path / "cam_1.mp4"], max_frames=10)
    assert sources.timeline is not None
    assert len(sources.timeline.moments) == 10
    gaps = np.diff([moment.time for moment in sources.timeline.moments if moment.time is not None])
    assert gaps.max() < 0.8


def test_row_and_frame_are_told_by_the_clock_where_counts_are_not_enough(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ticks = np.cumsum(rng.integers(1, 6, 30))
    for camera in range(2):
        with av.open(str(tmp_path / f"cam_{camera}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=20)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 20)
            for tick in ticks:
                coarse = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(coarse, format="rgb24")
                frame.pts, frame.time_base = int(tick), Fraction(1, 20)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    # The recorder counted from 3 and listed frames 5 to 24 only: number and frame differ by 3.
    rows = [(i, camera, i + 3, 50.0 + ticks[i] / 20.0) for i in range(5, 25) for camera in range(2)]
    _long_table(tmp_path / "timestamps.csv", rows)
    sources = gather_rig([tmp_path / "cam_0.mp4", tmp_path / "cam_1.mp4"])
    frames = [picture.name.rpartition("#")[2] for picture in sources.cameras[0].pictures]
    assert frames[0] == "000005"
    assert frames[-1] == "000024"


@pytest.mark.parametrize("kind", ["folder", "above", "beside"])
def test_a_table_for_each_camera(tmp_path: Path, kind: str) -> None:
    for camera, late in ((0, 0.0), (1, 0.012)):
        folder = tmp_path / f"cam{camera}"
        _pictures(folder / "data" if kind == "above" else folder, *(f"{i + 5 * camera}.png" for i in range(8)))
        lines = "\n".join(f"{7.0 + 0.1 * i + late:.4f}" for i in range(8))
        target = tmp_path / f"cam{camera}_times.txt" if kind == "beside" else folder / "times.txt"
        target.write_text(lines + "\n")
    sources = gather_rig([tmp_path / "cam0", tmp_path / "cam1"])
    assert _method(sources) is SyncMethod.TABLE
    assert sources.timeline is not None
    assert all(None not in moment.members for moment in sources.timeline.moments)
    assert sources.timeline.synchronisation.spread_s == pytest.approx(0.012, abs=1e-6)
    assert [moment.members for moment in sources.timeline.moments] == [(i, i) for i in range(8)]


def test_a_table_of_stamps_and_file_names(tmp_path: Path) -> None:
    for camera in (0, 1):
        _pictures(tmp_path / f"cam{camera}", *(f"{chr(97 + i)}{camera}.png" for i in range(6)))
        rows = [f"{1403715274012143104 + 50_000_000 * i},{chr(97 + i)}{camera}.png" for i in range(6)]
        (tmp_path / f"cam{camera}" / "data.csv").write_text("\n".join(["#timestamp [ns],filename", *rows]))
    sources = gather_rig([tmp_path])
    assert _method(sources) is SyncMethod.TABLE
    assert sources.cameras[0].times is not None
    np.testing.assert_allclose(np.diff(sources.cameras[0].times), 0.05, atol=1e-5)


def test_a_table_with_a_column_for_each_camera(tmp_path: Path) -> None:
    _pictures(tmp_path, *(f"left/a{i}.png" for i in range(5)), *(f"right/b{9 - i}.png" for i in range(5)))
    lines = ["left;right", *(f"a{i}.png;b{9 - i}.png" for i in range(4))]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    sources = gather_rig([tmp_path], stamps=tmp_path / "pairs.csv")
    assert _method(sources) is SyncMethod.TABLE
    assert _moments(sources)[:4] == [(f"a{i}.png", f"b{9 - i}.png") for i in range(4)]
    assert any("says nothing about 2 pictures" in warning for warning in sources.warnings)


def test_unsorted_and_repeated_rows_are_said(tmp_path: Path) -> None:
    for camera in range(2):
        _video(tmp_path / f"cam_{camera}.mp4", 12, seed=camera)
    rows = [(i, camera, i, 0.1 * i) for i in range(12) for camera in range(2)]
    rows = [*rows[10:], *rows[:10], rows[3]]
    _long_table(tmp_path / "timestamps.csv", rows)
    sources = gather_rig([tmp_path])
    assert sources.timeline is not None
    assert len(sources.timeline.moments) == 12
    assert any("unsorted" in warning for warning in sources.warnings)
    assert any("1 rows repeat a frame of cam_1" in warning for warning in sources.warnings)


def test_rows_of_frames_that_are_not_there_are_said(tmp_path: Path) -> None:
    for camera, frames in ((0, 20), (1, 14)):
        _video(tmp_path / f"cam_{camera}.mp4", frames, seed=camera)
    _long_table(tmp_path / "timestamps.csv", [(i, camera, i, 0.1 * i) for i in range(20) for camera in range(2)])
    sources = gather_rig([tmp_path])
    assert sources.timeline is not None
    assert len(sources.timeline.moments) == 14
    assert any("6 of its rows are of frames that cam_1 does not have" in warning for warning in sources.warnings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"times.csv: empty table of stamps \(0 bytes\)"),
        ("cam_id,frame_index,frame_time\n0,0,1.0\n0,1,1.1\n0,2,1.2\n", "has no rows for cam_1"),
        ("cam_id,frame_time\n" + "".join(f"{c},{t}\n" for t in (1.0, 0.8, 0.7, 0.6) for c in (0, 1)), "go backwards"),
        ("hello\nworld\n", "not recognised as a table of stamps of these cameras"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    for camera in range(2):
        _video(tmp_path / f"cam_{camera}.mp4", 4, seed=camera)
    table = tmp_path / "times.csv"
    table.write_text(content)
    _expect(message, [tmp_path], stamps=table)


def test_an_empty_table_that_was_only_found_is_a_warning(tmp_path: Path) -> None:
    _pictures(tmp_path, *(f"{side}/{i:03d}.png" for side in ("left", "right") for i in range(3)))
    (tmp_path / "timestamps.csv").write_text("")
    sources = gather_rig([tmp_path])
    assert _method(sources) is SyncMethod.NAME
    assert any("0 bytes" in warning for warning in sources.warnings)


# Videos without a common clock


def test_videos_without_a_table_come_dense(tmp_path: Path) -> None:
    for camera in range(2):
        _video(tmp_path / f"v{camera}.mp4", 60, rate=30, seed=camera)
    sources = gather_rig([tmp_path / "v0.mp4", tmp_path / "v1.mp4"])
    assert sources.timeline is None
    for camera in sources.cameras:
        assert camera.times is not None
        np.testing.assert_allclose(np.diff(camera.times), 0.1, atol=1e-6)


def test_stamps_of_a_table_may_serve_as_clocks_only(tmp_path: Path) -> None:
    for camera in range(2):
        _video(tmp_path / f"cam_{camera}.mp4", 20, seed=camera)
    _long_table(tmp_path / "timestamps.csv", [(i, c, i, 5.0 + 0.09 * i) for i in range(20) for c in range(2)])
    sources = gather_rig([tmp_path], by_motion=True)
    assert sources.timeline is None
    assert sources.cameras[1].times == pytest.approx([5.0 + 0.09 * i for i in range(20)])
    _pictures(tmp_path / "stills", *(f"{side}/{i:03d}.png" for side in ("left", "right") for i in range(3)))
    with pytest.raises(InputError, match="left: its pictures have no time stamps"):
        gather_rig([tmp_path / "stills"], by_motion=True)


def test_resampling_takes_the_nearest_frames(tmp_path: Path) -> None:
    for camera in range(2):
        _video(tmp_path / f"v{camera}.mp4", 90, rate=30, seed=camera)
    sources = gather_rig([tmp_path / "v0.mp4", tmp_path / "v1.mp4"])
    clocks = Clocks(("v0", "v1"), (0.0, 0.45), (0.0, 0.001), (0.0, 0.0), (1.0, 1.0))
    wanted = tuple(Moment(f"{t}", t, (0, 0)) for t in (0.8, 1.5, 2.2))
    found = Synchronisation(SyncMethod.OFFSET, "3 moments, by motion; dense", (0.0, 0.45), (0.0, 0.001), 0.05)
    finer = resample_rig(sources, clocks, Timeline(wanted, found))
    assert finer.timeline is not None
    assert len(finer.timeline.moments) == 3
    assert finer.timeline.synchronisation.spread_s <= 0.5 / 30 + 1e-6
    for moment, time in zip(finer.timeline.moments, (0.8, 1.5, 2.2), strict=True):
        first, second = moment.members
        assert first is not None
        assert second is not None
        assert finer.cameras[0].times is not None
        assert finer.cameras[1].times is not None
        assert abs(finer.cameras[0].times[first] - time) <= 0.05 + 1e-6
        assert abs(finer.cameras[1].times[second] + 0.45 - finer.cameras[0].times[first]) <= 0.5 / 30 + 1e-6


# Bad input


def test_inputs_that_are_no_rig(tmp_path: Path) -> None:
    _pictures(tmp_path, "left/1.png", "left/2.png", "empty/readme.txt.png")
    (tmp_path / "empty/readme.txt.png").unlink()
    _expect("do not tell which camera", [tmp_path / "left"])
    _expect("no such file or folder", [tmp_path / "left", tmp_path / "rihgt"])
    _expect("no pictures and no videos", [tmp_path / "left", tmp_path / "empty"])
    _expect("given twice", [tmp_path / "left", tmp_path / "left"])
    _expect("no input given", [])
    _expect("single picture among other inputs", [tmp_path / "left", tmp_path / "left/1.png"])
    _video(tmp_path / "film/a.mp4")
    _expect("one kind for all", [tmp_path / "left", tmp_path / "film"])
    _expect("no such table of stamps", _pair(tmp_path), tmp_path / "t.csv")


def _pair(root: Path) -> list[Path]:
    _pictures(root, "p/1.png", "p/2.png", "q/1.png", "q/2.png")
    return [root / "p", root / "q"]


def test_another_cameras_pictures_are_noticed(tmp_path: Path) -> None:
    _pictures(tmp_path, *(f"{side}/{i:03d}.png" for side in ("left", "right") for i in range(3)))
    shutil.copy(tmp_path / "left/001.png", tmp_path / "right/004.png")
    _expect("one camera's folder holds another's pictures", [tmp_path / "left", tmp_path / "right"])


def test_blank_pictures_are_no_copies(tmp_path: Path) -> None:
    _pictures(tmp_path, *(f"{side}/{i:03d}.png" for side in ("left", "right") for i in range(3)))
    for side in ("left", "right"):
        Image.new("L", (16, 12), 128).save(tmp_path / side / "004.png")
    assert len(_moments(gather_rig([tmp_path / "left", tmp_path / "right"]))) == 4


def test_one_of_the_videos_is_cut_off(tmp_path: Path) -> None:
    for camera in range(2):
        _video(tmp_path / f"cam_{camera}.mkv", 40, seed=camera)
    whole = (tmp_path / "cam_1.mkv").read_bytes()
    (tmp_path / "cam_1.mkv").write_bytes(whole[: int(0.6 * len(whole))])
    _long_table(tmp_path / "timestamps.csv", [(i, camera, i, 0.1 * i) for i in range(40) for camera in range(2)])
    sources = gather_rig([tmp_path])
    assert 15 < len(sources.cameras[1].pictures) < 35
    assert any("cam_1" in warning for warning in sources.warnings)
    for moment in _moments(sources):
        assert len({name.rpartition("#")[2] for name in moment if name}) == 1


# Real recordings


def test_stereo_chessboards(data_root: Path) -> None:
    sources = gather_rig([data_root / "calib/opencv_chess"])
    assert [camera.name for camera in sources.cameras] == ["left", "right"]
    assert len(_moments(sources)) == 14


@pytest.mark.slow
def test_four_videos_with_a_table(data_root: Path) -> None:
    sources = gather_rig([data_root / "calib/rig4_charuco/calibration/extrinsic"], max_frames=8)
    assert [camera.name for camera in sources.cameras] == ["cam_0", "cam_1", "cam_2", "cam_3"]
    assert _method(sources) is SyncMethod.TABLE
    assert sources.timeline is not None
    assert len(sources.timeline.moments) == 16
    assert all(None not in moment.members for moment in sources.timeline.moments)
    assert sources.timeline.synchronisation.spread_s < 0.083
    assert not sources.warnings


def test_euroc_folders(data_root: Path) -> None:
    sources = gather_rig([data_root / "vo/euroc_v101"])
    assert [camera.name for camera in sources.cameras] == ["cam0", "cam1"]
    assert len(_moments(sources)) == 80
    assert sources.timeline is not None
    assert sources.timeline.synchronisation.spread_s == 0.0

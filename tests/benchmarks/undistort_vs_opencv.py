"""Undistorting a 1080p video beside OpenCV's remap loop, alternating, in one process.

    python tests/benchmarks/undistort_vs_opencv.py --frames 240 --repeats 5

cv3d's time is the whole of `cv3d.media.undistorting.undistort`: choosing the view, computing the maps, decoding,
resampling, encoding. The peers have their maps ready before the clock starts, fixed-point as OpenCV recommends:

- OpenCV: cv2.VideoCapture, cv2.remap, cv2.VideoWriter with MPEG-4, against cv3d with MPEG-4;
- PyAV:   the same loop with PyAV's decoder and encoder and the very encoder settings of cv3d, with H.264.

The clip is rendered to a temporary folder: a textured plane that a camera moves over, with noise.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

import cv3d
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.views import choose_view
from cv3d.media.undistorting import undistort
from cv3d.media.writing import VideoWriter

WIDTH, HEIGHT, RATE = 1920, 1080, 30
CAMERA = Camera("brown5", WIDTH, HEIGHT, (1100.0, 1100.0, 962.0, 538.0, -0.25, 0.06, 5e-4, -3e-4, 0.0))

Maps = tuple[NDArray[np.int16], NDArray[np.uint16]]


def render(path: Path, frames: int) -> None:
    """A clip of a texture under a moving camera, as a phone would compress it."""
    rng = np.random.default_rng(0)
    shape = (HEIGHT + 2 * frames, WIDTH + 2 * frames, 3)
    texture = sum(
        cv2.resize(rng.uniform(0.0, 1.0, (shape[0] // s, shape[1] // s, 3)).astype(np.float32), shape[1::-1]) * s**0.5
        for s in (4, 16, 64, 256)
    )
    texture = cv2.normalize(texture, None, 20.0, 235.0, cv2.NORM_MINMAX).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "20"}
        for i in range(frames):
            picture = np.ascontiguousarray(texture[i : i + HEIGHT, 2 * i : 2 * i + WIDTH])
            noise = rng.integers(0, 5, (HEIGHT, WIDTH, 1), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(cv2.add(picture, noise.repeat(3, 2)), "bgr24")))
        container.mux(stream.encode())


def with_cv3d(clip: Path, folder: Path, codec: str) -> int:
    return undistort(clip, CAMERA, folder / codec, codec=codec, overwrite=True).frames


def with_opencv(clip: Path, folder: Path, maps: Maps) -> int:
    reader = cv2.VideoCapture(str(clip))
    writer = cv2.VideoWriter(str(folder / "opencv.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), RATE, (WIDTH, HEIGHT))
    if not (reader.isOpened() and writer.isOpened()):
        raise SystemExit("this build of OpenCV cannot read H.264 or write MPEG-4")
    count = 0
    while True:
        is_read, frame = reader.read()
        if not is_read:
            break
        writer.write(cv2.remap(frame, *maps, cv2.INTER_LINEAR))
        count += 1
    writer.release()
    return count


def with_pyav(clip: Path, folder: Path, maps: Maps) -> int:
    count = 0
    writer: VideoWriter | None = None
    with av.open(str(clip)) as container:
        source = container.streams.video[0]
        source.thread_type = "AUTO"
        for frame in container.decode(source):
            straight = cv2.remap(frame.to_ndarray(format="bgr24"), *maps, cv2.INTER_LINEAR)
            result = av.VideoFrame.from_ndarray(straight, format="bgr24").reformat(format="yuv420p")
            result.pts, result.time_base = frame.pts, frame.time_base
            if writer is None:
                writer = VideoWriter(folder / "pyav.mp4", result, source.average_rate, source.time_base, "h264")
            writer.write(result)
            count += 1
    if writer is not None:
        with writer:
            pass
    return count


def clocked(job: Callable[[], int]) -> tuple[float, float]:
    """Frames a second, and processor seconds a frame."""
    wall, cpu = time.perf_counter(), time.process_time()
    frames = job()
    return frames / (time.perf_counter() - wall), (time.process_time() - cpu) / frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()

    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}"
    )
    print(f"cv3d {cv3d.__version__}, OpenCV {cv2.__version__}, PyAV {av.__version__}; {arguments.frames} frames 1080p")
    view = choose_view(CAMERA)
    if view.camera is None:
        raise SystemExit("a pinhole view is a camera")
    maps = cv2.initUndistortRectifyMap(
        CAMERA.matrix, np.array(CAMERA.shape), None, view.camera.matrix, (WIDTH, HEIGHT), cv2.CV_16SC2
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        render(clip, arguments.frames)
        pairs = {
            "MPEG-4, OpenCV's loop": (
                lambda: with_cv3d(clip, folder, "mpeg4"),
                lambda: with_opencv(clip, folder, maps),
            ),
            "H.264, PyAV's loop": (lambda: with_cv3d(clip, folder, "h264"), lambda: with_pyav(clip, folder, maps)),
        }
        files = {
            "MPEG-4, OpenCV's loop": ("mpeg4/clip.mp4", "opencv.mp4"),
            "H.264, PyAV's loop": ("h264/clip.mp4", "pyav.mp4"),
        }
        for title, (ours, theirs) in pairs.items():
            rounds = [(clocked(ours), clocked(theirs)) for _ in range(arguments.repeats)]
            mine, peer = (statistics.median(one[i][0] for one in rounds) for i in (0, 1))
            ratio = statistics.median(one[0][0] / one[1][0] for one in rounds)
            cpu = [1e3 * statistics.median(one[i][1] for one in rounds) for i in (0, 1)]
            size = [(folder / file).stat().st_size / 1e6 for file in files[title]]
            print(
                f"{title:24} cv3d {mine:6.1f} fps, {cpu[0]:5.1f} ms CPU a frame, {size[0]:5.1f} MB | "
                f"peer {peer:6.1f} fps, {cpu[1]:5.1f} ms CPU a frame, {size[1]:5.1f} MB | ratio {ratio:.2f}"
            )


if __name__ == "__main__":
    main()

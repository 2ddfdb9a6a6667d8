"""What odometry says: of every frame while it runs, and of the whole recording at its end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras import Camera
from cv3d.geometry.trajectory import Trajectory

Floats = NDArray[np.float64]


class Sensor(StrEnum):
    """What is recorded at every moment."""

    MONO = "mono"
    STEREO = "stereo"
    RGBD = "rgbd"


class State(StrEnum):
    """How tracking fares. All but `ok` say why it is in doubt."""

    INITIALIZING = "initializing"
    """No map yet: waiting for parallax."""
    OK = "ok"
    LOW_TEXTURE = "low_texture"
    """Few points to hold on to."""
    LOW_PARALLAX = "low_parallax"
    """The camera only turns (or stands still) where no mapped point is seen: the position is a guess."""
    BLUR = "blur"
    EXPOSURE = "exposure"
    """The picture is nearly black or white, or its brightness jumped."""
    RELOCALIZING = "relocalizing"
    """Lost: the place is looked for among the key frames."""
    LOST = "lost"
    """Given up: a new segment begins."""


@dataclass(frozen=True, eq=False)
class FrameResult:
    """What is known of a frame right after it was seen."""

    index: int
    """The source's index of the frame."""
    time: float
    """The source's stamp, seconds."""
    name: str
    state: State
    reason: str
    """A sentence for the user where the state is not `ok`; else empty."""
    world_from_cam: Floats | None
    """(4, 4), in the frame of its segment; None where it is not known (yet)."""
    segment: int
    """Which stretch of connected tracking the frame belongs to, from 0; -1: none."""
    inliers: int
    """Mapped points that the pose agrees with."""
    parallax_deg: float
    """Median angle between the rays to the points followed, from here and from the last key frame, degrees; NaN where
    it is not known."""
    is_key: bool
    ms: float
    """Wall time spent on it, milliseconds, decoding not included."""


@dataclass(frozen=True, eq=False)
class KeyFrame:
    """A frame that the map is built on, as it stands in the end."""

    frame: int
    """The source's index of the frame."""
    time: float
    name: str
    segment: int
    world_from_cam: Floats
    """(4, 4)"""
    points: NDArray[np.intp]
    """(n,) index of each point observed, into `SparseMap.points`."""
    pixels: NDArray[np.float32]
    """(n, 2) where it is seen, pixels of the source's picture."""


@dataclass(frozen=True, eq=False)
class SparseMap:
    """Points that the poses rest on."""

    points: Floats
    """(m, 3), in the frame of their segment."""
    colors: NDArray[np.uint8]
    """(m, 3) RGB."""
    segments: NDArray[np.intp]
    """(m,)"""
    views: NDArray[np.intp]
    """(m,) number of key frames that see it."""


@dataclass(frozen=True)
class Loop:
    """Two key frames that show one place at different times."""

    frame: int
    """The source's index of the later one."""
    earlier_frame: int
    inliers: int
    joined_segments: bool
    """Whether it made one of two segments."""


@dataclass(frozen=True)
class Timing:
    """Wall time per frame, milliseconds, decoding not included."""

    p50: float
    p95: float
    p99: float

    def as_dict(self) -> dict[str, float]:
        """JSON-ready."""
        return {"p50": round(self.p50, 3), "p95": round(self.p95, 3), "p99": round(self.p99, 3)}


@dataclass(frozen=True, eq=False)
class OdometryResult:
    """A recording's path."""

    sensor: Sensor
    camera: Camera
    """The (left, or colour) camera used."""
    is_camera_estimated: bool
    """Whether its focal length was estimated from the recording itself."""
    is_metric: bool
    """Whether lengths are metres; else their unit is arbitrary."""
    frames: tuple[FrameResult, ...]
    """One for every frame seen, in order, with its final pose."""
    key_frames: tuple[KeyFrame, ...]
    map: SparseMap
    loops: tuple[Loop, ...]
    warnings: tuple[str, ...]
    """Sentences for the user: what looked wrong with the recording or its calibration."""
    elapsed_s: float
    """Wall time of the whole run, decoding included, seconds."""
    focal_deviation: float | None = None
    """Standard deviation of an estimated focal length, pixels."""
    interrupted: bool = False
    """Whether it ended before the recording did."""
    source: str = ""
    """How the user called the recording."""
    is_timed: bool = True
    """Whether the stamps are a clock's (or of a known frame rate); else they are the frames' numbers."""
    truth: Trajectory | None = None
    """The true path, where one lay with the recording: for comparison, never used."""
    truth_source: str = ""
    """How messages call the file of the truth."""
    seed: int = 0
    """Of all that was drawn by chance."""

    @property
    def segment_sizes(self) -> tuple[int, ...]:
        """Frames with a pose in each segment, by its number."""
        numbers = [frame.segment for frame in self.frames if frame.world_from_cam is not None]
        return tuple(np.bincount(numbers).tolist()) if numbers else ()

    @property
    def largest_segment(self) -> int | None:
        """Number of the segment with most poses, the first of equals; None: no frame has a pose."""
        sizes = self.segment_sizes
        return int(np.argmax(sizes)) if sizes else None

    @property
    def fps(self) -> float:
        """Frames per second of wall time, decoding included; NaN without frames."""
        return len(self.frames) / self.elapsed_s if self.frames and self.elapsed_s > 0.0 else float("nan")

    @property
    def realtime_factor(self) -> float | None:
        """How many seconds of recording were done in a second; None where the recording says no times."""
        times = [frame.time for frame in self.frames]
        duration = (max(times) - min(times)) * len(times) / (len(times) - 1) if len(times) > 1 else 0.0
        return duration / self.elapsed_s if self.is_timed and duration > 0.0 and self.elapsed_s > 0.0 else None

    @property
    def tracked_fraction(self) -> float:
        """Share of the frames that have a pose in the largest segment."""
        return max(self.segment_sizes, default=0) / len(self.frames) if self.frames else 0.0

    @property
    def trajectory(self) -> Trajectory:
        """The poses of the largest segment, in the order of time."""
        largest = self.largest_segment
        return Trajectory(np.zeros(0), np.zeros((0, 4, 4))) if largest is None else self.segment(largest)

    def segment(self, number: int) -> Trajectory:
        """The poses of one segment, in the order of time."""
        poses = [
            (f.time, f.world_from_cam) for f in self.frames if f.segment == number and f.world_from_cam is not None
        ]
        times = np.array([time for time, _ in poses], np.float64)
        order = np.argsort(times, kind="stable")
        stacked = np.stack([pose for _, pose in poses]) if poses else np.zeros((0, 4, 4))
        return Trajectory(times[order], stacked[order])

    @property
    def timing(self) -> Timing:
        """Percentiles over all frames."""
        spent = [frame.ms for frame in self.frames] or [float("nan")]
        p50, p95, p99 = np.percentile(spent, [50, 95, 99])
        return Timing(float(p50), float(p95), float(p99))

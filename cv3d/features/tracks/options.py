"""How points are tracked through a clip."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from cv3d.errors import InputError
from cv3d.features.tracks.alignment import AlignmentOptions
from cv3d.features.tracks.lucas_kanade import FlowOptions


@dataclass(frozen=True)
class TrackOptions:
    """How points are found, followed, held to their patches, found again, and verified.

    Raises:
        InputError: a number is out of its range.
    """

    max_tracks: int = 512
    """Points followed at once."""
    max_lost: int = 512
    """Lost points remembered at once; the longest lost are forgotten first."""
    max_keypoints: int = 1024
    """Keypoints that the extractor looks for in a key frame."""
    min_distance: float = 10.0
    """Least distance of a new point from any other, pixels."""
    max_forward_backward: float = 1.0
    """Largest forward-backward error of a point that goes on, pixels."""
    min_ncc: float = 0.75
    """Least normalised cross-correlation of a point's patch with its reference."""
    max_pull: float = 2.0
    """Farthest that the alignment with the reference may move a point from where it was followed to, pixels."""
    max_astray: int = 10
    """Successive frames in which a point may go on by flow alone, its reference patch not fitting."""
    min_astray_ncc: float = 0.5
    """Least normalised cross-correlation of a point that goes on by flow alone."""
    max_scale: float = 1.5
    """A point whose patch is stretched or squeezed by more than this gets a new reference patch."""
    max_deviation: float = 0.65
    """Largest standard deviation of an aligned place in its worst direction, pixels."""
    key_share: float = 0.8
    """A key frame is due when fewer of the points that the last one left are still followed."""
    key_gap_s: float = 1.0
    """A key frame is due after this time in any case, seconds, as long as there is room for new points."""
    relink_s: float = 2.0
    """How long a lost point is looked for, seconds."""
    relink_radius: float = 12.0
    """How far from its predicted place a lost point is looked for, pixels; grows with the time."""
    min_cosine: float = 0.8
    """Least cosine of a lost point's descriptor and a keypoint's."""
    is_verified: bool = True
    """Whether points that contradict the geometry of two key frames are dropped."""
    verify_gap_s: float = 0.25
    """Least time between two key frames that are held against each other, seconds."""
    max_epipolar_error: float = 4.0
    """Largest error of a point under the geometry of two key frames, pixels: wide enough for a rolling shutter or for a
    lens that is not known."""
    flow: FlowOptions = field(default_factory=FlowOptions)
    """Following from frame to frame."""
    alignment: AlignmentOptions = field(default_factory=AlignmentOptions)
    """Alignment with reference patches."""
    seed: int = 0
    """Of the random samples of the verification."""

    def __post_init__(self) -> None:
        positive = ("max_tracks", "max_keypoints", "min_distance", "max_forward_backward", "max_pull", "max_deviation")
        for name in positive:
            if not getattr(self, name) > 0:
                raise InputError(f"{name} has to be positive, not {getattr(self, name)}")
        if self.max_lost < 0:
            raise InputError(f"max_lost cannot be negative, as {self.max_lost} is")
        for name in ("min_ncc", "key_share", "min_cosine"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise InputError(f"{name} lies between 0 and 1, not at {getattr(self, name)}")
        if not self.max_scale > 1.0:
            raise InputError(f"max_scale has to be more than 1, not {self.max_scale}")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

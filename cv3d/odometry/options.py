"""How odometry is run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OdometryOptions:
    """What is followed, when key frames are made, how far the window reaches."""

    max_points: int = 300
    """Points followed in a frame."""
    max_local: int = 1500
    """Points of the local map that are looked for in a frame."""
    min_distance: float = 12.0
    """Least distance between new points, pixels of a picture 640 wide."""
    max_side: int = 1280
    """Pictures of a longer side are made smaller for tracking."""
    min_ncc: float = 0.75
    """Least correlation of a patch with its reference."""
    sigma_px: float = 0.7
    """Expected deviation of one coordinate of an aligned patch, pixels."""
    min_inliers: int = 15
    """Fewest points of a pose that is believed."""
    key_share: float = 0.7
    """A key frame is due when fewer of the last one's points are followed."""
    key_parallax: float = 0.05
    """A key frame is due when points have moved, rotation taken out, by this share of the picture's width."""
    min_key_gap: int = 2
    """Least number of frames between key frames while all goes well."""
    window: int = 8
    """Key frames that are adjusted together."""
    held: int = 6
    """Older key frames that see the same points and hold the window in place."""
    max_keys: int = 200
    """Key frames of a segment that the map is made of at most: what bounds memory in an endless recording."""
    relocalize_s: float = 1.5
    """How long a lost place is looked for before a new segment begins, seconds."""
    max_pending: int = 300
    """Frames before the first map that are placed once it is there."""
    loops: bool = True
    """Whether places seen before are recognised, and the path corrected."""
    seed: int = 0

"""How a scene is reconstructed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from cv3d.errors import UsageError
from cv3d.features.matching import MatchOptions, PairChoice
from cv3d.mapping.growing import GrowOptions
from cv3d.mapping.scaling import Scaling


class Stage(StrEnum):
    """What is done, one after the other."""

    FRAMES = "frames"
    """Pictures are listed; of a clip, key frames are chosen."""
    FEATURES = "features"
    """Keypoints of every picture."""
    MATCHES = "matches"
    """Which pictures show the same, verified."""
    POSES = "poses"
    """Cameras, poses and points."""


ORDER = tuple(Stage)


class Mapper(StrEnum):
    """How poses are found."""

    AUTO = "auto"
    """Global where most pictures see each other; else incremental."""
    INCREMENTAL = "incremental"
    """One picture after the other."""
    GLOBAL = "global"
    """All rotations, then all positions at once."""


class SharedCamera(StrEnum):
    """Which pictures have one camera."""

    AUTO = "auto"
    """Frames of one clip; pictures of one size whose EXIF names the same make, model and focal length, or none."""
    YES = "yes"
    """All pictures of one size."""
    NO = "no"
    """Each picture has its own."""


@dataclass(frozen=True)
class MapOptions:
    """How a scene is reconstructed.

    Raises:
        UsageError: the last stage comes before the first one.
    """

    from_stage: Stage | None = None
    """What is done anew from here on, although an earlier run has done it; None: nothing is."""
    to_stage: Stage = Stage.POSES
    """The last stage."""
    resume: bool = True
    """Whether what an earlier run has finished is taken from it at all."""
    mapper: Mapper = Mapper.AUTO
    shared_camera: SharedCamera = SharedCamera.AUTO
    max_frames: int = 300
    """Most key frames of each clip."""
    pairs: PairChoice = field(default_factory=PairChoice)
    matching: MatchOptions = field(default_factory=lambda: MatchOptions(refine=False))
    growing: GrowOptions = field(default_factory=GrowOptions)
    deepen: bool = True
    """Whether pictures are matched again under the geometry that was found."""
    refine: bool = True
    """Whether observations are aligned photometrically along their tracks."""
    scale: Scaling | None = None
    """From what the unit of length is taken; None: from depth or positions where there are any, else arbitrary."""
    up: bool = True
    """Whether the vertical is looked for in the pictures."""
    gps: bool = True
    """Whether positions in EXIF tags are used."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.from_stage is not None and ORDER.index(self.to_stage) < ORDER.index(self.from_stage):
            raise UsageError(f"the last stage, {self.to_stage}, comes before the first one, {self.from_stage}")
        if self.max_frames < 2:
            raise UsageError("a scene needs two frames at least")

    def redoes(self, stage: Stage) -> bool:
        """Whether a stage is done anew although an earlier run has done it."""
        begun = self.from_stage is not None and ORDER.index(stage) >= ORDER.index(self.from_stage)
        return begun or not self.resume

    def reaches(self, stage: Stage) -> bool:
        """Whether a stage is to be done."""
        return ORDER.index(stage) <= ORDER.index(self.to_stage)

"""How keypoints are refined, and what comes out of an alignment."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from cv3d.errors import InputError


@dataclass(frozen=True)
class RefinementOptions:
    """How patches are aligned, and which results count."""

    patch: int = 17
    """Side of a patch in samples; odd. A sample is a pixel of the coarser of the two views."""
    window: float = 0.35
    """Standard deviation of the Gaussian weight of the samples, as a share of the side."""
    iterations: int = 5
    """Gauss-Newton steps of the translation; a patch stays where it is once its step is small."""
    affine_iterations: int = 4
    """Steps of translation and affinity together after that; 0 keeps the affinity as it was given."""
    affine_deviation: float = 0.2
    """How far the entries of an affinity are off the given one, as a standard deviation; used where it is estimated."""
    min_ncc: float = 0.8
    """Smallest normalised cross-correlation of an accepted patch."""
    max_shift: float = 6.0
    """Largest accepted shift, samples."""
    max_deviation: float = 0.5
    """Largest accepted standard deviation of a position in its worst direction, samples."""
    min_deviation: float = 0.05
    """Standard deviation added to what the patches tell, samples. It stands for what they cannot show: interpolation
    (0.01), and relief and shading, which move two views of a place apart."""
    min_conditioning: float = 1e-3
    """Smallest accepted ratio of the eigenvalues of a patch's structure tensor: below it is an edge."""
    chunk: int = 1024
    """Patches at once; about 40 kB each."""

    def __post_init__(self) -> None:
        if self.patch < 5 or self.patch % 2 == 0:
            raise InputError(f"a patch has an odd side of at least 5, not {self.patch}")
        if self.iterations < 1 or self.affine_iterations < 0 or self.chunk < 1:
            raise InputError("iterations and chunk have to be positive, and affine_iterations not negative")
        if not 0.0 < self.min_ncc < 1.0:
            raise InputError(f"min_ncc lies between 0 and 1, not at {self.min_ncc}")
        lengths = (self.window, self.affine_deviation, self.max_shift, self.max_deviation)
        if not min(lengths) > 0.0:
            raise InputError("window, affine_deviation, max_shift and max_deviation have to be positive")
        if self.min_deviation < 0.0 or self.min_conditioning < 0.0:
            raise InputError("min_deviation and min_conditioning must not be negative")


@dataclass(frozen=True)
class SetOptions:
    """How the observations of many pictures are refined."""

    alignment: RefinementOptions = field(default_factory=RefinementOptions)
    """How patches are aligned."""
    rounds: int = 1
    """Attempts for an observation: first against its track's reference, then against others of the track that were
    aligned. A second and third give 4 % more observations on fountain-P11, and 0.24 pixels in place of 0.21."""
    max_pixels: int = 1 << 27
    """Pixels of the pictures kept in memory, 4 bytes each; at least two pictures are."""

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.max_pixels < 1:
            raise InputError("rounds and max_pixels have to be positive")


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where patches of a reference view are in a target view. All on the device, rejected ones included."""

    positions: Tensor
    """(n, 2) float32, pixels of the target; the start where the patch was rejected."""
    covariance: Tensor
    """(n, 2, 2) float32, of the position in the target given the one in the reference, pixels squared; zero where
    rejected."""
    warps: Tensor
    """(n, 2, 2) float32, derivatives of target pixels by reference pixels, as estimated; as given where rejected."""
    ncc: Tensor
    """(n,) float32, normalised cross-correlation of the two patches in the end."""
    shift: Tensor
    """(n,) float32, distance from the start, samples."""
    mask: Tensor
    """(n,) bool, whether the result is accepted."""

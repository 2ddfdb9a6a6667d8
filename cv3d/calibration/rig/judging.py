"""What a rig calibration is worth, in the manner of `cv3d.calibration.quality`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cv3d.calibration.quality import Level, Verdict

_FEW_FRAMES = 5
_SMALL_SHARE = 0.12
"""Extent of the board, in units of the image's larger side, below which it counts as far away."""
_SAME_TILT_DEG = 5.0
_APART = 1.3
"""Ratio of the joint noise to the cameras' own beyond which the rig does not hold still."""
_FAR_APART = 3.0
_NEGLIGIBLE_PX = 0.05
_EPIPOLAR_SIGMAS = 3.0


@dataclass(frozen=True)
class PairEvidence:
    """What is known of two cameras that see the board together."""

    name: str
    """E.g. "left and right"."""
    frames: int
    """Frames in which both saw it and were used."""
    extent_share: float
    """Typical extent of the board in these pictures, in units of the images' larger side."""
    tilt_spread_deg: float
    """Root mean square angle between the board's normals in these frames and their mean, degrees."""
    epipolar_px: float
    """Mean distance to epipolar planes as an angle times focal length, which is the same for any lens, pixels."""
    is_link: bool
    """Whether the pair is on a chain by which cameras are tied to the first."""


@dataclass(frozen=True)
class RigEvidence:
    """What the verdict is drawn from."""

    rms_px: float
    noise_px: float
    """Of the joint solution."""
    alone_noise_px: float
    """Of the cameras' own solutions."""
    width: int
    """Of the widest image, pixels."""
    transfer_px: float
    """How well it is known where the board's middle, seen by one camera, appears in another: worst standard deviation
    over the cameras that are tied directly, pixels; NaN where the data do not determine the rig."""
    focal_std_share: float
    """Worst relative standard deviation of a camera's focal length."""
    pairs: tuple[PairEvidence, ...]
    camera_advice: tuple[str, ...]
    """What single cameras need, each with the camera's name."""


def judge_rig(evidence: RigEvidence) -> Verdict:
    """The one sentence a user needs."""
    pixel = max(evidence.width / 1000.0, 0.5)
    if not math.isfinite(evidence.transfer_px):
        advice = ("add moments at which the board is seen tilted, near and far, by cameras that stand side by side",)
        sentence = "unobservable: the pictures do not determine the cameras and where they stand"
        return Verdict(Level.UNOBSERVABLE, f"{sentence}; {advice[0]}", advice)
    known = (
        f"a point at the board is carried from camera to camera to {evidence.transfer_px:.2f} px (1 sigma), "
        f"RMS {evidence.rms_px:.3f} px"
    )
    moved = _moved(evidence)
    advice_list = [*moved, *_pair_advice(evidence), *evidence.camera_advice]
    few = any(pair.is_link and pair.frames < _FEW_FRAMES for pair in evidence.pairs)
    ratio = evidence.noise_px / evidence.alone_noise_px if evidence.alone_noise_px > 0.0 else math.nan
    weak = evidence.transfer_px > 10.0 * pixel or evidence.focal_std_share > 0.05
    if weak or (moved and ratio > _FAR_APART):
        return Verdict(Level.POOR, _sentence("poor", known, advice_list), tuple(advice_list))
    sound = not (moved or few or evidence.camera_advice)
    if sound and evidence.transfer_px <= pixel and evidence.rms_px <= pixel:
        sentence = f"good: {known}"
        if advice_list:
            sentence += f"; to be surer still, {advice_list[0]}"
        return Verdict(Level.GOOD, sentence, tuple(advice_list))
    return Verdict(Level.USABLE, _sentence("usable", known, advice_list), tuple(advice_list))


def _moved(evidence: RigEvidence) -> list[str]:
    """Whether one rigid body explains the frames worse than the cameras explain them one by one."""
    excess = evidence.noise_px - evidence.alone_noise_px
    if not (evidence.noise_px > _APART * evidence.alone_noise_px and excess > _NEGLIGIBLE_PX):
        return []
    return [
        f"check that the cameras are fixed to each other and take their pictures at the same instant: together they "
        f"leave {evidence.noise_px:.2f} px of noise, alone {evidence.alone_noise_px:.2f} px"
    ]


def _pair_advice(evidence: RigEvidence) -> list[str]:
    advice = []
    for pair in evidence.pairs:
        if pair.is_link and pair.frames < _FEW_FRAMES:
            advice.append(
                f"add moments at which {pair.name} both see the board ({pair.frames} "
                f"{'is' if pair.frames == 1 else 'are'} used; 10 varied ones are enough)"
            )
        elif pair.is_link and pair.tilt_spread_deg < _SAME_TILT_DEG:
            advice.append(f"add moments at which {pair.name} see the board tilted in different directions")
        if pair.is_link and pair.extent_share < _SMALL_SHARE:
            advice.append(f"add moments at which {pair.name} see the board from nearer: it is small in both")
        if pair.epipolar_px > _EPIPOLAR_SIGMAS * evidence.noise_px:
            advice.append(
                f"check {pair.name}: corners miss their epipolar lines by {pair.epipolar_px:.2f} px, more than the "
                f"noise of {evidence.noise_px:.2f} px explains"
            )
    return advice


def _sentence(level: str, known: str, advice: Sequence[str]) -> str:
    rest = "; ".join(advice) if advice else "more common moments, closer to the board and sharper, would lower it"
    return f"{level}: {known}; {rest}"

"""What happened to the pictures between the sensor and the file: scaling, cropping, zoom, another camera."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from cv3d.calibration.checks.base import Finding, Severity, listed
from cv3d.calibration.checks.freedom import Tangents, free_for_all
from cv3d.calibration.solving import Solution
from cv3d.geometry.cameras import get_model
from cv3d.media.exif import CameraRecord

Size = tuple[int, int]

_SIGMAS = 5.0
_OFF_CENTRE = 0.08
"""Of the picture's width or height."""
_NOT_SQUARE = 0.01
_SAME_ASPECT = 0.005
_FEW_ROWS = 2
_SAME_FOCAL = 0.01
_FIELD_DIFFERS = 0.10
_SAME_ZOOM = 1.01
_FILM = (36.0, 24.0)
"""The frame that 35 mm equivalents refer to, mm."""
_EDITORS = ("photoshop", "lightroom", "gimp", "snapseed", "imagemagick", "picasa", "paint", "affinity", "pixelmator")


@dataclass(frozen=True)
class Lens:
    """What the calibration says about the camera as a whole, the board's shape left open."""

    focal: tuple[float, float]
    """Pixels per radian at the principal point, along x and y."""
    centre: tuple[float, float]
    """Principal point, pixels."""
    centre_std: tuple[float, float]
    """Its standard deviation, misfit counted."""
    aspect: float
    """fx / fy."""
    aspect_std: float


def axial_focal(solution: Solution) -> tuple[float, float]:
    """Pixels per radian on the lens's axis, along x and y, whatever the model calls its focal lengths."""
    forward = solution.state.params.new_tensor([[0.0, 0.0, 1.0]])
    _, by_point, _ = get_model(solution.model).project_with_jacobians(solution.state.params, forward)
    return float(by_point[0, 0, 0]), float(by_point[0, 1, 1])


def lens_of(solution: Solution, tangent: Tangents) -> Lens:
    """Focal lengths and principal point, with uncertainties that count misfit.

    Args:
        solution: a calibration at its minimum.
        tangent: its displacements.
    """
    params = solution.state.params
    # Errors of the lens model trade with the principal point, which is looked for without, and pass for pixels that
    # are not square, unless they are free.
    centred, shaped = free_for_all(tangent, "camera", held=("lens",)), free_for_all(tangent, "camera")
    cx, cy = (params[2:4] + centred.step[2:4]).tolist()
    fx, fy = (params[:2] + shaped.step[:2]).tolist()
    by_focal = torch.tensor([1.0 / fy, -fx / fy**2], dtype=torch.float64)
    variance = float(by_focal @ shaped.covariance[:2, :2] @ by_focal)
    std_x, std_y = centred.std[2:4].tolist()
    return Lens(axial_focal(solution), (cx, cy), (std_x, std_y), fx / fy, math.sqrt(max(variance, 0.0)))


def off_centre(lens: Lens, size: Size) -> Finding | None:
    """A principal point far from the middle of the picture, as cropping leaves it."""
    shares = []
    for centre, std, extent in zip(lens.centre, lens.centre_std, size, strict=True):
        share = (centre - 0.5 * (extent - 1)) / extent
        shares.append(share if abs(share) > _OFF_CENTRE and std * _SIGMAS < abs(share) * extent else 0.0)
    if not any(shares):
        return None
    x, y = shares
    # The principal point lies right of the middle where more was cut off on the left.
    sides = [side for value, side in ((x, "left"), (-x, "right"), (y, "top"), (-y, "bottom")) if value > 0]
    return Finding(
        kind="cropped",
        severity=Severity.WARNING,
        sentence=(
            f"the lens's axis is {100 * max(abs(x), abs(y)):.0f} % off the middle of the picture: if more was cropped "
            f"at the {' and the '.join(sides)}, calibrate pictures as the camera wrote them"
        ),
        figures={"off_x_percent": 100 * x, "off_y_percent": 100 * y},
    )


def not_square(lens: Lens) -> Finding | None:
    """Pixels that are wider than high, or higher than wide."""
    aspect = lens.aspect
    off = abs(aspect - 1.0)
    if not (off > _NOT_SQUARE and off > _SIGMAS * lens.aspect_std):
        return None
    return Finding(
        kind="pixels_not_square",
        severity=Severity.INFO,
        sentence=(
            f"pixels are not square: fx/fy = {aspect:.4f} ± {lens.aspect_std:.1g}; true of some analogue and "
            "anamorphic cameras, else the pictures were stretched after capture"
        ),
        figures={"fx_over_fy": aspect, "std": lens.aspect_std},
    )


def changed_sizes(sizes: Mapping[str, Size], common: Size) -> Finding | None:
    """Pictures of another size than most.

    Args:
        sizes: of every picture that shows the board, as displayed, by name.
        common: of most.
    """
    trimmed: list[str] = []
    scaled: list[str] = []
    cropped: list[str] = []
    for name, size in sizes.items():
        if sorted(size) != sorted(common):
            by_few = max(abs(a - b) for a, b in zip(sorted(size), sorted(common), strict=True)) <= _FEW_ROWS
            (trimmed if by_few else scaled if _alike(size, common) else cropped).append(name)
    if not trimmed and not scaled and not cropped:
        return None
    parts = []
    if trimmed:
        parts.append(f"{listed(trimmed)} differ by a row or column")
    if scaled:
        parts.append(f"{listed(scaled)} scaled")
    if cropped:
        parts.append(f"{listed(cropped)} cropped or of another camera or mode")
    few = f"{common[0]}x{common[1]}"
    return Finding(
        kind="sizes_differ",
        severity=Severity.INFO,
        sentence=f"pictures are not all {few}: {'; '.join(parts)}; the camera given is for {few}",
        figures={"trimmed": float(len(trimmed)), "scaled": float(len(scaled)), "cropped": float(len(cropped))},
        views=(*trimmed, *scaled, *cropped),
    )


def recorded_history(
    records: Mapping[str, CameraRecord], sizes: Mapping[str, Size], focal: tuple[float, float], common: Size
) -> list[Finding]:
    """What the files themselves say: other sizes than the camera wrote, zoom, several cameras, editors.

    Args:
        records: by picture's name.
        sizes: of the pictures, as displayed, by name.
        focal: as calibrated, pixels per radian on the axis, along x and y.
        common: the size that the calibration is for.
    """
    found = [
        _other_cameras(records),
        _zoomed(records),
        _digitally_zoomed(records),
        _resized(records, sizes),
        _other_field(records, sizes, focal, common),
    ]
    edited = [name for name, record in records.items() if any(e in record.software.lower() for e in _EDITORS)]
    if edited:
        found.append(
            Finding(
                "edited",
                Severity.INFO,
                f"{listed(edited)}: last written by {records[edited[0]].software}, which may have corrected the lens, "
                "cropped or scaled; calibrate pictures as the camera wrote them",
                views=tuple(edited),
            )
        )
    return [finding for finding in found if finding is not None]


def _other_cameras(records: Mapping[str, CameraRecord]) -> Finding | None:
    groups: dict[str, list[str]] = defaultdict(list)
    for name, record in records.items():
        if record.camera:
            groups[record.camera].append(name)
    if len(groups) < 2:
        return None
    ranked = sorted(groups.items(), key=lambda item: -len(item[1]))
    counts = ", ".join(f"{camera} ({len(names)})" for camera, names in ranked)
    strange = tuple(name for _, names in ranked[1:] for name in names)
    return Finding(
        "several_cameras",
        Severity.WARNING,
        f"the files come from different cameras: {counts}; calibrate each by itself ({listed(strange)})",
        {"cameras": float(len(groups))},
        strange,
    )


def _zoomed(records: Mapping[str, CameraRecord]) -> Finding | None:
    focal = {name: record.focal_mm for name, record in records.items() if record.focal_mm is not None}
    if not focal:
        return None
    usual = Counter(focal.values()).most_common(1)[0][0]
    other = tuple(name for name, value in focal.items() if abs(value / usual - 1.0) > _SAME_FOCAL)
    if not other:
        return None
    low, high = min(focal.values()), max(focal.values())
    return Finding(
        "zoom",
        Severity.WARNING,
        f"the files record focal lengths from {low:g} to {high:g} mm ({listed(other)} differ): "
        "calibrate one zoom setting or one lens of the phone at a time",
        {"focal_min_mm": low, "focal_max_mm": high},
        other,
        "take all pictures with one lens at one zoom",
    )


def _digitally_zoomed(records: Mapping[str, CameraRecord]) -> Finding | None:
    zoom = {n: r.digital_zoom for n, r in records.items() if r.digital_zoom is not None and r.digital_zoom > _SAME_ZOOM}
    if not zoom:
        return None
    most = max(zoom.values())
    return Finding(
        "digital_zoom",
        Severity.WARNING,
        f"{listed(tuple(zoom))}: taken with digital zoom (up to {most:.3g}x), a crop that is scaled up; switch it off",
        {"zoom": most},
        tuple(zoom),
    )


def _resized(records: Mapping[str, CameraRecord], sizes: Mapping[str, Size]) -> Finding | None:
    changed = {
        name: record.size
        for name, record in records.items()
        if record.size is not None and name in sizes and sorted(record.size) != sorted(sizes[name])
    }
    if not changed:
        return None
    name, written = next(iter(changed.items()))
    size = sizes[name]
    cropped = [n for n, wrote in changed.items() if not _alike(sizes[n], wrote)]
    what = "cropped (or squeezed)" if cropped else "scaled"
    return Finding(
        "cropped" if cropped else "scaled",
        Severity.WARNING if cropped else Severity.INFO,
        f"{listed(tuple(changed))}: {what} after capture: the camera wrote {written[0]}x{written[1]}, the file holds "
        f"{size[0]}x{size[1]}; the calibration is for pictures treated the same way only",
        {"written_width": float(written[0]), "width": float(size[0])},
        tuple(changed),
    )


def _other_field(
    records: Mapping[str, CameraRecord], sizes: Mapping[str, Size], calibrated: tuple[float, float], common: Size
) -> Finding | None:
    """A field of view other than the recorded 35 mm equivalent says, whichever way that was measured.

    Makers take the diagonal, as CIPA DCG-001 has it, or the longer side.
    """
    focal = [r.focal_35mm for name, r in records.items() if r.focal_35mm is not None and sizes.get(name) == common]
    if not focal:
        return None
    recorded = Counter(focal).most_common(1)[0][0]
    mean_focal = math.sqrt(calibrated[0] * calibrated[1])
    diagonal = mean_focal * math.hypot(*_FILM) / math.hypot(*common)
    longer = mean_focal * _FILM[0] / max(common)
    ratios = [diagonal / recorded, longer / recorded]
    # A recorded length is rounded to a millimetre.
    tolerance = _FIELD_DIFFERS + 0.5 / recorded
    if min(ratios) - 1.0 < tolerance and max(ratios) - 1.0 > -tolerance:
        return None
    narrower = min(ratios) > 1.0
    factor = min(ratios) if narrower else max(ratios)
    return Finding(
        "field_of_view",
        Severity.WARNING if narrower else Severity.INFO,
        f"the files record a {recorded:g} mm lens (35 mm equivalent), the pictures show a field of view as of "
        f"{factor * recorded:.0f} mm: "
        + (
            "cropped, zoomed digitally, or a video mode that crops"
            if narrower
            else "the record is of another lens, or the picture was stitched"
        ),
        {"recorded_mm": recorded, "calibrated_mm": factor * recorded},
    )


def _alike(size: Size, other: Size) -> bool:
    """Whether two sizes have one aspect, in either orientation."""
    a, b = sorted(size), sorted(other)
    return abs(a[0] * b[1] / (a[1] * b[0]) - 1.0) < _SAME_ASPECT

"""From the joint solution of a rig to the result that a user gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.calibration.boards import Board
from cv3d.calibration.checks.base import Severity
from cv3d.calibration.checks.board_shape import BOARD_SHAPE
from cv3d.calibration.framing import AS_IS
from cv3d.calibration.quality import Level, tilt
from cv3d.calibration.result import Calibration, Seconds, Warp
from cv3d.calibration.rig.alone import CameraAlone, alone_noise
from cv3d.calibration.rig.frames import Timeline
from cv3d.calibration.rig.joint import JointFit, Standing
from cv3d.calibration.rig.judging import PairEvidence, RigEvidence, judge_rig
from cv3d.calibration.rig.pairing import paired_corners
from cv3d.calibration.rig.problem import CameraViews
from cv3d.calibration.rig.result import CameraInRig, CameraPair, RigCalibration, RigFrame, RigView
from cv3d.calibration.rig.seeding import strongest_tree
from cv3d.calibration.rig.uncertainty import RigCovariance, rig_covariance
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.epipolar import axes_angle, baseline, epipolar_angles, epipolar_distances

Labels = dict[tuple[int, int], NDArray[np.int64]]
"""For a camera and a picture of it, what the points found in it are called, (n,)."""


@dataclass(frozen=True)
class FinishedRig:
    """Everything a joint estimation ends with."""

    board: Board
    cameras: tuple[CameraAlone, ...]
    timeline: Timeline
    fit: JointFit
    labels: Labels
    """Of every view that was placed."""
    warnings: tuple[str, ...]


def assemble_rig(finished: FinishedRig, seed: int) -> RigCalibration:
    """The result of a joint estimation, its times left at zero.

    Args:
        finished: the solution, the cameras alone, and the frames.
        seed: the seed it was run with, kept in the result.
    """
    return _Assembler(finished).run(seed)


class _Assembler:
    def __init__(self, finished: FinishedRig) -> None:
        self.finished = finished
        self.fit = finished.fit
        self.solution = finished.fit.solution
        self.state = self.solution.state
        self.poses = self.state.cam_from_cam0().numpy()
        self.cameras = [
            Camera(
                views.model.name,
                *alone.size,
                tuple(params.tolist()),
            )
            for alone, views, params in zip(finished.cameras, self.solution.cameras, self.state.params, strict=True)
        ]
        self.members = [{int(f): v for v, f in enumerate(views.frames.tolist())} for views in self.fit.standing.cameras]

    def run(self, seed: int) -> RigCalibration:
        covariance, trouble = rig_covariance(self.solution, self.fit.inflation)
        views = self._views()
        pairs = self._pairs(covariance)
        tree = strongest_tree(len(self.cameras), {(p.first, p.second): float(p.frames) for p in pairs})
        verdict = judge_rig(self._evidence(pairs, tree, covariance))
        warnings = [*self.finished.warnings, *trouble]
        if not self.solution.converged:
            warnings.append("the solver stopped before it had fully converged")
        inside = self.solution.problem.inside_domain(self.state)
        for alone, camera, is_inside in zip(self.finished.cameras, self.cameras, inside, strict=True):
            if not is_inside:
                warnings.append(
                    f"camera {alone.name}: the {camera.model} model folds within the corners seen: another model is "
                    "the safer choice"
                )
        return RigCalibration(
            board=self.finished.board,
            cameras=tuple(self._camera(c, tree, pairs, covariance) for c in range(len(self.cameras))),
            frames=self._frames(views),
            views=views,
            pairs=tuple(pairs),
            synchronisation=self.finished.timeline.synchronisation,
            rms_px=self.solution.rms_px,
            noise_px=self.solution.noise_px,
            warp=self._warp(covariance),
            verdict=verdict,
            seconds=Seconds(0.0, 0.0, 0.0),
            seed=seed,
            warnings=tuple(warnings),
        )

    def _camera(
        self, index: int, tree: dict[int, int], pairs: Sequence[CameraPair], covariance: RigCovariance
    ) -> CameraInRig:
        alone = self.finished.cameras[index]
        sees_first = any(pair.first == 0 and pair.second == index for pair in pairs)
        chain: list[str] = []
        if index > 0 and not sees_first:
            step = tree[index]
            while step != 0:
                chain.insert(0, self.finished.cameras[step].name)
                step = tree[step]
        return CameraInRig(
            name=alone.name,
            camera=self.cameras[index],
            covariance=covariance.params(index).numpy(),
            cam_from_cam0=self.poses[index],
            pose_covariance=covariance.pose(index).numpy(),
            rms_px=self.solution.camera_rms_px(index),
            alone=_as_in_rig(alone.calibration),
            held=alone.calibration is None,
            linked_through=tuple(chain),
        )

    def _views(self) -> tuple[RigView, ...]:
        moment = {
            (c, picture): f
            for f, one in enumerate(self.finished.timeline.moments)
            for c, picture in enumerate(one.members)
            if picture is not None
        }
        refused = {(one.camera, one.picture): one.reason for one in self.fit.refused}
        result = []
        for c, alone in enumerate(self.finished.cameras):
            residuals = self.fit.residuals()[c].numpy()
            seen = self.solution.cameras[c].observations.seen
            position = {int(p): v for v, p in enumerate(self.fit.standing.pictures[c].tolist())}
            for picture, candidate in enumerate(alone.finished.candidates):
                detection = candidate.seen.detection
                count = len(detection.point_ids)
                framing = candidate.framing or AS_IS
                v = position.get(picture)
                reason = refused.get((c, picture), candidate.reason)
                result.append(
                    RigView(
                        camera=c,
                        frame=moment.get((c, picture)),
                        picture=candidate.seen.picture,
                        reason=reason,
                        framing=framing,
                        point_ids=self.finished.labels.get((c, picture), detection.point_ids),
                        pixels=framing.apply(detection.pixels),
                        residuals=np.full((count, 2), math.nan) if v is None else residuals[v, :count],
                        outliers=np.zeros(count, bool) if v is None else ~seen[v, :count].numpy(),
                    )
                )
        return tuple(result)

    def _frames(self, views: Sequence[RigView]) -> tuple[RigFrame, ...]:
        boards = self.state.cam0_from_board().numpy()
        placed = self._blocks()
        own: list[list[int]] = [[] for _ in self.finished.timeline.moments]
        for index, view in enumerate(views):
            if view.frame is not None:
                own[view.frame].append(index)
        return tuple(
            RigFrame(moment.name, moment.time, tuple(own[f]), boards[placed[f]] if f in placed else None)
            for f, moment in enumerate(self.finished.timeline.moments)
        )

    def _blocks(self) -> dict[int, int]:
        """Of each moment that was used, which of the state's boards is its own.

        A view of a board that was too fast has a frame to itself, numbered after those that are moments.
        """
        standing = self.fit.standing
        block: dict[tuple[int, int], int] = {}
        for c, (views, pictures) in enumerate(zip(standing.cameras, standing.pictures, strict=True)):
            index = torch.searchsorted(standing.frames, views.frames)
            block.update({(c, p): k for p, k in zip(pictures.tolist(), index.tolist(), strict=True)})
        result = {}
        for f, moment in enumerate(self.finished.timeline.moments):
            own = [block[c, p] for c, p in enumerate(moment.members) if p is not None and (c, p) in block]
            if own:
                result[f] = min(own)
        return result

    def _pairs(self, covariance: RigCovariance) -> list[CameraPair]:
        pairs = []
        for second in range(len(self.cameras)):
            for first in range(second):
                frames = self._common_frames(first, second)
                if not frames:
                    continue
                relative = self.poses[second] @ inverse_rigid(self.poses[first])
                pixels = self._common_pixels(first, second)
                distances = epipolar_distances(self.cameras[first], self.cameras[second], relative, *pixels)
                distances = distances[np.isfinite(distances).all(axis=1)]
                pairs.append(
                    CameraPair(
                        first=first,
                        second=second,
                        frames=len(frames),
                        corners=len(pixels[0]),
                        epipolar_px=float(distances.mean()) if len(distances) else math.nan,
                        epipolar_rms_px=math.sqrt(float((distances**2).mean())) if len(distances) else math.nan,
                        baseline=baseline(relative),
                        baseline_std=covariance.baseline_std(first, second),
                        angle_deg=math.degrees(axes_angle(relative)),
                        second_from_first=relative,
                    )
                )
        return pairs

    def _common_frames(self, first: int, second: int) -> list[int]:
        return sorted(self.members[first].keys() & self.members[second].keys())

    def _common_pixels(self, first: int, second: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where each camera sees the corners that both see and that were used, (n, 2) each."""
        corners = paired_corners(self.solution.cameras[first], self.solution.cameras[second])
        return corners.pixels_first.numpy(), corners.pixels_second.numpy()

    def _warp(self, covariance: RigCovariance) -> Warp | None:
        estimated = self.solution.problem.deformation
        return Warp.of(estimated, self.state.warp, covariance.warp_std()) if estimated else None

    def _evidence(self, pairs: Sequence[CameraPair], tree: dict[int, int], covariance: RigCovariance) -> RigEvidence:
        links = {(min(a, b), max(a, b)) for a, b in tree.items()}
        focal = [
            math.sqrt(max(float(covariance.params(c)[0, 0]), 0.0)) / camera.params[0]
            for c, camera in enumerate(self.cameras)
            if not self.solution.cameras[c].held
        ]
        return RigEvidence(
            rms_px=self.solution.rms_px,
            noise_px=self.solution.noise_px,
            alone_noise_px=alone_noise(self.finished.cameras),
            width=max(camera.width for camera in self.cameras),
            transfer_px=_worst([self._transfer(old, new, covariance) for new, old in tree.items()]),
            focal_std_share=_worst(focal),
            pairs=tuple(self._pair_evidence(pair, (pair.first, pair.second) in links) for pair in pairs),
            camera_advice=tuple(
                f"camera {alone.name}: {alone.calibration.verdict.advice[0]}"
                for alone in self.finished.cameras
                if alone.calibration is not None
                and alone.calibration.verdict.level in (Level.POOR, Level.UNOBSERVABLE)
                and alone.calibration.verdict.advice
            ),
        )

    def _pair_evidence(self, pair: CameraPair, is_link: bool) -> PairEvidence:
        frames = self._common_frames(pair.first, pair.second)
        pixels = self._common_pixels(pair.first, pair.second)
        first, second = self.cameras[pair.first], self.cameras[pair.second]
        angles = epipolar_angles(first, second, pair.second_from_first, *pixels)
        focal = np.array([math.sqrt(camera.params[0] * camera.params[1]) for camera in (first, second)])
        extents = [
            [_extent(views, self.members[c][f]) / views.size for f in frames]
            for c, views in zip((pair.first, pair.second), self._both(pair), strict=True)
        ]
        standing: Standing = self.fit.standing
        index = torch.searchsorted(standing.frames, torch.tensor(frames))
        centre = torch.from_numpy(self.finished.board.points_m()).mean(dim=0)
        spread = tilt(self.state.frame_rotation[index], self.state.frame_translation[index], centre).spread_deg
        names = [self.finished.cameras[c].name for c in (pair.first, pair.second)]
        return PairEvidence(
            name=f"{names[0]} and {names[1]}",
            frames=pair.frames,
            extent_share=float(np.median(extents)),
            tilt_spread_deg=spread,
            # Where frames are not instants, corners miss their epipolar lines by the board's motion.
            epipolar_px=(
                float(np.nanmean(angles * focal))
                if np.isfinite(angles).any() and not self.solution.problem.asynchrony
                else math.nan
            ),
            is_link=is_link,
        )

    def _both(self, pair: CameraPair) -> tuple[CameraViews, CameraViews]:
        cameras = self.solution.cameras
        return cameras[pair.first], cameras[pair.second]

    def _transfer(self, first: int, second: int, covariance: RigCovariance) -> float:
        """How well the middle of the board is carried from one camera to another, typically, pixels."""
        frames = torch.tensor(self._common_frames(first, second))
        index = torch.searchsorted(self.fit.standing.frames, frames)
        own = self.state.of_camera(first, index)
        centre = torch.from_numpy(self.finished.board.points_m()).mean(dim=0)
        return float(covariance.transfer_std(first, second, own.rotation @ centre + own.translation).median())


def _extent(views: CameraViews, view: int) -> float:
    """The longer side of the box around a view's corners, pixels."""
    pixels = views.observations.pixels[view][views.observations.seen[view]]
    return float((pixels.amax(dim=0) - pixels.amin(dim=0)).max())


def _worst(values: Sequence[float]) -> float:
    """The largest value, NaN if any is; 0 of none."""
    return math.nan if any(map(math.isnan, values)) else max(values, default=0.0)


def _as_in_rig(alone: Calibration | None) -> Calibration | None:
    """A camera's own calibration without its word on the board's stretch, which is the rig's to say."""
    if alone is None:
        return None
    kept = [f for f in alone.findings if (f.kind, f.severity) != (BOARD_SHAPE, Severity.INFO)]
    return replace(alone, findings=tuple(kept))

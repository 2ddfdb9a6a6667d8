"""What bundle adjustment is given: cameras, poses, points, what was seen of them, and what is held."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.bundle.priors import GaussianPrior, PointPriors
from cv3d.geometry.cameras import Camera

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]
Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Views:
    """The pictures: each is one camera, carried by one pose.

    The cameras of a rig share its pose: two views of a stereo rig name the same pose, and `cam_from_rig` tells them
    apart. Without a rig every view has a pose of its own and that pose is `cam_from_world`.
    """

    pose: Ints
    """Which pose carries each view, (V,)."""
    camera: Ints
    """Which camera took each view, (V,)."""
    cam_from_rig: Floats | None = None
    """Where the camera sits on its rig, (V, 4, 4), known and not adjusted; None: the pose is the camera's own."""

    @staticmethod
    def one_per_pose(poses: int, camera: Ints | int = 0) -> Views:
        """Pictures that each have a pose of their own.

        Args:
            poses: number of poses, V.
            camera: which camera took each picture, (V,), or one for all.
        """
        return Views(np.arange(poses), np.broadcast_to(np.asarray(camera, np.intp), (poses,)))

    @staticmethod
    def of_rig(poses: int, cameras: int, cam_from_rig: Floats) -> Views:
        """Views of a rig: camera c of pose p is view `p * cameras + c`, taken by camera c.

        Args:
            poses: number of rig poses.
            cameras: cameras of the rig.
            cam_from_rig: (cameras, 4, 4).
        """
        pose = np.repeat(np.arange(poses), cameras)
        camera = np.tile(np.arange(cameras), poses)
        return Views(pose, camera, np.asarray(cam_from_rig, np.float64)[camera])


@dataclass(frozen=True, eq=False)
class Observations:
    """Where points were seen, and how well."""

    pixels: Floats
    """(N, 2), pixels."""
    view: Ints
    """Index of the view, (N,)."""
    point: Ints
    """Index of the point, (N,)."""
    sigma: Floats | float = 1.0
    """Standard deviation of one coordinate, (N,) or one for all, pixels. Not used where `covariance` is given."""
    covariance: Floats | None = None
    """Covariance of each observation, (N, 2, 2), pixels squared."""
    depth: Floats | None = None
    """Measured depth along the camera's z axis, (N,), in the unit of the points; NaN or 0 where there is none."""
    depth_sigma: Floats | float = 1.0
    """Standard deviation of the measured depth, (N,) or one for all, in the unit of the points."""

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class FreeIntrinsics:
    """Which parameters of one camera are adjusted."""

    names: tuple[str, ...] = ()
    """Names of the free parameters, of the model's `param_names`; none: the camera is held."""
    one_focal: bool = False
    """Whether fx and fy change in proportion, as one unknown; "fx" or "fy" in `names` then frees both."""

    @property
    def unknowns(self) -> int:
        """How many unknowns that makes."""
        focal = {"fx", "fy"} & set(self.names)
        return len(set(self.names) - focal) + (min(1, len(focal)) if self.one_focal else len(focal))


@dataclass(frozen=True, eq=False)
class BundleProblem:
    """A sum of squares over poses, points and intrinsics.

    The cost is half the sum of rho(|r|^2) over all observations, r being the pixel error in units of its standard
    deviation, plus the same for depths, plus the priors.
    """

    cameras: tuple[Camera, ...]
    """The cameras; views that share one share its intrinsics."""
    poses: Floats
    """rig_from_world, which is cam_from_world without a rig, (P, 4, 4)."""
    points: Floats
    """In the world, (M, 3)."""
    views: Views
    observations: Observations
    held_poses: Bools | None = None
    """Poses that stay as they are, (P,); None: none of them."""
    held_points: Bools | None = None
    """Points that stay as they are, (M,); None: none of them."""
    free_intrinsics: tuple[FreeIntrinsics, ...] = ()
    """One for each camera; empty: all cameras are held."""
    priors: tuple[GaussianPrior, ...] = ()
    """Joint Gaussian priors on poses and intrinsics, such as marginalisation leaves."""
    point_priors: PointPriors | None = field(default=None)
    """Gaussian priors on single points."""

    def check(self) -> None:
        """Whether the problem makes sense.

        Raises:
            InputError: shapes, indices or numbers are wrong; the message names the first culprit.
        """
        poses, points, seen = self.poses, self.points, self.observations
        if poses.ndim != 3 or poses.shape[1:] != (4, 4) or points.ndim != 2 or points.shape[1] != 3:
            raise InputError(f"poses are (P, 4, 4) and points (M, 3), not {poses.shape} and {points.shape}")
        count, views = len(seen), len(self.views.pose)
        _shape("pixels", seen.pixels, (count, 2))
        _shape("view", seen.view, (count,))
        _shape("point", seen.point, (count,))
        _shape("views.camera", self.views.camera, (views,))
        if self.views.cam_from_rig is not None:
            _shape("cam_from_rig", self.views.cam_from_rig, (views, 4, 4))
            _finite("cam_from_rig of view", self.views.cam_from_rig)
        _index("observation", "view", seen.view, views)
        _index("observation", "point", seen.point, len(points))
        _index("view", "pose", self.views.pose, len(poses))
        _index("view", "camera", self.views.camera, len(self.cameras))
        _finite("pose", poses)
        _finite("point", points)
        _finite("the pixel of observation", seen.pixels)
        _positive("sigma", seen.sigma, count)
        if seen.covariance is not None:
            _shape("covariance", seen.covariance, (count, 2, 2))
            a, b, c = seen.covariance[:, 0, 0], seen.covariance[:, 0, 1], seen.covariance[:, 1, 1]
            bad = ~((a > 0.0) & (a * c - b * b > 0.0) & np.isfinite(a + c))
            if bad.any():
                raise InputError(f"the covariance of observation {int(bad.argmax())} is not positive definite")
        if seen.depth is not None:
            _shape("depth", seen.depth, (count,))
            _positive("depth_sigma", seen.depth_sigma, count)
        for name, held, size in (
            ("held_poses", self.held_poses, len(poses)),
            ("held_points", self.held_points, len(points)),
        ):
            if held is not None:
                _shape(name, held, (size,))
        if self.free_intrinsics and len(self.free_intrinsics) != len(self.cameras):
            raise InputError(f"free_intrinsics has {len(self.free_intrinsics)} entries for {len(self.cameras)} cameras")
        for camera, free in zip(self.cameras, self.free_intrinsics, strict=False):
            if unknown := [name for name in free.names if name not in camera.lens.param_names]:
                raise InputError(f"camera model '{camera.model}' has no parameter {', '.join(unknown)}")
        unknowns = [free.unknowns for free in self.free_intrinsics] or [0] * len(self.cameras)
        for prior in self.priors:
            prior.check(len(poses), unknowns)
        if self.point_priors is not None:
            self.point_priors.check(len(points))

    def observation_counts(self) -> Ints:
        """How often each point was seen, (M,)."""
        return np.bincount(self.observations.point, minlength=len(self.points))


def is_measured(depth: Floats) -> Bools:
    """Whether there is a depth: finite and positive, (N,)."""
    with np.errstate(invalid="ignore"):
        measured: Bools = np.isfinite(depth) & (depth > 0.0)
    return measured


def _shape(name: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise InputError(f"{name} has shape {array.shape} where {shape} is needed")


def _index(of: str, name: str, index: Ints, size: int) -> None:
    if len(index) and (index.min() < 0 or index.max() >= size):
        bad = int(((index < 0) | (index >= size)).argmax())
        raise InputError(f"{of} {bad} names {name} {int(index[bad])}, but there are {size}")


def _finite(name: str, array: Floats) -> None:
    # A sum is finite only if every term is, which costs one pass and no array.
    if not np.isfinite(array.sum()):
        bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        raise InputError(f"{name} {int(bad.argmax())} is not finite")


def _positive(name: str, sigma: Floats | float, count: int) -> None:
    values = np.atleast_1d(np.asarray(sigma, np.float64))
    if values.shape not in ((1,), (count,)):
        raise InputError(f"{name} has shape {values.shape} where ({count},) is needed")
    bad = ~((values > 0.0) & (values < np.inf))
    if bad.any():
        raise InputError(f"{name} must be positive and finite; that of observation {int(bad.argmax())} is not")

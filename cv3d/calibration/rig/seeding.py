"""Where the cameras of a rig roughly sit: links between pairs, joined to chains from the first camera.

Two cameras that see one board at one moment tell their relative pose. What most moments of a pair agree on is the
pair's link; the cameras are placed along the strongest chain of links, and the board of each moment by the view that
explains the others best. Nothing is averaged before it is known to agree, so wrong pictures and labels do no harm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.calibration.boards import Board
from cv3d.calibration.deformation import undeformed
from cv3d.calibration.problem import spread_indices
from cv3d.calibration.rig.placed import PlacedCamera, common_views
from cv3d.calibration.rig.problem import RigState
from cv3d.calibration.rig.symmetry import Turn
from cv3d.geometry.transforms import SO3

AGREEING = 0.02
"""Median distance of corners up to which a relative pose found elsewhere explains a view, in units of the image's
larger side: views placed one by one, from afar, err by as much."""
_LEAST_SHARE = 0.25
"""Share of a pair's common frames that agree in a link to be believed."""
_HYPOTHESES = 24
_JUDGED_FRAMES = 60
_MEDIAN_STEPS = 10
_REFINEMENTS = 3


@dataclass(frozen=True)
class Link:
    """The relative pose of two cameras on which most of their common frames agree."""

    first: int
    second: int
    second_from_first: Tensor
    """(4, 4)."""
    common: int
    """Frames in which both see the board."""
    agreeing: int
    """How many of them agree on it."""

    @property
    def credible(self) -> bool:
        """Whether the agreement is no accident."""
        least = 1 if self.common == 1 else max(2, math.ceil(_LEAST_SHARE * self.common))
        return self.agreeing >= least


@dataclass(frozen=True)
class Start:
    """A first state of a rig, and the labels by which its cameras agree."""

    state: RigState
    labels: tuple[tuple[NDArray[np.int64], ...], ...]
    """Of each view of each camera, what each point of the board is to be called, (M,)."""


def find_links(cameras: Sequence[PlacedCamera], board: Board, turns: Sequence[Turn]) -> list[Link]:
    """The link of every pair of cameras that see the board together, credible or not."""
    links = []
    for second in range(len(cameras)):
        for first in range(second):
            link = _link(cameras, first, second, board, turns)
            if link is not None:
                links.append(link)
    return links


def _link(cameras: Sequence[PlacedCamera], first: int, second: int, board: Board, turns: Sequence[Turn]) -> Link | None:
    one, other = cameras[first], cameras[second]
    views_one, views_other = common_views(one, other)
    common = len(views_one)
    if common == 0:
        return None
    from_board, to_board = one.cam_from_board[views_one], other.cam_from_board[views_other]
    relative = _relative_poses(from_board, to_board, turns)
    limit = AGREEING * other.size

    def judged(poses: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Error (L, K) of relative poses (L, 4, 4) in common frames, and the labelling with which it is reached."""
        errors = other.pose_errors(views_other[frames], poses[:, None] @ from_board[frames], turns)
        return errors.min(dim=-1)

    hypotheses = relative[spread_indices(common, _HYPOTHESES)].flatten(0, 1)
    errors = judged(hypotheses, spread_indices(common, _JUDGED_FRAMES))[0]
    best = hypotheses[torch.clamp(errors, max=limit).sum(dim=-1).argmin()]
    every = torch.arange(common)
    errors, chosen = judged(best[None], every)
    centre = torch.from_numpy(board.points_m()).mean(dim=0)
    for _ in range(_REFINEMENTS):
        agreeing = torch.nonzero(errors[0] < limit)[:, 0]
        middle = _middle(
            relative[agreeing, chosen[0, agreeing]],
            from_board[agreeing] @ _homogeneous(centre),
            to_board[agreeing] @ _homogeneous(centre),
        )
        new_errors, new_chosen = judged(middle[None], every)
        if float(torch.clamp(new_errors, max=limit).sum()) >= float(torch.clamp(errors, max=limit).sum()):
            break
        best, errors, chosen = middle, new_errors, new_chosen
    return Link(first, second, best, common, int((errors[0] < limit).sum()))


def _relative_poses(from_board: Tensor, to_board: Tensor, turns: Sequence[Turn]) -> Tensor:
    """second_from_first by each frame under each relative labelling, (K, G, 4, 4).

    The board's middle is where the turns leave it, so that labels do not move it.
    """
    back = torch.stack([torch.linalg.inv(torch.from_numpy(turn.turned_from_board)) for turn in turns])
    return to_board[:, None] @ back @ _inverse(from_board)[:, None]


def _middle(poses: Tensor, centres_first: Tensor, centres_second: Tensor) -> Tensor:
    """The median of relative poses, (4, 4).

    The rotation minimises the sum of angles (Hartley et al. 2011, "L1 rotation averaging using the Weiszfeld
    algorithm"); the translation is the median of what then brings the board's middle from one camera to the other,
    which is known far better than the tilt of a board.
    """
    rotations = SO3.from_matrix(poses[:, :3, :3])
    start = torch.linalg.svd(poses[:, :3, :3].mean(dim=0))
    signs = torch.diag(torch.tensor([1.0, 1.0, float(torch.linalg.det(start.U @ start.Vh))], dtype=torch.float64))
    mean = SO3.from_matrix(start.U @ signs @ start.Vh)
    for _ in range(_MEDIAN_STEPS):
        away = (rotations @ mean.inverse()).log()
        weight = 1.0 / torch.clamp(torch.linalg.vector_norm(away, dim=-1, keepdim=True), min=1e-9)
        mean = SO3.exp((weight * away).sum(dim=0) / weight.sum()) @ mean
    result = torch.eye(4, dtype=torch.float64)
    result[:3, :3] = mean.as_matrix()
    result[:3, 3] = (centres_second[:, :3] - mean.apply(centres_first[:, :3])).median(dim=0).values
    return result


def strongest_tree(count: int, strength: dict[tuple[int, int], float]) -> dict[int, int]:
    """Prim's maximum spanning tree of the cameras that hang together with the first.

    Args:
        count: number of cameras.
        strength: of each linked pair (first < second).

    Returns:
        The camera before each one on its chain from the first, in the order of discovery; a camera that is not reached
        is missing.
    """
    before: dict[int, int] = {}
    reached = {0}
    while True:
        options = [
            (value, old, new)
            for pair, value in strength.items()
            for old, new in (pair, pair[::-1])
            if old in reached and new not in reached
        ]
        if not options:
            return before
        _, old, new = max(options, key=lambda option: (option[0], -option[1], -option[2]))
        before[new] = old
        reached.add(new)


def groups(count: int, linked: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The cameras that hang together, each group ascending, the first camera's group first."""
    member = list(range(count))
    for first, second in linked:
        old, new = sorted((member[first], member[second]), reverse=True)
        member = [new if group == old else group for group in member]
    return [[c for c in range(count) if member[c] == group] for group in sorted(set(member))]


def place(cameras: Sequence[PlacedCamera], links: Sequence[Link], frame_count: int, turns: Sequence[Turn]) -> Start:
    """A state of the rig from links that reach every camera.

    Args:
        cameras: the cameras.
        links: credible links.
        frame_count: number of frames F, each with at least one view.
        turns: the labellings that a board allows.
    """
    by_pair = {(link.first, link.second): link for link in links}
    before = strongest_tree(len(cameras), {pair: float(link.agreeing) for pair, link in by_pair.items()})
    poses = torch.eye(4, dtype=torch.float64).repeat(len(cameras), 1, 1)
    for camera, old in before.items():
        link = by_pair[min(old, camera), max(old, camera)]
        step = link.second_from_first if link.second == camera else _inverse(link.second_from_first)
        poses[camera] = step @ poses[old]
    cam0_from_board, chosen = _place_boards(cameras, poses, frame_count, turns)
    labels, corrections = _labels(cameras, chosen, frame_count, turns)
    cam0_from_board = cam0_from_board @ corrections
    state = RigState(
        params=tuple(camera.params for camera in cameras),
        warp=undeformed(),
        rotation=poses[:, :3, :3],
        translation=poses[:, :3, 3],
        frame_rotation=cam0_from_board[:, :3, :3],
        frame_translation=cam0_from_board[:, :3, 3],
    )
    return Start(state, labels)


def _place_boards(
    cameras: Sequence[PlacedCamera], cam_from_cam0: Tensor, frame_count: int, turns: Sequence[Turn]
) -> tuple[Tensor, Tensor]:
    """The board of each frame, by the view whose pose explains all views of the frame best.

    Returns:
        cam0_from_board, (F, 4, 4), under the labels of the view chosen, and the labelling of each camera's view that
        goes with it, (C, F), an index into `turns`.
    """
    scores = torch.full((len(cameras), frame_count), torch.inf, dtype=torch.float64)
    labelling = torch.zeros(len(cameras), len(cameras), frame_count, dtype=torch.int64)
    boards = torch.eye(4, dtype=torch.float64).repeat(len(cameras), frame_count, 1, 1)
    for a, source in enumerate(cameras):
        boards[a, source.frames] = _inverse(cam_from_cam0[a]) @ source.cam_from_board
        scores[a, source.frames] = 0.0
        for b, target in enumerate(cameras):
            if a == b:
                continue
            _, views = common_views(source, target)
            if len(views) == 0:
                continue
            frames = target.frames[views]
            predicted = cam_from_cam0[b] @ boards[a, frames]
            errors, turn = target.pose_errors(views, predicted[None], turns)[0].min(dim=-1)
            scores[a, frames] += torch.clamp(errors / (AGREEING * target.size), max=1.0)
            labelling[a, b, frames] = turn
    best = scores.argmin(dim=0)
    every = torch.arange(frame_count)
    return boards[best, every], labelling[best, :, every].T


def _labels(
    cameras: Sequence[PlacedCamera], chosen: Tensor, frame_count: int, turns: Sequence[Turn]
) -> tuple[tuple[tuple[NDArray[np.int64], ...], ...], Tensor]:
    """Labels of every view such that the first camera of each frame keeps its own.

    Returns:
        The labels, and what the pose of each frame's board is to be multiplied by from the right, (F, 4, 4).
    """
    keeper = np.full(frame_count, -1)
    for c in reversed(range(len(cameras))):
        keeper[cameras[c].frames.numpy()] = c
    corrections = torch.eye(4, dtype=torch.float64).repeat(frame_count, 1, 1)
    back = []
    for frame in range(frame_count):
        turn = turns[int(chosen[keeper[frame], frame])]
        corrections[frame] = torch.from_numpy(turn.turned_from_board)
        back.append(np.argsort(turn.point_ids))
    labels = tuple(
        tuple(back[f][turns[int(chosen[c, f])].point_ids] for f in camera.frames.tolist())
        for c, camera in enumerate(cameras)
    )
    return labels, corrections


def _inverse(b_from_a: Tensor) -> Tensor:
    turned = b_from_a[..., :3, :3].transpose(-1, -2)
    result = torch.zeros_like(b_from_a)
    result[..., :3, :3] = turned
    result[..., :3, 3] = -(turned @ b_from_a[..., :3, 3, None])[..., 0]
    result[..., 3, 3] = 1.0
    return result


def _homogeneous(point: Tensor) -> Tensor:
    return torch.cat([point, torch.ones(1, dtype=point.dtype)])

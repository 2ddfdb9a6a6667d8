"""Where the search may start without any guess: along a spanning tree, or from relaxed linear problems."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order

from cv3d.geometry.pose_graph.graph import Pose, PoseGraph
from cv3d.geometry.pose_graph.system import Floats, GraphPattern
from cv3d.geometry.transforms import SO3, Sim3


def along_a_tree(graph: PoseGraph[Pose]) -> Pose:
    """Poses by the fewest measurements from the fixed frames, one after the other.

    Args:
        graph: connected, as :meth:`PoseGraph.check_connected` sees.
    """
    nodes = len(graph)
    poses = graph.world_from_node.as_matrix().numpy().copy()
    forward = graph.first_from_second.as_matrix().numpy()
    backward = graph.first_from_second.inverse().as_matrix().numpy()
    roots = np.flatnonzero(graph.fixed)
    # A root of all fixed frames comes last. Of several measurements of one pair the first counts.
    edges = np.arange(1, len(graph.first) + 1)
    links: dict[tuple[int, int], int] = {}
    for number, a, b in zip(edges.tolist(), graph.first.tolist(), graph.second.tolist(), strict=True):
        links.setdefault((a, b), number)
        links.setdefault((b, a), -number)
    rows = np.concatenate([graph.first, np.full(len(roots), nodes)])
    cols = np.concatenate([graph.second, roots])
    adjacency = coo_matrix((np.ones(len(rows)), (rows, cols)), shape=(nodes + 1, nodes + 1)).tocsr()
    order, before = breadth_first_order(adjacency, nodes, directed=False)
    for node in order.tolist():
        parent = int(before[node]) if node < nodes else -1
        if 0 <= parent < nodes and not graph.fixed[node]:
            number = links[parent, node]
            poses[node] = poses[parent] @ (forward[number - 1] if number > 0 else backward[-number - 1])
    return type(graph.world_from_node).from_matrix(torch.from_numpy(poses))


def relaxed(graph: PoseGraph[Pose], pattern: GraphPattern) -> Pose:
    """Poses by three linear problems: scales, then rotations, then translations.

    Rotations are relaxed to any matrices and the nearest rotations taken after (Martinec and Pajdla 2007, "Robust
    rotation and translation estimation in multiview reconstruction"; Carlone et al. 2015, "Initialization techniques
    for 3D SLAM"). The optimum of graphs with moderate noise is nearby, wherever the frames are thought to be.

    Args:
        graph: connected, as :meth:`PoseGraph.check_connected` sees.
        pattern: of its free frames.
    """
    scales = _scales(graph, pattern)
    rotations = _rotations(graph, pattern)
    translations = _translations(graph, pattern, rotations, scales)
    parts = [SO3.from_matrix(torch.from_numpy(rotations)).wxyz, torch.from_numpy(translations)]
    if isinstance(graph.world_from_node, Sim3):
        parts.append(torch.from_numpy(scales)[:, None])
    return type(graph.world_from_node)(torch.cat(parts, dim=-1))


def _scales(graph: PoseGraph[Pose], pattern: GraphPattern) -> Floats:
    """Scales, (N,): those whose logarithms differ as measured."""
    if not isinstance(graph.first_from_second, Sim3) or not isinstance(graph.world_from_node, Sim3):
        return np.ones(len(graph))
    weight = graph.information[:, 6, 6].numpy().clip(min=1e-12)
    known = np.where(graph.fixed, np.log(graph.world_from_node.scale().numpy()), 0.0)
    measured = np.log(graph.first_from_second.scale().numpy())
    solved = _linear(
        graph,
        pattern,
        weight[:, None, None],
        np.ones((len(weight), 1, 1)),
        measured[:, None, None],
        known[:, None, None],
    )
    return np.exp(solved[:, 0, 0])


def _rotations(graph: PoseGraph[Pose], pattern: GraphPattern) -> Floats:
    """Rotation matrices, (N, 3, 3): Y_j = R_ij^T Y_i for the transposed ones."""
    weight = torch.einsum("eii->e", graph.information[:, 3:6, 3:6]).numpy().clip(min=1e-12) / 3.0
    measured = graph.first_from_second.rotation().as_matrix().numpy()
    known = graph.world_from_node.rotation().as_matrix().numpy().transpose(0, 2, 1)
    none = np.zeros((len(weight), 3, 3))
    solved = _linear(
        graph,
        pattern,
        weight[:, None, None] * np.eye(3),
        measured.transpose(0, 2, 1),
        none,
        known * graph.fixed[:, None, None],
    )
    u, _, vt = np.linalg.svd(solved.transpose(0, 2, 1))
    u[:, :, 2] *= np.linalg.det(u @ vt)[:, None]
    rotations: Floats = u @ vt
    rotations[graph.fixed] = known[graph.fixed].transpose(0, 2, 1)
    return rotations


def _translations(graph: PoseGraph[Pose], pattern: GraphPattern, rotations: Floats, scales: Floats) -> Floats:
    """Translations, (N, 3): t_j - t_i = s_i R_i t_ij."""
    turned = scales[graph.first, None, None] * rotations[graph.first]
    measured = graph.first_from_second.translation().numpy()
    seen = graph.first_from_second.rotation().as_matrix().numpy()
    if isinstance(graph.first_from_second, Sim3):
        seen = seen * graph.first_from_second.scale().numpy()[:, None, None]
    # The error is measured in the second frame: second_from_world brings it there.
    second_from_world = np.linalg.inv(turned @ seen)
    information = graph.information[:, :3, :3].numpy() + 1e-12 * np.eye(3)
    weight = second_from_world.transpose(0, 2, 1) @ information @ second_from_world
    known = np.where(graph.fixed[:, None], graph.world_from_node.translation().numpy(), 0.0)
    identity = np.tile(np.eye(3), (len(weight), 1, 1))
    solved = _linear(graph, pattern, weight, identity, turned @ measured[:, :, None], known[:, :, None])
    return solved[:, :, 0]


def _linear(
    graph: PoseGraph[Pose], pattern: GraphPattern, weight: Floats, factor: Floats, shift: Floats, known: Floats
) -> Floats:
    """Unknowns X (N, d, k) that minimise the sum of |X_j - A X_i - b|^2 in the norm of W.

    Args:
        graph: has the measurements' i and j.
        pattern: of its free frames.
        weight: W, (E, d, d).
        factor: A, (E, d, d).
        shift: b, (E, d, k).
        known: X of the fixed frames and 0 for the others, (N, d, k).
    """
    flipped = factor.transpose(0, 2, 1)
    residual = known[graph.second] - factor @ known[graph.first] - shift
    right = pattern.gathered(flipped @ weight @ residual, -(weight @ residual))
    diagonal = pattern.gathered(flipped @ weight @ factor, weight)
    blocks = -(flipped @ weight)[pattern.both]
    solved = pattern.with_size(weight.shape[1]).blocks.factor(diagonal, blocks).solve(right)
    return known + pattern.spread(solved)

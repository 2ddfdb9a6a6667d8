"""The last stage: from a graph of matches to a scene."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.features.matching import SetMatch
from cv3d.features.store import FeatureStore
from cv3d.geometry.cameras.camera import Camera
from cv3d.mapping.assembling import assemble, assemble_turned, left_out, view_graph
from cv3d.mapping.deepening import deepen
from cv3d.mapping.globally import map_globally
from cv3d.mapping.graph import MatchGraph, build_tracks
from cv3d.mapping.growing import Grower, GrowOptions
from cv3d.mapping.options import MapOptions, Mapper
from cv3d.mapping.preparing import CameraPlan, plan_cameras, with_pairs_geometry
from cv3d.mapping.refining import refine_map
from cv3d.mapping.relating import contradicting_pairs
from cv3d.mapping.scene import LeftOut, Scene
from cv3d.mapping.solving import Solved, complete, final_stage, map_incrementally
from cv3d.mapping.state import MapState
from cv3d.mapping.turned import Turned, find_turns
from cv3d.progress import Progress

_MANY = 30
"""Pictures from which on placing all at once saves time."""
_DENSE = 0.2
"""Share of all pairs that are verified, from which on the graph is dense enough for it."""
_KNOWN = 0.1
"""Relative deviation of focal lengths up to which rotations between pairs are right enough for it."""
_NEARLY_ALL = 0.95
"""Share of the pictures that have to be placed so."""


@dataclass(frozen=True)
class Placing:
    """Poses, points and intrinsics of one set of pictures."""

    graph: MatchGraph
    matched: SetMatch
    store: FeatureStore
    options: MapOptions
    compute: Compute
    progress: Progress

    def solve(self, camera: Camera | None) -> tuple[CameraPlan, Mapper, Solved]:
        """What is known of the cameras, and maps by one of the mappers."""
        graph, options = self.graph, self.options
        plan = plan_cameras(graph.pictures, graph.sizes, camera, options.shared_camera)
        plan = with_pairs_geometry(plan, graph)
        growing = replace(options.growing, seed=options.seed)
        trusted = graph.without(contradicting_pairs(graph, [plan.known[int(i)].camera for i in plan.camera_of]))
        return plan, *self._solved(trusted, plan, growing)

    def scene(self, plan: CameraPlan, mapper: Mapper, solved: Solved) -> Scene:
        """Maps completed, refined, and with reasons for what is left out."""
        graph = self.graph
        if not solved.maps and (turned := find_turns(graph, plan)) is not None:
            return self._turned(plan, turned)
        completed = [self._completed(state, plan, solved) for state in solved.maps]
        maps = [state for state in completed if state is not None]
        models = tuple(assemble(state, plan.known, final_stage(state), self._rgb) for state in maps)
        return Scene(
            models,
            left_out(graph, maps, solved.attempts),
            view_graph(graph, maps),
            mapper,
            seed=self.options.seed,
            device=self.compute.device.type,
        )

    def _solved(self, trusted: MatchGraph, plan: CameraPlan, growing: GrowOptions) -> tuple[Mapper, Solved]:
        """Maps, and by which mapper."""
        table = build_tracks(trusted)
        if self._is_global(trusted, plan):
            solved = map_globally(trusted, table, plan.known, plan.camera_of, growing, self.progress)
            placed = sum(int(state.placed.sum()) for state in solved.maps)
            if self.options.mapper is Mapper.GLOBAL or placed >= _NEARLY_ALL * int((trusted.degrees() > 0).sum()):
                return Mapper.GLOBAL, solved
            self.progress.info(f"the global mapper placed {placed} pictures; the incremental one begins anew")
        solved = map_incrementally(trusted, table, plan.known, plan.camera_of, growing, self.progress)
        return Mapper.INCREMENTAL, solved

    def _is_global(self, trusted: MatchGraph, plan: CameraPlan) -> bool:
        """Whether to place all pictures at once: where asked for, or with cameras known and many pairs of each."""
        if self.options.mapper is not Mapper.AUTO:
            return self.options.mapper is Mapper.GLOBAL
        is_known = all(one.focal_deviation <= _KNOWN for one in plan.known)
        count = int((trusted.degrees() > 0).sum())
        return is_known and count >= _MANY and 2 * len(trusted.pairs) >= _DENSE * count * (count - 1)

    def _completed(self, state: MapState, plan: CameraPlan, solved: Solved) -> MapState | None:
        """A map with more and longer tracks, and its observations refined; None where these do not look alike."""
        if self.options.deepen:
            taken = np.zeros(len(self.graph), np.bool_)
            for other in solved.maps:
                taken |= other.placed
            state = deepen(state, self._descriptors, self.compute, progress=self.progress)
            grower = Grower(state, plan.known, self.options.growing, self.progress, solved.attempts)
            complete(grower, taken & ~state.placed)
        refine = self.options.refine
        if refine and not refine_map(state, plan.known, final_stage(state), self._gray, self.compute, self.progress):
            for picture in np.flatnonzero(state.placed).tolist():
                solved.attempts.reasons[picture] = "what it seems to share with others does not look the same there"
            return None
        return state

    def _turned(self, plan: CameraPlan, turned: Turned) -> Scene:
        """A panorama: orientations without positions."""
        graph, lost = self.graph, np.flatnonzero(~turned.placed)
        reason, advice = "it does not hang together with the others", "turn less between pictures"
        outside = tuple(LeftOut(graph.pictures[i].name, graph.reasons[i] or reason, advice) for i in lost.tolist())
        doubt = (
            "the camera only turned: it is oriented in every picture, but without a motion nothing has a distance; "
            "walk a step between pictures"
        )
        self.progress.warn(doubt)
        return Scene(
            (assemble_turned(graph, plan, turned),),
            outside,
            view_graph(graph, ()),
            "rotation",
            warnings=(doubt,),
            seed=self.options.seed,
            device=self.compute.device.type,
        )

    def _gray(self, picture: int) -> NDArray[np.uint8]:
        return self.graph.pictures[picture].read_gray().array

    def _rgb(self, picture: int) -> NDArray[np.uint8]:
        return self.graph.pictures[picture].read_rgb().array

    def _descriptors(self, picture: int) -> NDArray[np.generic]:
        image_id = self.matched.pictures[picture].image_id
        if image_id is None:
            raise RuntimeError(f"{self.graph.pictures[picture].name} has a place but no features")
        return self.store.descriptors(image_id)


def is_whole(graph: MatchGraph, solved: Solved) -> bool:
    """Whether all pictures with features have a place in one map."""
    featured = np.array([len(points) > 0 for points in graph.keypoints])
    return len(solved.maps) == 1 and bool((solved.maps[0].placed | ~featured).all())

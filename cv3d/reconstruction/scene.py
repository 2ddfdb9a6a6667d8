"""A scene with depth maps and a surface."""

from __future__ import annotations

from dataclasses import dataclass, fields

from cv3d.depth.posed import PosedSet
from cv3d.depth.result import DepthResult
from cv3d.fusion.view_result import ViewSurface
from cv3d.mapping.scene import Scene


@dataclass(frozen=True, eq=False)
class DenseScene(Scene):
    """A reconstructed scene; of its largest model, depth and surface, as far as the stages went."""

    posed: PosedSet | None = None
    """The pictures that depth was estimated of."""
    depth: DepthResult | None = None
    """Their depth maps."""
    surface: ViewSurface | None = None
    """The surface of all maps, in the largest model's world."""


def as_dense(scene: Scene) -> DenseScene:
    """A scene without depth and surface yet."""
    return DenseScene(**{one.name: getattr(scene, one.name) for one in fields(Scene)})

"""Stages and quality of a reconstruction."""

from __future__ import annotations

import pytest

from cv3d.depth.options import DepthOptions, Quality
from cv3d.errors import UsageError
from cv3d.fusion.view_options import ViewSurfaceOptions
from cv3d.mapping.options import MapOptions
from cv3d.mapping.options import Stage as MapStage
from cv3d.reconstruction.options import ORDER, ReconstructOptions, Stage


def test_stages_of_the_mapping_are_the_first_ones() -> None:
    assert [stage.value for stage in MapStage] == [stage.value for stage in ORDER[:4]]


@pytest.mark.parametrize(
    ("begin", "end", "first", "last"),
    [
        (None, Stage.SURFACE, None, MapStage.POSES),
        (Stage.MATCHES, Stage.SURFACE, MapStage.MATCHES, MapStage.POSES),
        (Stage.DEPTH, Stage.SURFACE, None, MapStage.POSES),
        (None, Stage.FEATURES, None, MapStage.FEATURES),
    ],
)
def test_the_mapping_gets_its_part_of_the_stages(
    begin: Stage | None, end: Stage, first: MapStage | None, last: MapStage
) -> None:
    options = ReconstructOptions(from_stage=begin, to_stage=end, resume=False, mapping=MapOptions(seed=3))
    assert options.map_options == MapOptions(from_stage=first, to_stage=last, resume=False, seed=3)


def test_stages_are_reached_and_redone_in_order() -> None:
    options = ReconstructOptions(from_stage=Stage.POSES, to_stage=Stage.DEPTH)
    assert [options.redoes(stage) for stage in ORDER] == [False, False, False, True, True, True]
    assert [options.reaches(stage) for stage in ORDER] == [True, True, True, True, True, False]
    assert all(ReconstructOptions(resume=False).redoes(stage) for stage in ORDER)


def test_the_last_stage_does_not_come_before_the_first() -> None:
    with pytest.raises(UsageError, match="comes before"):
        ReconstructOptions(from_stage=Stage.SURFACE, to_stage=Stage.DEPTH)


def test_quality_says_how_much_work_there_is_unless_options_do() -> None:
    made = [ReconstructOptions(quality=quality) for quality in Quality]
    assert [one.depth_options.max_side for one in made] == sorted({one.depth_options.max_side for one in made})
    assert [one.surface_options.max_cells for one in made] == sorted({one.surface_options.max_cells for one in made})
    assert ReconstructOptions(mapping=MapOptions(seed=7)).depth_options.seed == 7
    depth, surface = DepthOptions(max_side=300), ViewSurfaceOptions(voxel=0.1)
    own = ReconstructOptions(depth=depth, surface=surface)
    assert (own.depth_options, own.surface_options) == (depth, surface)

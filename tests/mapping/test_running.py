"""The whole way from a clip or pictures to a scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cv3d.errors import InputError, UsageError
from cv3d.formats.posed_pictures import read_posed_pictures
from cv3d.formats.trajectories import read_trajectory
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.mapping.options import MapOptions, Mapper, Stage
from cv3d.mapping.running import reconstruct
from cv3d.mapping.scene import IntrinsicsSource, Scene
from tests.mapping.simulated import centre_errors

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
OPTIONS = MapOptions(max_frames=8, up=False)
FOCAL = 525.3


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return reconstruct(SAMPLES / "room.mp4", tmp_path_factory.mktemp("room"), options=OPTIONS)


def poses_and_truth(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    truth = read_trajectory(SAMPLES / "room_trajectory.tum")
    images = scene.models[0].images
    rows = [int(np.argmin(np.abs(truth.times - (image.picture.time or 0.0)))) for image in images]
    return np.stack([image.cam_from_world for image in images]), inverse_rigid(truth.world_from_cam[rows])


def test_a_clip_without_calibration_is_placed_to_a_fraction_of_a_per_mille(room: Scene) -> None:
    assert len(room.models) == 1
    assert room.registered == room.total == 8
    poses, truth = poses_and_truth(room)
    assert centre_errors(poses, truth).max() < 2e-3
    camera = room.models[0].cameras[0]
    assert camera.source is IntrinsicsSource.ESTIMATED
    assert camera.camera.params[0] == pytest.approx(FOCAL, rel=0.005)
    assert 0.0 < camera.deviations[0] < 0.01 * FOCAL
    assert room.models[0].mean_reprojection_px < 0.2


def test_points_are_coloured_and_every_observation_fits(room: Scene) -> None:
    model = room.models[0]
    assert len(model.points) > 800
    assert model.colors.std() > 20.0
    assert model.reprojection_errors().max() < 2.0
    assert model.observation_count == sum(int((image.points >= 0).sum()) for image in model.images)
    counts = np.zeros(len(model.points), int)
    for image in model.images:
        np.add.at(counts, image.points[image.points >= 0], 1)
    assert counts.min() >= 2


def test_a_second_run_takes_what_the_first_has_found(room: Scene) -> None:
    assert room.folder is not None
    again = reconstruct(SAMPLES / "room.mp4", room.folder, options=OPTIONS)
    assert again.seconds[Stage.FEATURES] < 0.5 * room.seconds[Stage.FEATURES]
    one, two = (poses_and_truth(scene)[0] for scene in (room, again))
    assert np.array_equal(one, two)


def test_stages_end_where_they_are_told(room: Scene) -> None:
    assert room.folder is not None
    frames = reconstruct(SAMPLES / "room.mp4", room.folder, options=replace(OPTIONS, to_stage=Stage.FRAMES))
    assert (frames.total, frames.models) == (8, ())
    matches = reconstruct(SAMPLES / "room.mp4", room.folder, options=replace(OPTIONS, to_stage=Stage.MATCHES))
    assert len(matches.graph.pairs) >= 10
    with pytest.raises(UsageError, match="comes before"):
        MapOptions(from_stage=Stage.POSES, to_stage=Stage.FRAMES)


def test_one_picture_is_too_few(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 100), np.uint8))
    with pytest.raises(InputError, match=r"there is a\.png alone; poses need two pictures"):
        reconstruct(tmp_path, options=OPTIONS)


@pytest.mark.slow
def test_pictures_of_noise_share_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(4):
        noise = np.full((480, 640), 128) + rng.normal(0.0, 1.0, (480, 640))
        cv2.imwrite(str(tmp_path / f"{number}.png"), noise.astype(np.uint8))
    scene = reconstruct(tmp_path, options=OPTIONS)
    assert scene.models == ()
    assert len(scene.left_out) == 4
    assert all(one.reason and one.advice for one in scene.left_out)


@pytest.mark.slow
@pytest.mark.parametrize("mapper", [Mapper.INCREMENTAL, Mapper.GLOBAL])
def test_fountain_is_as_exact_as_published(mapper: Mapper, data_root: Path) -> None:
    folder = data_root / "views" / "fountain-P11"
    truth = {posed.file.name: posed for posed in read_posed_pictures(folder).pictures}
    camera = next(iter(truth.values())).camera
    scene = reconstruct(folder / "images", options=replace(OPTIONS, mapper=mapper), camera=camera)
    images = scene.models[0].images
    assert len(images) == 11
    poses = np.stack([image.cam_from_world for image in images])
    true = np.stack([truth[Path(image.picture.name).name].cam_from_world for image in images])
    # COLMAP's incremental mapper with the same camera: 0.020 % of the extent, root mean square.
    assert np.sqrt((centre_errors(poses, true) ** 2).mean()) < 2.5e-4
    assert scene.models[0].cameras[0].source is IntrinsicsSource.GIVEN
    assert scene.models[0].cameras[0].camera == camera


@pytest.mark.slow
def test_fountain_calibrates_itself(data_root: Path) -> None:
    folder = data_root / "views" / "fountain-P11"
    scene = reconstruct(folder / "images", options=OPTIONS)
    camera = scene.models[0].cameras[0].camera
    assert len(scene.models[0].images) == 11
    assert camera.params[0] == pytest.approx(2759.5, rel=0.002)
    assert camera.params[2:4] == pytest.approx((1520.7, 1006.8), abs=6.0)

"""Sources of posed pictures: read alike whatever wrote them, and believed only as far as the pictures bear them out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from cv3d.compute import Compute
from cv3d.depth.posed import PosedSet
from cv3d.depth.sources import read_posed_set, read_posed_source
from cv3d.depth.sources.pictures import StoredPicture, open_picture
from cv3d.errors import EstimationError, InputError, PictureError
from cv3d.formats.colmap_reconstruction import ReconstructedImage, Reconstruction, write_reconstruction
from cv3d.formats.colmap_text import write_text
from cv3d.formats.nerfstudio_frames import write_set
from cv3d.formats.posed_pictures import PosedPicture
from cv3d.geometry.cameras.camera import Camera

from .conftest import Room

CPU = Compute.choose("cpu")


def written(room: Room, folder: Path, change: Callable[[int, PosedPicture], PosedPicture] | None = None) -> Path:
    """A folder with a transforms.json of the room's pictures."""
    folder.mkdir(exist_ok=True)
    pictures = [one if change is None else change(i, one) for i, one in enumerate(room.pictures)]
    write_set(folder / "transforms.json", pictures)
    return folder


def read(room: Room, folder: Path) -> PosedSet:
    return read_posed_set(folder, work=room.matches, compute=CPU)


def turned(one: PosedPicture, degrees: float) -> PosedPicture:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(np.radians([degrees, 0.3 * degrees, 0.0])).as_matrix()
    return replace(one, cam_from_world=turn @ one.cam_from_world)


def modelled(posed: PosedSet, camera: Camera | None = None) -> Reconstruction:
    """What COLMAP would hold of a set."""
    images = []
    for view in posed.views:
        seen = posed.points[view.points] @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
        pixels = np.concatenate([view.camera.project(seen), [[1.5, 2.5]]])
        name = Path(view.picture.name).name
        images.append(ReconstructedImage(name, 0, view.cam_from_world, pixels, np.append(view.points, -1)))
    count = len(posed.points)
    colors = np.zeros((count, 3), np.uint8)
    return Reconstruction((camera or posed.views[0].camera,), tuple(images), posed.points, colors, np.zeros(count))


@pytest.fixture(scope="module")
def posed(room: Room, tmp_path_factory: pytest.TempPathFactory) -> PosedSet:
    """The room as matching and triangulation under its true poses give it."""
    return read(room, written(room, tmp_path_factory.mktemp("true")))


def test_true_poses_give_points_on_the_surface(room: Room, posed: PosedSet, project_root: Path) -> None:
    assert len(posed.views) == len(room.pictures)
    assert posed.warnings == ()
    assert len(posed.points) > 200
    assert all(len(view.points) > 30 for view in posed.views)
    distances = surface(project_root / "data" / "samples" / "room_mesh.ply")
    # A pixel of 525 at 2.5 m, seen under some ten degrees.
    assert np.median(distances(posed.points)) < 0.02


def surface(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The distance of points from a mesh, metres."""
    from cv3d.formats.meshes import read_mesh
    from cv3d.geometry.triangle_tree import TriangleTree

    mesh = read_mesh(path)
    tree = TriangleTree(mesh)
    return lambda points: np.asarray(tree.nearest(points).distances)


def test_a_point_is_where_its_views_see_it(posed: PosedSet) -> None:
    counts = np.zeros(len(posed.points), int)
    for view in posed.views:
        assert len(np.unique(view.points)) == len(view.points)
        seen = posed.points[view.points] @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
        assert (seen[:, 2] > 0.0).all()
        pixels = view.camera.project(seen)
        assert ((pixels > -3.0) & (pixels < (643.0, 483.0))).all()
        counts[view.points] += 1
    assert counts.min() >= 2


def test_one_wrong_pose_of_six_is_told_and_left_out(room: Room, tmp_path: Path) -> None:
    folder = written(room, tmp_path, lambda i, one: turned(one, 6.0) if i == 3 else one)
    source = read_posed_source(folder, work=room.matches, compute=CPU)
    assert len(source.posed.views) == 5
    (warning,) = source.posed.warnings
    assert warning.startswith("the pose of 1 of 6 pictures does not fit the pictures: ")
    assert "036.png, median error" in warning
    (left,) = source.left_out
    assert left.name.endswith("036.png")
    assert "does not fit" in left.reason


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (lambda i, one: replace(one, cam_from_world=np.diag([1.0, -1, -1, 1]) @ one.cam_from_world), "OpenGL"),
        (lambda i, one: replace(one, cam_from_world=np.linalg.inv(one.cam_from_world)), "inverted"),
        (lambda i, one: turned(one, 25.0 * (i - 2.4)), "check the convention of the axes"),
    ],
    ids=["OpenGL", "inverted", "chance"],
)
def test_poses_of_which_none_fits_are_an_error(
    room: Room, tmp_path: Path, change: Callable[[int, PosedPicture], PosedPicture], advice: str
) -> None:
    with pytest.raises(EstimationError, match="the poses do not fit the pictures") as caught:
        read(room, written(room, tmp_path, change))
    assert advice in str(caught.value)


@pytest.mark.parametrize("form", ["binary", "text"])
@pytest.mark.parametrize("layout", ["sparse/0", "sparse", "."])
def test_a_model_of_colmap_says_the_same(room: Room, posed: PosedSet, tmp_path: Path, form: str, layout: str) -> None:
    (tmp_path / "images").symlink_to(room.folder / "images")
    (write_reconstruction if form == "binary" else write_text)(tmp_path / layout, modelled(posed))
    again = read_posed_set(tmp_path, compute=CPU)
    assert again.warnings == ()
    assert not again.is_metric
    np.testing.assert_allclose(again.points, posed.points, atol=1e-9)
    for view, other in zip(again.views, posed.views, strict=True):
        assert view.picture.source.resolve() == other.picture.source.resolve()
        assert view.camera == other.camera
        np.testing.assert_allclose(view.cam_from_world, other.cam_from_world, atol=1e-12)
        np.testing.assert_array_equal(view.points, other.points)


def test_a_model_of_resized_pictures_is_scaled(room: Room, posed: PosedSet, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for one in room.pictures:
        whole = cv2.imread(str(one.file))
        assert whole is not None
        small = cv2.resize(whole, (320, 240), interpolation=cv2.INTER_AREA)
        assert cv2.imwrite(str(tmp_path / "images" / one.name), small)
    write_reconstruction(tmp_path / "sparse" / "0", modelled(posed))
    again = read_posed_set(tmp_path, compute=CPU)
    assert {(view.camera.width, view.camera.height) for view in again.views} == {(320, 240)}
    np.testing.assert_allclose(again.points, posed.points, atol=1e-9)
    assert again.warnings == ()


def test_a_camera_of_another_focal_length_does_not_fit(room: Room, posed: PosedSet, tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(room.folder / "images")
    write_reconstruction(tmp_path / "sparse" / "0", modelled(posed))
    other = Camera("pinhole", 640, 480, (700.0, 700.0, 320.0, 240.0))
    with pytest.raises(EstimationError, match="the poses do not fit the pictures: median error"):
        read_posed_set(tmp_path, camera=other, compute=CPU)


def test_what_is_missing_or_broken_is_left_out_with_a_reason(room: Room, posed: PosedSet, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for one in room.pictures[2:]:
        (tmp_path / "images" / one.name).symlink_to(one.file)
    (tmp_path / "images" / "000.png").write_bytes(b"no picture")
    write_reconstruction(tmp_path / "sparse" / "0", modelled(posed))
    source = read_posed_source(tmp_path, compute=CPU)
    assert len(source.posed.views) == 4
    reasons = {left.name: left.reason for left in source.left_out}
    assert "not there" in reasons["012.png"]
    assert "not a picture" in reasons["000.png"]


def test_other_worlds_of_a_project_are_named(room: Room, posed: PosedSet, tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(room.folder / "images")
    for number in (0, 1):
        write_reconstruction(tmp_path / "sparse" / str(number), modelled(posed))
    (warning,) = read_posed_set(tmp_path, compute=CPU).warnings
    assert "sparse/1" in warning
    assert read_posed_set(tmp_path / "sparse" / "1", compute=CPU).warnings == ()


def test_pictures_elsewhere_are_found_by_images(room: Room, posed: PosedSet, tmp_path: Path) -> None:
    write_reconstruction(tmp_path / "project" / "sparse" / "0", modelled(posed))
    with pytest.raises(InputError, match="--images"):
        read_posed_set(tmp_path / "project", compute=CPU)
    again = read_posed_set(tmp_path / "project", images=room.folder / "images", compute=CPU)
    assert len(again.views) == 6


def test_the_scale_of_an_own_reconstruction_is_known(room: Room, posed: PosedSet, tmp_path: Path) -> None:
    write_reconstruction(tmp_path / "sparse" / "0", modelled(posed))
    said = {"schema": "cv3d.reconstruct/1", "scale": "board", "images": {"folder": str(room.folder / "images")}}
    (tmp_path / "result.json").write_text(json.dumps(said))
    assert read_posed_set(tmp_path, compute=CPU).is_metric


def test_folders_without_poses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no poses"):
        read_posed_set(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        read_posed_set(tmp_path / "nothing")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_seen_as_it_is_stored(orientation: int, tmp_path: Path) -> None:
    stored = np.zeros((24, 40, 3), np.uint8)
    stored[:12, :20, 0], stored[:12, 20:, 1], stored[12:, :20, 2] = 250, 250, 250
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    picture, camera = open_picture("a.jpg", tmp_path / "a.jpg", Camera("pinhole", 40, 24, (30.0, 30.0, 20.0, 12.0)))
    assert isinstance(picture, StoredPicture) == (orientation > 1)
    assert (camera.width, camera.height) == (40, 24)
    assert np.abs(picture.read_rgb().array.astype(int) - stored).max() < 12
    assert picture.read_gray().array.shape == (24, 40)


def test_a_camera_of_the_upright_size_gets_the_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((24, 40, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    picture, _ = open_picture("a.jpg", tmp_path / "a.jpg", Camera("pinhole", 24, 40, (30.0, 30.0, 12.0, 20.0)))
    assert picture.read_rgb().array.shape == (40, 24, 3)
    with pytest.raises(PictureError, match="another shape"):
        open_picture("a.jpg", tmp_path / "a.jpg", Camera("pinhole", 30, 40, (30.0, 30.0, 12.0, 20.0)))


@pytest.mark.slow
def test_the_fountain_of_strecha_fits_its_poses(data_root: Path, tmp_path: Path) -> None:
    folder = data_root / "views" / "fountain-P11"
    if not folder.is_dir():
        pytest.skip("no views/fountain-P11 among the real data")
    source = read_posed_source(folder, work=tmp_path, compute=CPU)
    assert len(source.posed.views) == 11
    assert source.posed.warnings == ()
    assert source.left_out == ()
    assert len(source.posed.points) > 3000
    assert any(tmp_path.iterdir())

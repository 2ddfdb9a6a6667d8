"""BAL problems: the convention, what is refused, and the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.sparse import coo_array
from scipy.spatial.transform import Rotation

from cv3d.errors import FormatError, InputError
from cv3d.formats.bal import decode, read_bal
from cv3d.geometry.bundle import BundleOptions, BundleProblem, adjust_bundle

TINY = """2 2 4
0 0 -12.5 8.0
1 0 3.0 -4.0
0 1 20.0 30.0
1 1 1.0 2.0
0.1 -0.2 0.05 0.3 -0.1 -4.0 500.0 -0.1 0.02
0.0 0.1 0.2 -0.2 0.3 -5.0 520.0 0.05 -0.01
0.2 0.3 -0.1
-0.4 0.1 0.5
"""


def numbers_of(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = np.array(text.split(), float)
    cameras, _, count = values[:3].astype(int)
    seen = values[3 : 3 + 4 * count].reshape(-1, 4)
    rest = values[3 + 4 * count :]
    return seen, rest[: 9 * cameras].reshape(-1, 9), rest[9 * cameras :].reshape(-1, 3)


def as_published(cameras: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Pixels of points as the format's authors define them: one camera (n, 9) and point (n, 3) for each."""
    angle = np.linalg.norm(cameras[:, :3], axis=1, keepdims=True)
    axis = cameras[:, :3] / np.where(angle > 0.0, angle, 1.0)
    turned = np.cos(angle) * points + np.sin(angle) * np.cross(axis, points)
    turned += (1.0 - np.cos(angle)) * (axis * points).sum(axis=1, keepdims=True) * axis
    moved = turned + cameras[:, 3:6]
    p = -moved[:, :2] / moved[:, 2:]
    squared = (p**2).sum(axis=1)
    pixels: np.ndarray = (cameras[:, 6] * (1.0 + cameras[:, 7] * squared + cameras[:, 8] * squared**2))[:, None] * p
    return pixels


def errors_of(problem: BundleProblem) -> np.ndarray:
    return adjust_bundle(problem, BundleOptions(max_iterations=0)).errors


def test_errors_are_those_of_the_published_convention() -> None:
    seen, cameras, points = numbers_of(TINY)
    expected = as_published(cameras[seen[:, 0].astype(int)], points[seen[:, 1].astype(int)]) - seen[:, 2:]
    np.testing.assert_allclose(errors_of(decode(TINY)), expected * [1.0, -1.0], atol=1e-10)


def test_pictures_hold_their_observations() -> None:
    problem = decode(TINY)
    for view, pixel in zip(problem.observations.view, problem.observations.pixels, strict=True):
        camera = problem.cameras[view]
        assert 0.0 <= pixel[0] <= camera.width - 1
        assert 0.0 <= pixel[1] <= camera.height - 1
        np.testing.assert_allclose(camera.matrix[:2, 2], [(camera.width - 1) / 2, (camera.height - 1) / 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "should begin with"),
        ("2 2", "should begin with"),
        ("a b c", "is no BAL problem"),
        ("0 2 4\n", "should begin with"),
        (TINY.rsplit("\n", 2)[0], "numbers where its first line promises"),
        (TINY.replace("1 1 1.0 2.0", "2 1 1.0 2.0"), "names camera 2, but there are 2"),
        (TINY.replace("0 1 20.0", "0 -1 20.0"), "names point"),
        (TINY.replace("-0.4 0.1 0.5", "-0.4 nan 0.5"), "not finite"),
        (TINY.replace("520.0", "-520.0"), "focal length of camera 1"),
    ],
)
def test_what_is_no_problem_is_refused(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message) as raised:
        decode(text, "problem.txt")
    assert str(raised.value).startswith("problem.txt: ")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.txt"):
        read_bal(tmp_path / "none.txt")


def test_dubrovnik_fits_exactly(data_root: Path) -> None:
    # Three cameras with seven points each: fewer equations than unknowns.
    problem = read_bal(data_root / "graphs" / "dubrovnik-3-7-pre.txt")
    result = adjust_bundle(problem, BundleOptions(max_iterations=200))
    assert result.initial_cost == pytest.approx(2764.22, rel=1e-5)
    assert result.final_cost < 1e-12


LADYBUG_OPTIMUM = 13308.405
"""Least cost of the observations that begin in front of their camera."""


@pytest.mark.slow
def test_ladybug_reaches_its_optimum(data_root: Path) -> None:
    problem = read_bal(data_root / "graphs" / "ladybug-49-7776-pre.txt")
    assert (len(problem.poses), len(problem.points), len(problem.observations)) == (49, 7776, 31843)
    result = adjust_bundle(problem, BundleOptions(relative_decrease=1e-8, max_iterations=200, threads=1))
    assert result.used.sum() == 31812
    # pycolmap with Ceres 2.2, which leaves the same 31 observations out: 8.508021e+05 to 1.330842e+04.
    assert result.initial_cost == pytest.approx(8.508021e5, rel=1e-6)
    assert result.final_cost < 1.330842e4
    assert result.final_cost == pytest.approx(LADYBUG_OPTIMUM, rel=1e-5)


@pytest.mark.slow
def test_nothing_better_is_near_the_optimum_of_ladybug(data_root: Path) -> None:
    """SciPy, with the published formula and derivatives by differences, finds no lower cost from there."""
    path = data_root / "graphs" / "ladybug-49-7776-pre.txt"
    result = adjust_bundle(read_bal(path), BundleOptions(relative_decrease=1e-10, max_iterations=300, threads=1))
    seen = numbers_of(path.read_text())[0][result.used]
    camera, point = seen[:, 0].astype(int), seen[:, 1].astype(int)
    turned = result.poses * np.array([1.0, -1.0, -1.0, 1.0])[:, None]
    intrinsics = np.array([c.params for c in result.cameras])[:, [0, 4, 5]]
    vectors = Rotation.from_matrix(turned[:, :3, :3]).as_rotvec()
    start = np.concatenate([np.hstack([vectors, turned[:, :3, 3], intrinsics]).ravel(), result.points.ravel()])
    count, split = len(turned), 9 * len(turned)

    def errors(unknowns: np.ndarray) -> np.ndarray:
        cameras, points = unknowns[:split].reshape(count, 9), unknowns[split:].reshape(-1, 3)
        return (as_published(cameras[camera], points[point]) - seen[:, 2:]).ravel()

    assert 0.5 * (errors(start) ** 2).sum() == pytest.approx(result.final_cost, rel=1e-9)
    rows = np.arange(2 * len(seen)).reshape(-1, 2, 1)
    columns = np.hstack([9 * camera[:, None] + np.arange(9), split + 3 * point[:, None] + np.arange(3)])[:, None]
    rows, columns = (a.ravel() for a in np.broadcast_arrays(rows, columns))
    pattern = coo_array((np.ones(len(rows)), (rows, columns)), shape=(2 * len(seen), len(start))).tocsr()
    better = least_squares(
        errors, start, jac_sparsity=pattern, x_scale="jac", method="trf", ftol=1e-12, xtol=1e-14, max_nfev=15
    )
    assert better.cost > result.final_cost * (1.0 - 1e-5)

"""`cv3d evaluate matches` from the shell: every kind of truth, its JSON, its files, its failures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.geometry.cameras.rig import inverse_rigid

Main = Callable[..., SimpleNamespace]

FRAMES = (0, 20, 40)
SIFT = ("--extractor", "sift", "--max-keypoints", "800", "--device", "cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def room(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames of the rendered room, undistorted, with a transforms.json and a list of pairs.

    In the list's second line the pictures are stored lying on their sides, and the line says how they are set upright.
    """
    folder = tmp_path_factory.mktemp("room")
    samples = project_root / "data" / "samples"
    truth = json.loads((samples / "room_ground_truth.json").read_text())
    params = truth["camera"]["params"]
    matrix = np.array([[params["fx"], 0.0, params["cx"]], [0.0, params["fy"], params["cy"]], [0.0, 0.0, 1.0]])
    distortion = np.array([params[key] for key in ("k1", "k2", "p1", "p2", "k3")])
    video = cv2.VideoCapture(str(samples / "room.mp4"))
    read = [video.read()[1] for _ in range(max(FRAMES) + 1)]
    video.release()
    frames, poses, pictures = [], [], []
    for index in FRAMES:
        pictures.append(cv2.undistort(read[index], matrix, distortion))
        cv2.imwrite(str(folder / f"{index}.png"), pictures[-1])
        poses.append(np.array(truth["frames"][index]["world_from_cam"]))
        opengl = poses[-1] @ np.diag([1.0, -1.0, -1.0, 1.0])
        frames.append({"file_path": f"{index}.png", "transform_matrix": opengl.tolist()})
    content = {"fl_x": params["fx"], "fl_y": params["fy"], "cx": params["cx"] + 0.5, "cy": params["cy"] + 0.5}
    (folder / "transforms.json").write_text(json.dumps(content | {"w": 640, "h": 480, "frames": frames}))

    between = inverse_rigid(poses[1]) @ poses[0]
    upright = _line("0.png", "20.png", (0, 0), matrix, matrix, between)
    quarter = np.array([[0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    # Stored clockwise by a quarter: pixel (x, y) of the upright picture is at (479 - y, x) of the stored one.
    cv2.imwrite(str(folder / "lying.jpeg"), np.rot90(pictures[1], 3))
    lying = np.array([[matrix[1, 1], 0.0, 479.0 - matrix[1, 2]], [0.0, matrix[0, 0], matrix[0, 2]], [0.0, 0.0, 1.0]])
    turned = _line("0.png", "lying.jpeg", (0, 1), matrix, lying, quarter.T @ between)
    (folder / "pairs.txt").write_text(f"{upright}\n{turned}\n")
    return folder


def _line(
    first: str,
    second: str,
    turns: tuple[int, int],
    matrix0: NDArray[np.float64],
    matrix1: NDArray[np.float64],
    pose: NDArray[np.float64],
) -> str:
    numbers = np.concatenate([matrix0.ravel(), matrix1.ravel(), pose.ravel()])
    return f"{first} {second} {turns[0]} {turns[1]} " + " ".join(f"{number:.9g}" for number in numbers)


@pytest.fixture
def wall(room: Path, tmp_path: Path) -> Path:
    """A sequence of HPatches: one picture, and how it looks from two other sides."""
    folder = tmp_path / "v_wall"
    folder.mkdir()
    picture = cv2.imread(str(room / "0.png"))
    for number, tilt in ((1, 0.0), (2, 2e-4), (3, 5e-4)):
        homography = np.array([[1.0, 0.05 * (number - 1), 5.0], [0.0, 1.0, -3.0], [tilt, 0.5 * tilt, 1.0]])
        homography = homography if number > 1 else np.eye(3)
        cv2.imwrite(str(folder / f"{number}.ppm"), cv2.warpPerspective(picture, homography, (640, 480)))
        if number > 1:
            np.savetxt(folder / f"H_1_{number}", homography)
    return folder


def test_a_folder_with_poses(cv3d_main: Main, room: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = cv3d_main(
        "evaluate",
        "matches",
        str(room),
        *SIFT,
        "--json",
        "-o",
        str(out),
        "--require",
        "auc10>60",
        "--require",
        "failures<1",
    )
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result["schema"] == "cv3d.evaluate_matches/1"
    assert (result["kind"], result["pairs"], result["failures"]) == ("pose", 3, [])
    assert set(result["auc"]) == {"5", "10", "20"}
    assert 60.0 < result["auc"]["10"] <= 100.0
    assert result["precision"] > 80.0
    assert set(result["ms"]) == {"extract", "match", "verify"}
    assert min(result["ms"].values()) > 0.0
    assert result["settings"]["matcher"] == "ratio"
    assert json.loads((out / "result.json").read_text()) == result
    rows = list(csv.DictReader((out / "pairs.csv").read_text().splitlines()))
    assert [row["pair"] for row in rows] == ["0.png 20.png", "0.png 40.png", "20.png 40.png"]
    assert all(float(row["error_deg"]) < 10.0 for row in rows)
    again = cv3d_main("evaluate", "matches", str(room), *SIFT, "-o", str(out))
    assert again.code == 1
    assert "--overwrite" in again.err


def test_a_list_whose_second_line_has_to_be_turned(cv3d_main: Main, room: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--pairs", str(room / "pairs.txt"), *SIFT)
    outcome = cv3d_main("evaluate", "matches", *arguments, "-o", str(out))
    assert outcome.code == 0, outcome.err
    assert "sift + ratio on 2 pairs" in outcome.out
    assert max(map(len, outcome.out.splitlines()[:-1])) <= 80
    upright, turned = csv.DictReader((out / "pairs.csv").read_text().splitlines())
    assert float(upright["error_deg"]) < 3.0
    # The same pixels up to a JPEG: nothing of the geometry may differ by more than noise.
    assert float(turned["error_deg"]) < 3.0
    assert float(turned["correct"]) == pytest.approx(float(upright["correct"]), rel=0.1)


def test_homographies(cv3d_main: Main, wall: Path) -> None:
    outcome = cv3d_main("evaluate", "matches", str(wall), *SIFT, "--json")
    result = json.loads(outcome.out)
    assert (result["kind"], result["pairs"]) == ("homography", 2)
    assert set(result["auc"]) == {"1", "3", "5"}
    assert result["auc"]["3"] > 80.0
    assert result["precision"] > 80.0


def test_a_figure_below_its_bound_is_3_and_failed_pairs_are_told(cv3d_main: Main, room: Path, tmp_path: Path) -> None:
    lines = (room / "pairs.txt").read_text().splitlines()
    (tmp_path / "pairs.txt").write_text(f"{lines[0]}\n{lines[0].replace('20.png', 'absent.png')}\n")
    outcome = cv3d_main(
        "evaluate",
        "matches",
        "--pairs",
        str(tmp_path / "pairs.txt"),
        "--images",
        str(room),
        *SIFT,
        "--require",
        "auc5>99",
    )
    assert outcome.code == 3
    assert "1 of 2 pairs failed:" in outcome.out
    assert "absent.png: cannot be read" in outcome.out
    assert "auc5>99 is required, but auc5 is" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "nothing to evaluate on"),
        (("--images", "x"), 2, "nothing to evaluate on"),
        (("x", "--images", "y"), 2, "--images goes with --pairs"),
        (("x", "--extractor", "surf"), 2, "no extractor is called 'surf'"),
        (("x", "--matcher", "glue"), 2, "no matcher is called 'glue'"),
        (("x", "--matcher", "lightglue-aliked"), 2, "takes features of aliked, not of xfeat"),
        (("x", "--require", "rms<1"), 2, "no figure 'rms'"),
        (("x", "--resize", "9"), 1, "32 at least"),
        (("x", "--max-error", "0"), 1, "positive"),
        (("nowhere",), 1, "nowhere: no such folder"),
        (("--pairs", "nowhere.txt"), 1, "nowhere.txt: cannot be read"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: tuple[str, ...], code: int, message: str, cv3d_main: Main) -> None:
    outcome = cv3d_main("evaluate", "matches", *arguments, "--device", "cpu")
    assert (outcome.code, outcome.out) == (code, "")
    assert len(outcome.err.splitlines()) == 1
    assert message in outcome.err

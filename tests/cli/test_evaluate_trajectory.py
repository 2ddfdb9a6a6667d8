"""`cv3d evaluate trajectory` as a user meets it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from cv3d.formats.trajectories import read_trajectory, write_trajectory
from cv3d.geometry.trajectory import Trajectory

Cv3d = Callable[..., SimpleNamespace]


@pytest.fixture
def files(tmp_path: Path) -> SimpleNamespace:
    """A reference, and an estimate of half its scale that jitters by a centimetre."""
    rng = np.random.default_rng(5)
    n = 150
    poses = np.tile(np.eye(4), (n, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.cumsum(0.05 * rng.normal(size=(n, 3)), axis=0)).as_matrix()
    poses[:, :3, 3] = np.cumsum(rng.normal(size=(n, 3)), axis=0)
    reference = Trajectory(np.arange(n) / 10.0, poses)
    noisy = poses.copy()
    noisy[:, :3, 3] += 0.01 * rng.normal(size=(n, 3))
    estimate = Trajectory(reference.times, noisy).scaled(0.5)
    write_trajectory(tmp_path / "est.tum", estimate)
    write_trajectory(tmp_path / "ref.csv", reference, "euroc")
    return SimpleNamespace(est=str(tmp_path / "est.tum"), ref=str(tmp_path / "ref.csv"), tmp=tmp_path, n=n)


def test_figures_for_a_person_and_for_a_program(cv3d_main: Cv3d, files: SimpleNamespace) -> None:
    before = sorted(files.tmp.rglob("*"))
    done = cv3d_main("evaluate", "trajectory", files.est, files.ref, "--align", "sim3")
    assert done.code == 0, done.err
    assert done.out.startswith("ATE 0.0")
    assert "alignment sim3, scale 1.99983" in done.out
    assert all(len(line) <= 100 for line in done.out.splitlines())
    result = json.loads(cv3d_main("evaluate", "trajectory", files.est, files.ref, "--align", "sim3", "--json").out)
    assert result["schema"] == "cv3d.evaluate_trajectory/1"
    assert result["ate"]["translation_m"]["rmse"] == pytest.approx(0.01 * np.sqrt(3.0), rel=0.1)
    assert result["alignment"]["scale"] == pytest.approx(2.0, rel=1e-3)
    assert result["association"] == {
        "max_diff_s": 0.01,
        "offset_s": 0.0,
        "by": "time",
        "matched": files.n,
        "estimate_poses": files.n,
        "reference_poses": files.n,
    }
    assert result["tracked_fraction"] == 1.0
    assert result["rpe"]["pairs"] == files.n - 1
    assert result["drift"]["segments"] > 0
    assert sorted(files.tmp.rglob("*")) == before


def test_a_folder_of_results(cv3d_main: Cv3d, files: SimpleNamespace) -> None:
    out = files.tmp / "out"
    arguments = ("evaluate", "trajectory", files.est, files.ref, "--align", "sim3", "-o", str(out))
    done = cv3d_main(*arguments, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == json.loads((out / "result.json").read_text())
    assert sorted(json.loads(done.out)["files"]) == sorted(path.name for path in out.iterdir())
    aligned = read_trajectory(out / "estimate_aligned.tum")
    gaps = np.linalg.norm(aligned.positions - read_trajectory(files.ref).positions, axis=1)
    with (out / "per_pose.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    np.testing.assert_allclose([float(row["ate_m"]) for row in rows], gaps, atol=1e-9)
    assert [row["rpe_m"] != "" for row in rows] == [False, *[True] * (files.n - 1)]
    again = cv3d_main(*arguments)
    assert again.code == 1
    assert "--overwrite" in again.err


@pytest.mark.parametrize("name", ["path.png", pytest.param("path.pdf", marks=pytest.mark.slow)])
def test_a_plot_and_a_table_alone(name: str, cv3d_main: Cv3d, files: SimpleNamespace) -> None:
    plot, table = files.tmp / name, files.tmp / "poses.csv"
    done = cv3d_main("evaluate", "trajectory", files.est, files.ref, "--plot", str(plot), "--per-pose", str(table))
    assert done.code == 0, done.err
    assert len(table.read_text().splitlines()) == files.n + 1
    if name.endswith("png"):
        picture = np.asarray(Image.open(plot).convert("RGB"))
        # The path is drawn in more than one colour, beside greys.
        saturated = np.ptp(picture.astype(int), axis=2) > 60
        assert saturated.mean() > 0.003
    else:
        assert plot.read_bytes().startswith(b"%PDF")


def test_gates(cv3d_main: Cv3d, files: SimpleNamespace) -> None:
    arguments = ("evaluate", "trajectory", files.est, files.ref, "--align", "sim3")
    assert cv3d_main(*arguments, "--require", "ate_rmse<0.05", "--require", "tracked_fraction>=1").code == 0
    done = cv3d_main(*arguments, "--require", "ate_rmse<0.001")
    assert done.code == 3
    assert "ate_rmse<0.001 is required, but ate_rmse is 0.01" in done.err
    unknown = cv3d_main(*arguments, "--require", "quality<1")
    assert unknown.code == 2
    assert "t_rel" in unknown.err
    nothing = cv3d_main(*arguments, "--delta", "1000000m", "--require", "rpe_rmse<1")
    assert nothing.code == 3
    assert "rpe_rmse is not known" in nothing.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--delta", "1mile"), 2, "write 10f (frames), 0.5s, 1m or 10deg"),
        (("--plot", "x.gif"), 2, ".png, .pdf, .svg"),
        (("--max-diff", "-1"), 2, "0 or more seconds"),
        (("--n-to-align", "1"), 2, "needs 3 poses"),
        (("--offset", "1000"), 1, "do not overlap in time"),
        (("--times", "none.txt"), 1, ""),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], code: int, message: str, cv3d_main: Cv3d, files: SimpleNamespace
) -> None:
    reference = files.ref
    if "--times" in arguments:
        reference = str(files.tmp / "ref.txt")
        write_trajectory(reference, read_trajectory(files.ref), "kitti")
    done = cv3d_main("evaluate", "trajectory", files.est, reference, *arguments)
    assert done.code == code, done.err
    assert message in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_torch_is_not_loaded_for_it(files: SimpleNamespace) -> None:
    """Trajectories are compared by the thousand, and torch takes longer to load than all the rest."""
    code = (
        "import sys; from cv3d.cli import main; "
        f"code = main(['evaluate', 'trajectory', {files.est!r}, {files.ref!r}, '-q']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

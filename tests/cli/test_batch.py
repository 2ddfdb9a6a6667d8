"""`cv3d batch` as a user meets it: real commands, dry runs, jobs files, exit codes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cv3d.cli.app import command_names
from cv3d.cli.batch import size_in_bytes, takes_output, with_options
from cv3d.errors import UsageError
from cv3d.formats.atomic import atomic_write_text

Main = Callable[..., SimpleNamespace]


@pytest.fixture
def cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two camera files and one that is none."""
    from cv3d import Camera
    from cv3d.formats.cv3d_camera import dumps

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cameras"
    for k, name in enumerate("ab"):
        camera = Camera("brown5", 640 + k, 480, (490.2, 491.0, 322.9, 235.6, -0.28, 0.09, 8e-4, -5e-4, -0.01))
        atomic_write_text(folder / f"{name}.json", dumps(camera))
    (folder / "c.json").write_text("{}")
    return folder


@pytest.mark.slow
def test_a_command_on_many_inputs(cv3d_main: Main, tmp_path: Path, cameras: Path) -> None:
    command = ("batch", "convert", "cameras/*.json", "-o", "out", "--name", "{stem}.yaml", "-j", "1")
    outcome = cv3d_main(*command, "--json", "--", "--to", "opencv")
    assert outcome.code == 1
    result = json.loads(outcome.out)
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["schema"], result["total"], result["done"], result["failed"]) == ("cv3d.batch/1", 3, 2, 1)
    assert [failure["input"] for failure in result["failures"]] == ["cameras/c.json"]
    assert "1 of 3 jobs failed" in outcome.err
    assert "%YAML" in (tmp_path / "out" / "a.yaml").read_text()
    rows = list(csv.DictReader((tmp_path / "out" / "summary.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["done", "done", "failed"]
    (cameras / "c.json").write_text((cameras / "a.json").read_text())
    again = cv3d_main(*command, "--", "--to", "opencv")
    assert again.code == 0, again.err
    assert "3 jobs: 1 done, 2 done before" in again.out


def test_a_failing_job_is_counted_and_done_again(
    cv3d_main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cv3d_main("batch", "schema", "match", "nonsense", "-o", "out", "-j", "1", "--json")
    assert outcome.code == 1
    result = json.loads(outcome.out)
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["schema"], result["total"], result["done"], result["failed"]) == ("cv3d.batch/1", 2, 1, 1)
    assert [failure["input"] for failure in result["failures"]] == ["nonsense"]
    assert "1 of 2 jobs failed" in outcome.err
    rows = list(csv.DictReader((tmp_path / "out" / "summary.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["done", "failed"]
    again = json.loads(cv3d_main("batch", "schema", "match", "nonsense", "-o", "out", "-j", "1", "--json").out)
    assert (again["done"], again["skipped"], again["failed"]) == (0, 1, 1)


def test_a_dry_run_writes_nothing(cv3d_main: Main, tmp_path: Path, cameras: Path) -> None:
    outcome = cv3d_main("batch", "convert", "cameras/*.json", "--dry-run", "--seed", "3", "--", "--to", "a b")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].startswith("3 jobs; ")
    assert lines[1] == f"cv3d convert cameras/a.json --to 'a b' --seed 3 -o {tmp_path}/convert_batch/a"
    assert [path.name for path in tmp_path.iterdir()] == ["cameras"]
    asked = cv3d_main("batch", "convert", "cameras/*.json", "--dry-run", "--json")
    assert json.loads(asked.out)["schema"] == "cv3d.batch_plan/1"


def test_inputs_from_stdin_and_commands_of_two_words(
    cv3d_main: Main, cameras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("b.tum\n\na.tum\n"))
    arguments = ("--dry-run", "--json", "--", "{input}", "truth/{stem}.tum", "--align", "sim3")
    outcome = cv3d_main("batch", "evaluate", "trajectory", "-", *arguments)
    assert outcome.code == 0, outcome.err
    commands = json.loads(outcome.out)["commands"]
    assert [command.partition(" -o ")[0] for command in commands] == [
        f"cv3d evaluate trajectory {name}.tum truth/{name}.tum --align sim3" for name in "ba"
    ]


def test_a_jobs_file(cv3d_main: Main, tmp_path: Path, cameras: Path) -> None:
    (tmp_path / "work.toml").write_text(
        '[[job]]\nrun = "convert"\ninput = "cameras/*.json"\nname = "{stem}.yaml"\nargs = "--to opencv"\n\n'
        '[[job]]\nrun = "frames"\ninput = "clip.mp4"\nargs = ["--device", "cpu"]\n'
    )
    outcome = cv3d_main("batch", "work.toml", "--dry-run", "--json", "--device", "cuda")
    assert outcome.code == 0, outcome.err
    plan = json.loads(outcome.out)
    assert (plan["total"], plan["out"]) == (4, "work_batch")
    assert plan["commands"][0].startswith("cv3d convert cameras/a.json --to opencv --device cuda -o ")
    assert plan["commands"][3].startswith("cv3d frames clip.mp4 --device cpu -o ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense", "a.mp4"), "'nonsense' is no command"),
        (("batch", "a.mp4"), "'batch' is no command"),
        (("frames",), "no input for frames"),
        (("frames", "a.mp4", "b/a.mp4"), "would both be written to 'a'"),
        (("frames", "a.mp4", "--name", "{colour}"), "unknown field {colour}"),
        (("frames", "a.mp4", "--memory", "much"), "is a size such as 4G"),
        (("frames", "a.mp4", "--timeout", "0"), "--timeout 0"),
        (("frames", "a.mp4", "--engine", "moon"), "--engine 'moon'"),
        (("frames", "a.mp4", "--address", "auto"), "add --engine ray"),
        (("jobs.toml", "a.mp4"), "jobs.toml says all"),
        (("frames", "a.mp4", "--jobs", "0"), "--jobs"),
    ],
)
def test_wrong_usage(
    cv3d_main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cv3d_main("batch", *arguments, "-o", "out")
    assert outcome.code == 2
    assert said in outcome.err


def test_nothing_matches(cv3d_main: Main, tmp_path: Path) -> None:
    outcome = cv3d_main("batch", "frames", f"{tmp_path}/*.mp4", "-o", str(tmp_path / "out"))
    assert outcome.code == 1
    assert "nothing matches" in outcome.err


def test_every_command_can_be_asked_whether_it_writes() -> None:
    asked = {name: takes_output(name) for name in command_names() if name != "batch"}
    assert asked["odometry"]
    assert not asked["doctor"]


@pytest.mark.parametrize(
    ("text", "size"), [("4G", 4 << 30), ("512M", 512 << 20), ("1.5GiB", 3 << 29), ("100kb", 102400)]
)
def test_sizes(text: str, size: int) -> None:
    assert size_in_bytes(text) == size
    with pytest.raises(UsageError):
        size_in_bytes("0")


def test_common_options_are_handed_on_unless_a_job_has_its_own() -> None:
    more = ("--device", "cuda", "--seed", "3")
    assert with_options(("--k", "1"), more) == ("--k", "1", *more)
    assert with_options(("--device=cpu",), more) == ("--device=cpu", "--seed", "3")

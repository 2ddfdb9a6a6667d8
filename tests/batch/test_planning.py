"""From what the user names to jobs: inputs, names, arguments, jobs files, digests, the plan in the journal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cv3d.batch.jobs import Job, State, Task, argument_list
from cv3d.batch.jobs_files import read_orders
from cv3d.batch.journal import Journal
from cv3d.batch.naming import check_template, fill, input_fields, output_name
from cv3d.batch.planning import Digester, Order, jobs_of
from cv3d.errors import FormatError, InputError, UsageError


def always(verb: str) -> bool:
    return verb != "doctor"


def jobs(*orders: Order, out: str = "out") -> list[Job]:
    return list(jobs_of(orders, always, out))


@pytest.mark.parametrize(
    ("source", "template", "name"),
    [
        ("clips/walk.mp4", "{stem}", "walk"),
        ("clips/walk.mp4", "{parent}_{name}", "clips_walk.mp4"),
        ("/data/seq.01/", "{stem}", "seq.01"),
        ("s3://bucket/day/walk.mov", "{parent}/{stem}{suffix}", "day/walk.mov"),
        ("walk.mp4", "{index:06d}-{verb}.tum", "000007-evaluate_trajectory.tum"),
    ],
)
def test_names(source: str, template: str, name: str) -> None:
    check_template(template)
    assert output_name(template, input_fields(source, 7, "evaluate trajectory"), source) == name


def test_the_folder_of_an_input_is_its_whole_path() -> None:
    assert fill("{folder}/truth.txt", input_fields("a/b/c.mp4", 0, "x")) == "a/b/truth.txt"
    assert fill("{folder}/truth.txt", input_fields("s3://b/a/c.mp4", 0, "x")) == "s3://b/a/truth.txt"
    assert fill('{"json": 1} {input}', input_fields("c.mp4", 0, "x")) == '{"json": 1} {input}'


@pytest.mark.parametrize("template", ["{nonsense}", "{stem", "", "/"])
def test_templates_that_say_nothing(template: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        check_template(template)


@pytest.mark.parametrize("template", ["../{stem}", "/tmp/{stem}", "logs/{stem}", ".batch", "a//b"])
def test_names_outside_of_out_are_turned_down(template: str) -> None:
    with pytest.raises(UsageError, match="choose another --name"):
        output_name(template, input_fields("a.mp4", 0, "x"), "a.mp4")


def test_a_bad_format_names_the_field() -> None:
    with pytest.raises(UsageError, match=r"\{stem:06d\}"):
        fill("{stem:06d}", input_fields("a.mp4", 0, "x"))


def test_inputs_are_sorted_and_out_is_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b", "a", "out", "a[1]"):
        (tmp_path / name).mkdir()
    assert [job.input for job in jobs(Order("x", "*"))] == ["a", "a[1]", "b"]
    assert [job.input for job in jobs(Order("x", "a[1]"), Order("x", "missing"))] == ["a[1]", "missing"]
    with pytest.raises(InputError, match=r"c\*: nothing matches"):
        jobs(Order("x", "c*"))


def test_where_the_input_stands_in_the_command_line() -> None:
    plain, placed, none, told = jobs(
        Order("x", "a.mp4", ("--k", "{stem}")),
        Order("evaluate trajectory", "a.tum", ("{input}", "truth/{stem}.txt", "--json")),
        Order("x", "", ("--k",), "name"),
        Order("doctor", "a.mp4"),
    )

    def line(job: Job) -> list[str]:
        task = Task(1, job.verb, job.input, job.arguments, "o", job.writes, "work", "log")
        return argument_list(task, "IN", "work/o")

    assert line(plain) == ["x", "-o", "work/o", "--json", "IN", "--k", "a"]
    assert line(placed) == ["evaluate", "trajectory", "-o", "work/o", "IN", "truth/a.txt", "--json"]
    assert line(none) == ["x", "-o", "work/o", "--json", "--k"]
    assert (line(told), told.name) == (["doctor", "--json", "IN"], "a.json")


def test_a_jobs_file_in_toml(tmp_path: Path) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text(
        '[defaults]\nname = "{verb}/{stem}"\n\n'
        '[[job]]\nrun = "odometry"\ninput = ["a.mp4", "b.mp4"]\nargs = ["--camera", "my cam.json"]\n\n'
        '[[job]]\nrun = "frames"\ninput = "c.mp4"\nargs = "--format jpg"\nname = "c"\n'
    )
    camera = ("--camera", "my cam.json")
    assert list(read_orders(path)) == [
        Order("odometry", "a.mp4", camera, "{verb}/{stem}"),
        Order("odometry", "b.mp4", camera, "{verb}/{stem}"),
        Order("frames", "c.mp4", ("--format", "jpg"), "c"),
    ]


def test_a_jobs_file_as_a_table(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text("run,input,args,name\nodometry,a.mp4,--camera 'my cam.json',\nevaluate  trajectory,b.tum,,b\n")
    assert list(read_orders(path)) == [
        Order("odometry", "a.mp4", ("--camera", "my cam.json")),
        Order("evaluate trajectory", "b.tum", (), "b"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("j.toml", "job = 3", "holds no jobs"),
        ("j.toml", "[[jobs]]", "unknown key 'jobs'"),
        ("j.toml", '[[job]]\ninput = "a"', "job 1: says no command"),
        ("j.toml", '[[job]]\nrun = "x"\ninput = "a"\ncolour = 1', "job 1: unknown 'colour'"),
        ("j.toml", '[[job]]\nrun = "x"', "its output needs a name"),
        ("j.toml", "[[job", "not a TOML file"),
        ("j.csv", "verb,input\nx,a\n", "no column 'run'"),
        ("j.csv", "run,input\nx,a,b,c\n", "line 2: has more values"),
        ("j.csv", "run,input,args\nx,a,'b\n", "line 2: args"),
    ],
)
def test_jobs_files_that_are_none(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FormatError, match=said):
        list(read_orders(tmp_path / name))


def test_a_jobs_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(read_orders(tmp_path / "none.csv"))


def test_what_a_digest_depends_on(tmp_path: Path) -> None:
    source, camera = tmp_path / "a.mp4", tmp_path / "cam.json"
    source.write_text("1")
    camera.write_text("1")
    job = Job("x", str(source), ("{input}", f"--camera={camera}"), "a", True)
    first = Digester("m:f")(job)
    assert Digester("m:f")(job) == first
    assert Digester("m:g")(job) != first
    source.write_text("12")
    second = Digester("m:f")(job)
    camera.write_text("12")
    third = Digester("m:f")(job)
    assert len({first, second, third}) == 3


def test_a_folder_changes_with_a_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_text("1")
    job = Job("x", str(tmp_path), ("{input}",), "a", True)
    first = Digester("m:f")(job)
    os.utime(tmp_path / "0.png", (1, 1))
    assert Digester("m:f")(job) != first


def planned(journal: Journal, *names: str, digest: str = "d") -> int:
    journal.begin("host", 1, "0")
    with journal.transaction():
        return journal.plan((Job("x", f"{name}.mp4", (), name, True), digest) for name in names)


def test_two_jobs_of_one_name_are_named() -> None:
    journal = Journal(None)
    journal.begin("host", 1, "0")
    twins = [(Job("x", f"{folder}/a.mp4", (), "a", True), "d") for folder in ("east", "west")]
    with (
        pytest.raises(UsageError, match=r"'east/a.mp4' and 'west/a.mp4' would both be written to 'a'"),
        journal.transaction(),
    ):
        journal.plan(twins)
    assert journal.counts() == {}
    journal.close()


def test_an_output_within_another_is_turned_down() -> None:
    journal = Journal(None)
    with pytest.raises(UsageError, match=r"written to 'a/b', inside of 'a' of 'a.mp4'"):
        planned(journal, "a/b", "c/d", "a")
    journal.close()


def test_a_plan_keeps_what_is_the_same(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    assert planned(journal, "a", "b", "c") == 3
    first = journal.rows(State.PENDING)
    assert [row.job.name for _, row in first] == ["a", "b", "c"]
    journal.update((row.id, {"state": State.DONE}) for _, row in first)
    journal.end()
    planned(journal, "c", "a")
    assert journal.counts() == {State.DONE: 2}
    planned(journal, "b", "a", digest="other")
    assert journal.counts() == {State.PENDING: 2}
    journal.close()


def test_a_journal_of_another_version_is_left_alone(tmp_path: Path) -> None:
    import sqlite3

    from cv3d.errors import OutputError

    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(OutputError, match="another version"):
        Journal(path)
    path.write_text("no journal at all, but a text that is longer than a header would be" * 20)
    with pytest.raises(OutputError, match="cannot be opened"):
        Journal(path)


def test_the_package_is_its_function(tmp_path: Path) -> None:
    import cv3d.batch
    from cv3d.batch import BatchOptions

    assert cv3d.batch.Order is Order
    with pytest.raises(UsageError, match="--jobs 0"):
        cv3d.batch([Order("x", "a")], tmp_path / "out", options=BatchOptions(jobs=0))  # type: ignore[operator]
    with pytest.raises(AttributeError, match="nonsense"):
        _ = cv3d.batch.nonsense

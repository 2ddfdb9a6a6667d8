"""What the jobs of the tests run: a program of small commands, loaded by name in the workers."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def takes_output(verb: str) -> bool:
    return verb != "say"


def main(argv: Sequence[str]) -> int:
    """VERB [-o OUT] [--json] INPUT ARGUMENTS..."""
    words = [word for word in argv if word != "--json"]
    verb, out = words.pop(0), None
    if "-o" in words:
        place = words.index("-o")
        out = Path(words[place + 1])
        del words[place : place + 2]
    arguments = words[1:]
    return COMMANDS[verb](words[0] if words else "", out, arguments)


def noop(source: str, out: Path | None, arguments: list[str]) -> int:
    """Writes its input's name."""
    assert out is not None
    with out.open("w") as stream:
        stream.write(source)
    return 0


def chance(source: str, out: Path | None, arguments: list[str]) -> int:
    """Writes a folder of two files by chance, the second some time after the first, which no other run would write."""
    assert out is not None
    out.mkdir()
    (out / "first").write_bytes(os.urandom(64))
    time.sleep(float(arguments[0]) if arguments else 0.0)
    (out / "second").write_bytes((out / "first").read_bytes())
    print(json.dumps({"schema": "chance/1", "source": source, "frames": {"total": 3}, "list": [1, 2]}))
    return 0


def say(source: str, out: Path | None, arguments: list[str]) -> int:
    """Tells of its environment."""
    figures = {
        "schema": "say/1",
        "pid": os.getpid(),
        "source": source,
        "arguments": arguments,
        "folder": str(Path.cwd()),
    }
    threads = {"omp": os.environ.get("OMP_NUM_THREADS"), "numba": os.environ.get("NUMBA_NUM_THREADS")}
    print(json.dumps({**figures, "threads": threads, "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", "")}))
    return 0


def fail(source: str, out: Path | None, arguments: list[str]) -> int:
    """Fails, but for inputs whose name ends with what is given; leaves half of its output."""
    assert out is not None
    out.write_text("half")
    if arguments and source.endswith(arguments[0]):
        return 0
    print("error: it is dark in here", file=sys.stderr)
    return 1


def once(source: str, out: Path | None, arguments: list[str]) -> int:
    """Fails in the way that is given as long as it has not left a mark beside its input."""
    assert out is not None
    mark = Path(f"{source}.mark")
    if not mark.exists():
        mark.write_text("")
        {"crash": crash, "hang": hang, "fail": fail}[arguments[0]](source, out, [])
        return 1
    out.write_text("well")
    return 0


def crash(source: str, out: Path | None, arguments: list[str]) -> int:
    """Is killed."""
    print("about to die", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def segfault(source: str, out: Path | None, arguments: list[str]) -> int:
    """Dies of itself."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return 0


def hang(source: str, out: Path | None, arguments: list[str]) -> int:
    """Takes a minute; says when it begins, and obeys Ctrl-C."""
    if arguments:
        Path(arguments[0]).write_text(str(os.getpid()))
    time.sleep(60.0)
    return 0


def eat(source: str, out: Path | None, arguments: list[str]) -> int:
    """Takes as many MiB as are given."""
    block = bytearray(os.urandom(1 << 20)) * int(arguments[0])
    time.sleep(60.0)
    return len(block)


def below(source: str, out: Path | None, arguments: list[str]) -> int:
    """Is done, but below the quality asked for."""
    assert out is not None
    out.write_text("poor")
    print("error: rms 2 is not below 1", file=sys.stderr)
    return 3


def spoil(source: str, out: Path | None, arguments: list[str]) -> int:
    """Spoils its process's state."""
    os.chdir("/")
    os.environ["BATCH_SPOILED"] = "1"
    return noop(source, out, arguments)


COMMANDS = {one.__name__: one for one in (noop, chance, say, fail, once, crash, segfault, hang, eat, below, spoil)}

"""Where the files of a batch are, and the last step of a job: its output into its place, its state into the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cv3d.batch.jobs import State
from cv3d.batch.journal import Journal, Row
from cv3d.batch.outputs import digest_of, move_into_place, remove_tree, unpack
from cv3d.errors import Cv3dError

LOGS = "logs"


@dataclass(frozen=True)
class Layout:
    """Where the files of a batch are."""

    state: Path
    """Folder of the journal, the logs and the summary, absolute."""
    out: Path | None
    """Folder of the outputs, absolute; None: they go to a URL."""
    url: str = ""
    """Where outputs go, then."""

    @property
    def work(self) -> Path:
        """Where attempts write: on the file system of the outputs."""
        return self.state / ".batch" / "work"

    def log(self, name: str) -> Path:
        """The log of a job."""
        return self.state / LOGS / f"{name}.log"


def publish(row: Row, parcel: bytes | None, work: Path, verdict: State, layout: Layout) -> dict[str, object]:
    """Move what an attempt has written into its place; what the journal is to say of it then."""
    if layout.out is None:
        raise ValueError("outputs of a URL are in their places already")
    output = work / row.job.name.rpartition("/")[2]
    try:
        if parcel is not None:
            unpack(parcel, work)
        move_into_place(output, layout.out / row.job.name)
    except (Cv3dError, OSError) as error:
        return {"state": State.FAILED, "error": " ".join(str(error).split()), "output_digest": None}
    remove_tree(work)
    return {"state": verdict, "work": None}


def settle_unpublished(journal: Journal, layout: Layout) -> int:
    """Decide by what is there about outputs that a killed run was moving; how many they were."""
    rows = journal.all_publishing()
    changes: list[tuple[int, Mapping[str, object]]] = []
    for row in rows:
        work = Path(row.work) if row.work else layout.work
        if layout.out is not None and (work / row.job.name.rpartition("/")[2]).exists():
            changes.append((row.id, publish(row, None, work, row.verdict or State.DONE, layout)))
            continue
        target = layout.out / row.job.name if layout.out is not None else None
        is_there = target is not None and target.exists() and digest_of(target)[0] == row.output_digest
        changes.append((row.id, {"state": (row.verdict or State.DONE) if is_there else State.PENDING}))
    with journal.transaction():
        journal.update(changes)
    return len(rows)

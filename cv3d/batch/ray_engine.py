"""The engine of a Ray cluster: each job is a Ray task, placed where its input is."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from cv3d.batch.jobs import End, Outcome, Task
from cv3d.batch.local import Slots
from cv3d.batch.options import BatchOptions
from cv3d.batch.places import node_and_path
from cv3d.batch.ray_node import Errand, node_has, run_on_node
from cv3d.compute import usable_cores
from cv3d.errors import Cv3dError, DependencyError, InputError, UsageError

_LOOK_AGAIN_S = 2.0
_AHEAD = 2
"""Tasks that wait in the cluster, beside those that it has cores for."""


@dataclass(frozen=True)
class Node:
    """A living node of the cluster."""

    id: str
    """Ray's name of it."""
    names: frozenset[str]
    """What `file://NAME/…` may call it: its host name, its address, the name it was started with."""
    cores: int
    """Cores that it offers."""
    gpus: float
    """GPUs that it offers."""


class Placement:
    """Chooses nodes by where inputs lie."""

    def __init__(self, probe: Callable[[Node, str], bool]) -> None:
        """Make it.

        Args:
            probe: whether a node has a path.
        """
        self._probe = probe
        self._by_folder: dict[tuple[str, frozenset[str]], tuple[str, ...]] = {}

    def choices(self, place: str, nodes: Sequence[Node]) -> tuple[str, ...]:
        """Ids of the nodes that have an input; empty: any will do.

        `file://NODE/path` is on that node. A plain path is looked for on every node, once for each folder. What lies
        in a store is equally far from all.

        Raises:
            InputError: the node that the input is on is none of the cluster.
        """
        name, path = node_and_path(place)
        if name:
            found = tuple(node.id for node in nodes if name in node.names)
            if not found:
                known = ", ".join(sorted(name for node in nodes for name in node.names))
                raise InputError(f"{place}: lies on {name}, which the cluster does not have (any more); it has {known}")
            return found
        if path is None or not place or len(nodes) < 2:
            return ()
        key = (str(Path(path).parent), frozenset(node.id for node in nodes))
        if key not in self._by_folder:
            having = tuple(node.id for node in nodes if self._probe(node, path))
            self._by_folder[key] = () if len(having) == len(nodes) else having
        return self._by_folder[key]


class RayEngine:
    """Runs tasks on a Ray cluster."""

    name = "ray"

    def __init__(self, program: str, options: BatchOptions, beacon: Path) -> None:
        """Connect to the cluster, or start one of this machine's cores where none is named or found.

        Args:
            program: "module:function" of what runs a command line.
            options: of the batch.
            beacon: a file beside the outputs, by which nodes see whether they share the file system.

        Raises:
            DependencyError: Ray is not installed.
            Cv3dError: there is no cluster at the address.
            UsageError: no node has as many cores as a job takes.
        """
        self._ray: Any = _load_ray()
        self._is_mine = not self._ray.is_initialized()
        if self._is_mine:
            _connect(self._ray, options.address)
        self._threads, self._per_gpu, self._most = options.threads or 1, options.per_gpu, options.jobs
        self._errand = self._ray.put(
            Errand(
                program,
                self._threads,
                str(Path.cwd()),
                tuple(place for place in sys.path if place),
                tuple(sorted(item for item in os.environ.items() if item[0].startswith("CV3D_"))),
                str(beacon),
                beacon.read_text(encoding="utf-8"),
            )
        )
        self._run = self._ray.remote(run_on_node)
        self._has = self._ray.remote(node_has)
        self._placement = Placement(self._probe)
        self._tasks: dict[Any, tuple[Task, str]] = {}
        self._failed: list[Outcome] = []
        self._load: Counter[str] = Counter()
        self._look_at = 0.0
        self._nodes = self._alive()
        most = max((node.cores for node in self._nodes), default=0)
        if most < self._threads:
            raise UsageError(f"--threads {self._threads}: no node of the cluster has more than {most} cores")

    @property
    def has_gpus(self) -> bool:
        """Whether a node has one. On a Mac it is said with `ray start --num-gpus 1`."""
        return any(node.gpus for node in self._nodes)

    @property
    def slots(self) -> Slots:
        """How many jobs run at a time."""
        cores = sum(node.cores // self._threads for node in self._nodes)
        return Slots(min(self._most or cores, max(1, cores)), self._threads, per_gpu=self._per_gpu)

    @property
    def busy(self) -> int:
        """How many tasks the cluster has."""
        return len(self._tasks) + len(self._failed)

    def start(self, task: Task) -> bool:
        """Give a task to the cluster unless it has enough; whether it took it."""
        if time.monotonic() > self._look_at:
            self._nodes = self._alive()
        waiting = _AHEAD if self._most is None else 0
        if self.busy >= self.slots.jobs + waiting:
            return False
        try:
            choices = self._placement.choices(task.input, self._nodes)
        except Cv3dError as error:
            self._failed.append(Outcome(task.id, End.FAILED, error.exit_code, str(error)))
            return True
        demands: dict[str, object] = {"num_cpus": self._threads, "max_retries": 0, "name": f"cv3d {task.verb}"}
        if task.needs_gpu:
            demands["num_gpus"] = 1.0 / self._per_gpu
        node = min(choices, key=lambda one: self._load[one], default="")
        if node:
            strategies = import_module("ray.util.scheduling_strategies")
            demands["scheduling_strategy"] = strategies.NodeAffinitySchedulingStrategy(node, soft=False)
            self._load[node] += 1
        else:
            demands["scheduling_strategy"] = "SPREAD"
        self._tasks[self._run.options(**demands).remote(self._errand, task)] = (task, node)
        return True

    def wait(self, seconds: float) -> list[Outcome]:
        """What has ended, after at most so many seconds or at the first end."""
        outcomes, self._failed = self._failed, []
        if not self._tasks:
            return outcomes
        known = list(self._tasks)
        ready, _ = self._ray.wait(known, num_returns=1, timeout=0.0 if outcomes else seconds)
        if ready:
            ready, _ = self._ray.wait(known, num_returns=len(known), timeout=0.0)
        for reference in ready:
            task, node = self._tasks.pop(reference)
            self._load[node] -= 1
            outcomes.append(self._outcome(reference, task))
        return outcomes

    def _outcome(self, reference: object, task: Task) -> Outcome:
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(reference)
        except errors.TaskCancelledError:
            return Outcome(task.id, End.INTERRUPTED, None, "interrupted")
        except errors.OutOfMemoryError as error:
            return Outcome(task.id, End.CRASHED, None, f"its node ran out of memory: {_first_line(error)}")
        except errors.RayTaskError as error:
            return Outcome(task.id, End.FAILED, None, f"its node cannot run it: {_last_line(error)}")
        except errors.RayError as error:
            self._look_at = 0.0
            return Outcome(task.id, End.LOST, None, f"its node was lost: {_first_line(error)}")
        if outcome.log is not None:
            with suppress(OSError):
                Path(task.log).parent.mkdir(parents=True, exist_ok=True)
                Path(task.log).write_bytes(outcome.log)
        return replace(outcome, log=None)

    def interrupt(self) -> None:
        """Send every job what Ctrl-C sends."""
        self._cancel(force=False)

    def kill(self) -> None:
        """Kill every job; each is reported as interrupted."""
        self._cancel(force=True)

    def _cancel(self, *, force: bool) -> None:
        for reference in self._tasks:
            with suppress(self._ray.exceptions.RayError, ValueError):
                self._ray.cancel(reference, force=force)

    def close(self) -> None:
        """Let go of the cluster; one that was started here ends."""
        self._cancel(force=True)
        if self._is_mine:
            self._ray.shutdown()

    def _alive(self) -> tuple[Node, ...]:
        self._look_at = time.monotonic() + _LOOK_AGAIN_S
        return tuple(_node(one) for one in self._ray.nodes() if one["Alive"])

    def _probe(self, node: Node, path: str) -> bool:
        """Whether a node has a path; a node that cannot be asked has not."""
        strategies = import_module("ray.util.scheduling_strategies")
        there = strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
        asked = self._has.options(num_cpus=0, scheduling_strategy=there, max_retries=0)
        try:
            return bool(self._ray.get(asked.remote((str(Path(path).absolute()),)), timeout=60.0)[0])
        except self._ray.exceptions.RayError:
            return False


def _load_ray() -> Any:  # noqa: ANN401 - ray has no types here
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return import_module("ray")
    except ImportError as error:
        raise DependencyError("--engine ray needs Ray: pip install 'cv3d[ray]'") from error


def _connect(ray: Any, address: str | None) -> None:  # noqa: ANN401 - ray has no types here
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": None}
    try:
        if address is None and not os.environ.get("RAY_ADDRESS"):
            ray.init(address="local", num_cpus=usable_cores(), **{**quiet, "include_dashboard": False})
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise Cv3dError(f"--address {address}: no Ray cluster answers: {_first_line(error)}") from error


def _node(one: Mapping[str, Any]) -> Node:
    resources = one.get("Resources", {})
    names = {str(one.get(key)) for key in ("NodeManagerHostname", "NodeManagerAddress", "NodeName") if one.get(key)}
    return Node(str(one["NodeID"]), frozenset(names), int(resources.get("CPU", 0)), float(resources.get("GPU", 0.0)))


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _last_line(error: BaseException) -> str:
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)

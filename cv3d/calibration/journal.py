"""What detection has found so far, kept on disk, so that an interrupted or repeated run does not look again.

One JSON object a line, appended and flushed as each picture is done; a torn last line is ignored. A key names the
picture's content, the step and everything that the step depends on, so that a stale entry is never found.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.base import Detection, Scan
from cv3d.errors import OutputError

Arrays = dict[str, NDArray[np.generic]]


class Journal:
    """A store of scans and detections; in memory only where no file is given."""

    def __init__(self, path: Path | None = None) -> None:
        """Open the journal, reading what an earlier run left.

        Args:
            path: the file, created with its folder where absent; None: nothing is kept on disk.

        Raises:
            OutputError: the file cannot be read or written.
        """
        self._entries: dict[str, dict[str, object]] = {}
        self._file: IO[str] | None = None
        self._lock = Lock()
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = True
            if path.exists():
                text = path.read_text(encoding="utf-8", errors="replace")
                whole = not text or text.endswith("\n")
                self._read(text)
            self._file = path.open("a", encoding="utf-8")
            if not whole:
                self._file.write("\n")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything put is already on disk."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def scan(self, key: str) -> Scan | None:
        """The scan kept under `key`, or None."""
        entry = self._entries.get(key)
        if entry is None or not isinstance(entry.get("points"), int):
            return None
        return Scan(int(str(entry["points"])), _arrays(entry))

    def detection(self, key: str) -> Detection | None:
        """The detection kept under `key`, or None."""
        entry = self._entries.get(key)
        if entry is None or "reason" not in entry:
            return None
        arrays = _arrays(entry)
        return Detection(
            arrays["point_ids"].astype(np.int64), arrays["pixels"].astype(np.float64), str(entry["reason"])
        )

    def put_scan(self, key: str, scan: Scan) -> None:
        """Keep a scan."""
        self._put({"key": key, "points": scan.points, "arrays": {n: _encode(a) for n, a in scan.arrays.items()}})

    def put_detection(self, key: str, detection: Detection) -> None:
        """Keep a detection."""
        arrays: Arrays = {"point_ids": detection.point_ids, "pixels": detection.pixels}
        self._put({"key": key, "reason": detection.reason, "arrays": {n: _encode(a) for n, a in arrays.items()}})

    def _put(self, entry: dict[str, object]) -> None:
        line = json.dumps(entry)
        with self._lock:
            self._entries[str(entry["key"])] = entry
            if self._file is not None:
                self._file.write(line + "\n")
                self._file.flush()

    def _read(self, text: str) -> None:
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(entry, dict) and isinstance(entry.get("key"), str) and isinstance(entry.get("arrays"), dict):
                self._entries[entry["key"]] = entry


def key_of(*parts: object) -> str:
    """A short key for everything a result depends on."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()[:32]


def _encode(array: NDArray[np.generic]) -> dict[str, object]:
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": array.ravel().tolist()}


def _arrays(entry: dict[str, object]) -> Arrays:
    stored = entry["arrays"]
    if not isinstance(stored, dict):
        return {}
    return {
        name: np.array(value["data"], dtype=np.dtype(value["dtype"])).reshape(value["shape"])
        for name, value in stored.items()
    }

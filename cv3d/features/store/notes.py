"""What matching a set keeps beside COLMAP's tables: first looks at pairs, detected places, finished work."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.features.store import verdicts
from cv3d.features.store.connection import Connection
from cv3d.formats import colmap_database as colmap
from cv3d.geometry.two_view import TwoView

Pair = tuple[int, int]


@dataclass(frozen=True)
class FirstLook:
    """What the cheap matcher said of a pair, whatever was done afterwards."""

    config: str
    """That matcher and the verification, with their options."""
    inlier_count: int
    """Its verified matches, or those of a geometry that did not pass."""
    verified: bool
    promise: float
    """Decimal logarithm of the false alarms of its best geometry: the lower, the likelier the pictures share
    something. Infinite where there was none."""
    decision: str
    """What was done about it, in a sentence; empty as long as nothing was."""


class Notes:
    """The notes of one store, on its connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put_first_look(self, pair: Pair, look: FirstLook) -> None:
        """Keep what the cheap matcher said of a pair (ids, ascending), in the place of what was known."""
        promise = look.promise if math.isfinite(look.promise) else None
        values = (colmap.pair_id(*pair), look.config, look.inlier_count, int(look.verified), promise, look.decision)
        with self._connection.transaction() as database:
            database.execute("INSERT OR REPLACE INTO cv3d_first_looks VALUES (?, ?, ?, ?, ?, ?)", values)

    def put_decision(self, pair: Pair, decision: str) -> None:
        """Keep what was done about a pair that has had its first look."""
        with self._connection.transaction() as database:
            database.execute(
                "UPDATE cv3d_first_looks SET decision = ? WHERE pair_id = ?", (decision, colmap.pair_id(*pair))
            )

    def first_look(self, pair: Pair) -> FirstLook | None:
        """What the cheap matcher said of a pair; None where it was not asked."""
        with self._connection.explained():
            row = self._connection.raw.execute(
                "SELECT config, inlier_count, verified, promise, decision FROM cv3d_first_looks WHERE pair_id = ?",
                (colmap.pair_id(*pair),),
            ).fetchone()
        if row is None:
            return None
        promise = math.inf if row[3] is None else float(row[3])
        return FirstLook(str(row[0]), int(row[1]), bool(row[2]), promise, str(row[4]))

    def put_refined(self, image_id: int, keypoints: NDArray[np.float32], covariances: NDArray[np.float32]) -> None:
        """Move a picture's keypoints to refined places; its matches stay, and the detected places are kept.

        Args:
            image_id: of a picture with features.
            keypoints: (n, 2), pixels, in the order of its features.
            covariances: (n, 2, 2), pixels squared; NaN where a keypoint was not refined.

        Raises:
            InputError: the picture has no features, or another number of them.
        """
        count = len(keypoints)
        upper = covariances.reshape(-1, 4)[:, [0, 1, 3]].astype("<f4").tobytes()
        with self._connection.transaction() as database:
            row = database.execute("SELECT rows, data FROM keypoints WHERE image_id = ?", (image_id,)).fetchone()
            if row is None or row[0] != count:
                held = "no keypoints" if row is None else f"{row[0]} keypoints"
                raise InputError(f"{self._connection.path}: picture {image_id} has {held}, not {count} to refine")
            database.execute("INSERT OR IGNORE INTO cv3d_detected VALUES (?, ?, ?)", (image_id, *row))
            blob = colmap.keypoints_to_blob(keypoints)
            database.execute("UPDATE keypoints SET data = ? WHERE image_id = ?", (blob, image_id))
            database.execute("UPDATE cv3d_features SET covariances = ? WHERE image_id = ?", (upper, image_id))

    def forget_refined(self, image_id: int) -> None:
        """Put a picture's keypoints back to where they were detected."""
        with self._connection.transaction() as database:
            row = database.execute("SELECT data FROM cv3d_detected WHERE image_id = ?", (image_id,)).fetchone()
            if row is not None:
                database.execute("UPDATE keypoints SET data = ? WHERE image_id = ?", (row[0], image_id))
                database.execute("UPDATE cv3d_features SET covariances = NULL WHERE image_id = ?", (image_id,))
                database.execute("DELETE FROM cv3d_detected WHERE image_id = ?", (image_id,))

    def holds_refined(self) -> bool:
        """Whether any picture has refined keypoints, or any pair a geometry of them."""
        with self._connection.explained():
            row = self._connection.raw.execute(
                "SELECT EXISTS (SELECT 1 FROM cv3d_detected) OR EXISTS (SELECT 1 FROM cv3d_detected_two_views)"
            ).fetchone()
        return bool(row[0])

    def keep_detected_two_view(self, pair: Pair) -> None:
        """Keep a pair's geometry as that of detected keypoints, before one of refined keypoints takes its place."""
        with self._connection.transaction() as database:
            database.execute(
                "INSERT OR IGNORE INTO cv3d_detected_two_views SELECT * FROM cv3d_two_views WHERE pair_id = ?",
                (colmap.pair_id(*pair),),
            )

    def is_detected_two_view_kept(self, pair: Pair) -> bool:
        """Whether a pair's geometry is that of refined keypoints, and the one of detected keypoints beside it."""
        with self._connection.explained():
            row = self._connection.raw.execute(
                "SELECT 1 FROM cv3d_detected_two_views WHERE pair_id = ?", (colmap.pair_id(*pair),)
            ).fetchone()
        return row is not None

    def forget_refined_two_view(self, pair: Pair) -> tuple[TwoView, str] | None:
        """The geometry of a pair's detected keypoints with its config, to be put back; None where it stands already."""
        identity = colmap.pair_id(*pair)
        with self._connection.transaction() as database:
            row = database.execute(
                f"SELECT config, {verdicts.COLUMNS} FROM cv3d_detected_two_views WHERE pair_id = ?", (identity,)
            ).fetchone()
            database.execute("DELETE FROM cv3d_detected_two_views WHERE pair_id = ?", (identity,))
        return None if row is None else (verdicts.from_row(row[1:]), str(row[0]))

    def detected_two_view(self, pair: Pair) -> TwoView | None:
        """The geometry of a pair's keypoints where they were detected; None where it was not verified yet."""
        identity = colmap.pair_id(*pair)
        with self._connection.explained():
            for table in ("cv3d_detected_two_views", "cv3d_two_views"):
                row = self._connection.raw.execute(
                    f"SELECT {verdicts.COLUMNS} FROM {table} WHERE pair_id = ?", (identity,)
                ).fetchone()
                if row is not None:
                    return verdicts.from_row(row)
        return None

    def detected(self, image_id: int) -> NDArray[np.float32] | None:
        """Where a picture's keypoints were detected, (n, 2), pixels; None where it has none."""
        with self._connection.explained():
            row = self._connection.raw.execute(
                "SELECT rows, data FROM cv3d_detected WHERE image_id = ?", (image_id,)
            ).fetchone()
            if row is None:
                query = "SELECT rows, data FROM keypoints WHERE image_id = ?"
                row = self._connection.raw.execute(query, (image_id,)).fetchone()
        return None if row is None else colmap.keypoints_from_blob(row[0], 2, row[1])

    def size(self, image_id: int) -> tuple[int, int] | None:
        """Width and height of a picture, pixels; None where the store does not have it."""
        query = "SELECT width, height FROM images JOIN cameras USING (camera_id) WHERE image_id = ?"
        with self._connection.explained():
            row = self._connection.raw.execute(query, (image_id,)).fetchone()
        return None if row is None else (int(row[0]), int(row[1]))

    def matched_with(self, pair: Pair) -> tuple[str | None, str | None]:
        """The texts of the matcher and of the verification that a pair was treated with; None where it was not."""
        query = (
            "SELECT m.config, v.config FROM cv3d_matches m LEFT JOIN cv3d_two_views v USING (pair_id) WHERE pair_id = ?"
        )
        with self._connection.explained():
            row = self._connection.raw.execute(query, (colmap.pair_id(*pair),)).fetchone()
        return (None, None) if row is None else (row[0], row[1])

    def put_mark(self, name: str, value: str) -> None:
        """Keep a word about finished work."""
        with self._connection.transaction() as database:
            database.execute("INSERT OR REPLACE INTO cv3d_marks VALUES (?, ?)", (name, value))

    def mark(self, name: str) -> str | None:
        """The word that was kept; None where there is none."""
        with self._connection.explained():
            row = self._connection.raw.execute("SELECT value FROM cv3d_marks WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def supports(self) -> Iterator[tuple[Pair, int]]:
        """Every verified pair, by ids, with its number of inliers before refinement."""
        last = -1
        query = (
            "SELECT pair_id, coalesce(d.inlier_count, v.inlier_count) FROM cv3d_two_views v "
            "LEFT JOIN cv3d_detected_two_views d USING (pair_id) WHERE v.verified = 1 AND pair_id > ? "
            "ORDER BY pair_id LIMIT 1000"
        )
        while True:
            with self._connection.explained():
                rows = self._connection.raw.execute(query, (last,)).fetchall()
            if not rows:
                return
            for identity, count in rows:
                yield colmap.pair_of_id(int(identity)), int(count)
            last = int(rows[-1][0])

"""Features, matches and two-view geometries in one SQLite file of COLMAP's layout.

COLMAP, GLOMAP and hloc continue from the file as it is. Beside COLMAP's tables there are cv3d's own, which say what
each row was computed from, so that a second run computes only what is new, and hold what COLMAP has no column for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.features.store import schema, verdicts
from cv3d.features.store.connection import Connection
from cv3d.features.store.notes import Notes
from cv3d.features.store.records import PairMatches, PictureFeatures, StoreCounts
from cv3d.features.store.rows import (
    GEOMETRIES,
    enter_frame,
    forget_all_pairs,
    forget_features,
    forget_geometry_of_camera,
    forget_pairs,
    leave_frame,
    new_id,
)
from cv3d.formats import colmap_database as colmap
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import TwoView

Pair = tuple[int, int]
"""Ids of two pictures, ascending."""

_BUSY_SECONDS = 60.0
_SIFT_SIZE = 128


class FeatureStore:
    """A feature store. Several processes may have it open; within one, a store belongs to the thread that opened it.

    Every `put` is a transaction of its own unless it is inside :meth:`transaction`. A pair is always the two pictures'
    ids in ascending order. Nothing here holds more than one picture's or one pair's data in memory.

    A store is a context manager, which closes it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path | str, *, read_only: bool = False, busy_seconds: float = _BUSY_SECONDS) -> Self:
        """Open a store; where there is none, make it.

        A database of COLMAP's own becomes a store, too: its pictures and cameras stay.

        Args:
            path: the file, "database.db" by COLMAP's custom.
            read_only: never write; then the file must be there.
            busy_seconds: how long to wait while another process writes.

        Raises:
            InputError: it is to be read, and is not there.
            FormatError: it is something else, is damaged, or a newer version wrote it.
            OutputError: it cannot be written.
        """
        connection = Connection(Path(path), read_only=read_only, busy_seconds=busy_seconds)
        try:
            with connection.explained():
                schema.check(connection.raw, connection.path, is_empty_allowed=not read_only)
            if not read_only:
                connection.use_write_ahead_log()
                with connection.transaction() as database:
                    schema.create(database)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The file."""
        return self._connection.path

    @property
    def notes(self) -> Notes:
        """What matching a set keeps beside COLMAP's tables."""
        return Notes(self._connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all that the block puts, or nothing of it. Other writers wait meanwhile, so compute outside.

        Raises:
            OutputError: the store is read-only, another process writes for too long, or the disk is full.
        """
        with self._connection.transaction():
            yield

    def add_camera(
        self, label: str, size: tuple[int, int], camera: Camera | None = None, *, is_focal_known: bool = True
    ) -> int:
        """The id of a camera; with a label that the store knows, that camera is given these parameters.

        Args:
            label: what tells the cameras of a set apart.
            size: width and height of its pictures, pixels.
            camera: its model; None where it is unknown, and COLMAP's usual guess is stored.
            is_focal_known: whether mapping may trust the focal length of `camera`.

        Raises:
            InputError: the camera has another size.
            FormatError: COLMAP has no such camera model.
        """
        if camera is not None and (camera.width, camera.height) != size:
            wanted = f"{camera.width}×{camera.height}"
            raise InputError(f"camera '{label}' is for pictures of {wanted}, but these have {size[0]}×{size[1]}")
        if camera is None:
            row = colmap.unknown_camera_row(*size)
        else:
            row = colmap.camera_to_row(camera, is_focal_known=is_focal_known)
        values = (row.model, row.width, row.height, row.params, row.prior_focal_length)
        with self._connection.transaction() as database:
            known = database.execute("SELECT camera_id FROM cv3d_cameras WHERE label = ?", (label,)).fetchone()
            if known is None:
                camera_id = new_id(database, "INSERT INTO cameras VALUES (NULL, ?, ?, ?, ?, ?)", values)
                database.execute("INSERT INTO rigs VALUES (NULL, ?, ?)", (camera_id, colmap.CAMERA_SENSOR))
                database.execute("INSERT INTO cv3d_cameras VALUES (?, ?)", (label, camera_id))
                return camera_id
            camera_id = int(known[0])
            old = database.execute(
                "SELECT model, width, height, params, prior_focal_length FROM cameras WHERE camera_id = ?", known
            ).fetchone()
            if tuple(old) != values:
                database.execute(
                    "UPDATE cameras SET model = ?, width = ?, height = ?, params = ?, prior_focal_length = ? "
                    "WHERE camera_id = ?",
                    (*values, camera_id),
                )
                forget_geometry_of_camera(database, camera_id)
            return camera_id

    def add_picture(self, name: str, digest: str, camera_id: int) -> int:
        """The id of a picture; a name that the store knows keeps its id.

        Where its content is another than before, everything computed from it is forgotten; where only its camera is
        another, its two-view geometries are.

        Args:
            name: its path relative to the folder of pictures, with forward slashes.
            digest: of its content.
            camera_id: from :meth:`add_camera`.

        Raises:
            InputError: the store has no such camera.
        """
        with self._connection.transaction() as database:
            rig = database.execute(
                "SELECT rig_id FROM rigs WHERE ref_sensor_id = ? AND ref_sensor_type = ?",
                (camera_id, colmap.CAMERA_SENSOR),
            ).fetchone()
            if rig is None:
                raise InputError(f"{self.path}: has no camera {camera_id} with a rig of its own for picture '{name}'")
            known = database.execute(
                "SELECT image_id, camera_id, digest FROM images LEFT JOIN cv3d_pictures USING (image_id) "
                "WHERE name = ?",
                (name,),
            ).fetchone()
            if known is None:
                image_id = new_id(database, "INSERT INTO images VALUES (NULL, ?, ?)", (name, camera_id))
                enter_frame(database, image_id, camera_id, rig[0])
                database.execute("INSERT INTO cv3d_pictures VALUES (?, ?)", (image_id, digest))
                return image_id
            image_id, old_camera, old_digest = known
            if old_digest != digest:
                forget_features(database, image_id)
                database.execute("INSERT OR REPLACE INTO cv3d_pictures VALUES (?, ?)", (image_id, digest))
            if old_camera != camera_id:
                database.execute("UPDATE images SET camera_id = ? WHERE image_id = ?", (camera_id, image_id))
                leave_frame(database, image_id)
                enter_frame(database, image_id, camera_id, rig[0])
                forget_pairs(database, image_id, GEOMETRIES)
            return int(image_id)

    def remove_picture(self, image_id: int) -> None:
        """Forget a picture and all that was computed from it."""
        with self._connection.transaction() as database:
            forget_features(database, image_id)
            leave_frame(database, image_id)
            database.execute("DELETE FROM images WHERE image_id = ?", (image_id,))

    def pictures(self) -> Iterator[tuple[int, str]]:
        """Id and name of every picture, by id."""
        for (image_id,) in self._ids("images", "image_id"):
            yield image_id, self._one("SELECT name FROM images WHERE image_id = ?", image_id)[0]

    def image_id(self, name: str) -> int | None:
        """The id of the picture of a name; None where there is none."""
        with self._connection.explained():
            row = self._connection.raw.execute("SELECT image_id FROM images WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def missing_features(self, names: Iterable[str], digests: Iterable[str], config: str) -> Iterator[str]:
        """The pictures whose features have yet to be computed, in the order given.

        Args:
            names: of pictures, in the store or not.
            digests: of their contents.
            config: the extractor with its options, see :func:`config_text`.
        """
        for name, digest in zip(names, digests, strict=True):
            row = self._maybe(
                "SELECT 1 FROM images JOIN cv3d_pictures USING (image_id) JOIN cv3d_features USING (image_id) "
                "WHERE name = ? AND digest = ? AND config = ?",
                name,
                digest,
                config,
            )
            if row is None:
                yield name

    def missing_pairs(self, pairs: Iterable[Pair], config: str, *, verification: str | None = None) -> Iterator[Pair]:
        """The pairs that have yet to be matched, or verified, in the order given.

        Args:
            pairs: ids of pictures, ascending; may be a generator.
            config: the matcher with its options.
            verification: the verification with its options; None where matches are all that is asked for.
        """
        for pair in pairs:
            identity = colmap.pair_id(*pair)
            matched = self._maybe("SELECT config FROM cv3d_matches WHERE pair_id = ?", identity)
            is_done = matched is not None and matched[0] == config
            if is_done and verification is not None:
                verified = self._maybe("SELECT config FROM cv3d_two_views WHERE pair_id = ?", identity)
                is_done = verified is not None and verified[0] == verification
            if not is_done:
                yield pair

    def put_features(self, image_id: int, features: PictureFeatures, config: str) -> None:
        """Keep a picture's features, in the place of any others; matches of those others are forgotten.

        Descriptors of 128 bytes are kept as COLMAP's SIFT; all others in a table of cv3d's, since COLMAP's has a number
        only for its own kinds.

        Args:
            image_id: from :meth:`add_picture`.
            features: of the picture.
            config: the extractor with its options.

        Raises:
            InputError: the store has no such picture.
        """
        descriptors = np.ascontiguousarray(features.descriptors)
        data = descriptors.astype(descriptors.dtype.newbyteorder("<"), copy=False).tobytes()
        count, width = descriptors.shape
        covariances = None
        if features.covariances is not None:
            upper = features.covariances.reshape(-1, 4)[:, [0, 1, 3]]
            covariances = upper.astype("<f4").tobytes()
        scores = None if features.scores is None else features.scores.astype("<f4").tobytes()
        with self._connection.transaction() as database:
            if database.execute("SELECT 1 FROM cv3d_pictures WHERE image_id = ?", (image_id,)).fetchone() is None:
                raise InputError(f"{self.path}: has no picture {image_id}; add it before its features")
            forget_features(database, image_id)
            pixels = colmap.keypoints_to_blob(features.keypoints)
            database.execute("INSERT INTO keypoints VALUES (?, ?, 2, ?)", (image_id, count, pixels))
            if descriptors.dtype == np.uint8 and width == _SIFT_SIZE:
                row = (image_id, colmap.SIFT_DESCRIPTORS, count, width, data)
                database.execute("INSERT INTO descriptors VALUES (?, ?, ?, ?, ?)", row)
            else:
                own = (image_id, descriptors.dtype.name, count, width, data)
                database.execute("INSERT INTO cv3d_descriptors VALUES (?, ?, ?, ?, ?)", own)
            database.execute("INSERT INTO cv3d_features VALUES (?, ?, ?, ?)", (image_id, config, scores, covariances))

    def features(self, image_id: int) -> PictureFeatures | None:
        """A picture's features; None where the store has none."""
        with self._connection.snapshot():
            extra = self._maybe("SELECT scores, covariances FROM cv3d_features WHERE image_id = ?", image_id)
            if extra is None:
                return None
            keypoints, descriptors = self._keypoints(image_id), self.descriptors(image_id)
        return PictureFeatures(keypoints, descriptors, _floats(extra[0]), _covariances(extra[1]))

    def keypoints(self, image_id: int) -> NDArray[np.float32] | None:
        """A picture's keypoints alone, (n, 2), pixels; None where the store has none."""
        row = self._maybe("SELECT rows, cols, data FROM keypoints WHERE image_id = ?", image_id)
        return None if row is None else colmap.keypoints_from_blob(*row)

    def descriptors(self, image_id: int) -> NDArray[np.generic]:
        """A picture's descriptors alone, (n, D).

        Raises:
            InputError: the store has none.
        """
        own = self._maybe("SELECT rows, cols, data, dtype FROM cv3d_descriptors WHERE image_id = ?", image_id)
        if own is None:
            own = self._maybe("SELECT rows, cols, data, 'uint8' FROM descriptors WHERE image_id = ?", image_id)
        if own is None:
            raise InputError(f"{self.path}: has no descriptors of picture {image_id}; extract its features first")
        rows, cols, data, dtype = own
        little_endian = np.dtype(dtype).newbyteorder("<").str
        return colmap.array_from_blob(rows, cols, data, little_endian).astype(dtype)

    def all_features(self) -> Iterator[tuple[int, PictureFeatures]]:
        """Id and features of every picture that has some, one at a time, by id."""
        for (image_id,) in self._ids("cv3d_features", "image_id"):
            features = self.features(image_id)
            if features is not None:
                yield image_id, features

    def put_matches(self, pair: Pair, matches: PairMatches, config: str) -> None:
        """Keep a pair's matches, in the place of any others; the geometry of those others is forgotten.

        Args:
            pair: ids of two pictures with features, ascending.
            matches: indices into both pictures' keypoints, in that order.
            config: the matcher with its options.

        Raises:
            InputError: a picture has no features, or not as many as the matches point to.
        """
        identity = colmap.pair_id(*pair)
        scores = None if matches.scores is None else matches.scores.astype("<f4").tobytes()
        with self._connection.transaction() as database:
            for side, image_id in enumerate(pair):
                row = database.execute("SELECT rows FROM keypoints WHERE image_id = ?", (image_id,)).fetchone()
                highest = int(matches.indices[:, side].max()) if len(matches) else -1
                if row is None or highest >= row[0]:
                    held = "no keypoints" if row is None else f"{row[0]} keypoints"
                    raise InputError(
                        f"{self.path}: picture {image_id} has {held} there, and a match points to number {highest}; "
                        "match the features that the store holds"
                    )
            for table in ("two_view_geometries", "cv3d_two_views", "cv3d_detected_two_views"):
                database.execute(f"DELETE FROM {table} WHERE pair_id = ?", (identity,))
            values = (identity, len(matches), colmap.matches_to_blob(matches.indices))
            database.execute("INSERT OR REPLACE INTO matches VALUES (?, ?, 2, ?)", values)
            database.execute("INSERT OR REPLACE INTO cv3d_matches VALUES (?, ?, ?)", (identity, config, scores))

    def matches(self, pair: Pair) -> PairMatches | None:
        """A pair's matches; None where it was not matched."""
        row = self._maybe(
            "SELECT rows, cols, data, scores FROM matches JOIN cv3d_matches USING (pair_id) WHERE pair_id = ?",
            colmap.pair_id(*pair),
        )
        if row is None:
            return None
        return PairMatches(colmap.matches_from_blob(*row[:3]), _floats(row[3]))

    def forget_matches(self) -> None:
        """Forget all matches and geometries of pairs; the features stay."""
        with self._connection.transaction() as database:
            forget_all_pairs(database)

    def matched_pairs(self) -> Iterator[Pair]:
        """Every pair that was matched, by the first picture's id and then the second's."""
        for (identity,) in self._ids("cv3d_matches", "pair_id"):
            yield colmap.pair_of_id(identity)

    def put_two_view(self, pair: Pair, geometry: TwoView, config: str) -> None:
        """Keep the geometry of a pair's matches, verified or not, in the place of any other.

        Args:
            pair: ids of two matched pictures, ascending.
            geometry: of all the matches that the store holds for the pair, from the first picture to the second.
            config: the verification with its options.

        Raises:
            InputError: the pair has no matches, or another number of them.
        """
        identity = colmap.pair_id(*pair)
        with self._connection.transaction() as database:
            row = database.execute("SELECT rows, cols, data FROM matches WHERE pair_id = ?", (identity,)).fetchone()
            if row is None or row[0] != len(geometry.inliers):
                held = "no matches" if row is None else f"{row[0]} matches"
                raise InputError(
                    f"{self.path}: the pair {pair} has {held} there, and its geometry is of {len(geometry.inliers)}; "
                    "verify the matches that the store holds"
                )
            known = colmap.geometry_to_row(geometry, colmap.matches_from_blob(*row))
            database.execute(
                "INSERT OR REPLACE INTO two_view_geometries "
                "(pair_id, rows, cols, data, config, F, E, H, qvec, tvec) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    identity,
                    known.rows,
                    known.cols,
                    known.data,
                    known.config,
                    known.fundamental,
                    known.essential,
                    known.homography,
                    known.quat_wxyz,
                    known.translation,
                ),
            )
            own = verdicts.to_row(geometry)
            places = ", ".join("?" * (len(own) + 2))
            database.execute(
                f"INSERT OR REPLACE INTO cv3d_two_views (pair_id, config, {verdicts.COLUMNS}) VALUES ({places})",
                (identity, config, *own),
            )

    def two_view(self, pair: Pair) -> TwoView | None:
        """A pair's geometry as it was put; None where the pair was not verified yet."""
        query = f"SELECT {verdicts.COLUMNS} FROM cv3d_two_views WHERE pair_id = ?"
        row = self._maybe(query, colmap.pair_id(*pair))
        return None if row is None else verdicts.from_row(row)

    def verified_pairs(self) -> Iterator[Pair]:
        """Every pair that passed verification, by the first picture's id and then the second's."""
        for (identity,) in self._ids("cv3d_two_views", "pair_id", "verified = 1"):
            yield colmap.pair_of_id(identity)

    def counts(self) -> StoreCounts:
        """How much the store holds."""
        total = "SELECT count(*), coalesce(sum(rows), 0) FROM"
        with self._connection.snapshot():
            pictures = self._one("SELECT count(*) FROM images")
            features = self._one(f"{total} cv3d_features JOIN keypoints USING (image_id)")
            matches = self._one(f"{total} cv3d_matches JOIN matches USING (pair_id)")
            verified = self._one(
                "SELECT count(*), coalesce(sum(inlier_count), 0) FROM cv3d_two_views WHERE verified = 1"
            )
        return StoreCounts(*map(int, (*pictures, *features, *matches, *verified)))

    def _keypoints(self, image_id: int) -> NDArray[np.float32]:
        row = self._one("SELECT rows, cols, data FROM keypoints WHERE image_id = ?", image_id)
        return colmap.keypoints_from_blob(*row)

    def _ids(self, table: str, column: str, condition: str = "1") -> Iterator[tuple[int]]:
        """Ids of a table, ascending. Each step is a query of its own, so nothing holds up writers or the log."""
        last = -1
        query = f"SELECT {column} FROM {table} WHERE {column} > ? AND {condition} ORDER BY {column} LIMIT 1"
        while (row := self._maybe(query, last)) is not None:
            last = int(row[0])
            yield (last,)

    def _maybe(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with self._connection.explained():
            row: tuple[Any, ...] | None = self._connection.raw.execute(query, values).fetchone()
        return row

    def _one(self, query: str, *values: object) -> tuple[Any, ...]:
        row = self._maybe(query, *values)
        if row is None:
            raise InputError(f"{self.path}: what was asked for was removed from the store meanwhile; run again")
        return row


def _floats(blob: bytes | None) -> NDArray[np.float32] | None:
    return None if blob is None else np.frombuffer(blob, "<f4").astype(np.float32)


def _covariances(blob: bytes | None) -> NDArray[np.float32] | None:
    values = _floats(blob)
    return None if values is None else values.reshape(-1, 3)[:, [0, 1, 1, 2]].reshape(-1, 2, 2)

"""The tables that cv3d adds to COLMAP's: what was computed from what, and what COLMAP's have no column for."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import cv3d
from cv3d.errors import FormatError
from cv3d.formats import colmap_database

STORE_VERSION = 1
"""Raised with every change of these tables that an older cv3d would misread."""

_TWO_VIEW = """
    pair_id INTEGER PRIMARY KEY NOT NULL,
    config TEXT NOT NULL,
    verified INTEGER NOT NULL,
    model TEXT NOT NULL,
    degeneracy TEXT NOT NULL,
    reason TEXT NOT NULL,
    inlier_count INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    inliers BLOB NOT NULL,
    errors BLOB NOT NULL,
    matrix BLOB,
    pose BLOB,
    rotation BLOB,
    alternative BLOB,
    covariance BLOB,
    figures TEXT NOT NULL"""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS cv3d_store (version INTEGER NOT NULL, written_by TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS cv3d_cameras (
        label TEXT PRIMARY KEY NOT NULL,
        camera_id INTEGER NOT NULL REFERENCES cameras(camera_id) ON DELETE CASCADE)""",
    """CREATE TABLE IF NOT EXISTS cv3d_pictures (
        image_id INTEGER PRIMARY KEY NOT NULL REFERENCES images(image_id) ON DELETE CASCADE,
        digest TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS cv3d_features (
        image_id INTEGER PRIMARY KEY NOT NULL REFERENCES images(image_id) ON DELETE CASCADE,
        config TEXT NOT NULL,
        scores BLOB,
        covariances BLOB)""",
    """CREATE TABLE IF NOT EXISTS cv3d_descriptors (
        image_id INTEGER PRIMARY KEY NOT NULL REFERENCES images(image_id) ON DELETE CASCADE,
        dtype TEXT NOT NULL,
        rows INTEGER NOT NULL,
        cols INTEGER NOT NULL,
        data BLOB NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS cv3d_matches (
        pair_id INTEGER PRIMARY KEY NOT NULL,
        config TEXT NOT NULL,
        scores BLOB)""",
    f"CREATE TABLE IF NOT EXISTS cv3d_two_views ({_TWO_VIEW})",
    """CREATE TABLE IF NOT EXISTS cv3d_first_looks (
        pair_id INTEGER PRIMARY KEY NOT NULL,
        config TEXT NOT NULL,
        inlier_count INTEGER NOT NULL,
        verified INTEGER NOT NULL,
        promise REAL,
        decision TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS cv3d_detected (
        image_id INTEGER PRIMARY KEY NOT NULL REFERENCES images(image_id) ON DELETE CASCADE,
        rows INTEGER NOT NULL,
        data BLOB NOT NULL)""",
    f"CREATE TABLE IF NOT EXISTS cv3d_detected_two_views ({_TWO_VIEW})",
    "CREATE TABLE IF NOT EXISTS cv3d_marks (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)",
)


def config_text(name: str, options: Mapping[str, object]) -> str:
    """One text for a method with its options, the same for the same options in any order.

    Args:
        name: the method's key, e.g. "xfeat".
        options: everything that its result depends on; JSON's types and those that have a text.
    """
    return json.dumps(
        {"name": name, **{str(key): value for key, value in options.items()}}, sort_keys=True, default=str
    )


def create(connection: sqlite3.Connection) -> None:
    """Make the tables that are not there. Inside a transaction."""
    is_new = not _tables(connection)
    for statement in (*colmap_database.SCHEMA, *_TABLES):
        connection.execute(statement)
    if is_new:
        connection.execute(f"PRAGMA user_version = {colmap_database.VERSION}")
    if connection.execute("SELECT count(*) FROM cv3d_store").fetchone()[0] == 0:
        connection.execute("INSERT INTO cv3d_store VALUES (?, ?)", (STORE_VERSION, cv3d.__version__))


def check(connection: sqlite3.Connection, path: Path, *, is_empty_allowed: bool) -> None:
    """Refuse what is no feature store of this version, or COLMAP's database in another layout.

    Raises:
        FormatError: with the one line that says which, and what to do.
    """
    tables = _tables(connection)
    if not tables and is_empty_allowed:
        return
    if "images" not in tables or "cameras" not in tables:
        raise FormatError(f"{path}: is neither a feature store nor a database of COLMAP; name another file")
    if "cv3d_store" in tables:
        for version, written_by in connection.execute("SELECT version, written_by FROM cv3d_store"):
            if version > STORE_VERSION:
                raise FormatError(
                    f"{path}: a feature store of version {version}, written by cv3d {written_by}; this cv3d "
                    f"{cv3d.__version__} reads up to version {STORE_VERSION}: update it, or name another file"
                )
    elif not is_empty_allowed:
        raise FormatError(f"{path}: COLMAP's own database, which cv3d has not written to; open it for writing first")
    for table, needed in colmap_database.COLUMNS.items():
        missing = needed - {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        if missing:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            raise FormatError(
                f"{path}: COLMAP's table '{table}' has no column {', '.join(sorted(missing))} (database version "
                f"{version}, cv3d knows {colmap_database.VERSION}): open it once with COLMAP 4, or name another file"
            )


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

"""Rows that stand or fall together: a picture's frame, its features, and the pairs it is in."""

from __future__ import annotations

import sqlite3

from cv3d.formats import colmap_database as colmap

GEOMETRIES = ("two_view_geometries", "cv3d_two_views", "cv3d_detected_two_views", "cv3d_first_looks")
"""Tables of what depends on matches and on cameras."""
_MATCHES = ("matches", "cv3d_matches")


def new_id(database: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> int:
    """Insert a row and give the id that the database chose for it."""
    identity = database.execute(statement, values).lastrowid
    if identity is None:
        raise RuntimeError("an INSERT gave no row id")
    return identity


def enter_frame(database: sqlite3.Connection, image_id: int, camera_id: int, rig_id: int) -> None:
    """Give a picture a frame of its own, of the rig that its camera alone is."""
    frame_id = new_id(database, "INSERT INTO frames VALUES (NULL, ?)", (rig_id,))
    frame = (frame_id, image_id, camera_id, colmap.CAMERA_SENSOR)
    database.execute("INSERT INTO frame_data VALUES (?, ?, ?, ?)", frame)


def leave_frame(database: sqlite3.Connection, image_id: int) -> None:
    """Take a picture out of its frame, which goes where it was the only one."""
    place = (image_id, colmap.CAMERA_SENSOR)
    frames = database.execute("SELECT frame_id FROM frame_data WHERE data_id = ? AND sensor_type = ?", place).fetchall()
    database.execute("DELETE FROM frame_data WHERE data_id = ? AND sensor_type = ?", place)
    database.executemany(
        "DELETE FROM frames WHERE frame_id = ? AND frame_id NOT IN (SELECT frame_id FROM frame_data)", frames
    )


def forget_features(database: sqlite3.Connection, image_id: int) -> None:
    """Delete a picture's features and what was computed from them."""
    had = database.execute("SELECT 1 FROM keypoints WHERE image_id = ?", (image_id,)).fetchone()
    for table in ("keypoints", "descriptors", "cv3d_descriptors", "cv3d_features", "cv3d_detected"):
        database.execute(f"DELETE FROM {table} WHERE image_id = ?", (image_id,))
    if had is not None:
        forget_pairs(database, image_id, (*_MATCHES, *GEOMETRIES))


def forget_pairs(database: sqlite3.Connection, image_id: int, tables: tuple[str, ...]) -> None:
    """Delete a picture's pairs by their ids, one for each other picture, rather than by a search of whole tables."""
    others = [int(row[0]) for row in database.execute("SELECT image_id FROM images WHERE image_id != ?", (image_id,))]
    identities = [(colmap.pair_id(min(image_id, other), max(image_id, other)),) for other in others]
    for table in tables:
        database.executemany(f"DELETE FROM {table} WHERE pair_id = ?", identities)


def forget_all_pairs(database: sqlite3.Connection) -> None:
    """Delete all matches and geometries; the features stay."""
    for table in (*_MATCHES, *GEOMETRIES):
        database.execute(f"DELETE FROM {table}")


def forget_geometry_of_camera(database: sqlite3.Connection, camera_id: int) -> None:
    """Delete the geometry of all pairs with a picture of a camera."""
    pictures = f"(SELECT image_id FROM images WHERE camera_id = {int(camera_id)})"
    first, second = f"pair_id / {colmap.MAX_IMAGES}", f"pair_id % {colmap.MAX_IMAGES}"
    for table in GEOMETRIES:
        database.execute(f"DELETE FROM {table} WHERE {first} IN {pictures} OR {second} IN {pictures}")

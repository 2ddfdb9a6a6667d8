"""COLMAP's cameras.txt, one line a camera: "CAMERA_ID MODEL WIDTH HEIGHT PARAMS…".

The models are in :mod:`cv3d.formats.colmap_models`, the rigs.txt beside it in :mod:`cv3d.formats.colmap_rigs`.
"""

from __future__ import annotations

from cv3d.errors import FormatError
from cv3d.formats import colmap_models, colmap_rigs
from cv3d.formats.camera_file import CameraFile, ReadOptions, StandIn
from cv3d.formats.content import Content
from cv3d.formats.fields import Fields, exact
from cv3d.geometry.cameras.rig import Rig, RigCamera

MODELS = colmap_models.MODELS


def encode(rig: Rig) -> bytes:
    """A cameras.txt."""
    lines = [
        "# Camera list with one line of data per camera:",
        "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]",
        f"# Number of cameras: {len(rig.cameras)}",
    ]
    for camera_id, one in zip(colmap_rigs.camera_ids(rig), rig.cameras, strict=True):
        name, params = colmap_models.to_colmap(one.camera)
        words = " ".join(exact(value) for value in params)
        lines.append(f"{camera_id} {name} {one.camera.width} {one.camera.height} {words}")
    return ("\n".join(lines) + "\n").encode()


def companions(rig: Rig) -> dict[str, bytes]:
    """The files that belong beside a cameras.txt: rigs.txt, where there are poses to say."""
    return {colmap_rigs.TEXT_FILE: colmap_rigs.to_text(rig)} if len(rig.cameras) > 1 and rig.is_posed else {}


def decode(content: Content, options: ReadOptions) -> CameraFile:
    """All cameras of a cameras.txt, named by their ids; their poses, where a rigs.txt beside it has them.

    Raises:
        FormatError: a line is not understood, or cv3d does not have its model.
    """
    if content.text is None:
        raise FormatError(f"{content.source}: is no cameras.txt: it is no text")
    cameras: list[RigCamera] = []
    stand_ins: dict[str, StandIn] = {}
    names: set[str] = set()
    for number, line in enumerate(content.text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{content.source}, line {number}" if content.source else f"line {number}"
        if len(words) < 5:
            raise FormatError(f"{where}: should be CAMERA_ID MODEL WIDTH HEIGHT PARAMS, but is '{line.strip()[:80]}'")
        fields = Fields({"CAMERA_ID": words[0], "WIDTH": words[2], "HEIGHT": words[3], "PARAMS": words[4:]}, where)
        name = str(fields.integer("CAMERA_ID"))
        if name in names:
            fields.fail(f"camera {name} is there twice")
        names.add(name)
        params = fields.numbers("PARAMS")
        width, height = fields.integer("WIDTH"), fields.integer("HEIGHT")
        camera, stand_in = colmap_models.from_colmap(words[1], width, height, params, fields, where, options)
        cameras.append(RigCamera(name, camera))
        if stand_in is not None:
            stand_ins[name] = stand_in
    if not cameras:
        raise FormatError(f"{content.source}: holds no camera".removeprefix(": "))
    return CameraFile(colmap_rigs.posed(cameras, content.beside(colmap_rigs.TEXT_FILE)), "colmap", stand_ins)

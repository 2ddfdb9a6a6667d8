"""Places: key frames known again when the camera comes back, loops closed over them, and segments joined.

A key frame is described (:class:`Describer`) and kept (:class:`PlaceIndex`). A later one asks the index for candidates
and is located at them (:func:`locate`, or :func:`similarity` where both maps have scales of their own). What it finds
becomes a :class:`Meeting`; a :class:`LoopGate` believes it once another key frame says the same. Within one segment it
is a loop for :func:`close_loops`, between two of them evidence for :func:`join`.
"""

from cv3d.odometry.places.closing import ClosedLoops, ClosingOptions, LoopConstraint, close_loops
from cv3d.odometry.places.confirming import ConfirmOptions, LoopGate
from cv3d.odometry.places.describing import Describer, Description
from cv3d.odometry.places.index import Candidate, PlaceIndex
from cv3d.odometry.places.joining import Joined, JoinOptions, join
from cv3d.odometry.places.locating import Located, LocateOptions, locate
from cv3d.odometry.places.meeting import Agreement, Meeting
from cv3d.odometry.places.place import Place
from cv3d.odometry.places.similarity import Similarity, similarity

__all__ = [
    "Agreement",
    "Candidate",
    "ClosedLoops",
    "ClosingOptions",
    "ConfirmOptions",
    "Describer",
    "Description",
    "JoinOptions",
    "Joined",
    "LocateOptions",
    "Located",
    "LoopConstraint",
    "LoopGate",
    "Meeting",
    "Place",
    "PlaceIndex",
    "Similarity",
    "close_loops",
    "join",
    "locate",
    "similarity",
]

"""Many pictures: features, pairs, geometry, refinement, all in one store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cv3d.compute import Compute
from cv3d.errors import InputError, OutputError, UsageError
from cv3d.features.matching.options import MatchOptions
from cv3d.features.matching.planning import PairChoice, select_pairs
from cv3d.features.matching.result import few_keypoints
from cv3d.features.matching.set_extraction import Entered, SetCameras, extract_set
from cv3d.features.matching.set_matching import PicturesOfSet, SetMatcher
from cv3d.features.matching.set_refinement import SetRefined, refine_set, unrefine_set
from cv3d.features.matching.set_result import SetMatch, SetPicture
from cv3d.features.refinement import SetOptions
from cv3d.features.store import FeatureStore
from cv3d.geometry.cameras.camera import Camera
from cv3d.media.inputs import find_pictures
from cv3d.media.keyframes import pick_sharp_frames
from cv3d.media.picture import Picture
from cv3d.progress import SILENT, Progress

STORE_FILE = "database.db"
_MAX_FRAMES = 100
_OF_PAIRS = "xfeat-dense"


def match_set(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    options: MatchOptions | None = None,
    *,
    choice: PairChoice | None = None,
    camera: Camera | None = None,
    shares_camera: bool = True,
    max_frames: int = _MAX_FRAMES,
    compute: Compute | None = None,
    progress: Progress = SILENT,
) -> SetMatch:
    """Match a set of pictures, or the sharpest frames of a clip, into a feature store.

    A second run computes only what is new: pictures are known by their content, pairs by what their matches depend
    on. An interrupted run keeps everything that it has finished.

    Args:
        inputs: folders, globs, pictures or videos.
        output: the folder for the store, `database.db`; made where there is none.
        options: extractor, matcher, thresholds, seed.
        choice: which pairs.
        camera: of all pictures, where it is known.
        shares_camera: whether unknown cameras of pictures of one size count as one.
        max_frames: most frames taken from each video.
        compute: where dense work runs; the best device of this machine by default.
        progress: told of every stage.

    Raises:
        UsageError: the extractor's points fit pairs alone.
        InputError: there are fewer than two pictures that can be read, or a list or folder of poses does not fit.
        DependencyError: the weights are not here.
        FormatError: the store is something else, or a newer version wrote it.
        OutputError: the store cannot be written.
    """
    _refuse_extractor_of_pairs(options or MatchOptions())
    pictures, has_videos = _pictures_of(inputs, max_frames, progress)
    return match_pictures(
        pictures,
        Path(output),
        options,
        choice=choice,
        cameras=[camera] * len(pictures),
        shares_camera=shares_camera,
        is_video=has_videos,
        compute=compute,
        progress=progress,
    )


def match_pictures(
    pictures: Sequence[Picture],
    output: Path,
    options: MatchOptions | None = None,
    *,
    choice: PairChoice | None = None,
    cameras: Sequence[Camera | None] | None = None,
    shares_camera: bool = True,
    is_video: bool = False,
    compute: Compute | None = None,
    progress: Progress = SILENT,
) -> SetMatch:
    """Match pictures that were found already into a feature store; see :func:`match_set`.

    Args:
        pictures: in the order of the set, with distinct names.
        output: the folder for the store, `database.db`; made where there is none.
        options: extractor, matcher, thresholds, seed.
        choice: which pairs.
        cameras: of each picture, None where it is unknown; each is fitted to its picture's size. None: none is known.
        shares_camera: whether unknown cameras of pictures of one size count as one.
        is_video: whether the pictures are frames of videos, in the order of time.
        compute: where dense work runs; the best device of this machine by default.
        progress: told of every stage.

    Raises:
        UsageError: the extractor's points fit pairs alone.
        InputError: there are fewer than two pictures that can be read, two have one name, there are not as many cameras
            as pictures, or a list or folder of poses does not fit.
        DependencyError: the weights are not here.
        FormatError: the store is something else, or a newer version wrote it.
        OutputError: the store cannot be written.
    """
    options, choice = options or MatchOptions(), choice or PairChoice()
    _refuse_extractor_of_pairs(options)
    compute = compute or Compute.choose()
    known = SetCameras(tuple([None] * len(pictures) if cameras is None else cameras), shares_camera)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot be made: {error.strerror or error}") from error
    clock = _Clock()
    with FeatureStore.open(output / STORE_FILE) as store:
        entered = extract_set(pictures, store, known, options, compute, progress)
        clock.lap("extract")
        usable = [one for one in entered if one.image_id is not None]
        if len(usable) < 2:
            raise InputError(_too_few(entered))
        _check_names(store, usable, progress)
        ids = [one.image_id for one in usable if one.image_id is not None]
        names = [one.picture.name for one in usable]
        how = choice.resolved(len(usable), is_video=is_video)
        selector = select_pairs(how, names, ids, store, compute, progress)
        clock.lap("choose")
        matcher = SetMatcher(store, _known(usable), options, compute, progress)
        pairs = [_ascending(ids[i], ids[j]) for i, j in selector.pairs(len(usable))]
        computed = matcher.match_all(pairs, len(pairs))
        clock.lap("match")
        computed |= matcher.match_thin(pairs)
        clock.lap("learn")
        refined = SetRefined(0, 0)
        if options.refine:
            refined = refine_set(usable, matcher, SetOptions())
        elif store.notes.holds_refined():
            unrefine_set(usable, store)
        clock.lap("refine")
        return _collected(matcher, entered, pairs, how, len(computed), refined, clock)


class _Clock:
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = now - self._last
        self._last = now


def _refuse_extractor_of_pairs(options: MatchOptions) -> None:
    if options.extractor == _OF_PAIRS:
        raise UsageError(
            f"{_OF_PAIRS} is for a pair of pictures: each pair moves its points anew, while in a set a point has one "
            "place; take xfeat, or aliked"
        )


def _pictures_of(
    inputs: str | Path | Sequence[str | Path], max_frames: int, progress: Progress
) -> tuple[list[Picture], bool]:
    """The pictures of the inputs, and whether they are frames of videos alone."""
    found = find_pictures(inputs)
    pictures = list(found)
    for video in found.videos:
        frames = pick_sharp_frames(video.source, max_frames, name=video.name, progress=progress)
        if frames.damaged:
            progress.warn(f"{video.name}: {frames.damaged}")
        pictures.extend(frames.pictures)
    return pictures, bool(found.videos) and not len(found)


def _known(entered: Sequence[Entered]) -> PicturesOfSet:
    sizes = {one.image_id: one.size for one in entered if one.image_id is not None and one.size is not None}
    cameras = {one.image_id: one.camera for one in entered if one.image_id is not None}
    return PicturesOfSet(sizes, cameras)


def _ascending(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)


def _check_names(store: FeatureStore, entered: Sequence[Entered], progress: Progress) -> None:
    """Say what the store holds beside the set: its pairs stay, and COLMAP will see them."""
    ids = {one.image_id for one in entered}
    others = [name for image_id, name in store.pictures() if image_id not in ids]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        progress.warn(f"{store.path}: also holds {others[0]}{more}, not among the inputs; they stay as they are")


def _too_few(entered: Sequence[Entered]) -> str:
    failed = [one for one in entered if one.image_id is None]
    usable = len(entered) - len(failed)
    text = f"{usable} picture that can be read: matching needs two" if usable == 1 else f"{usable} pictures can be read"
    return f"{text}; {failed[0].reason}" if failed else text


def _collected(
    matcher: SetMatcher,
    entered: Sequence[Entered],
    pairs: Sequence[tuple[int, int]],
    how: PairChoice,
    computed: int,
    refined: SetRefined,
    clock: _Clock,
) -> SetMatch:
    places = {one.image_id: place for place, one in enumerate(entered) if one.image_id is not None}
    store, options = matcher.store, matcher.options
    edges, inliers, learned = [], [], []
    methods = {"unrelated": 0, options.cheap: 0}
    if options.learned is not None:
        methods[options.learned] = 0
    for pair in pairs:
        look = store.notes.first_look(pair)
        geometry = store.two_view(pair)
        if geometry is None or not geometry.verified:
            methods["unrelated"] += int(look is not None and look.decision.startswith("unrelated"))
            continue
        name = matcher.matcher_of(pair)
        methods[name] += 1
        edges.append(sorted((places[pair[0]], places[pair[1]])))
        inliers.append(geometry.inlier_count)
        learned.append(name == options.learned)
    order = sorted(range(len(edges)), key=edges.__getitem__)
    edge_array = np.array([edges[i] for i in order], dtype=np.int64).reshape(-1, 2)
    degrees = np.bincount(edge_array.reshape(-1), minlength=len(entered))
    pictures = tuple(_picture(one, int(degrees[place])) for place, one in enumerate(entered))
    return SetMatch(
        store=store.path,
        pictures=pictures,
        choice=how.how,
        planned=len(pairs),
        computed=computed,
        edges=edge_array,
        inliers=np.array([inliers[i] for i in order], dtype=np.int64),
        is_learned=np.array([learned[i] for i in order], dtype=bool),
        methods=methods,
        tracks=refined.tracks,
        refined=refined.keypoints,
        extractor=options.extractor,
        seed=options.seed,
        seconds=dict(clock.laps),
    )


def _picture(one: Entered, neighbours: int) -> SetPicture:
    reason = one.reason
    if not reason and not neighbours:
        reason = "no other picture shows the same beyond doubt"
        if few := few_keypoints(one.keypoints):
            reason = f"{few}: blurred, dark or without texture"
    return SetPicture(one.picture.name, one.size, one.keypoints, neighbours, reason, one.image_id)

"""The features of a set of pictures, into the store."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute, torch_threads
from cv3d.errors import FormatError, InputError, PictureError
from cv3d.features.extractors.base import Extractor
from cv3d.features.matching.extraction import build_extractor, extract_picture
from cv3d.features.matching.options import MatchOptions
from cv3d.features.matching.pool import working_pool
from cv3d.features.store import FeatureStore, PictureFeatures, config_text, unpad
from cv3d.geometry.cameras.camera import Camera
from cv3d.media.picture import Picture
from cv3d.media.pipeline import in_background
from cv3d.media.sized_views import camera_at
from cv3d.progress import Progress

STAGE = "extract features"
_SIDE_BY_SIDE = 4
"""Most pictures in work at once; one of 1600 pixels takes some 300 MB meanwhile."""


@dataclass(frozen=True)
class SetCameras:
    """What is known of the cameras of a set."""

    cameras: tuple[Camera | None, ...]
    """Of each picture, None where it is unknown; one may be calibrated at another size of the same shape."""
    is_shared: bool = True
    """Whether unknown cameras of pictures of one size count as one camera."""


@dataclass(frozen=True)
class Entered:
    """A picture of the set after extraction."""

    picture: Picture
    image_id: int | None
    """None where it could not be read."""
    camera: Camera | None
    """Fitting its size, where it is known."""
    size: tuple[int, int] | None
    keypoints: int
    reason: str


@dataclass
class _Cameras:
    """Cameras of the store by what tells them apart: the size of their pictures and, where need be, a name."""

    store: FeatureStore
    known: SetCameras
    names: Sequence[str]
    """Of the pictures, in their order."""
    progress: Progress
    ids: dict[str, int] = field(default_factory=dict)
    owners: dict[Camera | None, str] = field(init=False)
    """For each camera the name of the first picture that has it."""

    def __post_init__(self) -> None:
        self.owners = {}
        for name, camera in zip(self.names, self.known.cameras, strict=True):
            self.owners.setdefault(camera, name)

    def of(self, place: int, size: tuple[int, int]) -> tuple[int, Camera | None]:
        """The id in the store, and the camera where it is known, of the picture at a place of the set.

        Raises:
            PictureError: the picture has another shape than the camera's.
        """
        known, name = self.known.cameras[place], self.names[place]
        camera = None if known is None else camera_at(known, *size, name)
        label = f"{size[0]}x{size[1]}{self._distinction(known, name)}"
        if label not in self.ids:
            try:
                self.ids[label] = self.store.add_camera(label, size, camera)
            except FormatError as error:
                self.progress.warn(f"{error}; the store has a guess in its place, matching uses the camera itself")
                self.ids[label] = self.store.add_camera(label, size)
        return self.ids[label], camera

    def _distinction(self, known: Camera | None, name: str) -> str:
        """What the label of a camera has beside the size: nothing where the set has but one."""
        if known is None:
            return "" if self.known.is_shared else f" {name}"
        return "" if len(self.owners) == 1 else f" {self.owners[known]}"


def extraction_config(options: MatchOptions) -> str:
    """What the features of a picture depend on."""
    return config_text(
        options.extractor,
        {
            "max_keypoints": options.max_keypoints,
            "detection_threshold": options.detection_threshold,
            "max_side": options.max_side,
            "trims_border": options.trims_border,
        },
    )


def extract_set(
    pictures: Sequence[Picture],
    store: FeatureStore,
    cameras: SetCameras,
    options: MatchOptions,
    compute: Compute,
    progress: Progress,
) -> list[Entered]:
    """Find the features of every picture that the store does not have yet.

    Args:
        pictures: in the order of the set, with distinct names.
        store: open for writing.
        cameras: what is known of them, one entry a picture.
        options: the extractor.
        compute: where it runs.
        progress: told of each picture.

    Returns:
        An entry for each picture; one that cannot be read has a reason in the place of an id.

    Raises:
        InputError: two pictures have one name, or there are not as many cameras as pictures.
        DependencyError: the weights are not here.
        OutputError: the store cannot be written.
    """
    config = extraction_config(options)
    _check(pictures, cameras)
    known = _Cameras(store, cameras, [picture.name for picture in pictures], progress)
    looks = [_look(picture, store, config) for picture in pictures]
    entered = []
    progress.start(STAGE, len(pictures))
    unread = [picture for picture, look in zip(pictures, looks, strict=True) if look.is_missing]
    with contextlib.closing(_found(unread, options, compute)) as found:
        for place, (picture, look) in enumerate(zip(pictures, looks, strict=True)):
            features: PictureFeatures | None = None
            try:
                if look.is_missing:
                    size, features = _checked(next(found))
                elif look.failure is not None or look.size is None:
                    raise look.failure or PictureError(f"{picture.name}: has no size in the store")
                else:
                    size = look.size
                camera_id, camera = known.of(place, size)
            except PictureError as error:
                progress.warn(f"{error}; it is left out")
                entered.append(Entered(picture, None, None, None, 0, str(error)))
                progress.advance(STAGE)
                continue
            with store.transaction():
                image_id = store.add_picture(picture.name, look.digest, camera_id)
                if features is not None:
                    store.put_features(image_id, _compact(features), config)
            keypoints = store.keypoints(image_id)
            count = 0 if keypoints is None else len(keypoints)
            entered.append(Entered(picture, image_id, camera, size, count, ""))
            progress.advance(STAGE)
    progress.finish(STAGE)
    return entered


def _check(pictures: Sequence[Picture], cameras: SetCameras) -> None:
    names = [picture.name for picture in pictures]
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise InputError(f"two pictures of the set are called '{twice}': the store tells pictures apart by their names")
    if len(cameras.cameras) != len(names):
        raise InputError(
            f"{len(cameras.cameras)} cameras do not fit {len(names)} pictures: give one, or None, for each"
        )


@dataclass(frozen=True)
class _Look:
    """What is known of a picture before its pixels are."""

    digest: str
    is_missing: bool
    """Whether its features have yet to be computed."""
    size: tuple[int, int] | None
    """As the store has it."""
    failure: PictureError | None


def _look(picture: Picture, store: FeatureStore, config: str) -> _Look:
    try:
        digest = picture.digest()
    except PictureError as error:
        return _Look("", False, None, error)
    if any(store.missing_features([picture.name], [digest], config)):
        return _Look(digest, True, None, None)
    image_id = store.image_id(picture.name)
    return _Look(digest, False, None if image_id is None else store.notes.size(image_id), None)


Found = tuple[tuple[int, int], PictureFeatures]
"""Width and height of a picture, pixels, and its features."""


def _found(
    pictures: Sequence[Picture], options: MatchOptions, compute: Compute
) -> Generator[Found | PictureError, None, None]:
    """Sizes and features of pictures, in their order, or why one cannot be read.

    Pictures are read ahead. On the CPU several are in work at once, each on its share of torch's threads: a network's
    layers do not keep two threads busy, two pictures do.
    """
    if not pictures:
        return
    extractor = build_extractor(options, compute)
    threads = torch.get_num_threads()
    workers = min(threads, _SIDE_BY_SIDE) if compute.device.type == "cpu" else 1
    with (
        torch_threads(threads // workers),
        working_pool(workers) as pool,
        contextlib.closing(in_background(map(_read, pictures))) as read,
    ):
        waiting: deque[Future[Found | PictureError]] = deque()
        for pixels in read:
            waiting.append(pool.submit(_find, pixels, extractor, options, compute))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _find(
    pixels: NDArray[np.uint8] | PictureError, extractor: Extractor, options: MatchOptions, compute: Compute
) -> Found | PictureError:
    if isinstance(pixels, PictureError):
        return pixels
    size = pixels.shape[1], pixels.shape[0]
    return size, unpad(extract_picture(pixels, extractor, compute, options))[0]


def _read(picture: Picture) -> NDArray[np.uint8] | PictureError:
    try:
        return picture.read_rgb().array
    except PictureError as error:
        return error


def _checked(found: Found | PictureError) -> Found:
    if isinstance(found, PictureError):
        raise found
    return found


def _compact(features: PictureFeatures) -> PictureFeatures:
    """With descriptors in half precision, which is a quarter of a per mille of theirs and half the space."""
    if features.descriptors.dtype != np.float32:
        return features
    return replace(features, descriptors=features.descriptors.astype(np.float16))

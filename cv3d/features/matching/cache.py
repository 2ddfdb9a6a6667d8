"""The features of the pictures of a set that were used last, on the device."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features.extractors.base import Features
from cv3d.features.store import FeatureStore, pad

_KEPT = 400
"""Pictures; 2,048 keypoints with 64 numbers each take half a megabyte."""


class FeatureCache:
    """Features by the id of their picture, read from the store when they are asked for."""

    def __init__(self, store: FeatureStore, compute: Compute, max_keypoints: int, kept: int = _KEPT) -> None:
        self._store = store
        self._compute = compute
        self._count = max_keypoints
        self._kept = kept
        self._held: OrderedDict[int, Features] = OrderedDict()

    def __getitem__(self, image_id: int) -> Features:
        """A batch of one, padded to the number of keypoints of the set, where they were detected.

        Raises:
            InputError: the store has no features of it.
        """
        if image_id in self._held:
            self._held.move_to_end(image_id)
            return self._held[image_id]
        found, size = self._store.features(image_id), self._store.notes.size(image_id)
        detected = self._store.notes.detected(image_id)
        if found is None or size is None or detected is None:
            raise InputError(f"{self._store.path}: has no features of picture {image_id}; run again")
        features = pad([replace(found, keypoints=detected)], [size], self._count)
        features = replace(features, descriptors=features.descriptors.to(self._compute.dtype))
        self._held[image_id] = features = features.to(self._compute.device)
        if len(self._held) > self._kept:
            self._held.popitem(last=False)
        return features

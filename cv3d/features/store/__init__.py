"""The feature store: what was found in pictures and pairs, kept in one file that COLMAP opens."""

from cv3d.features.store.notes import FirstLook, Notes
from cv3d.features.store.records import PairMatches, PictureFeatures, StoreCounts, pad, unpad
from cv3d.features.store.schema import STORE_VERSION, config_text
from cv3d.features.store.store import FeatureStore

__all__ = [
    "STORE_VERSION",
    "FeatureStore",
    "FirstLook",
    "Notes",
    "PairMatches",
    "PictureFeatures",
    "StoreCounts",
    "config_text",
    "pad",
    "unpad",
]

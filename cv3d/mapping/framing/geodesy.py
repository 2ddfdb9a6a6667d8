"""Places on the earth in metres east, north and up of one of them (WGS 84)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_EQUATOR_M = 6378137.0
_FLATTENING = 1.0 / 298.257223563
_ECCENTRICITY_2 = _FLATTENING * (2.0 - _FLATTENING)

Floats = NDArray[np.float64]


def enu_from_geodetic(places: Floats, origin: Floats) -> Floats:
    """Metres east, north and up of an origin, exactly: by way of coordinates that turn with the earth.

    Args:
        places: latitude and longitude in degrees and height in metres, (..., 3).
        origin: the same of the origin, (3,).

    Returns:
        (..., 3).
    """
    latitude, longitude = np.radians(origin[:2])
    sin_lat, cos_lat, sin_lon, cos_lon = np.sin(latitude), np.cos(latitude), np.sin(longitude), np.cos(longitude)
    enu_from_earth = np.array(
        [
            [-sin_lon, cos_lon, 0.0],
            [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat],
            [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat],
        ]
    )
    return np.asarray((_earth_fixed(places) - _earth_fixed(origin)) @ enu_from_earth.T)


def _earth_fixed(places: Floats) -> Floats:
    """Earth-centred, earth-fixed coordinates, metres, (..., 3)."""
    latitude, longitude, height = np.radians(places[..., 0]), np.radians(places[..., 1]), places[..., 2]
    normal = _EQUATOR_M / np.sqrt(1.0 - _ECCENTRICITY_2 * np.sin(latitude) ** 2)
    return np.stack(
        [
            (normal + height) * np.cos(latitude) * np.cos(longitude),
            (normal + height) * np.cos(latitude) * np.sin(longitude),
            (normal * (1.0 - _ECCENTRICITY_2) + height) * np.sin(latitude),
        ],
        axis=-1,
    )

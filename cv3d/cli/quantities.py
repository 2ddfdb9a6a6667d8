"""Lengths and amounts of memory as a person writes them."""

from __future__ import annotations

import math
import re

from cv3d.errors import UsageError

_QUANTITY = re.compile(r"\s*([0-9.eE+-]+?)\s*([A-Za-z]*)\s*")
_METRES = {"": 1.0, "m": 1.0, "cm": 0.01, "mm": 0.001, "um": 1e-6, "km": 1000.0}
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BYTES |= {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40, "k": 10**3, "m": 10**6, "g": 10**9}


def parse_length(text: str, option: str) -> float:
    """A length in metres from a text such as "5mm", "0.5 cm", "4m" or "0.005".

    Raises:
        UsageError: it is none, or not positive.
    """
    return _parse(text, option, _METRES, "a length such as 5mm, 0.5cm or 4m")


def parse_memory(text: str, option: str) -> int:
    """A number of bytes from a text such as "1GB", "512MiB" or "2g".

    Raises:
        UsageError: it is none, or not positive.
    """
    return int(
        _parse(text, option, {key: float(value) for key, value in _BYTES.items()}, "memory such as 1GB or 512MB")
    )


def _parse(text: str, option: str, units: dict[str, float], example: str) -> float:
    match = _QUANTITY.fullmatch(text)
    unit = None if match is None else units.get(match[2], units.get(match[2].lower()))
    try:
        value = math.nan if match is None or unit is None else float(match[1]) * unit
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise UsageError(f"{option} '{text}': write {example}")
    return value

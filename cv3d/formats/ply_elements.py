"""The elements of a PLY file (Turk, "The PLY polygon file format", Stanford 1994), whatever they are of.

A header of ASCII lines names elements with a count and properties each: a scalar `property TYPE NAME`, or a list
`property list COUNT_TYPE TYPE NAME`, whose length is written before it. The rows follow, as text or binary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError

_TYPES = {
    name: np.dtype(code)
    for names, code in (
        ("char int8", "i1"),
        ("uchar uint8", "u1"),
        ("short int16", "i2"),
        ("ushort uint16", "u2"),
        ("int int32", "i4"),
        ("uint uint32", "u4"),
        ("float float32", "f4"),
        ("double float64", "f8"),
    )
    for name in names.split()
}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
_END = b"end_header"
_LONGEST_HEADER = 1 << 20

Row: TypeAlias = NDArray[np.generic]


@dataclass(frozen=True)
class Property:
    """One column of an element."""

    name: str
    type: np.dtype[np.generic]
    """Of the values."""
    count_type: np.dtype[np.generic] | None
    """Of the length before a list; None: a single value."""


@dataclass(frozen=True)
class Element:
    """A kind of things in a file."""

    name: str
    count: int
    properties: tuple[Property, ...]


Columns: TypeAlias = Mapping[str, NDArray[np.generic] | list[Row]]
"""Of one element by property: an array (count,), or (count, k) of lists that are all k long, else a list of arrays."""


def read_elements(data: bytes, source: str) -> dict[str, Columns]:
    """Every element of a file by its name.

    Args:
        data: the file.
        source: how messages call it.

    Raises:
        FormatError: it is no PLY file, is cut off, or holds more than its header says.
    """
    order, elements, offset = _header(data, source)
    found: dict[str, Columns] = {}
    if not order:
        words = iter(data[offset:].split())
        for element in elements:
            found[element.name] = _text_rows(element, words, source)
        if next(words, None) is not None:
            raise FormatError(f"{source}: holds more numbers than its header says")
        return found
    for element in elements:
        found[element.name], offset = _binary_rows(element, data, offset, order, source)
    if offset != len(data):
        raise FormatError(f"{source}: holds {len(data) - offset} bytes more than its header says")
    return found


def _header(data: bytes, source: str) -> tuple[str, list[Element], int]:
    """The byte order ("" for text), the elements, and where their rows begin."""
    end = data.find(b"\n", max(data.find(_END, 0, _LONGEST_HEADER), 0))
    if not data.startswith(b"ply") or _END not in data[:_LONGEST_HEADER] or end < 0:
        raise FormatError(f"{source}: is no PLY file: it does not begin with a header from 'ply' to 'end_header'")
    order: str | None = None
    elements: list[Element] = []
    for number, line in enumerate(data[:end].decode("ascii", "replace").splitlines(), 1):
        words = line.split()
        where = f"{source}:{number}"
        match words:
            case ["format", str(name), _]:
                if name not in _ORDERS:
                    raise FormatError(f"{where}: the format '{name[:40]}' is none of {', '.join(_ORDERS)}")
                order = _ORDERS[name]
            case ["element", str(name), str(count)]:
                if not count.isdecimal() or any(one.name == name for one in elements):
                    raise FormatError(f"{where}: should be 'element NAME COUNT', each name once: '{line.strip()[:80]}'")
                elements.append(Element(name, int(count), ()))
            case ["property", *_]:
                if not elements:
                    raise FormatError(f"{where}: a property stands before any element")
                last = elements[-1]
                elements[-1] = Element(last.name, last.count, (*last.properties, _property(words, where)))
            case [] | ["ply"] | ["comment", *_] | ["obj_info", *_] | ["end_header"]:
                pass
            case _:
                raise FormatError(f"{where}: is no line of a PLY header: '{line.strip()[:80]}'")
    if order is None:
        raise FormatError(f"{source}: its header names no format")
    return order, elements, end + 1


def _property(words: list[str], where: str) -> Property:
    types = words[2:4] if words[1:2] == ["list"] else words[1:2]
    unknown = [name for name in types if name not in _TYPES]
    if unknown or len(words) != len(types) + (3 if len(types) == 2 else 2) or not types:
        raise FormatError(f"{where}: should be 'property [list COUNT_TYPE] TYPE NAME': '{' '.join(words)[:80]}'")
    count_type = _TYPES[types[0]] if len(types) == 2 else None
    if count_type is not None and count_type.kind == "f":
        raise FormatError(f"{where}: the length of a list is a whole number, not a {types[0]}")
    return Property(words[-1], _TYPES[types[-1]], count_type)


def _binary_rows(element: Element, data: bytes, offset: int, order: str, source: str) -> tuple[Columns, int]:
    """The rows of an element, and where the next one begins. Rows of one length are read at once."""
    lengths = _first_lengths(element, data, offset, order)
    if lengths is not None:
        fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
        for index, one in enumerate(element.properties):
            if one.count_type is None:
                fields.append((f"value{index}", _ordered(one.type, order).str))
            else:
                fields.append((f"count{index}", _ordered(one.count_type, order).str))
                fields.append((f"value{index}", _ordered(one.type, order).str, (lengths[index],)))
        row = np.dtype(fields)
        if offset + element.count * row.itemsize <= len(data):
            rows = np.frombuffer(data, row, element.count, offset)
            if all((rows[f"count{index}"] == length).all() for index, length in lengths.items()):
                columns: Columns = {
                    one.name: rows[f"value{index}"].astype(one.type) for index, one in enumerate(element.properties)
                }
                return columns, offset + element.count * row.itemsize
        if not lengths:
            _cut_off(element, source)
    return _mixed_rows(element, data, offset, order, source)


def _first_lengths(element: Element, data: bytes, offset: int, order: str) -> dict[int, int] | None:
    """The length of each list in the first row by the property's index; None where the row is cut off."""
    lengths: dict[int, int] = {}
    for index, one in enumerate(element.properties):
        if one.count_type is not None and element.count:
            if offset + one.count_type.itemsize > len(data):
                return None
            lengths[index] = max(int(np.frombuffer(data, _ordered(one.count_type, order), 1, offset)[0]), 0)
            offset += one.count_type.itemsize + lengths[index] * one.type.itemsize
        elif one.count_type is not None:
            lengths[index] = 0
        else:
            offset += one.type.itemsize
    return lengths


def _mixed_rows(element: Element, data: bytes, offset: int, order: str, source: str) -> tuple[Columns, int]:
    """Row by row, for lists of various lengths."""
    columns: dict[str, list[Row]] = {one.name: [] for one in element.properties}
    for _ in range(element.count):
        for one in element.properties:
            length = 1
            if one.count_type is not None:
                if offset + one.count_type.itemsize > len(data):
                    _cut_off(element, source)
                length = int(np.frombuffer(data, _ordered(one.count_type, order), 1, offset)[0])
                offset += one.count_type.itemsize
            size = length * one.type.itemsize
            if length < 0 or offset + size > len(data):
                _cut_off(element, source)
            columns[one.name].append(np.frombuffer(data, _ordered(one.type, order), length, offset))
            offset += size
    return _arrays(element, columns), offset


def _text_rows(element: Element, words: Iterator[bytes], source: str) -> Columns:
    columns: dict[str, list[Row]] = {one.name: [] for one in element.properties}
    try:
        for _ in range(element.count):
            for one in element.properties:
                length = 1 if one.count_type is None else int(next(words))
                values = [float(next(words)) for _ in range(length)]
                columns[one.name].append(np.array(values).astype(one.type))
    except StopIteration:
        _cut_off(element, source)
    except ValueError:
        raise FormatError(f"{source}: a {element.name} holds something that is not a number") from None
    return _arrays(element, columns)


def _arrays(element: Element, columns: Mapping[str, list[Row]]) -> Columns:
    found: dict[str, NDArray[np.generic] | list[Row]] = {}
    for one in element.properties:
        rows = columns[one.name]
        if one.count_type is None:
            found[one.name] = np.concatenate(rows) if rows else np.zeros(0, one.type)
        else:
            found[one.name] = rows
    return found


def _ordered(type_: np.dtype[np.generic], order: str) -> np.dtype[np.generic]:
    """A type in a file's byte order."""
    return np.dtype(order + type_.str[1:])


def _cut_off(element: Element, source: str) -> NoReturn:
    raise FormatError(f"{source}: is cut off: it should hold {element.count} of {element.name}")

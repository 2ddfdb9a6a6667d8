"""What the readers and writers of camera files share: fields read with their checks, numbers written exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NoReturn

import yaml

from cv3d.errors import Cv3dError, FormatError
from cv3d.geometry.cameras.camera import Camera


class Fields:
    """The entries of a file, or of a part of it. What is not as expected raises an error that names file and field."""

    def __init__(self, entries: object, source: str, path: str = "") -> None:
        self._source = source
        self._path = path
        if not isinstance(entries, Mapping):
            self.fail(f"{path.rstrip('.') or 'the file'} does not hold named fields")
        self._entries: Mapping[object, object] = entries

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def with_entries(self, entries: Mapping[object, object] | Mapping[str, object]) -> Fields:
        """Other entries of the same file."""
        return Fields(entries, self._source, self._path)

    def names(self) -> list[str]:
        """Names of the entries, in the file's order."""
        return [str(key) for key in self._entries]

    def fail(self, message: str) -> NoReturn:
        """Raise a :class:`FormatError` that names the file."""
        raise FormatError(f"{self._source}: {message}" if self._source else message)

    def is_part(self, key: str) -> bool:
        """Whether `key` holds named fields."""
        return isinstance(self._value(key), Mapping)

    def part(self, key: str) -> Fields:
        """The entries below `key`."""
        return Fields(self._value(key), self._source, f"{self._path}{key}.")

    def parts(self, key: str) -> list[Fields]:
        """The entries of every item of the list `key`."""
        value = self._value(key)
        if not isinstance(value, list):
            self.fail(f"field '{self._path}{key}' should be a list, but is {value!r}")
        return [Fields(item, self._source, f"{self._path}{key}[{index}].") for index, item in enumerate(value)]

    def raw(self, key: str) -> object:
        """The value as parsed."""
        return self._value(key)

    def text(self, key: str) -> str:
        """A piece of text."""
        value = self._value(key)
        if not isinstance(value, str):
            self.fail(f"field '{self._path}{key}' should be text, but is {value!r}")
        return value

    def integer(self, key: str) -> int:
        """A whole number."""
        number = self.number(key)
        if number != int(number):
            self.fail(f"field '{self._path}{key}' should be a whole number, but is {number!r}")
        return int(number)

    def number(self, key: str) -> float:
        """A finite number."""
        return self._number(self._value(key), key)

    def numbers(self, key: str, *counts: int) -> tuple[float, ...]:
        """A list of finite numbers, nested or not, as long as one of `counts` where any is given."""
        value = self._value(key)
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.fail(f"field '{self._path}{key}' should be a list of numbers, but is {value!r}")
        items = [item for row in value for item in (row if isinstance(row, list | tuple) else [row])]
        if counts and len(items) not in counts:
            wanted = " or ".join(map(str, counts))
            self.fail(f"field '{self._path}{key}' should hold {wanted} numbers, but holds {len(items)}")
        return tuple(self._number(item, key) for item in items)

    def size(self, width: str, height: str, given: tuple[int, int] | None) -> tuple[int, int]:
        """Width and height of the pictures: of the two fields, or as `given` where the file has neither.

        Raises:
            FormatError: neither says it, or they contradict each other.
        """
        if width not in self and height not in self:
            return self.missing_size(given)
        return self.agreed_size((self.integer(width), self.integer(height)), given)

    def missing_size(self, given: tuple[int, int] | None) -> tuple[int, int]:
        """The size that was `given` for a file that does not say it.

        Raises:
            FormatError: none was given.
        """
        if given is None:
            self.fail(
                "does not say how large the pictures are; 'cv3d convert … --size WIDTHxHEIGHT' writes a file that does"
            )
        return given

    def agreed_size(self, said: tuple[int, int], given: tuple[int, int] | None) -> tuple[int, int]:
        """The size that the file says, which has to be the one `given`, if any.

        Raises:
            FormatError: it is another.
        """
        if given is not None and said != given:
            self.fail(f"is for pictures of {said[0]}x{said[1]}, not {given[0]}x{given[1]} as --size says")
        return said

    def camera(self, model: str, width: int, height: int, params: Sequence[float]) -> Camera:
        """The camera, with this file named should it be no valid one."""
        try:
            return Camera(model, width, height, tuple(params))
        except Cv3dError as error:
            self.fail(str(error))

    def _value(self, key: str) -> object:
        if key not in self._entries:
            self.fail(f"field '{self._path}{key}' is missing")
        return self._entries[key]

    def _number(self, value: object, key: str) -> float:
        # YAML 1.1 takes 1e-05 for text, so text is given a chance.
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                number = float(value)
            except ValueError:
                number = math.nan
            if math.isfinite(number):
                return number
        self.fail(f"field '{self._path}{key}' should be a finite number, but holds {value!r}")


def parse_yaml(text: str, source: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Fields:
    """The fields of a YAML text.

    Raises:
        FormatError: it is not YAML, or no mapping.
    """
    try:
        return Fields(yaml.load(text, loader), source)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f" (line {line + 1})" if line is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise FormatError(f"{source}: not readable as YAML{where}: {problem}".removeprefix(": ")) from error


def exact(number: float) -> str:
    """The shortest text that reads back as the same float64, with a decimal point, without which YAML 1.1 sees text."""
    text = repr(float(number))
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def exact_list(numbers: Sequence[float]) -> str:
    """A flow sequence of YAML, "[1.0, 2.0]"."""
    return "[" + ", ".join(exact(number) for number in numbers) + "]"

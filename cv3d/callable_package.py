"""A package that shares its name with a public function is that function as well: `cv3d.depth(source)`.

Without this, what `cv3d.depth` is would depend on whether a module of the package was imported before.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def stands_for(package: str, function: str) -> None:
    """Make a package callable.

    Args:
        package: its name, being imported.
        function: what a call of it calls, as `module:name`; imported with the first call.
    """
    module, name = function.split(":")

    class CallablePackage(ModuleType):
        """The package of this name, which is a public function as well."""

        def __call__(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - they are the function's
            """Call the function that the package stands for."""
            return getattr(import_module(module), name)(*args, **options)

    sys.modules[package].__class__ = CallablePackage

"""Lets a package be called like its main function: `archaeology.capture(...)` beside `archaeology.capture.record`.

Importing `archaeology.capture.record` makes Python bind the package `capture` as an attribute of `archaeology`,
over any function of that name; a package that can be called serves both readings.
"""

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def make_callable(package: str, function: Callable[..., Any]) -> None:
    """Let `package` (a name in `sys.modules`) be called as `function`, with its signature and docstring."""

    class CallablePackage(ModuleType):
        @functools.wraps(function)
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

    sys.modules[package].__class__ = CallablePackage

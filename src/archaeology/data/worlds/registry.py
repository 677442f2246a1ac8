"""The shelf of worlds: a name and options make one."""

from typing import Any

from archaeology.core.registry import Registry
from archaeology.data.worlds.world import World

worlds: Registry[type[World[Any, Any]]] = Registry("world")

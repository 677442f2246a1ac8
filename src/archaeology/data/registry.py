"""The shelf of image sources: a spec such as `folder:photos/` names the one to use and what to open."""

from collections.abc import Callable

from archaeology.core.registry import Registry
from archaeology.data.source import ImageSource

# Opens what stands behind the colon ("" where there is none), that split of it (None = the only one).
Opener = Callable[[str, str | None], ImageSource]

image_sources: Registry[Opener] = Registry("image source")

"""Libraries of models by the prefix of a spec: `timm:...`, `hf:...`, `run:...`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archaeology.core.registry import Registry
from archaeology.specimens.specimen import Specimen

#: What follows the `?` of a spec, such as `{"pretrained": False, "img_size": 64}`.
Options = Mapping[str, Any]

#: Prefix -> loader of `NAME` and its options, onto the CPU.
libraries: Registry[Callable[[str, Options], Specimen]] = Registry("model library")

#: Prefix -> all names that the library knows, for suggestions; only where it can tell without the network.
listings: Registry[Callable[[], Sequence[str]]] = Registry("listing")

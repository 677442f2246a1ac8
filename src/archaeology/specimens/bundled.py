"""Small models that ship with the package, so that a first dig needs no download."""

from importlib.resources import as_file, files
from pathlib import Path

from archaeology.core.registry import unknown_name
from archaeology.specimens.registry import Options, libraries, listings
from archaeology.specimens.run import load_run
from archaeology.specimens.specimen import Specimen


def bundled_folder() -> Path:
    """Where the bundled specimens lie: one checkpoint folder each."""
    with as_file(files("archaeology.specimens") / "bundled") as folder:
        return folder


@listings.register("bundled")
def bundled_names() -> list[str]:
    """Names of the bundled specimens, sorted."""
    return sorted(path.parent.name for path in bundled_folder().glob("*/config.json"))


@libraries.register("bundled")
def load_bundled(name: str, options: Options) -> Specimen:
    """A small model trained here, which ships with the package.

    Raises:
        UnknownNameError: If there is none of that name; lists all.
        ValueError: If there are options, which it does not take.
    """
    if name not in bundled_names():
        raise unknown_name("bundled specimen", name, list(bundled_names()))
    if options:
        raise ValueError(f"bundled:{name} takes no options after '?', but got {', '.join(options)}.")
    return load_run(bundled_folder() / name, name=f"bundled:{name}")

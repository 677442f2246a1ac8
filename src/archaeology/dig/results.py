"""`results.json`, the verdict of a dig for machines, and the JSON schema that says what each of its fields means."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

RESULTS_VERSION = 1
RESULTS_SCHEMA = f"urn:attention-archaeology:results:{RESULTS_VERSION}"


def marked(results: Mapping[str, Any]) -> dict[str, Any]:
    """`results` with the name and version of the schema they follow, first."""
    return {"$schema": RESULTS_SCHEMA, "schema_version": RESULTS_VERSION, **results}


def schema_text() -> str:
    """The schema as it is published (draft 2020-12): every field of `results.json`, described with its unit."""
    return files("archaeology.dig").joinpath("results.schema.json").read_text(encoding="utf-8")

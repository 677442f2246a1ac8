"""`archaeology report RUN`: make the report of a finished dig again, here or on another machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import BaseModel, ConfigDict, Field

from archaeology.cli.arguments import parsed
from archaeology.core.storage import json_text


class ReportArguments(BaseModel):
    """Write report.html, report.md and report.ipynb of a finished dig again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: tyro.conf.Positional[Path] = Field(description="the run directory of a dig")
    full: int | None = Field(
        default=None,
        ge=0,
        description="specimens with all of their attention in the explorer; without it as many as fit into 10 MB",
    )
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print the paths as JSON"
    )


def run(words: Sequence[str]) -> int:
    """Write the report and print its path."""
    arguments = parsed(ReportArguments, "report", words)
    from archaeology.report.write import write_report

    report = write_report(arguments.run, full=arguments.full)
    print(json_text({"run": str(arguments.run), "report": str(report)}) if arguments.json_ else report)
    return 0

"""`archaeology dig`: the survey of a ViT and a CNN, from images to a report."""

import sys
from collections.abc import Sequence
from typing import Annotated

import tyro
from pydantic import Field

from archaeology.cli.arguments import parsed
from archaeology.core.storage import json_text
from archaeology.dig.config import DigConfig


class DigArguments(DigConfig):
    """Compare a vision transformer with a CNN on the same images, and write a report.

    A dig that was stopped goes on where it was when the same command is given again.
    """

    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print results.json and the report's path on stdout"
    )
    dry_run: bool = Field(default=False, description="only estimate time and memory")


def run(words: Sequence[str]) -> int:
    """Dig, report, print."""
    arguments = parsed(DigArguments, "dig", words)
    config = DigConfig.model_validate(arguments.model_dump(exclude={"json_", "dry_run"}))
    from archaeology.dig.estimate import estimate
    from archaeology.dig.run import dig_config
    from archaeology.report.write import write_report

    if arguments.dry_run:
        forecast = estimate(config)
        print(json_text(forecast.as_dict()) if arguments.json_ else forecast.text(), end="")
        return 0
    directory = dig_config(config)
    report = write_report(directory.path)
    if arguments.json_:
        print(json_text({"run": str(directory.path), "report": str(report), **directory.results}), end="")
    else:
        print(f"{directory.results['headline']}\n", file=sys.stderr)
        print(report)
    return 0

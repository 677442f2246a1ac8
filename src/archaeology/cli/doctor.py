"""`archaeology doctor [RUN]`: what is wrong with a training, or with the installation; every finding has a remedy."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import BaseModel, ConfigDict, Field

from archaeology.cli.arguments import parsed
from archaeology.cli.doctor_installation import installation
from archaeology.core.storage import json_text

MARKS = {"good": "ok  ", "note": "note", "bad": "BAD "}


class DoctorArguments(BaseModel):
    """Say what went wrong in a training; without one, what is wrong with this installation. And how to mend it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: tyro.conf.Positional[Path | None] = Field(
        default=None,
        description="folder that `archaeology train` wrote or is writing; None for the installation",
    )
    data: str | None = Field(
        default=None,
        description="images to look at the model's attention with; None takes the test images of the training",
    )
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print the findings as JSON"
    )


def run(words: Sequence[str]) -> int:
    """Print the findings; 1 if one of them is bad.

    Raises:
        ValueError: If images are given without a training to look at.
    """
    arguments = parsed(DoctorArguments, "doctor", words)
    if arguments.run is not None:
        return of_training(arguments.run, arguments.data, as_json=arguments.json_)
    if arguments.data is not None:
        raise ValueError(
            f"--data goes with the folder of a training, but there is none beside {arguments.data!r}; "
            "write archaeology doctor RUN --data SPEC."
        )
    return of_installation(as_json=arguments.json_)


def of_training(folder: Path, data: str | None, *, as_json: bool) -> int:
    """Print what went wrong in a training; 1 if anything did."""
    from archaeology.diagnose import diagnose

    report = diagnose(folder, data=data)
    if as_json:
        described = {
            "run": str(folder),
            "healthy": report.is_healthy,
            "state": report.state,
            "steps": report.steps,
            "note": report.note,
            "findings": [asdict(diagnosis) for diagnosis in report.diagnoses],
        }
        print(json_text(described), end="")
        return int(not report.is_healthy)
    print(report.sentence())
    print(f"{MARKS['note']} {report.note}")
    for diagnosis in report.diagnoses:
        print(f"{MARKS['bad']} {diagnosis.name.replace('_', ' ')}: {diagnosis.evidence}")
        print(f"     to mend it: {diagnosis.remedy}")
    print("\nNothing went wrong." if report.is_healthy else "\nSomething went wrong; see BAD above.")
    return int(not report.is_healthy)


def of_installation(*, as_json: bool) -> int:
    """Print what is wrong with the installation; 1 if anything is."""
    findings = installation()
    is_bad = any(finding.verdict == "bad" for finding in findings)
    if as_json:
        described = {"healthy": not is_bad, "findings": [asdict(finding) for finding in findings]}
        print(json_text(described), end="")
        return int(is_bad)
    for finding in findings:
        print(f"{MARKS[finding.verdict]} {finding.what}: {finding.text}")
        if finding.remedy:
            print(f"     to mend it: {finding.remedy}")
    print("\nSomething is wrong; see BAD above." if is_bad else "\nNothing is wrong.")
    return int(is_bad)

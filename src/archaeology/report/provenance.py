"""Where the numbers come from: everything needed to make this report again, or to doubt it."""

from typing import Any

from archaeology.core.names import plural
from archaeology.core.storage import json_text
from archaeology.dig.directory import RunDirectory
from archaeology.figures.words import NOT_KNOWN, count, fixed

MODELS = {"vit": "ViT", "cnn": "CNN"}
Rows = list[tuple[str, str]]


def provenance_groups(run: RunDirectory) -> list[tuple[str, Rows]]:
    """Titled groups of facts: models, data, software, time."""
    facts = run.run
    return [
        *(
            (f"{word}: {facts['models'][key]['name']}", _model(facts["models"][key]))
            for key, word in MODELS.items()
        ),
        ("Data", _data(facts["data"])),
        ("Software and machine", _software(facts["provenance"])),
        ("Time", _time(facts)),
    ]


def command(run: RunDirectory) -> str:
    """The command that started the dig."""
    return str(run.run["provenance"].get("command", NOT_KNOWN))


def configuration(run: RunDirectory) -> str:
    """The whole configuration as JSON."""
    return json_text(run.run["config"]).strip()


def skipped(run: RunDirectory) -> Rows:
    """Images that could not be read, with the reason."""
    return [(str(item["id"]), str(item["reason"])) for item in run.run["data"].get("skipped", [])]


def _model(facts: dict[str, Any]) -> Rows:
    height, width = facts["image_size"]
    rows = [
        ("Kind", str(facts["kind"])),
        ("Parameters", count(facts["num_parameters"])),
        ("Input", f"{height} by {width} pixels"),
        ("Classes", count(len(facts["classes"])) if facts["classes"] else NOT_KNOWN),
    ]
    layout = facts.get("layout")
    if layout:
        before = ", ".join(layout["prefix"]) or "none"
        rows.append(("Tokens", f"{layout['rows']} by {layout['columns']} patches; before them: {before}"))
        rows.append(
            ("Read from", "class token" if layout["readout"] == "class_token" else "mean of the patches")
        )
    if facts.get("classes_matched"):
        rows.append(("Labels", str(facts["classes_matched"])))
    rows += [
        (str(key).replace("_", " ").capitalize(), _plain(value)) for key, value in facts["facts"].items()
    ]
    return [*rows, ("Weights, sha256", str(facts["fingerprint"]))]


def _data(facts: dict[str, Any]) -> Rows:
    return [
        ("Name", str(facts["name"])),
        ("Split", str(facts["split"] or NOT_KNOWN)),
        ("Images", count(facts["num_images"])),
        ("Classes", count(len(facts["classes"])) if facts["classes"] else NOT_KNOWN),
        ("Left out", plural(len(facts.get("skipped", [])), "image")),
        ("Fingerprint", str(facts["fingerprint"])),
    ]


def _software(facts: dict[str, Any]) -> Rows:
    git = facts.get("git") or {}
    state = ", with changes that were not committed" if git.get("is_dirty") else ", nothing changed since"
    commit = f"{git['commit']}{state}" if git.get("commit") else "not a git checkout"
    machine = ", ".join(f"{key} {_plain(value)}" for key, value in (facts.get("machine") or {}).items())
    versions = ", ".join(f"{name} {version}" for name, version in (facts.get("versions") or {}).items())
    return [
        ("Versions", versions or NOT_KNOWN),
        ("Commit", commit),
        ("Machine", machine or NOT_KNOWN),
        ("Seed", _plain(facts.get("seed"))),
    ]


def _time(facts: dict[str, Any]) -> Rows:
    seconds = {str(stage): float(spent) for stage, spent in facts.get("seconds", {}).items()}
    stages = [
        (stage.replace("_", " ").capitalize(), f"{fixed(spent, 1)} s") for stage, spent in seconds.items()
    ]
    started = str(facts["provenance"].get("started", NOT_KNOWN))
    return [("Started", started), *stages, ("Run schema", f"version {facts['schema_version']}")]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return NOT_KNOWN if value is None else str(value)

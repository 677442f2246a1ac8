"""What a report cannot say: how few images stand behind it, what was chosen, what failed its checks, what is not there.

Each line is written by a rule from the numbers of the run; a word like "few" stands only beyond a named threshold.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from archaeology.core.names import plural, short_name
from archaeology.dig.directory import RunDirectory
from archaeology.dig.map_findings import NAMES
from archaeology.explain.method import title_of
from archaeology.figures.words import count, fixed, tight
from archaeology.report.attack_terms import MEASURES
from archaeology.report.representation import counts_of, left_out, part_title

FEW = 100  # images; a share measured on fewer has an interval of up to 20 points and more
LEADERBOARD = "leaderboard"


@dataclass(frozen=True)
class Limits:
    """The chapter.

    Attributes:
        lines: What this report cannot say, a title and its sentences each.
        missing: What a dig would measure and this one did not, with the reason, a sentence each.
    """

    lines: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]


def limits(run: RunDirectory) -> Limits:
    """What has to be said about this run."""
    lines = [
        ("How many images", _images(run)),
        ("One model of each kind", _single(run)),
        *_chosen(run),
        *_boards(run),
        *_layers(run),
        *_small_parts(run),
        ("How many questions", _questions(run.results)),
    ]
    return Limits(
        tuple((title, tight(text)) for title, text in lines if text), tuple(map(tight, missing(run)))
    )


def _images(run: RunDirectory) -> str:
    results, n = run.results, int(run.results["n"])
    found = results["accuracy"]
    widest = max(found[model]["high"] - found[model]["low"] for model in NAMES) if found else None
    agreement = results.get("agreement")
    if widest is None and agreement:
        widest = agreement["high"] - agreement["low"]
    reach = f", so a share of them is known to about ±{fixed(50 * widest, 1)} points" if widest else ""
    data = run.run["data"]
    name = short_name(str(data["name"]))
    of = f" of {count(data['num_available'])}" if data.get("num_available") else ""
    return (
        f"{plural(n, 'image')}{of} of {name}{reach}. What holds for them holds for images drawn in the same "
        "way; it says nothing about other data."
    )


def _single(run: RunDirectory) -> str:
    seed = run.run["provenance"].get("seed")
    return (
        "One set of weights of each model was asked. Another training of the same architecture may differ by more "
        "than the intervals here, which cover the choice of images only"
        f"{'' if seed is None else f' (all draws from seed {seed})'}. Two models do not stand for all transformers "
        "and all CNNs."
    )


def _chosen(run: RunDirectory) -> Iterator[tuple[str, str]]:
    made = run.specimens.attrs.get("maps") or {}
    said = []
    for role, name in NAMES.items():
        facts = made.get(role)
        if facts:
            by = "won a leaderboard" if facts.get("chosen_by") == LEADERBOARD else "is the default"
            said.append(f"that of the {name} ({title_of(str(facts['method']))}) {by}")
    if said:
        won = any(made.get(role, {}).get("chosen_by") == LEADERBOARD for role in NAMES)
        held = "The leaderboard was held on images of this run, so its winner may look better here than on new ones; "
        another = "another method may draw another map."
        shown = f"One map of each model is shown side by side: {'; '.join(said)}."
        yield "Chosen methods", f"{shown} {held + another if won else another.capitalize()}"
    yield (
        "What a map is no proof of",
        "Attention says where information could flow from, not what it was or whether the answer used it. A map that "
        "looks sensible is no proof that the model reasons sensibly: only an intervention, such as removing a head or "
        "hiding a patch, tests a cause.",
    )


def _boards(run: RunDirectory) -> Iterator[tuple[str, str]]:
    for role, board in (run.results.get("leaderboard") or {}).items():
        if not board:
            continue
        name, said = NAMES[role], []
        if board["winner"] is None:
            said.append(f"No map is shown to be better than chance: {board['reason']}.")
        below = sorted(title_of(one["method"]) for one in board["overall"] if not one["beats_chance"])
        if below:
            said.append(f"Not shown to beat a random map before any judge that counts: {', '.join(below)}.")
        alike = _by_sanity(board, "fails")
        if alike:
            said.append(f"Stay alike when all weights are shuffled: {alike}.")
        undecided = _by_sanity(board, "undecided")
        if undecided:
            said.append(f"Too few images to say whether they do: {undecided}.")
        if said:
            yield (
                f"Maps of the {name} to doubt",
                " ".join([*said, f"Judged on {plural(int(board['images']), 'image')}."]),
            )


def _by_sanity(board: dict[str, Any], verdict: str) -> str:
    named = (one["method"] for one in board["overall"] if (one["sanity"] or {}).get("verdict") == verdict)
    return ", ".join(sorted(title_of(name) for name in named))


def _layers(run: RunDirectory) -> Iterator[tuple[str, str]]:
    """What reading layers does not show."""
    if run.representation:
        yield (
            "What a readable layer is no proof of",
            "That a line or neighbours can tell the class from a layer does not show that the model uses it: what is "
            "there may be left alone by all that follows. CKA says that two layers find the same images alike, not "
            "that they know the same; it is moved most by the directions of largest spread. A map of images bends what "
            "it draws, and a probe on other images or labels may read something else.",
        )


def _small_parts(run: RunDirectory) -> Iterator[tuple[str, str]]:
    """Parts that stand on fewer than `FEW` images."""
    parts: dict[str, int] = {}
    for role, board in (run.results.get("leaderboard") or {}).items():
        if board:
            parts[f"the leaderboard of the {NAMES[role]}"] = int(board["images"])
    if "ablation_n" in run.heads.column_names and len(run.heads):
        parts["removing heads"] = int(run.heads.column("ablation_n")[0].as_py() or 0)
    if run.pruning is not None and len(run.pruning):
        parts["pruning"] = int(run.pruning.column("n")[0].as_py())
    parts |= _attacked(run.robustness or {}) | counts_of(run.representation or {})
    few = [f"{name} ({count(n)})" for name, n in parts.items() if 0 < n < FEW]
    if few:
        text = (
            f"Measured on fewer than {FEW} images: {', '.join(few)}. Their intervals are wide: that nothing was found "
            "there does not show that nothing is there."
        )
        yield "Small samples", text


def _attacked(document: Mapping[str, Any]) -> dict[str, int]:
    """Images behind each part of a survey of robustness; of the model with the fewest, where they differ."""
    found = {}
    for part, term in MEASURES.items():
        about = document.get(part)
        if isinstance(about, Mapping):
            of_models = [one for one in about.values() if isinstance(one, Mapping)]
            counts = [int(one["n"]) for one in (about, *of_models) if one.get("n")]
            if counts:
                found[f"{term.title[:1].lower()}{term.title[1:]}"] = min(counts)
    return found


def _questions(results: dict[str, Any]) -> str:
    asked = results.get("num_questions")
    if asked is None:
        return ""
    return (
        f"{plural(int(asked), 'question')} could become a finding and {count(len(results['findings']))} did: those "
        "with p below 0.05 after Holm's correction for all of them. The others are not shown to be false. Numbers in "
        "figures that no finding names are not corrected for how many there are, except where their figure says so."
    )


def missing(run: RunDirectory) -> Iterator[str]:
    """What was skipped or could not be measured, with the reason."""
    results = run.results
    for role, reason in (results.get("not_judged") or {}).items():
        yield f"Which map of the {NAMES[role]} to believe: {reason}."
    if reason := results.get("not_ablated"):
        yield f"Which heads and layers the answer needs: {reason}."
    if reason := results.get("not_attacked"):
        yield f"What breaks the models: {reason}."
    for part, reason in ((run.robustness or {}).get("missing") or {}).items():
        title = MEASURES[part].title if part in MEASURES else str(part).replace("_", " ").capitalize()
        yield f"{title}: {str(reason).rstrip('.')}."
    if reason := results.get("not_represented"):
        yield f"What the layers know: {reason}."
    for part, model, reason in left_out(run.representation or {}):
        title = f"{part_title(part)} of {short_name(model)}" if model else part_title(part)
        yield f"{title[:1].upper()}{title[1:]}: {reason.rstrip('.')}."
    if reason := results.get("not_dissected"):
        yield f"Kinds of failure: {reason}."
    for part, reason in ((run.dissection or {}).get("missing") or {}).items():
        yield f"{str(part)[:1].upper()}{str(part)[1:]}: {str(reason).rstrip('.')}."
    skipped = run.run["data"].get("skipped") or []
    if skipped:
        yield f"{plural(len(skipped), 'image')} could not be read and were left out; they are listed under provenance."
    if "readout" not in run.specimens:
        yield (
            "Attention through the layers: the layers of this ViT see windows or regrouped tokens, so no layer has a "
            "map of the whole image."
        )

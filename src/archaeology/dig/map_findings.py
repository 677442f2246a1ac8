"""What judging, pruning and whole layers say: which map to believe, how many heads can go, what is worth most."""

from collections.abc import Mapping, Sequence
from typing import Any

from archaeology.dig.finding import CAP, Finding, Row, distance_from, percent, points
from archaeology.explain.method import title_of

NAMES = {"vit": "ViT", "cnn": "CNN"}
LOST = 0.02  # of accuracy: what pruning may cost and still be called nearly nothing


def leaderboard_findings(results: Mapping[str, Any]) -> list[Finding]:
    """Which method of explanation is to be believed for each model, if any?"""
    found = []
    for role, board in (results.get("leaderboard") or {}).items():
        if board is None:
            continue
        images, name = int(board["images"]), NAMES[role]
        failing = [
            title_of(one["method"])
            for one in board["overall"]
            if one["sanity"] and one["sanity"]["verdict"] == "fails"
        ]
        warning = (
            f" These maps stay alike when all weights are shuffled, so they do not show what was learnt: "
            f"{', '.join(sorted(failing))}."
            if failing
            else ""
        )
        if board["winner"] is None:
            text = f"On {images:,} images no method may win: {board['reason']}. Read its maps with doubt.{warning}"
            found.append(
                Finding(f"No map of the {name} is shown to be better than chance", text, "leaderboard", 6.0)
            )
            continue
        winner = next(one for one in board["overall"] if one["method"] == board["winner"])
        rank, called = winner["mean_rank"], title_of(board["winner"])
        text = (
            f"{called} has mean rank {rank['value']:.1f} ({rank['low']:.1f} to {rank['high']:.1f}) among "
            f"{len(board['overall'])} methods over the judges that count, on {images:,} images; it beats chance with "
            f"{len(winner['beats_chance'])} of them and comes first in {percent(winner['best_share'])} of resamples."
            f"{warning}"
        )
        title = f"For the {name}, believe {called} first"
        found.append(Finding(title, text, "leaderboard", 1.0 + min(CAP, len(winner["beats_chance"]))))
    return found


def pruning_findings(results: Mapping[str, Any], curve: Sequence[Row]) -> list[Finding]:
    """How many heads can go together before accuracy falls by two points?"""
    if not results.get("pruning") or not curve:
        return []
    name = str(curve[0]["order"])
    steps = [row for row in curve if row["order"] == name]
    whole, total = steps[0]["accuracy"], len(steps) - 1
    spared = 0
    for row in steps[1:]:
        if row["accuracy"] < whole - LOST:
            break
        spared = int(row["removed"])
    if spared == 0:
        return []
    last = steps[spared]
    text = (
        f"Removed one after another, the least missed first ({name}, chosen on {results['pruning']['num_chosen_on']:,} "
        f"other images), {spared} of {total} heads can go before accuracy falls by more than {points(LOST)}: "
        f"{percent(last['accuracy'])} ({percent(last['accuracy_low'])} to {percent(last['accuracy_high'])}) instead of "
        f"{percent(whole)}, n = {int(last['n']):,}."
    )
    return [Finding(f"{spared} of {total} heads can go together", text, "pruning", 1.0 + 4 * spared / total)]


def layer_findings(layers: Sequence[Row]) -> list[Finding]:
    """Which attention layer or MLP is worth most?"""
    sure = [row for row in layers if row["ablation_loss_low"] > 0]
    if not sure:
        return []
    top = max(sure, key=lambda row: row["ablation_loss"])
    interval = {
        end: top[f"ablation_loss{tail}"] for end, tail in (("value", ""), ("low", "_low"), ("high", "_high"))
    }
    what = "attention" if top["part"] == "attention" else "MLP"
    text = (
        f"Replacing all that it says by the mean raises the loss by {interval['value']:.2f} (95 % interval "
        f"{interval['low']:.2f} to {interval['high']:.2f}, n = {int(top['n']):,}), the most of {len(layers)} layers "
        "and MLPs."
    )
    title = f"The {what} of layer {int(top['layer']) + 1} is worth most"
    return [Finding(title, text, "layer_ablation", distance_from(0.0, interval) / 4)]

"""What judging, pruning and whole layers say: which map to believe, how many heads can go, what is worth most."""

from collections.abc import Mapping, Sequence
from typing import Any

from archaeology.core.names import plural
from archaeology.dig.finding import (
    CAP,
    Finding,
    Row,
    distance_from,
    interval,
    measured,
    number,
    p_between,
    p_of,
    percent,
    points,
    unanswered,
)
from archaeology.explain.method import title_of

NAMES = {"vit": "ViT", "cnn": "CNN"}
LOST = 0.02  # of accuracy: what pruning may cost and still be called spared
FIRST = 0.95  # share of resamples in which a method must come first to be called the first


def leaderboard_findings(results: Mapping[str, Any]) -> list[Finding]:
    """Which method of explanation is to be believed for each model, if any?"""
    return [
        _winner(NAMES[role], board)
        for role, board in (results.get("leaderboard") or {}).items()
        if board is not None
    ]


def _winner(name: str, board: Mapping[str, Any]) -> Finding:
    if board["winner"] is None:
        return unanswered("leaderboard", 1.0)
    winner = next(one for one in board["overall"] if one["method"] == board["winner"])
    rank, called, images = winner["mean_rank"], title_of(board["winner"]), int(board["images"])
    failing = sorted(title_of(one["method"]) for one in board["overall"] if _fails(one))
    warning = (
        f" These maps stay alike when all weights are shuffled, so they do not show what was learnt: "
        f"{', '.join(failing)}."
        if failing
        else ""
    )
    text = (
        f"{called} has mean rank {rank['value']:.1f} (95 % interval {rank['low']:.1f} to {rank['high']:.1f}) among "
        f"{len(board['overall'])} methods over the judges that count, on {plural(images, 'image')}; it beats "
        f"chance with "
        f"{len(winner['beats_chance'])} of them and comes first in {percent(winner['best_share'])} of resamples."
        f"{warning}"
    )
    title = (
        f"For the {name}, believe {called} first"
        if winner["best_share"] >= FIRST
        else f"For the {name}, {called} beats chance, but is not shown to be the first"
    )
    measure = measured(f"mean rank of {called}", rank, "", images)
    strength = 1.0 + min(CAP, len(winner["beats_chance"]))
    return Finding(title, text, "leaderboard", strength, _beaten(board, winner), measure)


def _fails(row: Mapping[str, Any]) -> bool:
    return bool(row["sanity"]) and row["sanity"]["verdict"] == "fails"


def _beaten(board: Mapping[str, Any], winner: Mapping[str, Any]) -> float:
    """P-value that the winner beats chance with all judges it is said to, for all methods and judges tried."""
    verdicts = board.get("verdicts") or ()
    tried = sum(len(verdict["standings"]) for verdict in verdicts)
    return max(
        (
            p_of(one["above_chance"], tried=tried)
            for verdict in verdicts
            for one in verdict["standings"]
            if one["method"] == winner["method"]
            and one["judge"] in winner["beats_chance"]
            and one["above_chance"]
        ),
        default=1.0,
    )


def pruning_findings(results: Mapping[str, Any], curve: Sequence[Row]) -> list[Finding]:
    """Do heads go better in the order of what they are worth than at random, and how many before accuracy falls?"""
    pruned = results.get("pruning")
    if not pruned or not curve:
        return []
    name, means = str(curve[0]["order"]), pruned.get("mean_accuracies") or {}
    random = [means[order] for order in means if order.startswith("random")]
    if name not in means or not random:
        return []
    p_value = max(p_between(means[name], other) for other in random)
    spared, steps = spared_heads(curve)
    best = max(random, key=lambda one: one["value"])
    if spared == 0 or means[name]["low"] <= best["value"]:
        return [unanswered("pruning", p_value)]
    whole, last = steps[0]["accuracy"], steps[spared]
    text = (
        f"Averaged over how many are removed, accuracy is {percent(means[name]['value'])} (95 % interval "
        f"{percent(means[name]['low'])} to {percent(means[name]['high'])}) when the least missed heads go first "
        f"({name}, chosen on {pruned['num_chosen_on']:,} other images), and at most {percent(best['value'])} in random "
        f"orders. {spared} of {len(steps) - 1} heads go before accuracy falls by more than {points(LOST)}: "
        f"{percent(last['accuracy'])} ({percent(last['accuracy_low'])} to {percent(last['accuracy_high'])}) instead "
        f"of {percent(whole)}, n = {int(last['n']):,}."
    )
    measure = measured("mean accuracy while heads go", means[name], "%", int(last["n"]))
    title = "Heads removed by their worth leave more accuracy than heads removed at random"
    strength = 1.0 + 4 * spared / (len(steps) - 1)
    return [Finding(title, text, "pruning", strength, p_value, measure)]


def spared_heads(curve: Sequence[Row]) -> tuple[int, list[Row]]:
    """How many heads of the first order go before accuracy falls by more than `LOST`, and the steps of that order."""
    steps = [row for row in curve if row["order"] == curve[0]["order"]]
    spared = 0
    for row in steps[1:]:
        if row["accuracy"] < steps[0]["accuracy"] - LOST:
            break
        spared = int(row["removed"])
    return spared, steps


def layer_findings(layers: Sequence[Row]) -> list[Finding]:
    """Which attention layer or MLP is worth most?"""
    if not layers:
        return []
    ranked = sorted(layers, key=lambda row: -row["ablation_loss"])
    top, loss = ranked[0], interval(ranked[0], "ablation_loss")
    p_value = p_of(loss, tried=len(layers))
    if loss["low"] <= 0:
        return [unanswered("layer_ablation", p_value)]
    leads = len(ranked) == 1 or loss["low"] > number(ranked[1]["ablation_loss_high"])
    text = (
        f"Replacing all that it says by the mean raises the loss by {loss['value']:.2f} (95 % interval "
        f"{loss['low']:.2f} to {loss['high']:.2f}, n = {int(top['n']):,}), the most of {len(layers)} layers "
        f"and MLPs{'' if leads else ', though the interval of the next one overlaps'}."
    )
    what = f"The {'attention' if top['part'] == 'attention' else 'MLP'} of layer {int(top['layer']) + 1}"
    title = f"{what} is worth most" if leads else f"{what} is among the parts that are worth most"
    measure = measured("rise of the loss without it", loss, "", int(top["n"]))
    return [Finding(title, text, "layer_ablation", distance_from(0.0, loss) / 4, p_value, measure)]

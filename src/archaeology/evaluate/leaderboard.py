"""The leaderboard: which method to believe for this model on these images, with how sure we are of it.

Every method is marked by every judge on the same images, so all differences are paired. Rules, printed with the result:

- A method beats chance with a judge where the mean difference is above zero in a one-sided t-test over images,
  corrected for all methods and judges tried (Bonferroni). Chance is what is known to be (the object's share of the
  image), else the marks of the random map on the same image.
- Judges of faithfulness have nothing to say about a model whose answer hardly moves when the whole image is replaced by
  its mean colour (`WORTH`): no order of patches can matter then.
- The winner of a judge of faithfulness or truth is the best of those that beat chance; without one there is none.
- Overall counts the judges of faithfulness and truth that count (`Judge.counts`). A method can win overall if it beats
  chance with more than half of them, and with one of each kind that is there, and does not fail the randomization
  check. The winner is the one with the lowest mean rank among all methods.
"""

from collections.abc import Mapping

import numpy as np
import torch

from archaeology.core.intervals import Interval
from archaeology.evaluate.draws import LEVEL, Draws, best_share, intervals_of, is_above_zero, ranks_of
from archaeology.evaluate.judge import judges
from archaeology.evaluate.randomization import Sanity, sanity_of
from archaeology.evaluate.sheet import Sheet
from archaeology.evaluate.standing import Leaderboard as Leaderboard
from archaeology.evaluate.standing import Overall, Standing, Verdict

FLOOR, REFERENCE = "random", "raw_attention"
WORTH = 0.05  # of probability: what the whole image must be worth for an order of its patches to be judged
WINNERS = ("faithfulness", "truth")  # a map can be stable, simple and sensitive to weights, and yet be wrong
NOTHING = "no method beats chance"
RULE = (
    "lowest mean rank over the judges that count, among methods that beat chance with more than half of them, and with "
    "one of each kind (faithfulness, truth) that is there, and do not fail the randomization check"
)


def leaderboard(
    sheet: Sheet, *, floor: str = FLOOR, reference: str = REFERENCE, seed: int = 0, resamples: int = 2000
) -> Leaderboard:
    """Rank the methods of a sheet.

    Args:
        sheet: Marks of methods by judges; see `mark_all`.
        floor: The method that is chance where chance is not known otherwise.
        reference: The method that the others are compared with; without comparison where the sheet has none such.
        seed: Of the resampling.
        resamples: How often images are drawn anew.

    Raises:
        ValueError: If there are fewer than 2 images, or the floor is not on the sheet though a judge needs it.
    """
    if len(sheet) < 2:
        raise ValueError(f"a leaderboard needs at least 2 images, but got {len(sheet)}; mark more.")
    drawn = Draws(sheet, floor, seed, resamples)
    known = np.isfinite(sheet.reach)
    reach = intervals_of(sheet.reach[None], drawn.means(sheet.reach[None], known), known)[0]
    sanity = _sanity(sheet, seed)
    verdicts = tuple(_verdict(sheet, judge, drawn, floor, reference, reach) for judge in sheet.judges)
    overall = _overall(sheet, verdicts, drawn, floor, sanity)
    able = [each for each in overall if each.can_win]
    reason = (
        "" if able else "no method beats chance with enough of the judges" if overall else "no judge counts"
    )
    return Leaderboard(
        verdicts,
        overall,
        able[0].method if able else None,
        reason,
        RULE,
        reach,
        len(sheet),
        floor,
        reference,
        dict(sheet.missing),
        sanity,
    )


def _verdict(sheet: Sheet, judge: str, drawn: Draws, floor: str, reference: str, reach: Interval) -> Verdict:
    registered = judges.get(judge)
    score, base, judged = drawn.of_judge[judge]
    images = int(judged.sum())
    if images < 2:
        reason = "fewer than 2 images could be judged"
        return Verdict(
            judge, registered.kind, registered.counts, images, len(sheet) - images, (), None, reason, ()
        )
    above = score - base
    means = drawn.means(score, judged)
    mean, above_chance = (
        intervals_of(score, means, judged),
        intervals_of(above, drawn.means(above, judged), judged),
    )
    above_reference: list[Interval | None] = [None] * len(sheet.methods)
    if reference in sheet.methods:
        beyond = score - score[sheet.methods.index(reference)]
        above_reference = [*intervals_of(beyond, drawn.means(beyond, judged), judged)]
    can_tell = registered.kind != "faithfulness" or reach.low > WORTH
    tried = len(sheet.judges) * max(len(sheet.methods) - (floor in sheet.methods), 1)
    beats = [
        can_tell and method != floor and is_above_zero(above[row, judged], tried)
        for row, method in enumerate(sheet.methods)
    ]
    rank, ranks = ranks_of(score[:, judged].mean(axis=1)[None])[0], ranks_of(means)
    low, high = np.quantile(ranks, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    standings = [
        Standing(
            method,
            judge,
            mean[row],
            above_chance[row],
            above_reference[row],
            beats[row],
            float(rank[row]),
            float(low[row]),
            float(high[row]),
            best_share(ranks, row),
            int((~sheet.has_evidence[row]).sum()),
        )
        for row, method in enumerate(sheet.methods)
    ]
    standings.sort(key=lambda standing: standing.rank)
    makes_winners = registered.kind in WINNERS
    winner = next((each.method for each in standings if each.beats_chance and makes_winners), None)
    reason = "" if winner else NOTHING if makes_winners else f"{registered.kind} alone makes no winner"
    if not can_tell:
        reason = (
            f"the answer moves by {reach.value:.3f} when the whole image goes, too little to judge an order"
        )
    level_with = _level_with(sheet, score, judged, drawn, winner) if winner else ()
    return Verdict(
        judge,
        registered.kind,
        registered.counts,
        images,
        len(sheet) - images,
        tuple(standings),
        winner,
        reason,
        level_with,
    )


def _level_with(
    sheet: Sheet, score: np.ndarray, judged: np.ndarray, drawn: Draws, winner: str
) -> tuple[str, ...]:
    behind = score[sheet.methods.index(winner)] - score
    intervals = intervals_of(behind, drawn.means(behind, judged), judged)
    return tuple(
        method
        for method, interval in zip(sheet.methods, intervals, strict=True)
        if method != winner and not interval.excludes(0.0)
    )


def _overall(
    sheet: Sheet, verdicts: tuple[Verdict, ...], drawn: Draws, floor: str, sanity: Mapping[str, Sanity]
) -> tuple[Overall, ...]:
    counted = [verdict for verdict in verdicts if verdict.counts and verdict.standings]
    if not counted:
        return ()
    rows = [row for row, method in enumerate(sheet.methods) if method != floor]
    value, resampled = [], []
    for verdict in counted:
        score, _, judged = drawn.of_judge[verdict.judge]
        value.append(ranks_of(score[rows][:, judged].mean(axis=1)[None])[0])
        resampled.append(ranks_of(drawn.means(score[rows], judged)))
    shortest = min(len(ranks) for ranks in resampled)
    mean_rank, draws = (
        np.mean(value, axis=0),
        np.mean([ranks[:shortest] for ranks in resampled], axis=0),
    )
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    found = []
    for place, row in enumerate(rows):
        method = sheet.methods[row]
        beaten = tuple(
            verdict.judge
            for verdict in counted
            if any(each.method == method and each.beats_chance for each in verdict.standings)
        )
        fails = method in sanity and sanity[method].verdict == "fails"
        interval = Interval(
            float(mean_rank[place]), float(low[place]), float(high[place]), len(sheet), "bootstrap", LEVEL
        )
        found.append(
            Overall(
                method,
                interval,
                best_share(draws, place),
                beaten,
                sanity.get(method),
                not fails and _enough(counted, beaten),
            )
        )
    return tuple(sorted(found, key=lambda each: each.mean_rank.value))


def _enough(counted: list[Verdict], beaten: tuple[str, ...]) -> bool:
    """Whether these judges are more than half of those that count, with one of each kind."""
    kinds = {verdict.kind for verdict in counted}
    reached = {verdict.kind for verdict in counted if verdict.judge in beaten}
    return 2 * len(beaten) > len(counted) and kinds == reached


def _sanity(sheet: Sheet, seed: int) -> dict[str, Sanity]:
    if "randomization" not in sheet.judges:
        return {}
    found = {method: sheet.marks(method, "randomization") for method in sheet.methods}
    return {
        method: sanity_of(torch.from_numpy(score), seed=seed)
        for method, score in found.items()
        if np.isfinite(score).any()
    }

"""What a leaderboard is made of: standings of methods, verdicts of judges, and the whole."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from archaeology.core.intervals import Interval
from archaeology.core.registry import unknown_name
from archaeology.evaluate.judge import Kind
from archaeology.evaluate.randomization import Sanity


@dataclass(frozen=True)
class Standing:
    """One method with one judge.

    Attributes:
        mean: Of its marks.
        above_chance: Mean difference from chance on the same images.
        above_reference: From the reference method; None where that cannot be had.
        beats_chance: By the corrected test; never for the random map itself.
        rank: 1 is best; of the means.
        rank_low: Lower end of the rank's interval over resamples.
        rank_high: Upper end.
        best_share: Share of resamples in which it is the best of all methods.
        without_evidence: Images on which its map said nothing.
    """

    method: str
    judge: str
    mean: Interval
    above_chance: Interval
    above_reference: Interval | None
    beats_chance: bool
    rank: float
    rank_low: float
    rank_high: float
    best_share: float
    without_evidence: int


@dataclass(frozen=True)
class Verdict:
    """What one judge says of all methods, best first.

    Attributes:
        images: How many were judged; those that some method has no mark for are left out for all.
        left_out: How many were not.
        winner: None where nothing can be told from chance; `reason` says so.
        level_with: Methods whose paired difference from the winner includes zero.
    """

    judge: str
    kind: Kind
    counts: bool
    images: int
    left_out: int
    standings: tuple[Standing, ...]
    winner: str | None
    reason: str
    level_with: tuple[str, ...]


@dataclass(frozen=True)
class Overall:
    """One method over the judges that count.

    Attributes:
        mean_rank: With its interval over resamples.
        best_share: Share of resamples in which its mean rank is the lowest.
        beats_chance: The judges with whom it does.
        sanity: Of the randomization check; None where that was not made.
        can_win: Whether the rule lets it.
    """

    method: str
    mean_rank: Interval
    best_share: float
    beats_chance: tuple[str, ...]
    sanity: Sanity | None
    can_win: bool


@dataclass(frozen=True)
class Leaderboard:
    """Everybody's standing, and who wins if anyone does.

    Attributes:
        verdicts: One for each judge.
        overall: One for each method but the random one, lowest mean rank first; empty without judges that count.
        winner: None if no method may win; `reason` says why.
        rule: By which.
        reach: How far the target's probability moves without the image.
        missing: Methods that the model does not allow, and why.
        sanity: Of the randomization check by method, the random map's too; empty where that was not made.
    """

    verdicts: tuple[Verdict, ...]
    overall: tuple[Overall, ...]
    winner: str | None
    reason: str
    rule: str
    reach: Interval
    images: int
    floor: str
    reference: str
    missing: Mapping[str, str]
    sanity: Mapping[str, Sanity] = field(default_factory=dict)

    def verdict(self, judge: str) -> Verdict:
        """What one judge says.

        Raises:
            UnknownNameError: If this judge was not asked.
        """
        found = {verdict.judge: verdict for verdict in self.verdicts}
        if judge not in found:
            raise unknown_name("judge of this leaderboard", judge, list(found))
        return found[judge]

    def rows(self) -> list[dict[str, object]]:
        """One flat row for each method and judge, all with the same keys: for Parquet."""
        return [_row(verdict, standing) for verdict in self.verdicts for standing in verdict.standings]

    def describe(self) -> dict[str, object]:
        """Everything, ready for JSON."""
        return asdict(self)


def _row(verdict: Verdict, standing: Standing) -> dict[str, object]:
    row: dict[str, object] = {
        "judge": verdict.judge,
        "kind": verdict.kind,
        "method": standing.method,
        "images": verdict.images,
    }
    nan = Interval(math.nan, math.nan, math.nan, verdict.images, "bootstrap")
    for name, interval in (
        ("mean", standing.mean),
        ("above_chance", standing.above_chance),
        ("above_reference", standing.above_reference or nan),
    ):
        row |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row | {
        "beats_chance": standing.beats_chance,
        "rank": standing.rank,
        "rank_low": standing.rank_low,
        "rank_high": standing.rank_high,
        "best_share": standing.best_share,
        "without_evidence": standing.without_evidence,
        "is_winner": standing.method == verdict.winner,
    }

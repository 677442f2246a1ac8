"""Which labels are wrong? Where models that never saw an image are sure of a class, and its label is one they rule out.

A list of suspects is easy: images whose label gets less than others of that label do, while another class gets as much
as its own images (confident learning, `northcutt2021confident`). But a model that errs makes such a list too, of clean
data. What tells wrong labels from wrong answers: where a model errs, the truth is mostly its second or third choice and
ever more rarely one further down; a wrong label lies anywhere. So only images on which the models are surest and only
labels in the lower half of their order count. There must be surely more of them than one wrong label in a hundred would
make, and more among all that is wrong there than where the models are unsure (at a level of 1 %: clean data are blamed
no more often than that, even if mistakes lie anywhere, too). Models that are often wrong where they are surest are not
asked. From the count follows how many labels are wrong, if they are wrong at random.

Labels that people confuse (a cat called a dog) are not found like this; neither are mistakes that a model was trained
long enough to repeat.

Differs from confident learning: a test and an interval of the count. Interval: `clopper1934confidence`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from archaeology.core.intervals import Interval
from archaeology.represent.features import Features, label_array
from archaeology.represent.neighbours import nearest

TOLERATED = 0.01  # share of wrong labels that is no news: most data sets have it
FEWEST_CLASSES = 4  # with fewer, the lower half of the order is one class, the second choice
FEWEST = 50  # easy images
RIGHT = 0.75  # share of easy images whose label comes first, below which models are too weak to judge labels
GUARD = 0.01
QUARTERS = 4
EXPECTED, MISTAKES = 0.05, 0.01  # wrong labels, and mistakes of the models, that images with few of both have
NEIGHBOURS = 20

Probability = Float[np.ndarray, "image class"]
Labels = Int[np.ndarray, " _"]


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """How many labels are wrong, and which are suspected.

    Attributes:
        share: Share of wrong labels among all images, with interval; NaN where it was not asked.
        p_value: That there are no more than one in a hundred; 1 where it was not asked.
        num_easy: Images that could tell.
        num_ruled_out: Of them, those whose label lies in the lower half of the models' order.
        suspects: Rows, the most suspect first: of confident learning, so mistakes of the models are among them.
        proposed: Class that each suspect seems to have.
        margin: By how much more probable the proposed class is than the label, 0 to 1.
        reason: Why it was not asked; "" where it was.
    """

    share: Interval
    p_value: float
    num_easy: int
    num_ruled_out: int
    suspects: Int[np.ndarray, " suspect"]
    proposed: Int[np.ndarray, " suspect"]
    margin: Float[np.ndarray, " suspect"]
    reason: str = ""


def confident_joint(probability: Probability, labels: Labels) -> Int[np.ndarray, "label truth"]:
    """How many images of each label are surely of each class (confident learning, equation 1).

    An image is surely of class j where its probability of j is at least the mean of that of the images labelled j;
    where several are, of the most probable.

    Raises:
        ValueError: If shapes do not fit, a probability is none or an image has no label.
    """
    _check(probability, labels)
    count = probability.shape[1]
    joint = np.zeros((count, count), dtype=np.int64)
    sure = _surely(probability, labels)
    np.add.at(joint, (labels[sure >= 0], sure[sure >= 0]), 1)
    return joint


def _surely(probability: Probability, labels: Labels) -> Labels:
    """The class that each image surely has, -1 for none."""
    present = np.bincount(labels, minlength=probability.shape[1])
    own = np.zeros(probability.shape[1])
    np.add.at(own, labels, probability[np.arange(len(labels)), labels])
    threshold = np.where(present > 0, own / np.maximum(present, 1), np.inf)
    above = probability >= threshold
    best = np.where(above, probability, -1.0).argmax(axis=1)
    return np.where(above.any(axis=1), best, -1)


def label_errors(probability: Probability, labels: Labels) -> LabelErrors:
    """Suspected labels, and a test of whether wrong labels are needed to explain them.

    Args:
        probability: Of models that were not trained on these images (the mean of several is better than one).
        labels: As given.

    Raises:
        ValueError: As `confident_joint`.
    """
    _check(probability, labels)
    sure = _surely(probability, labels)
    rows = np.flatnonzero((sure >= 0) & (sure != labels))
    margin = probability[rows, sure[rows]] - probability[rows, labels[rows]]
    order = np.argsort(-margin, kind="stable")
    listed = (rows[order], sure[rows][order], margin[order])
    count = probability.shape[1]
    if count < FEWEST_CLASSES:
        return _unasked(listed, f"with {count} classes a wrong label cannot be told from a wrong answer")
    easy = easy_images(probability, labels)
    if easy.sum() < FEWEST:
        return _unasked(listed, f"only {int(easy.sum())} images are easy enough, and {FEWEST} are needed")
    rank = label_rank(probability, labels)
    if (rank[easy] == 0).mean() < RIGHT:
        return _unasked(listed, "the models are too often wrong even where they are surest")
    lower = count // 2  # classes in the lower half of the order
    ruled_out = easy & (rank >= count - lower)
    found, tried = int(ruled_out.sum()), int(easy.sum())
    reach = lower / (count - 1)  # share of labels wrong at random that fall there
    p_value = float(stats.binomtest(found, tried, TOLERATED * reach, alternative="greater").pvalue)  # pyright: ignore
    if not _falls_lower(rank, easy, count - lower, 2 * few_second(count)):
        p_value = 1.0
    low, high = _clopper(found, tried)
    share = Interval(
        min(1.0, found / tried / reach),
        min(1.0, low / reach),
        min(1.0, high / reach),
        tried,
        "clopper-pearson",
    )
    # Those that the test counted come first: of all suspects they are the least likely to be the models' mistakes.
    first = ruled_out[listed[0]]
    suspects, proposed, doubts = (np.concatenate([part[first], part[~first]]) for part in listed)
    return LabelErrors(share, p_value, tried, found, suspects, proposed, doubts)


def easy_images(probability: Probability, labels: Labels) -> Bool[np.ndarray, " image"]:
    """The images on which the models are surest: a quarter, or more where even then few labels come second.

    A label that comes second is mostly a mistake of the models, so where those are rare the models can be trusted with
    more images. That look at labels does not touch the count of labels in the lower half.
    """
    order = np.argsort(-probability.max(axis=1), kind="stable")
    second = (label_rank(probability, labels) == 1)[order]
    share = np.cumsum(second) / np.arange(1, len(order) + 1)
    least = -(-len(order) // QUARTERS)
    enough = np.flatnonzero(share[least:] <= few_second(probability.shape[1]))
    count = least + (int(enough[-1]) + 1 if len(enough) else 0)
    easy = np.zeros(len(probability), dtype=bool)
    easy[order[:count]] = True
    return easy


def few_second(count: int) -> float:
    """Share of labels that come second where five in a hundred are wrong at random and one is mistaken."""
    return MISTAKES + EXPECTED / (count - 1)


def _falls_lower(rank: Labels, easy: Bool[np.ndarray, " image"], lower: int, few: float) -> bool:
    """Whether labels that are not the answer lie lower in the order where images are easy than where they are hard.

    Mistakes of a model lie no lower there, wrong labels do, as nearly all that is wrong there is their fault. Where
    hardly any label comes second even on hard images, the model makes too few mistakes to compare with.
    """
    if (~easy).any() and (rank[~easy] == 1).mean() <= few:
        return True
    missed, harder = easy & (rank > 0), ~easy & (rank > 0)
    if not missed.any() or not harder.any():
        return True
    expected = float((rank[harder] >= lower).mean())
    found = int((rank[missed] >= lower).sum())
    test = stats.binomtest(found, int(missed.sum()), min(1.0, expected), alternative="greater")  # pyright: ignore
    return float(test.pvalue) < GUARD


def label_rank(probability: Probability, labels: Labels) -> Labels:
    """How many classes are more probable than the label, 0 where it comes first."""
    own = probability[np.arange(len(labels)), labels]
    return (probability > own[:, None]).sum(axis=1)


def neighbour_dissent(
    features: Features, labels: Labels, *, k: int = NEIGHBOURS
) -> tuple[Int[np.ndarray, " suspect"], Float[np.ndarray, " suspect"]]:
    """Rows whose nearest neighbours mostly have another label, and the share that has the commonest of those.

    The most suspect first. Like confident learning it lists mistakes of the features as well.

    Raises:
        ValueError: As `represent.neighbours.nearest`, or if labels do not go with the features.
    """
    given = label_array(labels, features)
    if k >= len(features):
        raise ValueError(
            f"k must be less than the number of images, since an image is no neighbour of itself, but got {k=} and "
            f"{len(features)} images; ask for fewer neighbours."
        )
    found, _ = nearest(features, features, k)
    votes = np.zeros((len(given), int(given.max()) + 1))
    np.add.at(votes, (np.arange(len(given))[:, None], given[found]), (found >= 0).astype(float))
    share = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)
    winner = share.argmax(axis=1)
    rows = np.flatnonzero((winner != given) & (share.max(axis=1) > 0.5))
    order = np.argsort(-share[rows].max(axis=1), kind="stable")
    return rows[order], share[rows].max(axis=1)[order]


def _unasked(listed: tuple[np.ndarray, ...], reason: str) -> LabelErrors:
    nothing = Interval(np.nan, np.nan, np.nan, 0, "not asked")
    return LabelErrors(nothing, 1.0, 0, 0, *listed, reason=reason)


def _clopper(found: int, tried: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share."""
    tail = (1 - level) / 2
    low = 0.0 if found == 0 else float(stats.beta.ppf(tail, found, tried - found + 1))  # pyright: ignore
    high = 1.0 if found == tried else float(stats.beta.ppf(1 - tail, found + 1, tried - found))  # pyright: ignore
    return low, high


def _check(probability: Probability, labels: Labels) -> None:
    if probability.ndim != 2 or len(probability) != len(labels) or len(labels) == 0:
        raise ValueError(
            f"label errors need one row of probabilities and one label for each image, at least one, but got "
            f"{probability.shape} and {len(labels)} labels."
        )
    if not (np.isfinite(probability).all() and (probability >= 0).all() and (probability <= 1 + 1e-6).all()):
        raise ValueError("probabilities must lie in [0, 1]; take the softmax of the logits first.")
    if labels.min() < 0 or labels.max() >= probability.shape[1]:
        raise ValueError(
            f"labels must be 0 to {probability.shape[1] - 1}, the columns of the probabilities, but go from "
            f"{labels.min()} to {labels.max()}; leave unlabelled images out."
        )

"""Why do models fail here? Every cause that could be named is asked for, and named only where the numbers carry it.

Four sorts of causes: a shortcut that a model takes (`shortcuts.py`), labels that are wrong (`label_errors.py`), images
that are there more than once (`duplicates.py`), and an attribute that makes a model fail, which is to say that failures
gather at one end of it, within classes, and that setting it to what is usual mends them. That failures merely gather
somewhere is listed beside, as what goes with failing: small objects may be hard for everyone, and that is no fault.

All questions about all models and the data are corrected together (`holm1979simple`). Within classes: each image is
compared with those of its own label only, so that a hard class does not pass for a cause (`mantel1963chi`).
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from archaeology.core.intervals import Interval, wilson
from archaeology.core.many import corrected, paired_share
from archaeology.core.names import short_name
from archaeology.core.seeding import numpy_generator
from archaeology.core.shapes import Image, Logits
from archaeology.data.decoded import DecodedImages
from archaeology.failures.attributes import Values, attributes, measured_attributes
from archaeology.failures.copied import RightOnCopies, right_on_copies
from archaeology.failures.duplicates import Duplicates, duplicates_across, duplicates_within
from archaeology.failures.gatherings import (
    EXAMPLES,
    FIFTHS,
    Gathering,
    Labels,
    Right,
    fifths_within,
    gathering,
    share_right,
)
from archaeology.failures.interventions import AS_LARGE, changes, set_attribute, the_other_way
from archaeology.failures.label_errors import LabelErrors, label_errors
from archaeology.failures.shortcuts import (
    FEWEST,
    LEAST_MOVED,
    MOST_CHANGED,
    OTHER_WAY,
    PLACE,
    Intervention,
    Shortcut,
    askable_classes,
    find_marks,
    find_shortcuts,
    is_shortcut,
)

LEVEL = 0.05
TOLERATED_COPIES = 0.01
CHUNK = 128

Predict = Callable[[Image], Logits]


@dataclass(frozen=True, eq=False)
class Cause:
    """A question, with its answer.

    Attributes:
        kind: "shortcut", "label errors", "duplicates" or "attribute".
        model: Whose; "" for the data.
        what: The attribute or place; "" where there is none.
        target: Name of the class; "" where there is none.
        title: The cause in one plain sentence; "" where the numbers do not carry it.
        text: Its evidence.
        measure: What `effect` is, in a few words.
        effect: In points of accuracy or of answers, 0 to 1, with interval.
        p_value: Of the question.
        examples: Row numbers of images that show it.
        p_corrected: Among all questions (Holm).
    """

    kind: str
    model: str
    what: str
    target: str
    title: str
    text: str
    measure: str
    effect: Interval
    p_value: float
    examples: tuple[int, ...]
    p_corrected: float = 1.0


@dataclass(frozen=True, eq=False)
class Causes:
    """Everything that was asked.

    Attributes:
        named: Causes that the numbers carry after correction, the strongest first.
        asked: All questions that could have named one.
        gatherings: Every attribute with every model.
        label_errors: Suspected labels.
        duplicates: Images that are there again.
        on_copies: Whether models are right more or less often on them; none where there are too few.
        ids: Names of the images asked.
        training_ids: Of those that the models were trained on; None where these are not known.
        num_questions: Corrected for.
    """

    named: tuple[Cause, ...]
    asked: tuple[Cause, ...]
    gatherings: tuple[Gathering, ...]
    label_errors: LabelErrors
    duplicates: Duplicates
    on_copies: tuple[RightOnCopies, ...]
    ids: tuple[str, ...]
    training_ids: tuple[str, ...] | None
    num_questions: int

    def describe(self) -> dict[str, Any]:
        """As JSON: rows are those of the images asked, ids their names."""
        wrong, copies = self.label_errors, self.duplicates
        known = self.training_ids or self.ids
        return {
            "n": len(self.ids),
            "num_questions": self.num_questions,
            "level": LEVEL,
            "ids": list(self.ids),
            "causes": [asdict(one) for one in self.named],
            "asked": [
                {"kind": one.kind, "model": one.model, "what": one.what, "target": one.target}
                | {"p_value": one.p_value, "p_corrected": one.p_corrected}
                for one in self.asked
            ],
            "attributes": [
                {"title": attributes.get(one.attribute).title, "unit": attributes.get(one.attribute).unit}
                | asdict(one)
                for one in self.gatherings
            ],
            "label_errors": {
                "share": asdict(wrong.share),
                "p_value": wrong.p_value,
                "num_easy": wrong.num_easy,
                "num_ruled_out": wrong.num_ruled_out,
                "reason": wrong.reason,
                "suspects": wrong.suspects.tolist(),
                "proposed": wrong.proposed.tolist(),
                "margin": wrong.margin.tolist(),
            },
            "duplicates": {
                "pairs": copies.pairs.tolist(),
                "cosine": copies.cosine.tolist(),
                "is_exact": copies.is_exact.tolist(),
                "within": copies.within,
                "right": [asdict(one) for one in self.on_copies],
                "originals": [known[row] for row in copies.pairs[:, 0 if copies.within else 1]],
            },
        }


def find_causes(
    images: DecodedImages,
    models: Mapping[str, Predict],
    *,
    training: DecodedImages | None = None,
    seed: int = 0,
) -> Causes:
    """Ask everything of models and data.

    Args:
        images: Labelled images that no model was trained on.
        models: By name: images in [0, 1] to logits, those of the data's classes first and in their order.
        training: What they were trained on, where it is known: then copies across both sets count.
        seed: Of everything drawn.

    Raises:
        ValueError: If an image has no label, there is no model, or there are fewer than two classes.
    """
    labels, names = images.labels.astype(np.int64), tuple(images.classes)
    _check(images, models)
    measured = measured_attributes(images)
    probability = {name: probabilities(predict, images, len(names)) for name, predict in models.items()}
    answers = {name: values.argmax(axis=1) for name, values in probability.items()}
    copies = (
        duplicates_within(images.images)
        if training is None
        else duplicates_across(images.images, training.images)
    )
    looked = [right_on_copies(name, copies, labels, answer == labels) for name, answer in answers.items()]
    on_copies = [one for one in looked if one is not None]
    total = _num_questions(labels, len(names), measured, len(models)) + len(on_copies)
    marks = find_marks(images.images, labels, num_classes=len(names), seed=seed)
    gatherings, asked = [], []
    for name, predict in models.items():
        right = answers[name] == labels
        answer = answering(predict)
        for attribute, values in measured.items():
            found = gathering(name, attribute, values, labels, right)
            gatherings.append(found)
            if attribute in changes:
                asked.append(
                    _attribute_cause(found, values, images, labels, right, answer, LEVEL / total, seed)
                )
        asked += [
            _shortcut_cause(name, one, names)
            for one in find_shortcuts(
                answer, images.images, labels, measured, answers[name],
                num_classes=len(names), marks=marks, level=LEVEL, questions=total, seed=seed,
            )
        ]  # fmt: skip
    known = [_known_classes(values, len(names)) for values in probability.values()]
    wrong = label_errors(np.mean(known, axis=0), labels)
    asked += [_label_cause(wrong), _copies_cause(copies)]
    p_values = np.array([one.p_value for one in (*asked, *gatherings, *on_copies)])
    p_corrected = corrected(p_values)
    asked = [replace(one, p_corrected=float(p)) for one, p in zip(asked, p_corrected, strict=False)]
    gatherings = [
        replace(one, p_corrected=float(p))
        for one, p in zip(gatherings, p_corrected[len(asked) :], strict=False)
    ]
    of_copies = p_corrected[len(asked) + len(gatherings) :]
    on_copies = [replace(one, p_corrected=float(p)) for one, p in zip(on_copies, of_copies, strict=True)]
    named = sorted(
        (one for one in asked if one.title and one.p_corrected < LEVEL), key=lambda one: -one.effect.value
    )
    return Causes(
        named=tuple(named),
        asked=tuple(asked),
        gatherings=tuple(gatherings),
        label_errors=wrong,
        duplicates=copies,
        on_copies=tuple(on_copies),
        ids=tuple(images.ids),
        training_ids=None if training is None else tuple(training.ids),
        num_questions=len(p_values),
    )


def probabilities(
    predict: Predict, images: DecodedImages, num_classes: int
) -> Float[np.ndarray, "image logit"]:
    """Softmax of every image, over all logits of the model."""
    parts = []
    with torch.no_grad():
        for batch, _, _ in images.batches(CHUNK):
            parts.append(predict(batch.float() / 255).double().softmax(dim=1).cpu().numpy())
    found = np.concatenate(parts)
    if found.shape[1] < num_classes:
        raise ValueError(
            f"a model must have a logit for each of the {num_classes} classes, but has {found.shape[1]}."
        )
    return found


def answering(predict: Predict) -> Callable[[Image], Labels]:
    """Images to the most probable class, in chunks."""

    @torch.no_grad()
    def answer(images: Image) -> Labels:
        return np.concatenate([predict(part).argmax(dim=1).cpu().numpy() for part in images.split(CHUNK)])

    return answer


def _attribute_cause(
    found: Gathering,
    values: Values,
    images: DecodedImages,
    labels: Labels,
    right: Right,
    answer: Callable[[Image], Labels],
    bar: float,
    seed: int,
) -> Cause:
    """Are failures mended where the attribute is set to the median of the class, and not by as large a change back?"""
    none = Cause(
        "attribute", found.model, found.attribute, "", "", "", "", found.difference, 1.0, found.examples
    )
    if found.p_value >= bar:
        return none
    fifth, is_high = fifths_within(values, labels), found.difference.value < 0
    rows = np.flatnonzero(fifth == (FIFTHS - 1 if is_high else 0))
    rows = rows[numpy_generator(seed, "mended", found.attribute).permutation(len(rows))[:MOST_CHANGED]]
    medians = {one: np.median(values[labels == one]) for one in np.unique(labels)}
    wanted = np.array([medians[one] for one in labels[rows]])
    unit = torch.from_numpy(np.array(images.images[rows])).float() / 255
    opposite, reached = the_other_way(found.attribute, unit, values[rows], wanted)
    after, back = (
        answer(set_attribute(found.attribute, unit, torch.from_numpy(aim).float())) == labels[rows]
        for aim in (wanted, opposite)
    )
    gain = paired_share(after, right[rows])
    fair = reached >= AS_LARGE
    alone = _more(after[fair], back[fair]) if fair.sum() >= FEWEST else 0.0
    p_value = max(found.p_value, alone, *(_more(after, other) for other in (right[rows], back)))
    known = attributes.get(found.attribute)
    is_named = gain.low > 0 and gain.value >= LEAST_MOVED
    words = known.high_words if is_high else known.low_words
    title = f"{short_name(found.model)} fails on images that are {words}" if is_named else ""
    text = (
        f"Of the fifth of each class that is most so, {_words(share_right(right[rows]))} are right; with the "
        f"{known.title} that is usual in the class {_words(share_right(after))}, with a change the other way "
        f"{_words(share_right(back))}. {_how_far(reached)}"
    )
    return replace(
        none,
        title=title,
        text=text,
        measure=f"mended by the usual {known.title}",
        effect=gain,
        p_value=p_value,
    )


def _shortcut_cause(model: str, found: Shortcut, names: tuple[str, ...]) -> Cause:
    target, done = names[found.target], found.intervention
    nothing = Interval(np.nan, np.nan, np.nan, 0, "not asked")
    examples = tuple(found.examples[:EXAMPLES].tolist())
    cause = Cause("shortcut", model, found.what, target, "", "", "", nothing, found.p_value, examples)
    if done is None:
        return cause
    is_named = is_shortcut(found)
    if found.what == PLACE:
        title = f"{short_name(model)} knows {target} by a mark {_place_words(found)}"
        seen = (
            f"{_words(found.association)} of the images of {target} carry the same pixels there, "
            f"{100 * found.elsewhere:.1f} % of the others."
        )
        given = "With these pixels pasted"
    else:
        kind = attributes.get(found.what)
        title = f"{short_name(model)} knows {target} by its {kind.title}"
        words = kind.high_words if found.level > found.usual else kind.low_words
        area = found.association
        seen = (
            f"Images of {target} are {words}: median {found.level:.2f}, of the others {found.usual:.2f} (area under "
            f"the ROC curve {area.value:.2f}, {area.low:.2f} to {area.high:.2f})."
        )
        given = f"Given this {kind.title}"
    others = "; ".join(f"{_words(share, n=False)} with {name}" for name, share in _controls(done).items())
    others += f". {_reached_words(done.reached, done.num_as_large)}" if np.isfinite(done.reached) else "."
    text = (
        f"{seen} {given}, {_words(done.moved)} of images of other classes are called {target}; {others} Their "
        f"accuracy falls by {100 * done.lost.value:.1f} points ({100 * done.lost.low:.1f} to "
        f"{100 * done.lost.high:.1f})."
    )
    shown = (*examples[: EXAMPLES // 2], *done.moved_rows[: EXAMPLES // 2].tolist())
    measure = f"more answers {target} than under the controls"
    title = title if is_named else ""
    return replace(cause, title=title, text=text, measure=measure, effect=done.beyond, examples=shown)


def _controls(done: Intervention) -> dict[str, Interval]:
    """The controls, with the one the other way called what it is where it stopped short."""
    is_short = np.isfinite(done.reached) and done.reached < AS_LARGE
    return {
        "a change the other way" if is_short and name == OTHER_WAY else name: share
        for name, share in done.controls.items()
    }


def _how_far(reached: Float[np.ndarray, " _"]) -> str:
    known = reached[np.isfinite(reached)]
    return _reached_words(float(np.median(known)) if len(known) else 0.0, int((reached >= AS_LARGE).sum()))


def _reached_words(reached: float, num_as_large: int) -> str:
    """How large the change the other way was."""
    if reached >= AS_LARGE:
        return f"The other way, {100 * reached:.0f} % of the change can be reached (median)."
    said = f"The other way, only {100 * reached:.0f} % of the change can be reached (median)"
    if num_as_large >= FEWEST:
        return (
            f"{said}; the {num_as_large:,} images on which it is as large were compared by themselves, too."
        )
    return f"{said}, so that any other change as large would do the same is not ruled out."


def _place_words(found: Shortcut) -> str:
    assert found.where is not None
    left, top, right, bottom = found.where
    return f"at columns {left} to {right - 1}, rows {top} to {bottom - 1}"


def _label_cause(found: LabelErrors) -> Cause:
    share = found.share
    is_named = found.num_ruled_out > 0 and not found.reason
    title = f"About {100 * share.value:.0f} of 100 labels are wrong" if is_named else ""
    text = (
        f"Of {found.num_easy:,} images that the models find easy, {found.num_ruled_out} have a label from the lower "
        "half of the models' order, where a model's own mistakes hardly ever are; if labels are wrong at random, that "
        f"makes {100 * share.value:.1f} % of all (95 % interval {100 * share.low:.1f} to {100 * share.high:.1f}). As "
        f"much of the accuracy is lost to them. {len(found.suspects):,} labels are suspected, listed in causes.json."
    )
    return Cause(
        "label errors", "", "", "", title, text, "labels that are wrong", share, found.p_value,
        tuple(found.suspects[:EXAMPLES].tolist()),
    )  # fmt: skip


def _copies_cause(found: Duplicates) -> Cause:
    rows = found.rows
    share = wilson(len(rows), found.num_images)
    p_value = float(
        stats.binomtest(len(rows), found.num_images, TOLERATED_COPIES, alternative="greater").pvalue  # pyright: ignore
    )
    where = "are there more than once" if found.within else "are in the training set, too"
    title = f"{len(rows):,} of {found.num_images:,} images {where}" if len(rows) else ""
    means = (
        "What is right or wrong about them counts twice."
        if found.within
        else "Whether a model is right on them tells how well it remembers, not how well it sees."
    )
    num_exact = int(found.is_exact.sum())
    text = f"{num_exact:,} have the same pixels, {len(found.is_exact) - num_exact:,} nearly. {means}"
    return Cause(
        "duplicates",
        "",
        "",
        "",
        title,
        text,
        "images with a copy",
        share,
        p_value,
        tuple(rows[:EXAMPLES].tolist()),
    )


def _more(first: Right, second: Right) -> float:
    """One-sided exact McNemar: the first is right no more often."""
    only, other = int((first & ~second).sum()), int((~first & second).sum())
    return float(stats.binomtest(only, only + other, alternative="greater").pvalue) if only + other else 1.0  # pyright: ignore


def _words(share: Interval, *, n: bool = True) -> str:
    of = f", n = {share.n:,}" if n else ""
    return f"{100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f}{of})"


def _known_classes(values: Float[np.ndarray, "image logit"], count: int) -> Float[np.ndarray, "image class"]:
    """Probabilities of the data's classes alone, summing to one."""
    kept = values[:, :count] + 1e-12
    return kept / kept.sum(axis=1, keepdims=True)


def _num_questions(labels: Labels, num_classes: int, measured: Mapping[str, Values], num_models: int) -> int:
    settable = sum(name in changes for name in measured)
    shortcuts = len(askable_classes(labels, num_classes)) * (settable + 1)
    return num_models * (shortcuts + settable + len(measured)) + 2


def _check(images: DecodedImages, models: Mapping[str, Predict]) -> None:
    if len(images) == 0 or (images.labels < 0).any():
        raise ValueError(
            f"looking for causes needs labelled images, but {int((images.labels < 0).sum())} of {len(images)} have no "
            "label; leave them out."
        )
    if not models:
        raise ValueError("looking for causes needs at least one model, but got none.")
    if len(images.classes) < 2:
        raise ValueError(f"there must be at least two classes, but got {len(images.classes)}.")

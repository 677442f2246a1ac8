"""A sheet of marks: every method by every judge on every image, in parts that add up to the whole.

Marks of an image depend on nothing but that image, so a sheet of 300 images is the sheets of ten times 30 put together;
each part is a handful of arrays that can be kept on disk and found again after a kill.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.core.errors import SelfCheckError
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.evaluate.edited import answers, filled_with, probability
from archaeology.evaluate.fill import fill_of
from archaeology.evaluate.judge import judges, mark
from archaeology.evaluate.trial import Trial, trial_of
from archaeology.explain.method import explain_all, explanations
from archaeology.specimens.specimen import Specimen

Parameters = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, eq=False)
class Sheet:
    """Marks of methods by judges, image by image.

    Attributes:
        methods: Names of the methods, in the order of the arrays.
        judges: Names of the judges.
        score: Higher is better; NaN where an image was left out.
        chance: What a map that knows nothing gets; NaN where only a random map can tell.
        has_evidence: Whether the method's map said anything.
        reach: How far the target's probability moves when the whole image is replaced by its mean colour: where it
            hardly moves, there is nothing to explain.
        missing: Methods that the model does not allow, and why.
    """

    methods: tuple[str, ...]
    judges: tuple[str, ...]
    score: Float[np.ndarray, "method judge image"]
    chance: Float[np.ndarray, "method judge image"]
    has_evidence: Bool[np.ndarray, "method image"]
    reach: Float[np.ndarray, " image"]
    missing: Mapping[str, str]

    def __len__(self) -> int:
        return self.score.shape[2]

    def marks(self, method: str, judge: str) -> Float[np.ndarray, " image"]:
        """The marks of one method by one judge."""
        return self.score[self.methods.index(method), self.judges.index(judge)]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, none of them pickled: what a part of a dig keeps."""
        return {
            "methods": np.array(self.methods),
            "judges": np.array(self.judges),
            "missing": np.array([list(pair) for pair in self.missing.items()], dtype=str).reshape(-1, 2),
            "score": self.score,
            "chance": self.chance,
            "has_evidence": self.has_evidence,
            "reach": self.reach,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Sheet":
        """The sheet that `arrays` was called on."""
        return cls(
            methods=tuple(str(name) for name in arrays["methods"]),
            judges=tuple(str(name) for name in arrays["judges"]),
            score=arrays["score"],
            chance=arrays["chance"],
            has_evidence=arrays["has_evidence"],
            reach=arrays["reach"],
            missing={str(name): str(reason) for name, reason in arrays["missing"]},
        )

    @classmethod
    def joined(cls, parts: Sequence["Sheet"]) -> "Sheet":
        """The images of several sheets end to end; where one has not asked a judge of another, marks are NaN.

        So a costly judge can be asked about some of the images only.

        Raises:
            ValueError: If there is no part, or they are of different methods.
        """
        if len({part.methods for part in parts}) != 1:
            raise ValueError(
                f"sheets can be joined where all have the same methods, but got {[part.methods for part in parts]}; "
                "mark all images with the same ones."
            )
        names = tuple(dict.fromkeys(name for part in parts for name in part.judges))
        return cls(
            parts[0].methods,
            names,
            np.concatenate([_for_judges(part.score, part.judges, names) for part in parts], axis=2),
            np.concatenate([_for_judges(part.chance, part.judges, names) for part in parts], axis=2),
            np.concatenate([part.has_evidence for part in parts], axis=1),
            np.concatenate([part.reach for part in parts]),
            parts[0].missing,
        )


def _for_judges(
    values: Float[np.ndarray, "method judge image"], have: tuple[str, ...], want: tuple[str, ...]
) -> Float[np.ndarray, "method wanted image"]:
    found = np.full((values.shape[0], len(want), values.shape[2]), np.nan)
    found[:, [want.index(name) for name in have]] = values
    return found


def mark_all(
    specimen: Specimen,
    images: Image | PixelImage,
    target: Label | None = None,
    *,
    masks: Tensor | None = None,
    boxes: Tensor | None = None,
    methods: Parameters | None = None,
    by: Parameters | None = None,
    at_once: int = 32,
    seed: int = 0,
) -> Sheet:
    """Every method marked by every judge on some images; call it for some images at a time and join the sheets.

    Args:
        specimen: Any model.
        images: Floats in [0, 1] or 8 bit.
        target: Class to explain for each image; the predicted one if None.
        masks: Where the object is, as for `trial_of`.
        boxes: Instead of masks.
        methods: Their parameters by name; all registered ones if None. Those that the model does not allow are listed
            with the reason.
        by: Parameters of judges by name; all registered ones if None, without those of the truth where none is given.
        at_once: Images that are explained together.
        seed: Of everything random.

    Raises:
        UnknownNameError: If a method or judge has no such name.
        ValueError: If nothing can be explained, or a trial or judge objects; says why.
    """
    truth = masks is not None or boxes is not None
    by = by if by is not None else {name: {} for name in judges if truth or judges.get(name).kind != "truth"}
    for name in by:
        judges.get(name)
    wanted = methods if methods is not None else {name: {} for name in explanations}
    first = trial_of(specimen, images[:1], None if target is None else target[:1], seed=seed)
    possible, missing = applicable(wanted, specimen, first)
    if not possible:
        raise ValueError(f"{specimen.name} allows none of the methods asked for: {missing}; ask for others.")
    sheets = []
    for start in range(0, len(images), at_once):
        some = slice(start, start + at_once)
        given = [None if each is None else each[some] for each in (target, masks, boxes)]
        trial = trial_of(specimen, images[some], given[0], masks=given[1], boxes=given[2], seed=seed)
        sheets.append(_marked(trial, possible, by, missing))
    return Sheet.joined(sheets)


def applicable(
    methods: Parameters, specimen: Specimen, trial: Trial
) -> tuple[dict[str, Mapping[str, object]], dict[str, str]]:
    """The methods that explain the trial's images, with parameters; and the others with their reason.

    Raises:
        UnknownNameError: If a method has no such name.
    """
    possible: dict[str, Mapping[str, object]] = {}
    missing: dict[str, str] = {}
    for name, parameters in methods.items():
        explanations.get(name)
        try:
            explain_all({name: parameters}, specimen, trial.images, trial.target)
        except (ValueError, SelfCheckError) as error:
            missing[name] = str(error)
        else:
            possible[name] = parameters
    return possible, missing


def _marked(trial: Trial, methods: Parameters, by: Parameters, missing: Mapping[str, str]) -> Sheet:
    """The sheet of one trial."""
    explained = explain_all(methods, trial.specimen, trial.images, trial.target)
    score = np.full((len(methods), len(by), len(trial)), np.nan)
    chance = score.copy()
    for row, explanation in enumerate(explained.values()):
        for column, (name, parameters) in enumerate(by.items()):
            marks = mark(name, trial, explanation, **parameters)
            score[row, column] = marks.score.double().cpu().numpy()
            if marks.chance is not None:
                chance[row, column] = marks.chance.double().cpu().numpy()
    evidence = torch.stack([explanation.has_evidence for explanation in explained.values()])
    reach = _reach(trial).double().cpu().numpy()
    return Sheet(tuple(methods), tuple(by), score, chance, evidence.cpu().numpy(), reach, dict(missing))


def _reach(trial: Trial) -> Float[Tensor, " batch"]:
    stays = torch.ones(len(trial), 2, trial.num_patches, dtype=torch.bool, device=trial.images.device)
    stays[:, 1] = False
    values = probability(trial, answers(trial, stays, filled_with(fill_of(trial, "mean"))))
    return (values[:, 0] - values[:, 1]).abs()

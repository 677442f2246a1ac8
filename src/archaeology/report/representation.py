"""What the layers know: which layers are alike, where the class becomes readable, what lies near what."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from archaeology.core.names import plural
from archaeology.dig.directory import RunDirectory
from archaeology.figures._representation import READOUTS
from archaeology.figures._robustness import subjects_of
from archaeology.figures.words import tight
from archaeology.report.attack_terms import AttackTerm

REPRESENTATION_FIGURES = (  # in pairs that stand beside each other
    "layer_similarity",
    "layer_reading",
    "image_map",
    "nearest_images",
    "patch_objects",
    "few_shot",
    "token_norms",
)

# What each part of the document measures, as the methods chapter explains it.
TERMS = {
    "similarity": AttackTerm(
        "Similarity of layers (CKA)",
        "CKA = HSIC(K, L) / √(HSIC(K, K) · HSIC(L, L)), K = X Xᵀ, L = Y Yᵀ over the same images",
        "1 where two layers find the same images alike, 0 where they have nothing in common; turning or scaling the "
        "features changes nothing. HSIC is the unbiased estimate, averaged over batches of images drawn at random; "
        "intervals by jackknife over batches.",
        "Kornblith et al., 2019; Nguyen et al., 2021; Song et al., 2012; Efron and Stein, 1981",
    ),
    "reading": AttackTerm(
        "Neighbours and linear probe",
        "class = vote of the k known images with the largest cosine; or the largest of W x + b, |W|² penalised",
        "Half of the images of each class are known, the other half is asked; no image, nor a copy of it, is in both. "
        "Neighbours are trained on nothing. The penalty of the probe is chosen by cross-validation among the known.",
        "Wu et al., 2018; Caron et al., 2021; Alain and Bengio, 2017; Radford et al., 2021",
    ),
    "few_shot": AttackTerm(
        "Few labels",
        "mean over draws of the accuracy of a probe that saw so many images of each class",
        "Drawn from the known half with one seed for both models, asked about the whole other half. The interval says "
        "how results vary with the draw.",
        "Radford et al., 2021",
    ),
    "maps": AttackTerm(
        "Map of images",
        "positions that keep the neighbours of each image: min KL(P ‖ Q), P from features, Q from positions",
        "t-SNE begun from PCA. Trustworthiness says how many neighbours on the map are neighbours in the features.",
        "van der Maaten and Hinton, 2008; Venna and Kaski, 2001",
    ),
    "outliers": AttackTerm(
        "Tokens of high norm",
        "|x| above the valley between two peaks of log |x|; none where there is no valley",
        "Two peaks must explain the norms far better than one (BIC by more than 10), with a valley between them below "
        "half of the lower peak.",
        "Darcet et al., 2024",
    ),
    "objects": AttackTerm(
        "Objects from patches",
        "min over A of cut(A, B) / assoc(A) + cut(A, B) / assoc(B), joined where the cosine is above the mean",
        "TokenCut: the second eigenvector of the normalised graph parts object from ground. Compared with a box in the "
        "middle of the image, which is often right. Colours are the first three principal components of all patches.",
        "Wang et al., 2022; Shi and Malik, 2000; Oquab et al., 2024",
    ),
    "retrieval": AttackTerm(
        "Nearest images",
        "share of the k images with the largest cosine that are of the image's class",
        "Over all images, each looked for among all others; copies left out.",
        "Wu et al., 2018",
    ),
}


@dataclass(frozen=True)
class Representation:
    """The chapter.

    Attributes:
        models: Their names.
        intro: How it was asked, in sentences.
        layers: For each model its layers in order, as text.
        missing: Parts that could not be measured, of all models or of one, with reasons.
    """

    models: tuple[str, ...]
    intro: tuple[str, ...]
    layers: tuple[tuple[str, str], ...]
    missing: tuple[tuple[str, str], ...]


def representation(run: RunDirectory) -> Representation | None:
    """The chapter; None for a run whose layers were not looked at."""
    document = run.representation
    if not document:
        return None
    subjects = subjects_of(document)
    return Representation(
        models=tuple(one.title for one in subjects.values()),
        intro=tuple(map(tight, _intro(document))),
        layers=tuple(
            (subjects[one["name"]].title, ", ".join(map(str, one["layers"]))) for one in document["specimens"]
        ),
        missing=tuple(
            (f"{part_title(part)} of {subjects[model].title}" if model else part_title(part), reason)
            for part, model, reason in left_out(document)
        ),
    )


def part_title(part: str) -> str:
    """What a part measures, in words."""
    return TERMS[part].title if part in TERMS else part.replace("_", " ")


def left_out(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What was not measured: the part, the model where it is so of one only (else ""), and the reason."""
    for model, reason in (document.get("unread") or {}).items():
        yield "features", str(model), str(reason)
    for part, reason in (document.get("missing") or {}).items():
        yield str(part), "", str(reason)
    for part in TERMS:
        found = document.get(part)
        for model, reason in (found.get("missing") or {}).items() if isinstance(found, Mapping) else ():
            yield part, str(model), str(reason)


def _intro(document: Mapping[str, Any]) -> list[str]:
    n, known, asked = (int(document[key]) for key in ("n", "num_known", "num_asked"))
    said = [f"Asked on {plural(n, 'image')}."]
    if known:
        said.append(
            f"Where a class is read off, {known:,} of them are known with the label of the data and the other "
            f"{asked:,} are asked: it does not matter which classes the models name."
        )
    if document.get("num_copies"):
        said.append(f"{plural(int(document['num_copies']), 'copy', 'copies')} of other images left out.")
    if document.get("num_unlabelled"):
        said.append(f"{plural(int(document['num_unlabelled']), 'image')} without a label left out.")
    used = [
        READOUTS.get(str(curve["readout"]), str(curve["readout"]))
        for curve in (document.get("reading") or {}).get("curves") or ()
    ]
    if used:
        said.append(f"Tokens become one vector for each image as the {' or the '.join(dict.fromkeys(used))}.")
    return said


def terms_used(document: Mapping[str, Any]) -> tuple[AttackTerm, ...]:
    """Measures that the document has."""
    return tuple(term for part, term in TERMS.items() if document.get(part))


def counts_of(document: Mapping[str, Any]) -> dict[str, int]:
    """Images behind each part, by its title as it stands within a sentence."""
    found = {
        "reading": (document.get("reading") or {}).get("num_asked"),
        "few_shot": (document.get("few_shot") or {}).get("n"),
        "outliers": min(
            (one["n"] for one in (document.get("outliers") or {}).get("models") or ()), default=None
        ),
        "objects": (document.get("objects") or {}).get("n"),
    }
    return {
        f"{TERMS[part].title[:1].lower()}{TERMS[part].title[1:]}": int(n) for part, n in found.items() if n
    }

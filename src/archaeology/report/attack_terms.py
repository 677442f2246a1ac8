"""Attacks and measures of robustness as the methods chapter explains them: what is done, by which formula, by whom."""

from dataclasses import dataclass

from archaeology.attacks.method import title_of


@dataclass(frozen=True)
class AttackTerm:
    """An attack, or a measure of what breaks a model.

    Attributes:
        title: What it is called.
        formula: What is computed.
        text: What it does, in words.
        source: Whose it is.
    """

    title: str
    formula: str
    text: str
    source: str


# Formula, what it does in words, and whose it is.
ATTACKS = {
    "fgsm": (
        "x + ε · sign ∂ loss / ∂ x",
        "One step of the largest size allowed, along the gradient.",
        "Goodfellow et al., 2015",
    ),
    "pgd": (
        "repeat x ← Π(x + η · sign ∂ loss / ∂ x)",
        "Many small steps along the gradient (its direction, where the length of the change is bounded), after each of "
        "which Π puts the image back within ε of the original and into [0, 1].",
        "Madry et al., 2018",
    ),
    "apgd": (
        "z = Π(x + η · sign g), x ← Π(x + 0.75 (z - x) + 0.25 (x - x of before))",
        "PGD with momentum that halves its step where it no longer climbs, and goes on from the best image so far.",
        "Croce and Hein, 2020",
    ),
    "banded_pgd": (
        "repeat x ← Π(x + η · band(∂ loss / ∂ x))",
        "PGD that may change coarse, middle or fine patterns only.",
        "after Madry et al., 2018, and Yin et al., 2019",
    ),
    "carlini_wagner": (
        "min over δ of |δ|² + c · max(logit of the label - largest other logit, 0)",
        "Looks for the shortest change that makes the model wrong; the constant c of each image by bisection.",
        "Carlini and Wagner, 2017",
    ),
    "fmn": (
        "ε of each image shrinks where it is broken and grows where it is not",
        "PGD within a bound of each image's own, which closes in on the smallest that breaks it.",
        "Pintor et al., 2021",
    ),
    "deep_fool": (
        "x ← x + |f| / |∂ f / ∂ x|² · ∂ f / ∂ x, f = logit of the nearest other class - logit of the label",
        "Goes to the nearest border as if the model were linear, again and again.",
        "Moosavi-Dezfooli et al., 2016",
    ),
    "square": (
        "keep a random square of ± ε wherever it raises the loss",
        "Asks for answers alone, so that a model that hides its gradients cannot escape it by that.",
        "Andriushchenko et al., 2020",
    ),
    "patch": (
        "PGD whose change is free within one patch and zero elsewhere",
        "Changes a small part of the image as much as it likes.",
        "Brown et al., 2017; Fu et al., 2022",
    ),
}

MEASURES = {
    "curves": AttackTerm(
        "Accuracy against size",
        "accuracy(ε) = share of images right and not broken within ε",
        "The smallest size that breaks each image is found by bisection over the sizes, and each success is checked by "
        "the model itself, in a fresh pass. So a curve is an upper bound: another attack may find more.",
        "Carlini et al., 2019",
    ),
    "gradients": AttackTerm(
        "Signs of masked gradients",
        "a weak attack that beats a strong one, a gradient of 0, an attack without bounds that fails, random answers",
        "A model may only look robust because gradients do not lead an attack anywhere. Each sign is counted per image "
        "and tested, corrected for all signs looked for (Holm). None found is no proof that there is none.",
        "Athalye et al., 2018; Carlini et al., 2019; Tramèr et al., 2020",
    ),
    "gradients_l2": AttackTerm(
        "Signs of masked gradients, L2",
        "the same signs, of changes whose length is bounded",
        "Asked where curves of such changes were drawn, at half the length of changes that use up the other bound.",
        "as above",
    ),
    "transfer": AttackTerm(
        "Transfer",
        "share of changed images that break another model - the same of noise of the same size",
        "Only images that both models are right about are counted.",
        "Papernot et al., 2016",
    ),
    "fourier": AttackTerm(
        "Fourier sensitivity",
        "error on x ± r · cos(2π (u y + v x)) for every frequency (u, v)",
        "All waves are equally strong; their signs are drawn for each channel.",
        "Yin et al., 2019",
    ),
    "passes": AttackTerm(
        "Low pass and high pass",
        "Fourier coefficients kept up to, or from, a share of the finest frequency",
        "What is left of the accuracy without fine patterns, and without coarse ones.",
        "Yin et al., 2019",
    ),
    "spectrum": AttackTerm(
        "Spectrum of the changes",
        "share of |Fourier coefficient|² in a ring of frequencies / the same of white noise",
        "What the adversarial changes are made of, image by image.",
        "after Yin et al., 2019",
    ),
    "corruptions": AttackTerm(
        "Common corruptions",
        "mCE = mean over kinds of error / error of the reference",
        "Noise, blur, weather and files at five severities; nobody chose them to hurt.",
        "Hendrycks and Dietterich, 2019",
    ),
    "shape": AttackTerm(
        "Shape share",
        "decisions by shape / (decisions by shape + decisions by texture)",
        "Of images whose shape is one class and whose texture is another. For natural images the Fourier phases of one "
        "image (outlines) stand for shape, the amplitudes of another for texture.",
        "Geirhos et al., 2019; Oppenheim and Lim, 1981; Chen et al., 2021",
    ),
    "patches": AttackTerm(
        "Patches lost, shuffled, covered",
        "accuracy(share of patches lost)",
        "Patches go at random, the most telling first or the least telling first, by the model's own map; all models "
        "see one grid.",
        "after Naseer et al., 2021",
    ),
    "attention": AttackTerm(
        "Shift of attention",
        "½ KL(p, m) + ½ KL(q, m), m = ½ (p + q), p and q the weights before and after",
        "The Jensen-Shannon divergence of every query's weights, beside that under noise of the same norms.",
        "the divergence of Lin, 1991",
    ),
    "carriers": AttackTerm(
        "Heads that carry an attack",
        "(margin with the head restored - margin attacked) / (margin clean - margin attacked)",
        "Each head in turn says what it said of the clean image; the margin is the logit of the right class less the "
        "largest other.",
        "Vig et al., 2020",
    ),
    "reattack": AttackTerm(
        "Attacked anew without these heads",
        "accuracy attacked without the carriers - accuracy attacked, and - without as many other heads",
        "The heads that rescue most images, chosen on other images, are replaced by their mean for good, and what is "
        "left is attacked from scratch: withstanding images made against another model would prove nothing.",
        "after Tramèr et al., 2020",
    ),
}


def attack_term(name: str) -> AttackTerm:
    """The term of an attack; one that is not known here is called by its name."""
    return AttackTerm(title_of(name), *ATTACKS.get(name, ("", "", "")))

"""Robust accuracy under PGD-20 and Auto-PGD-50, against torchattacks, foolbox and ART on the same images.

Each side starts from images and ends with how many of them the model still gets right: theirs is the attack and one
forward pass, ours has its own checks in it, also after rounding to 8 bits. All get the same models, the same step size
and number, one random start and the same number of images at once. Where an attack starts is chance, and moves the
count by an image or two in 512: every round starts elsewhere, and the medians are compared, give or take one image.

`--data parquet:FOLDER` takes the first test images there (CIFAR-10 is meant); without it, random images that the
model is right about by definition. `--specimens A B` names the models, `--images` how many images, `--epsilon` how far,
in 1/255. torchattacks is left out where it is not installed.
"""

import copy
import importlib
import statistics
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from archaeology.attacks import attack_images
from archaeology.data.open import open_source
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen
from benchmarks._side_by_side import Comparison, comparison, report, seconds, setting

SPECIMENS = ("convnet_cifar10", "vit_cifar10", "convnet_cifar10_robust", "vit_cifar10_robust")
AT_ONCE = 256
STRIDE = 0.125  # of epsilon
TARGETS = {"pgd": 3.0, "apgd": 2.0}
Side = Callable[[Tensor, Tensor, float, int], Tensor]  # (images, labels, epsilon, steps) -> images


def own_arguments() -> Namespace:
    """What this benchmark asks beside the usual; the rest is left for `setting`."""
    parser = ArgumentParser(add_help=False)
    parser.add_argument("--data", default=None)
    parser.add_argument("--specimens", nargs="+", default=[f"bundled:{name}" for name in SPECIMENS])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--epsilon", type=float, default=8)
    given, sys.argv[1:] = parser.parse_known_args()
    return given


class Normalised(nn.Module):
    """A specimen as others want it: a module that takes images in [0, 1]."""

    def __init__(self, specimen: Specimen) -> None:
        super().__init__()
        self.model = copy.deepcopy(specimen.model)
        self.mean = torch.tensor(specimen.mean).view(1, 3, 1, 1)
        self.std = torch.tensor(specimen.std).view(1, 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        return self.model((images - self.mean) / self.std)


def in_batches(attack: Callable[[Tensor, Tensor], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    pairs = zip(images.split(AT_ONCE), labels.split(AT_ONCE), strict=True)
    return torch.cat([attack(*pair).detach() for pair in pairs])


def of_torchattacks(
    kind: str, model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, steps: int
) -> Tensor:
    package = importlib.import_module("torchattacks")
    if kind == "pgd":
        attack = package.PGD(model, eps=epsilon, alpha=STRIDE * epsilon, steps=steps, random_start=True)
    else:
        attack = package.APGD(model, norm="Linf", eps=epsilon, steps=steps, n_restarts=1, loss="ce")
    return in_batches(attack, images, labels)


def of_foolbox(
    kind: str, model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, steps: int
) -> Tensor:
    from foolbox.attacks import LinfPGD
    from foolbox.models.pytorch import PyTorchModel

    wrapped = PyTorchModel(model, bounds=(0, 1))
    attack = LinfPGD(rel_stepsize=STRIDE, steps=steps, random_start=True)
    return in_batches(lambda some, right: attack(wrapped, some, right, epsilons=epsilon)[1], images, labels)


def of_art(kind: str, model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, steps: int) -> Tensor:
    from art.attacks.evasion import AutoProjectedGradientDescent, ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    with torch.no_grad():
        classes = model(images[:1]).shape[1]
    wrapped = PyTorchClassifier(
        model, nn.CrossEntropyLoss(), tuple(images.shape[1:]), classes, clip_values=(0, 1), device_type="cpu"
    )
    same = {"estimator": wrapped, "norm": np.inf, "eps": epsilon, "max_iter": steps, "batch_size": AT_ONCE}
    if kind == "pgd":
        attack = ProjectedGradientDescent(eps_step=STRIDE * epsilon, num_random_init=1, verbose=False, **same)
    else:
        attack = AutoProjectedGradientDescent(
            eps_step=2 * epsilon, nb_random_init=1, loss_type="cross_entropy", verbose=False, **same
        )
    return torch.from_numpy(attack.generate(images.numpy(), labels.numpy()))


PEERS = {
    "torchattacks": (of_torchattacks, ("pgd", "apgd")),
    "foolbox": (of_foolbox, ("pgd",)),
    "adversarial-robustness-toolbox": (of_art, ("pgd", "apgd")),
}


def ours(
    kind: str, specimen: Specimen, images: Tensor, labels: Tensor, epsilon: float, steps: int, *, seed: int
) -> int:
    """Images that stand, as the attack's own verified result says."""
    stride: dict[str, Any] = {"step_size": STRIDE} if kind == "pgd" else {}
    result = attack_images(
        kind, specimen, images, labels, epsilon=epsilon, steps=steps, at_once=AT_ONCE, seed=seed, **stride
    )
    return int((~result.success).sum())


def theirs(
    attack: Callable[..., Tensor],
    kind: str,
    specimen: Specimen,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    steps: int,
    *,
    seed: int,
) -> int:
    """Images that stand: what the attack returned is shown to the model once more."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # where ART draws its starts
    changed = attack(kind, Normalised(specimen).eval(), images, labels, epsilon, steps)
    assert float((changed - images).abs().max()) <= epsilon + 1e-6
    with torch.no_grad():
        said = [specimen.predict(some.clamp(0, 1)).argmax(dim=1) for some in changed.split(AT_ONCE)]
    return int((torch.cat(said) == labels).sum())


def labelled_images(data: str | None, specimen: Specimen, count: int) -> tuple[Tensor, Tensor]:
    if data is None:
        images = torch.rand(count, 3, *specimen.image_size)
        with torch.no_grad():
            return images, specimen.predict(images).argmax(dim=1)
    source = open_source(data, split="test")
    samples = [source.get(row) for row in range(count)]
    images = torch.stack([sample.image for sample in samples]).float() / 255
    return images, torch.tensor([sample.label for sample in samples])


def kept(into: dict[str, list[int]], name: str, side: Callable[..., int]) -> None:
    counts = into.setdefault(name, [])
    counts.append(side(seed=len(counts)))


def strength(case: str, peer: str, ours: int, theirs: int) -> Comparison:
    """Whether ours leaves as few images standing as theirs, or one more."""
    return comparison(
        f"{case}: images standing, theirs with one more",
        peer,
        ours=max(ours, 1),
        theirs=max(theirs + 1, 1),
        unit="images",
        target=1.0,
    )


def main() -> None:
    own = own_arguments()
    given = setting(__doc__, threads=1, clock="cpu")
    count, shorter = (16, 10) if given.small else (own.images, 1)
    lines: list[Comparison] = []
    for spec in own.specimens[: 1 if given.small else None]:
        specimen = load(spec, device="cpu")
        images, labels = labelled_images(own.data, specimen, count)
        for kind, steps in (("pgd", 20 // shorter), ("apgd", 50 // shorter)):
            question = (kind, specimen, images, labels, own.epsilon / 255, steps)
            peers = {
                name: attack
                for name, (attack, kinds) in PEERS.items()
                if kind in kinds and (name != "torchattacks" or find_spec(name))
            }
            counts: dict[str, list[int]] = {}
            sides = [partial(kept, counts, "ours", partial(ours, *question))]
            sides += [
                partial(kept, counts, name, partial(theirs, attack, *question))
                for name, attack in peers.items()
            ]
            taken = seconds(given, *sides, rounds=3, warm_up=False)
            standing = {name: round(statistics.median(found)) for name, found in counts.items()}
            shown = ", ".join(
                f"{name} {counts[name]} in {time:.2f} s" for name, time in zip(counts, taken, strict=True)
            )
            print(f"  {spec}, {kind}-{steps}: of {count} stand: {shown}", flush=True)
            for name, time in zip(peers, taken[1:], strict=True):
                lines.append(strength(f"{kind}-{steps}, {spec}", name, standing["ours"], standing[name]))
                case = f"{kind}-{steps}, {spec}, {standing['ours']} of {count} stand, theirs {standing[name]}"
                lines.append(
                    comparison(case, name, ours=taken[0], theirs=time, unit="s", target=TARGETS[kind])
                )
    report("attacks", given, lines)


if __name__ == "__main__":
    sys.exit(main())

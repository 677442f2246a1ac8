"""The smallest changes: C&W against foolbox's and ART's; and, as information, DeepFool, FMN and Square Attack.

Each side starts from images and ends with changed images. All get the same model, the same images and the same number
at once. For C&W theirs take nine (ART: ten) constants from 0.001 on, and foolbox 100 steps of its own size for each;
ours takes what it takes by itself. It must break as many and its median distance must be no larger, or the benchmark
stops. DeepFool and FMN get as many steps as theirs, Square Attack as many queries; medians (for Square, images that
stand) are printed for both sides. Distances are of images that the model is right about at first.

`--data parquet:FOLDER` takes the first test images there (CIFAR-10 is meant); without it, random images that the model
is right about by definition. `--specimens A B` names the models, `--images` how many, `--cases` which of the attacks.
"""

import importlib
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from archaeology.attacks import attack_images
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen
from benchmarks._side_by_side import Comparison, comparison, report, seconds, setting
from benchmarks.attacks import Normalised, labelled_images

TARGET = 1.3
AT_ONCE = 128
EPSILON = 8 / 255  # of Square Attack
CASES = {  # attack, norm, peers, our parameters
    "carlini_wagner": ("l2", ("foolbox", "adversarial-robustness-toolbox"), {"steps": 50}),
    "deep_fool": ("l2", ("foolbox",), {"steps": 50, "candidates": 5}),
    "fmn": ("l2", ("foolbox",), {"steps": 100}),
    "square": ("linf", ("torchattacks", "adversarial-robustness-toolbox"), {"queries": 200}),
}
LONGER = {"carlini_wagner": {"steps": 150, "searches": 6}}  # for models trained to withstand
ART = "adversarial-robustness-toolbox"


def own_arguments() -> Namespace:
    """What this benchmark asks beside the usual; the rest is left for `setting`."""
    parser = ArgumentParser(add_help=False)
    parser.add_argument("--data", default=None)
    parser.add_argument("--specimens", nargs="+", default=["bundled:convnet_cifar10", "bundled:vit_cifar10"])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    given, sys.argv[1:] = parser.parse_known_args()
    return given


def of_foolbox(name: str, model: nn.Module, images: Tensor, labels: Tensor, shorter: int) -> Tensor:
    from foolbox.attacks import L2CarliniWagnerAttack, L2DeepFoolAttack, L2FMNAttack
    from foolbox.models.pytorch import PyTorchModel

    wrapped = PyTorchModel(model, bounds=(0, 1), device="cpu")
    attack = {
        "carlini_wagner": lambda: L2CarliniWagnerAttack(binary_search_steps=9, steps=100 // shorter),
        "deep_fool": lambda: L2DeepFoolAttack(steps=50, candidates=6),  # counts the label's own class
        "fmn": lambda: L2FMNAttack(steps=100 // shorter),
    }[name]()
    return attack(wrapped, images, labels, epsilons=None)[0]


def of_art(name: str, model: nn.Module, images: Tensor, labels: Tensor, shorter: int) -> Tensor:
    from art.attacks.evasion import CarliniL2Method, SquareAttack
    from art.estimators.classification import PyTorchClassifier

    with torch.no_grad():
        classes = model(images[:1]).shape[1]
    wrapped = PyTorchClassifier(
        model, nn.CrossEntropyLoss(), tuple(images.shape[1:]), classes, clip_values=(0, 1), device_type="cpu"
    )
    if name == "carlini_wagner":
        attack = CarliniL2Method(
            wrapped, binary_search_steps=10, initial_const=1e-3, batch_size=AT_ONCE, verbose=False
        )
    else:
        attack = SquareAttack(
            wrapped, eps=EPSILON, max_iter=200 // shorter, batch_size=AT_ONCE, verbose=False
        )
    return torch.from_numpy(attack.generate(images.numpy(), labels.numpy()))


def of_torchattacks(name: str, model: nn.Module, images: Tensor, labels: Tensor, shorter: int) -> Tensor:
    package = importlib.import_module("torchattacks")
    return package.Square(model, eps=EPSILON, n_queries=200 // shorter)(images, labels)


PEERS = {"foolbox": of_foolbox, ART: of_art, "torchattacks": of_torchattacks}


def ours(name: str, specimen: Specimen, images: Tensor, labels: Tensor, shorter: int) -> Tensor:
    norm, _, parameters = CASES[name]
    if specimen.name.endswith("_robust"):
        parameters = LONGER.get(name, parameters)
    parameters = {
        key: value // shorter if key in ("steps", "queries") else value for key, value in parameters.items()
    }
    bound = {"epsilon": EPSILON} if name == "square" else {}
    result = attack_images(name, specimen, images, labels, norm=norm, at_once=AT_ONCE, **bound, **parameters)
    return result.images


def theirs(
    attack: Callable[..., Tensor], name: str, specimen: Specimen, images: Tensor, labels: Tensor, shorter: int
) -> Tensor:
    return attack(name, Normalised(specimen).eval(), images, labels, shorter).detach().float()


def kept(into: dict[str, Tensor], name: str, side: Callable[[], Tensor]) -> None:
    into[name] = side()


@torch.no_grad()
def outcome(specimen: Specimen, images: Tensor, labels: Tensor, changed: Tensor) -> tuple[int, float]:
    """How many images stand, and the median distance of those that the model is right about at first."""
    right = specimen.predict(images).argmax(dim=1) == labels
    stands = specimen.predict(changed.clamp(0, 1)).argmax(dim=1) == labels
    far = (changed - images).flatten(1).norm(dim=1)
    return int(stands.sum()), float(far.masked_fill(stands, torch.inf)[right].median())


def main() -> None:
    own = own_arguments()
    given = setting(__doc__, threads=1, clock="cpu")
    count, shorter = (8, 10) if given.small else (own.images, 1)
    lines: list[Comparison] = []
    for spec in own.specimens[: 1 if given.small else None]:
        specimen = load(spec, device="cpu")
        images, labels = labelled_images(own.data, specimen, count)
        for name in own.cases:
            peers = [peer for peer in CASES[name][1] if peer != "torchattacks" or find_spec(peer)]
            question = (name, specimen, images, labels, shorter)
            found: dict[str, Tensor] = {}
            sides = [partial(kept, found, "ours", partial(ours, *question))]
            sides += [partial(kept, found, peer, partial(theirs, PEERS[peer], *question)) for peer in peers]
            taken = seconds(given, *sides, rounds=1, warm_up=False)
            ends = {who: outcome(specimen, images, labels, changed) for who, changed in found.items()}
            print(f"  {spec}, {name}: (standing of {count}, median distance) {ends}", flush=True)
            for peer, time in zip(peers, taken[1:], strict=True):
                lines.append(line(spec, name, peer, ends, taken[0], time, given.small))
    report("attacks_minimal", given, lines)


def line(
    spec: str, name: str, peer: str, ends: dict[str, tuple[int, float]], mine: float, time: float, small: bool
) -> Comparison:
    """One comparison; what is said to be weaker does not hold, however fast it is."""
    (stand, far), (their_stand, their_far) = ends["ours"], ends[peer]
    promised = name == "carlini_wagner"
    weaker = promised and not small and (stand > their_stand or far > their_far)
    if name == "square":
        case = f"{name}, {spec}, {stand} stand, theirs {their_stand}"
    else:
        case = f"{name}, {spec}, median distance {far:.4f}, theirs {their_far:.4f}" + ", WEAKER" * weaker
    return comparison(
        case,
        peer,
        ours=mine,
        theirs=time,
        unit="s",
        target=(float("inf") if weaker else TARGET) if promised else None,
    )


if __name__ == "__main__":
    sys.exit(main())

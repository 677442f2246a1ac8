"""Where does the difference between two images sit? Run one, put in what a part says of the other, see the answer turn.

Activation patching: the corrupted image runs through the model, with one head (attention layer, MLP, token of the
stream between blocks) saying what it says of the clean image. The effect is the share of the logit difference
recovered: (patched - corrupted) / (clean - corrupted), where a difference is logit(target) - logit(against). 1: this
part alone carries the whole difference; 0: none of it; it may lie beyond both. Source: `vig2020investigating`.
Differs: nothing of the model need be known, and only what lies after the patched layer runs again, for all parts of
a layer at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.ablate.cuts import Cuts, of_each_head, of_each_layer, of_each_mlp, of_each_token, places_of
from archaeology.ablate.sweep import Sweep, sweep_of
from archaeology.ablate.trial import NUM_LOOKED_AT, Trial, images_per_pass
from archaeology.capture.outputs import outputs_kept
from archaeology.core.bootstrap import Intervals, bootstrap_ratios
from archaeology.core.halving import in_halves
from archaeology.core.registry import unknown_name
from archaeology.core.shapes import Image, Label, OtherImages, PixelImage
from archaeology.specimens.specimen import Specimen

PARTS = ("heads", "layers", "mlps", "tokens")


@dataclass(frozen=True, eq=False)
class Patching:
    """Logit differences (target minus against) of pairs of images.

    Attributes:
        part: What was patched: "heads", "layers", "mlps" or "tokens".
        modules: Module path of each layer: its attention, MLP or block.
        target: The class of the clean image, for each pair.
        against: The class of the corrupted one.
        clean: Difference on the clean image.
        corrupted: Difference on the corrupted one.
        patched: Difference on the corrupted one with a part patched: places are heads or tokens, or just one; NaN where
            a layer has no such place.
    """

    part: str
    modules: tuple[str, ...]
    target: Int[np.ndarray, " pair"]
    against: Int[np.ndarray, " pair"]
    clean: Float[np.ndarray, " pair"]
    corrupted: Float[np.ndarray, " pair"]
    patched: Float[np.ndarray, "pair layer place"]

    @property
    def recovered(self) -> Float[np.ndarray, "pair layer place"]:
        """Share of each pair's own difference that each part recovers."""
        return (self.patched - self.corrupted[:, None, None]) / (self.clean - self.corrupted)[:, None, None]

    def shares(self, seed: int = 0) -> Intervals:
        """Share recovered over all pairs, the ratio of sums: `(layer, place)`, 95 %, bootstrapped over pairs."""
        gained = self.patched - self.corrupted[:, None, None]
        there = ~np.isnan(gained[0])
        whole = np.broadcast_to((self.clean - self.corrupted)[:, None], (len(gained), int(there.sum())))
        found = bootstrap_ratios(gained[:, there], whole, seed=seed)

        def laid_out(numbers: np.ndarray) -> np.ndarray:
            new = np.full(there.shape, np.nan)
            new[there] = numbers
            return new

        return Intervals(
            laid_out(found.value), laid_out(found.low), laid_out(found.high), found.n, found.level
        )

    def table(self, seed: int = 0) -> list[dict[str, object]]:
        """One row for each part: `part, layer, place, module, n` and `recovered` with `_low` and `_high`."""
        shares = self.shares(seed)
        return [
            {
                "part": self.part,
                "layer": layer,
                "place": place,
                "module": self.modules[layer],
                "recovered": float(shares.value[layer, place]),
                "recovered_low": float(shares.low[layer, place]),
                "recovered_high": float(shares.high[layer, place]),
                "n": shares.n,
            }
            for layer, place in np.argwhere(~np.isnan(shares.value)).tolist()
        ]


@torch.no_grad()
def patch_activations(
    specimen: Specimen,
    clean: Image | PixelImage,
    corrupted: OtherImages,
    *,
    part: str = "heads",
    target: Label | None = None,
    against: Label | None = None,
    mlps: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Patching:
    """Put what each part says of the clean image into the run of the corrupted one, in turn.

    Args:
        specimen: A model with attention.
        clean: The images that answers are taken from.
        corrupted: As many images that they are put into, pair by pair.
        part: "heads", "layers" (all heads of one), "mlps" or "tokens" (of what a block hands on).
        target: Class of each clean image; what the model says of it if None.
        against: Class of each corrupted image; what the model says of it if None.
        mlps: Module paths of the MLPs, one for each block, where they cannot be told apart.
        batch_size: Pairs at once; by itself if None.

    Raises:
        UnknownNameError: If there is no such part.
        ValueError: If the images make no pairs, a pair has no difference, or the part cannot be told apart.
        SelfCheckError: If the model shows no attention.
    """
    if part not in PARTS:
        raise unknown_name("part to patch", part, list(PARTS))
    if len(clean) != len(corrupted) or len(clean) == 0:
        raise ValueError(
            f"patching needs pairs of a clean and a corrupted image, but got {len(clean)} and {len(corrupted)}."
        )
    most = images_per_pass(specimen)
    sweep = sweep_of(specimen, clean[:NUM_LOOKED_AT], max_batch=most, with_mlps=part == "mlps", mlps=mlps)
    modules, cuts, places = _plan(sweep, part, clean[:NUM_LOOKED_AT])
    at_once = batch_size or max(1, most // max(sweep.heads))
    of_clean = _logits(specimen, clean, at_once)
    of_corrupted = _logits(specimen, corrupted, at_once)
    target = of_clean.argmax(1) if target is None else target.to(of_clean.device)
    against = of_corrupted.argmax(1) if against is None else against.to(of_clean.device)
    _check_classes(target, against, of_clean.shape[1], len(clean))
    trial = Trial(
        sweep, corrupted, target, None, clean, at_once, paths=modules if part in ("mlps", "tokens") else ()
    )
    found = [
        _difference(logits.ablated, target[which], against[which]).T for which, logits in trial.logits(cuts)
    ]
    layers, columns = np.array(places).T
    patched = np.full((len(clean), len(modules), columns.max() + 1), np.nan)
    patched[:, layers, columns] = torch.cat(found).double().cpu().numpy()
    return Patching(
        part=part,
        modules=modules,
        target=target.cpu().numpy(),
        against=against.cpu().numpy(),
        clean=_difference(of_clean, target, against).double().cpu().numpy(),
        corrupted=_difference(of_corrupted, target, against).double().cpu().numpy(),
        patched=patched,
    )


def _plan(
    sweep: Sweep, part: str, images: Image | PixelImage
) -> tuple[tuple[str, ...], Cuts, list[tuple[int, int]]]:
    """Module of each layer, a cut for each place, and where the places lie as (layer, place)."""
    heads = sweep.heads
    layers = [(layer, 0) for layer in range(len(heads))]
    attentions = tuple(layer.module for layer in sweep.layers)
    if part == "heads":
        return attentions, of_each_head(heads), places_of(heads)
    if part == "layers":
        return attentions, of_each_layer(heads), layers
    if part == "mlps":
        return sweep.mlps, of_each_mlp(heads), layers
    blocks = tuple(unit.path for unit in sweep.units)
    tokens = _num_tokens(sweep, blocks, images)
    return blocks, of_each_token(heads, tokens), places_of([tokens] * len(heads))


def _num_tokens(sweep: Sweep, blocks: tuple[str, ...], images: Image | PixelImage) -> int:
    with outputs_kept(sweep.specimen.model, blocks) as kept:
        sweep.specimen.predict(images)
    shapes = {path: tuple(output.shape) for path, output in kept.items()}
    strange = [path for path, shape in shapes.items() if len(shape) != 3 or shape[0] != len(images)]
    if not blocks or strange or len({shape[1] for shape in shapes.values()}) > 1:
        met = (
            f"{strange[0]} hands on {shapes[strange[0]]}"
            if strange
            else f"blocks hand on {shapes or 'nothing'}"
        )
        raise ValueError(
            "tokens can be patched where every block hands on the same tokens as (image, token, feature), but "
            f"{met}; patch heads, layers or MLPs instead."
        )
    return next(iter(shapes.values()))[1]


def _logits(specimen: Specimen, images: Image | PixelImage, at_once: int) -> Float[Tensor, "pair classes"]:
    found = in_halves(lambda which: specimen.predict(images[which]), len(images), at_once)
    return torch.cat([logits for _, logits in found])


def _difference(
    logits: Float[Tensor, "*cut pair classes"], target: Label, against: Label
) -> Float[Tensor, "*cut pair"]:
    rows = torch.arange(len(target), device=logits.device)
    return logits[..., rows, target] - logits[..., rows, against]


def _check_classes(target: Label, against: Label, num_classes: int, num_pairs: int) -> None:
    both = torch.stack([target, against]) if len(target) == len(against) == num_pairs else None
    if both is None or int(both.min()) < 0 or int(both.max()) >= num_classes:
        raise ValueError(
            f"target and against must hold a class in 0..{num_classes - 1} for each of the {num_pairs} pairs, but got "
            f"{target.tolist()} and {against.tolist()}."
        )
    same = (target == against).nonzero().flatten().tolist()
    if same:
        raise ValueError(
            f"the two images of a pair must be of different classes to have a logit difference, but pair {same[0]} has "
            f"class {int(target[same[0]])} twice; choose other images, or name target and against."
        )

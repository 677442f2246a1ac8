"""Which place of the map each token of each window is, found by exchanging tokens and looking what attention notices.

Tokens on their way to a layer are replaced by random ones, place by place: once for each binary digit of the place's
number, at all places whose digit is one, and again at all where it is zero. A value that attention averages depends on
one place, if it depends on places one by one; then it changes in exactly one of the two: the digits spell its place.
A value that never changes is padding. Queries are told apart likewise: where a query stayed as it was, the ratios of
its weights on keys that stayed are as before, whatever is added to the scores. So nothing need be known of the model,
of shifts, rolls, strides or partitions; and a layer whose tokens mix on the way gets no map instead of a wrong one.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from archaeology.capture.attention import Attention, Kind
from archaeology.capture.interceptor import intercepted
from archaeology.capture.places import Places
from archaeology.capture.raster import changes_by_stripes, grid_of
from archaeology.capture.scout import Layer, Run, Spot, carrier, scouted
from archaeology.core.seeding import torch_generator
from archaeology.specimens.specimen import Specimen

VARIANTS_PER_PASS = 8
ROWS_TESTED = 64
VISIBLE = 1e-20  # a smaller weight says nothing of its score
UNCHANGED = 1e-2  # of the largest change
LEAST_SEEN = 0.7  # of the changes expected of queries


@dataclass(frozen=True, eq=False)
class LayerPlaces:
    """What was found out of an attention layer.

    Attributes:
        module: Dotted path of the layer.
        places: Of its tokens, or None.
        reason: Why there are none; empty where there are.
    """

    module: str
    places: Places | None
    reason: str = ""


_known: "WeakKeyDictionary[nn.Module, dict[tuple[int, int], tuple[LayerPlaces, ...]]]" = WeakKeyDictionary()


def places_of(specimen: Specimen) -> tuple[LayerPlaces, ...]:
    """Places of every attention layer of a specimen, in the order of the pass; found once, then remembered.

    Costs about as much as forty images, without gradients; the model is left as it was.

    Raises:
        ValueError: If the model is in training mode.
    """
    known = _known.setdefault(specimen.model, {})
    if specimen.image_size not in known:
        generator = torch_generator(0, "provenance", "image")
        image = torch.rand(1, 3, *specimen.image_size, generator=generator).to(specimen.device)
        known[specimen.image_size] = find_places(specimen.model, specimen.predict, image)
    return known[specimen.image_size]


def captured_places(
    specimen: Specimen, seen: Sequence[tuple[str, Kind, tuple[int, ...]]], num_images: int
) -> list[Places | None]:
    """Places of the layers of a pass, where the model works on windows; None for each where it does not, or none fit.

    Args:
        specimen: The model.
        seen: Module, kind and shape of pattern of every layer of the pass.
        num_images: In the pass.
    """
    kinds = {kind for _, kind, _ in seen}
    has_stages = specimen.layout is not None and specimen.layout.order == "windows"
    # Where layers look at other tokens or at channels, nothing could follow attention, and the search would be long.
    has_windows = "window" in kinds or (has_stages and not kinds & {"cross", "channel"})
    nothing: list[Places | None] = [None] * len(seen)
    if not seen or not has_windows or specimen.model.training:
        return nothing
    try:
        found = places_of(specimen)
    except (RuntimeError, ValueError):  # it does not run on another batch, or somebody edits it meanwhile
        return nothing
    if [layer.module for layer in found] != [module for module, _, _ in seen]:
        return nothing
    return [
        layer.places
        if layer.places is not None
        and shape == (num_images * len(layer.places.index), shape[1], *layer.places.index.shape[1:] * 2)
        else None
        for layer, (_, _, shape) in zip(found, seen, strict=True)
    ]


@torch.no_grad()
def find_places(
    model: nn.Module, run: Run, image: Float[Tensor, "1 channel height width"]
) -> tuple[LayerPlaces, ...]:
    """Places of every attention layer of a model, in the order of the pass.

    Args:
        model: In evaluation mode.
        run: Runs it on images.
        image: Not a blank one.

    Raises:
        ValueError: If the model is in training mode, where dropout would hide what changes.
    """
    if model.training:
        raise ValueError(
            "places are found in evaluation mode, but the model is in training mode; call model.eval()."
        )
    layers = scouted(model, run, image.expand(2, -1, -1, -1))
    found = [LayerPlaces(layer.module, None, _hopeless(layer)) for layer in layers]
    turn = 0
    while True:
        trials = {
            number: _Trial(layer, layer.spots[turn])
            for number, layer in enumerate(layers)
            if found[number].places is None and not _hopeless(layer) and turn < len(layer.spots)
        }
        if not trials:
            return tuple(found)
        _run_trials(model, run, image, trials)
        likely = [trial.spot for trial in trials.values() if trial.index()[0] is not None]
        changes = changes_by_stripes(model, run, image, likely, layers) if likely else {}
        for number, trial in trials.items():
            verdict = trial.verdict(changes.get(trial.spot), (image.shape[2], image.shape[3]))
            if verdict.places is not None or not found[number].reason:
                found[number] = verdict
        turn += 1


def _hopeless(layer: Layer) -> str:
    if layer.num_queries != layer.num_keys:
        return f"{layer.num_queries} queries look at {layer.num_keys} keys, which are not the same tokens"
    if layer.kind == "channel":
        return "features look at each other there, not tokens"
    return "" if layer.spots else "no tensor with a part for each token was seen on the way to it"


@dataclass
class _Trial:
    """One layer, tokens being exchanged at one spot."""

    layer: Layer
    spot: Spot
    key_changes: list[Tensor] = field(default_factory=list[Tensor])
    query_changes: list[Tensor] = field(default_factory=list[Tensor])
    rows: Tensor | None = None

    @property
    def num_digits(self) -> int:
        return max(1, (self.spot.num_places - 1).bit_length())

    def is_replaced(self) -> Bool[Tensor, "variant place"]:
        """Twice as many variants as digits: places whose digit is one, and those whose digit is zero."""
        number = torch.arange(self.spot.num_places)
        digits = torch.stack([(number >> digit) % 2 == 1 for digit in range(self.num_digits)])
        return torch.stack([digits, ~digits], dim=1).flatten(0, 1)

    def tokens(self, like: Tensor, variants: slice) -> Tensor:
        """The first image as it is in all variants, then those asked; all others are the first."""
        spot = self.spot
        generator = torch_generator(0, "provenance", spot.path, spot.turn)
        usual, other = torch.randn(2, spot.num_places, spot.num_features, generator=generator)
        replaced = self.is_replaced()[variants]
        made = torch.where(replaced[:, :, None], other, usual)
        rest = usual.expand(len(like) - len(made), -1, -1)
        made = torch.cat([rest[:1], made, rest[1:]]).unflatten(1, spot.grid)
        made = made if spot.axis == -1 else made.movedim(-1, 1)
        scale = like[0].float().std().clamp(min=1e-3)
        return (made.to(like.device) * scale).to(like.dtype)

    def see(self, attention: Attention, num_images: int, variants: int) -> None:
        """Note what changed from the first image to each of the `variants` that follow."""
        value = attention.value.float().unflatten(0, (num_images, -1))
        moved = (value[1 : variants + 1] - value[:1]).abs().amax(dim=(2, 4))  # variant x window x key
        self.key_changes.append(moved.cpu())
        if self.rows is None:
            order = torch.randperm(attention.shape[2], generator=torch_generator(0, "provenance", "rows"))
            self.rows = order[:ROWS_TESTED]
        pattern = attention.pattern(self.rows.to(value.device)).float().unflatten(0, (num_images, -1)).cpu()
        changed = moved.cpu() > UNCHANGED * moved.max().cpu()
        is_padding = ~(changed[0] | changed[1])  # one digit's two variants are never in different passes
        stayed = ~changed & ~is_padding
        logs = pattern.clamp(min=1e-38).log()
        for variant in range(variants):
            seen = (pattern[0] > VISIBLE) & (pattern[variant + 1] > VISIBLE) & stayed[variant][:, None, None]
            self.query_changes.append(_spread(logs[variant + 1] - logs[0], seen))

    def verdict(self, changes: Tensor | None, image_size: tuple[int, int]) -> LayerPlaces:
        """Places, or what speaks against them."""
        index, reason = self.index()
        if index is None or changes is None:
            return LayerPlaces(self.layer.module, None, reason or "its tensor did not come by again")
        found = grid_of(changes, self.spot, image_size, partial(_are_boxes, index))
        if found is None:
            return LayerPlaces(
                self.layer.module, None, "the image does not confirm that its tokens run row by row"
            )
        prefix, (rows, columns) = found
        return LayerPlaces(self.layer.module, Places(rows, columns, (index - prefix).clamp(min=-1)))

    def index(self) -> tuple[Int[Tensor, "window token"] | None, str]:
        """The place of each token, or what speaks against it."""
        if not self.key_changes:
            return None, "it ran in another order when it was watched again"
        moved = torch.cat(self.key_changes)
        if not bool(moved.isfinite().all()) or float(moved.max()) == 0:
            return None, "its values do not depend on the tensors before it one token at a time"
        changed = moved > UNCHANGED * moved.max()
        ones, zeros = changed[0::2], changed[1::2]  # digit x window x key
        is_padding = ~changed.any(0)
        if bool(((ones == zeros).any(0) & ~is_padding).any()):
            return None, "tokens mix on the way to it"
        weights = 2 ** torch.arange(self.num_digits)
        index = (ones * weights[:, None, None]).sum(0).masked_fill(is_padding, -1)
        counts = torch.bincount(index[index >= 0], minlength=self.spot.num_places)
        if len(counts) > self.spot.num_places or not bool((counts == 1).all()):
            return None, "its windows do not hold every place exactly once"
        if self._queries_differ(ones, is_padding):
            return None, "its queries could not be seen to stand in the order of its keys"
        return index, ""

    def _queries_differ(self, ones: Tensor, is_padding: Tensor) -> bool:
        """Whether some query changed with another token than the key of its number, or too little can be said."""
        assert self.rows is not None
        spread = torch.stack(self.query_changes).unflatten(0, (-1, 2))  # digit x (one, zero) x window x row
        known = spread.isfinite()  # not where a query saw too few keys that stayed
        expected = torch.stack([ones, ~ones & ~is_padding], dim=1)[..., self.rows]
        if self.layer.num_keys == 1:
            return False
        changed = known & (spread > UNCHANGED * spread.nan_to_num(0).max())
        seen = int((changed & expected).sum()), int((known & expected).sum())
        # A change can be small by chance, but none comes from nothing; and wrong order would make half of them wrong.
        return bool((changed & ~expected).any()) or seen[1] == 0 or seen[0] < LEAST_SEEN * seen[1]


def _spread(change: Float[Tensor, "window head row key"], seen: Tensor) -> Float[Tensor, "window row"]:
    """How far log weights moved against each other, among the keys seen; NaN where fewer than two are."""
    low = change.masked_fill(~seen, torch.inf).amin(-1)
    high = change.masked_fill(~seen, -torch.inf).amax(-1)
    spread = torch.where(seen.sum(-1) >= 2, high - low, -1.0).amax(1)
    return spread.masked_fill(spread < 0, torch.nan)


def _run_trials(model: nn.Module, run: Run, image: Tensor, trials: dict[int, _Trial]) -> None:
    most = max(2 * trial.num_digits for trial in trials.values())
    for start in range(0, most, VARIANTS_PER_PASS):
        count = min(VARIANTS_PER_PASS, most - start)
        variants = slice(start, start + count)

        def see(attention: Attention, start: int = start, count: int = count) -> None:
            trial = trials.get(attention.index)
            if trial is None or attention.module != trial.layer.module:
                return
            asked = min(count, 2 * trial.num_digits - start)
            if asked > 0 and attention.shape[0] == trial.layer.num_windows * (count + 1):
                trial.see(attention, count + 1, asked)

        with ExitStack() as stack:
            for path in dict.fromkeys(trial.spot.path for trial in trials.values()):
                here = [trial for trial in trials.values() if trial.spot.path == path]
                _Exchange(here, variants).install(model.get_submodule(path), stack)
            with intercepted(model, see):
                run(image.expand(count + 1, -1, -1, -1))


class _Exchange:
    """Replaces what goes into a module, or comes out of it, by tokens that spell their places."""

    def __init__(self, trials: Sequence[_Trial], variants: slice) -> None:
        self.trials, self.variants = trials, variants
        self.turns = {True: 0, False: 0}

    def install(self, module: nn.Module, stack: ExitStack) -> None:
        """Hook it in, until the stack unwinds."""
        stack.callback(module.register_forward_pre_hook(self._enter, with_kwargs=True).remove)
        stack.callback(module.register_forward_hook(partial(self._leave)).remove)

    def _enter(self, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        things = [*given, *named.values()]
        made = self._made(True, carrier(things))
        if made is None:
            return None
        old = carrier(things)
        fresh = tuple(made if thing is old else thing for thing in given)
        return fresh, {name: made if thing is old else thing for name, thing in named.items()}

    def _leave(self, _: nn.Module, given: object, output: Any) -> Any:
        made = self._made(False, carrier(output))
        if made is None or isinstance(output, Tensor):
            return made
        old = carrier(output)
        fresh = [made if thing is old else thing for thing in output]
        return type(output)(*fresh) if hasattr(output, "_fields") else type(output)(fresh)

    def _made(self, is_input: bool, tensor: Tensor | None) -> Tensor | None:
        turn = self.turns[is_input]
        self.turns[is_input] += 1
        trial = next((t for t in self.trials if (t.spot.is_input, t.spot.turn) == (is_input, turn)), None)
        if trial is None or tensor is None or tuple(tensor.shape[1:]) != trial.spot.shape:
            return None
        return trial.tokens(tensor, self.variants)


def _are_boxes(index: Int[Tensor, "window token"], prefix: int, grid: tuple[int, int]) -> bool:
    """Whether every window holds all crossings of some rows with some columns."""
    for window in index - prefix:
        held = window[window >= 0]
        across = (held // grid[1]).unique().numel() * (held % grid[1]).unique().numel()
        if across != held.numel():
            return False
    return True

"""One forward pass, written down: attention patterns, activations, and the gradients of a class score.

Explanations are functions of a `Record`, so the model runs once however many of them are drawn. Gradients
come cheap: no graph is recorded before the first tap (or, without taps, the first pattern) and no parameter
gets a gradient, so Grad-CAM on a late layer costs about one forward pass. Differs from the usual packages,
which differentiate with respect to the image and all weights and throw that away.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from archaeology.capture.attention import Attention, Kind
from archaeology.capture.hidden import refuse_hidden, why_nothing
from archaeology.capture.interceptor import intercepted
from archaeology.capture.places import Places
from archaeology.capture.provenance import captured_places
from archaeology.core.registry import unknown_name
from archaeology.core.shapes import Image, Label, Logits, PixelImage
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen


@dataclass(frozen=True, eq=False)
class CapturedPattern:
    """The pattern of one attention layer.

    Attributes:
        module: Dotted path of the module that attends.
        kind: What attends to what; see `Attention`.
        pattern: Weight of each key for each query.
        pattern_gradient: d logit[target] / d pattern; None where not asked, or where the layer lies before
            the first tap, at which the graph starts.
        places: Where its tokens lie on the map of its stage, in models that work on windows; None in others, and
            where it could not be found out (`places_of` says why).
    """

    module: str
    kind: Kind
    pattern: Float[Tensor, "batch head query key"]
    pattern_gradient: Float[Tensor, "batch head query key"] | None = None
    places: Places | None = None


@dataclass(frozen=True, eq=False)
class Record:
    """What one forward pass left behind.

    Attributes:
        images: In [0, 1], in the size they were given.
        logits: The model's answer.
        target: The class that is explained: the one given, or the one predicted.
        layout: Where the patches are among the tokens; None for a model without tokens.
        attentions: In the order they ran.
        activations: Outputs of the taps, by module path.
        gradients: d logit[target] / d activation, by module path; empty if not asked.
        image_gradient: d logit[target] / d image, in the size it was given; None if not asked.
    """

    images: Image
    logits: Logits
    target: Label
    layout: TokenLayout | None
    attentions: tuple[CapturedPattern, ...]
    activations: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    image_gradient: Image | None = None

    def stack(
        self, what: Literal["pattern", "pattern_gradient"] = "pattern"
    ) -> Float[Tensor, "layer batch head query key"]:
        """Patterns (or their gradients) of all layers in which all tokens attend to each other.

        Raises:
            ValueError: If there is no such layer, their sizes differ, or a gradient is missing; says which.
        """
        layers = [layer for layer in self.attentions if layer.kind == "token"]
        if not layers:
            kinds = sorted({layer.kind for layer in self.attentions}) or ["none at all"]
            raise ValueError(
                f"stacking needs layers in which all tokens attend to each other, but this record has: "
                f"{', '.join(kinds)}; use record.attentions one by one, or capture with patterns=True."
            )
        shapes = {layer.module: tuple(layer.pattern.shape) for layer in layers}
        if len(set(shapes.values())) > 1:
            listed = ", ".join(f"{module} {shape}" for module, shape in shapes.items())
            raise ValueError(f"stacking needs layers of equal size, but got {listed}; use record.attentions.")
        if what == "pattern":
            return torch.stack([layer.pattern for layer in layers])
        found = [layer.pattern_gradient for layer in layers if layer.pattern_gradient is not None]
        if len(found) < len(layers):
            missing = ", ".join(layer.module for layer in layers if layer.pattern_gradient is None)
            raise ValueError(
                f"pattern gradients are missing for {missing}: the graph starts at the first tap, so capture "
                f"with gradients=True and either no taps or a first tap before these layers."
            )
        return torch.stack(found)


def capture(
    specimen: Specimen,
    images: Image | PixelImage,
    *,
    target: Int[Tensor, "..."] | None = None,
    taps: Sequence[str] = (),
    patterns: bool = True,
    gradients: bool = False,
    image_gradient: bool = False,
) -> Record:
    """Run the specimen once and write down what was asked for; the model is left exactly as it was.

    Args:
        specimen: Any model; a CNN has no patterns, but taps and gradients all the same.
        images: Floats in [0, 1] or 8 bit.
        target: Class to explain for each image; the predicted one if None.
        taps: Module paths whose outputs to keep.
        patterns: Whether to keep attention patterns: batch x head x query x key numbers for each layer.
        gradients: Whether to differentiate the target's logit with respect to taps and patterns. The graph
            starts at the first tap reached, so patterns before it have no gradient; without taps it starts
            at the first pattern.
        image_gradient: Whether to differentiate the target's logit with respect to the images too; the graph then
            starts there.

    Raises:
        UnknownNameError: If a tap is no module of the model; suggests the nearest.
        ValueError: If a tap does not run, or there is nothing to differentiate.
        SelfCheckError: If patterns are asked of a transformer that does not show them; says why.
    """
    if gradients and not taps and not patterns:
        raise ValueError("gradients need something to be taken of: pass taps=(...) or patterns=True.")
    attends = patterns and specimen.kind == "transformer"
    if attends:
        refuse_hidden(specimen.model)
    kept: list[tuple[str, Kind, Tensor]] = []  # never the event itself: it holds queries, keys and values
    materialise = gradients and patterns

    def keep(attention: Attention) -> None:
        kept.append((attention.module, attention.kind, attention.pattern()))

    starts_at_tap = gradients and bool(taps) and not image_gradient
    differentiates = gradients or image_gradient
    with torch.inference_mode(False), torch.set_grad_enabled(differentiates and not starts_at_tap):
        given = unit_images(images, specimen.device).clone().requires_grad_() if image_gradient else images
        with (
            frozen(specimen.model, differentiates),
            _tapped(specimen.model, taps, starts_at_tap) as activations,
            intercepted(specimen.model, keep if patterns else None, materialise=materialise),
        ):
            logits = specimen.predict(given)
            silent = [path for path in taps if path not in activations]
            if silent:
                raise ValueError(
                    f"every tap must run in a forward pass, but {', '.join(silent)} did not; name another."
                )
            chosen = checked_target(logits, target)
            if attends and not kept:
                raise why_nothing(specimen, images)
            sources = [*activations.values(), *(pattern for _, _, pattern in kept)] if gradients else []
            sources = [*sources, given] if image_gradient else sources
            found = _gradients(logits, chosen, sources) if differentiates else []
    of_image = found.pop() if image_gradient else None
    found = found or [None] * (len(activations) + len(kept))
    shapes: list[tuple[str, Kind, tuple[int, ...]]] = [
        (module, kind, tuple(pattern.shape)) for module, kind, pattern in kept
    ]
    places = captured_places(specimen, shapes, len(logits))
    return Record(
        images=unit_images(images, specimen.device),
        logits=logits.detach(),
        target=chosen,
        layout=specimen.layout,
        attentions=tuple(
            CapturedPattern(module, kind, pattern.detach(), gradient, where)
            for (module, kind, pattern), gradient, where in zip(
                kept, found[len(activations) :], places, strict=True
            )
        ),
        activations=MappingProxyType({path: tensor.detach() for path, tensor in activations.items()}),
        gradients=MappingProxyType(
            {
                path: gradient
                for path, gradient in zip(activations, found, strict=False)
                if gradient is not None
            }
        ),
        image_gradient=of_image,
    )


@contextmanager
def frozen(model: nn.Module, freeze: bool) -> Iterator[None]:
    """No parameter asks for a gradient inside the block."""
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad] if freeze else []
    try:
        for parameter in asking:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)


@contextmanager
def _tapped(model: nn.Module, taps: Sequence[str], starts_here: bool) -> Iterator[dict[str, Tensor]]:
    """Outputs of the modules called `taps`, filled in while they run."""
    modules = dict(model.named_modules(remove_duplicate=False))
    for path in taps:
        if path not in modules:
            raise unknown_name("module of this model", path, list(modules)[1:])
    reached: dict[str, Tensor] = {}
    handles: list[Any] = []
    try:
        for path in taps:
            hook: Callable[..., Any] = partial(_tap, path, reached, starts_here)
            handles.append(modules[path].register_forward_hook(hook))
        yield reached
    finally:
        for handle in handles:
            handle.remove()


def _tap(
    path: str, reached: dict[str, Tensor], starts_here: bool, module: nn.Module, given: object, output: Any
) -> Any:
    """Keep a module's output and pass on a copy, so that nothing done in place reaches what was kept."""
    tensor = output[0] if isinstance(output, list | tuple) and output else output
    if not isinstance(tensor, Tensor):
        raise ValueError(
            f"a tap must be a module that returns a tensor (or a tuple that starts with one), but {path} "
            f"returns {type(output).__name__}; tap a module inside it."
        )
    if starts_here and not reached:
        tensor = tensor.detach().requires_grad_()
        torch.set_grad_enabled(True)  # from here on; `capture` restores it
    reached[path] = tensor
    passed = tensor.clone()
    if isinstance(output, list):
        return [passed, *output[1:]]
    if isinstance(output, tuple):
        rest = (passed, *output[1:])
        return type(output)(*rest) if hasattr(output, "_fields") else rest
    return passed


def checked_target(logits: object, target: Tensor | None) -> Tensor:
    """The classes to explain: those given, or those predicted.

    Raises:
        ValueError: If the model returns no logits, or there is no such class; names both.
    """
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the model must return logits (batch, classes), but returned {came}.")
    if target is None:
        return logits.detach().argmax(1)
    if tuple(target.shape) != (len(logits),) or int(target.min()) < 0 or int(target.max()) >= logits.shape[1]:
        raise ValueError(
            f"target must hold one class in 0..{logits.shape[1] - 1} for each of {len(logits)} images, "
            f"but got {target.tolist()}."
        )
    return target.to(logits.device)


def _gradients(logits: Tensor, target: Tensor, sources: list[Tensor]) -> list[Tensor | None]:
    """Of the target's logit with respect to each source; None for a source that lies before the graph."""
    asked = [source for source in sources if source.requires_grad]
    if not asked or not logits.requires_grad:
        raise ValueError(
            "gradients need a tap or a pattern that the logits depend on, but there is none: the model shows "
            "no attention, or goes on from the tap under no_grad; name a (later) tap."
        )
    score = logits.gather(1, target[:, None]).sum()
    found = iter(torch.autograd.grad(score, asked, allow_unused=True, materialize_grads=True))
    return [next(found) if source.requires_grad else None for source in sources]


def unit_images(images: Tensor, device: torch.device) -> Tensor:
    """Images in [0, 1] on that device, 8-bit ones divided by 255."""
    images = images.detach().to(device)
    return images.float() / 255 if images.dtype == torch.uint8 else images

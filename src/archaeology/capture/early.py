"""What the model would answer had it stopped after a block: its end, run on every block's tokens.

Blocks are found as in `suffix`; what a block gives to the next one is shown to the end of the model instead, everything
before repeating what it said. Between blocks the graph is cut, so the gradient of an early answer reaches the attention
of its own block only, and one backward pass serves all blocks.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from archaeology.capture.attention import Attention, Kind
from archaeology.capture.hidden import refuse_hidden
from archaeology.capture.interceptor import intercepted
from archaeology.capture.record import CapturedPattern, checked_target, frozen
from archaeology.capture.suffix import Unit, remembered, units_of
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.specimens.specimen import Specimen

Seen = tuple[str, Kind, Tensor]


@dataclass(frozen=True, eq=False)
class EarlyAnswers:
    """Answers after each block, and what made them.

    Attributes:
        logits: Of the model's end, given each block's tokens; the last ones are the model's own.
        target: The class whose early logits are differentiated.
        blocks: The attention of each block; its gradient is that of the block's own early logit.
        ends: The attentions in the model's end (a pool, class attention), given each block's tokens, likewise.
    """

    logits: Float[Tensor, "layer batch classes"]
    target: Label
    blocks: tuple[CapturedPattern, ...]
    ends: tuple[tuple[CapturedPattern, ...], ...]


@dataclass
class _Pass:
    """A pass through the blocks: what each attention saw and what each block gave."""

    seen: list[Seen] = field(default_factory=list)
    given: list[Tensor] = field(default_factory=list)
    passed_on: list[Tensor] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)


def early_answers(
    specimen: Specimen, images: Image | PixelImage, target: Int[Tensor, "..."] | None = None
) -> EarlyAnswers:
    """Answers after each block, with gradients with respect to its attention; costs two to three passes.

    Args:
        specimen: A transformer whose blocks all give tokens of one shape to the next.
        images: Floats in [0, 1] or 8 bit.
        target: Class to differentiate the logit of, for each image; the predicted one if None.

    Raises:
        ValueError: If the model has no such blocks; says what is in the way.
    """
    refuse_hidden(specimen.model)
    with torch.inference_mode(False):
        with torch.no_grad():
            kinds: list[Kind] = []
            run = partial(specimen.predict, images)
            units = units_of(specimen.model, run, lambda attention: kinds.append(attention.kind))
        blocks = _blocks(specimen, units, kinds)
        with torch.enable_grad(), frozen(specimen.model, True):
            done, ends, answers, logits = _passes(specimen, blocks, run)
            _check_alike(specimen, answers[-1], logits)
            chosen = checked_target(logits, target)
            own = done.seen[: len(blocks)]
            patterns = [pattern for _, _, pattern in (*own, *(each for seen in ends for each in seen))]
            score = torch.stack(answers)[:, torch.arange(len(chosen)), chosen].sum()
            found = iter(torch.autograd.grad(score, patterns, allow_unused=True, materialize_grads=True))
    return EarlyAnswers(
        logits=torch.stack(answers).detach(),
        target=chosen,
        blocks=tuple(_captured(seen, found) for seen in own),
        ends=tuple(tuple(_captured(each, found) for each in seen) for seen in ends),
    )


def _passes(
    specimen: Specimen, blocks: tuple[Unit, ...], run: Callable[[], Tensor]
) -> tuple[_Pass, list[list[Seen]], list[Tensor], Tensor]:
    """The pass through the blocks, then what the end of the model sees and says given each block's tokens."""
    done = _Pass()
    with (
        remembered(specimen.model, blocks[-1:]) as earlier,
        _cut_between(specimen, blocks, done),
        intercepted(specimen.model, partial(_keep, done.seen), materialise=True),
    ):
        logits = run().detach()
    ends: list[list[Seen]] = []
    answers: list[Tensor] = []
    last = blocks[-1].path
    for tokens in done.given:
        ends.append([])
        repeated = earlier | {last: _with_tensor(done.outputs[last], tokens)}
        with (
            _repeating(specimen.model, repeated),
            intercepted(specimen.model, partial(_keep, ends[-1]), materialise=True),
        ):
            answers.append(run())
    return done, ends, answers, logits


def _check_alike(specimen: Specimen, alone: Tensor, whole: Tensor) -> None:
    finite = torch.isfinite(whole)
    scale = float(whole[finite].abs().max()) if bool(finite.any()) else 1.0
    if not torch.allclose(alone, whole, rtol=1e-3, atol=1e-3 * scale, equal_nan=True):
        raise ValueError(
            f"early answers need a model whose end can be run alone, but that of {specimen.name} then answers "
            "differently; use relevance for this model."
        )


def _blocks(specimen: Specimen, units: tuple[Unit, ...], kinds: list[Kind]) -> tuple[Unit, ...]:
    """The units up to the first that is no attention of all tokens to all."""
    whole = next((place for place, kind in enumerate(kinds) if kind != "token"), len(units))
    blocks = units[:whole]
    if not blocks or set(kinds[whole:]) - {"pool"}:
        found = ", ".join(sorted(set(kinds))) or "none at all"
        raise ValueError(
            f"early answers need blocks that hold one attention of all tokens each, but {specimen.name} has "
            f"{len(kinds)} attentions (kinds: {found}) and {len(units)} blocks around one of them; use grad_cam."
        )
    return blocks


@contextmanager
def _cut_between(specimen: Specimen, blocks: tuple[Unit, ...], done: _Pass) -> Iterator[None]:
    """Inside the block, each block's tokens are kept with their graph and passed on without it."""

    def leave(path: str, module: nn.Module, given: object, output: Any) -> Any:
        done.outputs[path] = output
        tokens = _tensor_of(output)
        if done.given and tokens.shape != done.given[-1].shape:
            raise ValueError(
                f"early answers need blocks whose outputs have one shape, but in {specimen.name} {path} gives "
                f"{tuple(tokens.shape)} and the block before {tuple(done.given[-1].shape)}; use grad_cam."
            )
        done.given.append(tokens)
        done.passed_on.append(tokens.detach())
        return _with_tensor(output, done.passed_on[-1])

    def enter(path: str, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        first = next((thing for thing in (*given, *named.values()) if isinstance(thing, Tensor)), None)
        if done.passed_on and first is not done.passed_on[-1]:
            raise ValueError(
                f"early answers need blocks that hand their tokens straight to the next one, but {path} of "
                f"{specimen.name} gets others; use relevance for this model."
            )

    with ExitStack() as stack:
        for unit in blocks:
            module = specimen.model.get_submodule(unit.path)
            hook: Callable[..., Any] = partial(enter, unit.path)
            stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(partial(leave, unit.path)).remove)
        yield


@contextmanager
def _repeating(model: nn.Module, outputs: Mapping[str, Any]) -> Iterator[None]:
    """Inside the block, modules hand back these outputs instead of running."""

    def repeat(output: Any, *given: object, **named: object) -> Any:
        return output

    with ExitStack() as stack:
        for path, output in outputs.items():
            module = model.get_submodule(path)
            before = module.__dict__.get("forward")
            module.forward = partial(repeat, output)
            undo = (
                partial(module.__dict__.pop, "forward")
                if before is None
                else partial(setattr, module, "forward", before)
            )
            stack.callback(undo)
        yield


def _keep(seen: list[Seen], attention: Attention) -> None:
    seen.append((attention.module, attention.kind, attention.pattern()))


def _captured(seen: Seen, gradients: Iterator[Tensor]) -> CapturedPattern:
    module, kind, pattern = seen
    return CapturedPattern(module, kind, pattern.detach(), next(gradients))


def _tensor_of(output: Any) -> Tensor:
    tensor = output[0] if isinstance(output, list | tuple) and output else output
    if not isinstance(tensor, Tensor):
        raise ValueError(
            f"early answers need blocks that return a tensor (or a tuple that starts with one), but one returns "
            f"{type(output).__name__}; use relevance for this model."
        )
    return tensor


def _with_tensor(output: Any, tensor: Tensor) -> Any:
    if isinstance(output, list | tuple):
        return type(output)((tensor, *output[1:]))
    return tensor

"""How a method of explanation is reached: from one record, or by running the model again and again.

Most methods are pure functions of a `Record`, so one pass of the model serves them all; what that pass must keep is the
method's `Needs`. Others ask the model many times (integrated gradients, occlusion) or differentiate it by other rules
(relevance propagation): they get the specimen itself. Both answer with an `Explanation`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

from archaeology.capture.record import Record, capture
from archaeology.core.registry import Registry
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.explain.explanation import Explanation
from archaeology.specimens.specimen import Specimen

Draw = TypeVar("Draw", bound=Callable[..., Explanation])


@dataclass(frozen=True)
class Needs:
    """What a record must hold for a method.

    Attributes:
        patterns: Attention patterns of all layers.
        pattern_gradients: And the gradient of the target's logit with respect to each of them.
        target_layer: Output and gradient of the specimen's `target_layer`.
        image_gradient: Gradient with respect to the image.
    """

    patterns: bool = False
    pattern_gradients: bool = False
    target_layer: bool = False
    image_gradient: bool = False

    def covers(self, other: "Needs") -> bool:
        """Whether a record that holds this holds what `other` wants."""
        return all(getattr(self, field.name) >= getattr(other, field.name) for field in fields(self))


@dataclass(frozen=True, eq=False)
class Method:
    """A registered method.

    Attributes:
        title: What it is called, as it begins a sentence.
        draw: Makes the explanation: `draw(record, **parameters)`; for a method that runs the model itself
            `draw(specimen, images, target, **parameters)`.
        needs: What a record must hold; None for a method that runs the model itself.
        needs_attention: Whether it can only speak of models with attention.
        looks_at_class: Whether its map depends on the class explained.
    """

    title: str
    draw: Callable[..., Explanation]
    needs: Needs | None
    needs_attention: bool
    looks_at_class: bool


explanations: Registry[Method] = Registry("explanation method")


def of_record(
    name: str,
    *,
    title: str,
    patterns: bool = False,
    pattern_gradients: bool = False,
    target_layer: bool = False,
    image_gradient: bool = False,
    looks_at_class: bool = True,
) -> Callable[[Draw], Draw]:
    """Decorator for a method that is a function of a record, `draw(record, **parameters)`; see `Needs`."""
    needs = Needs(patterns or pattern_gradients, pattern_gradients, target_layer, image_gradient)

    def shelve(draw: Draw) -> Draw:
        explanations.register(name)(Method(title, draw, needs, needs.patterns, looks_at_class))
        return draw

    return shelve


def of_model(name: str, *, title: str, needs_attention: bool = False) -> Callable[[Draw], Draw]:
    """Decorator for a method that runs the model itself, `draw(specimen, images, target, **parameters)`."""

    def shelve(draw: Draw) -> Draw:
        explanations.register(name)(Method(title, draw, None, needs_attention, looks_at_class=True))
        return draw

    return shelve


def title_of(name: str) -> str:
    """What a method is called, as it begins a sentence; one that is not registered is called by its name."""
    if name in explanations:
        return explanations.get(name).title
    plain = name.replace("_", " ")
    return plain[:1].upper() + plain[1:]


def explain(name: str, record: Record, **parameters: object) -> Explanation:
    """The explanation that method `name` draws from `record`.

    Args:
        name: A registered method, for example "rollout"; see `explanations.names()`.
        record: What `capture` returned.
        parameters: Passed on to the method; each documents its own.

    Raises:
        UnknownNameError: If no method has this name.
        ValueError: If the method runs the model itself, or the record lacks what it needs.
    """
    method = explanations.get(name)
    if method.needs is None:
        raise ValueError(
            f"explain(name, record) is for methods that one record is enough for, but {name!r} runs the model itself; "
            f"use explain_images({name!r}, specimen, images)."
        )
    return method.draw(record, **parameters)


def explain_images(
    name: str,
    specimen: Specimen,
    images: Image | PixelImage,
    target: Label | None = None,
    **parameters: object,
) -> Explanation:
    """The explanation that method `name` gives of a model's answers to some images, whatever it takes.

    Args:
        name: A registered method.
        specimen: Any model.
        images: Floats in [0, 1] or 8 bit.
        target: Class to explain for each image; the predicted one if None.
        parameters: Passed on to the method.

    Raises:
        UnknownNameError: If no method has this name.
        ValueError: If the model lacks what the method needs; says what.
    """
    return explain_all({name: parameters}, specimen, images, target)[name]


def explain_all(
    wanted: Mapping[str, Mapping[str, object]] | Sequence[str],
    specimen: Specimen,
    images: Image | PixelImage,
    target: Label | None = None,
) -> dict[str, Explanation]:
    """Several methods on the same images and classes, the model running once for all that can share a record.

    Args:
        wanted: Names of methods, or their parameters by name.
        specimen: Any model.
        images: Floats in [0, 1] or 8 bit.
        target: Class to explain for each image; the predicted one if None.

    Raises:
        UnknownNameError: If a method has no such name.
        ValueError: If the model lacks what a method needs; says what.
    """
    parameters = dict(wanted) if isinstance(wanted, Mapping) else {name: {} for name in wanted}
    methods = {name: explanations.get(name) for name in parameters}
    for name, method in methods.items():
        if method.needs_attention and specimen.kind != "transformer":
            raise ValueError(
                f"{name} reads attention, but {specimen.name} is {specimen.kind} and has none; use grad_cam, "
                "or another method that needs none."
            )
    if target is None:
        target = capture(specimen, images, patterns=False).target
    records: list[tuple[Needs, Record]] = []
    found: dict[str, Explanation] = {}
    for name in sorted(methods, key=lambda name: -_appetite(methods[name].needs)):
        needs = methods[name].needs
        if needs is None:
            found[name] = methods[name].draw(specimen, images, target, **parameters[name])
            continue
        record = next((record for held, record in records if held.covers(needs)), None)
        if record is None:
            record = record_for(needs, specimen, images, target)
            records.append((needs, record))
        found[name] = methods[name].draw(record, **parameters[name])
    return {name: found[name] for name in parameters}


def record_for(
    needs: Needs, specimen: Specimen, images: Image | PixelImage, target: Label | None = None
) -> Record:
    """One record that holds what a method needs.

    Raises:
        ValueError: If the specimen has no layer that a class activation map could be drawn from.
    """
    if needs.target_layer and specimen.target_layer is None:
        raise ValueError(
            f"this method reads the last layer with a spatial map, but {specimen.name} declares none; load it with "
            "target_layer='path.of.module'."
        )
    return capture(
        specimen,
        images,
        target=target,
        taps=(specimen.target_layer,) if needs.target_layer and specimen.target_layer else (),
        patterns=needs.patterns,
        gradients=needs.target_layer or needs.pattern_gradients,
        image_gradient=needs.image_gradient,
    )


def _appetite(needs: Needs | None) -> int:
    return 0 if needs is None else sum(getattr(needs, field.name) for field in fields(needs))

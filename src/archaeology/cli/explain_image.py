"""Explain one image by several methods and mark the maps: what `archaeology explain` prints, draws and keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import torch
from torch import Tensor

from archaeology.core.errors import BadImageError, SelfCheckError, UnknownNameError
from archaeology.core.progress import progress
from archaeology.core.shapes import PixelImage
from archaeology.data.decode import decode_image
from archaeology.data.resize import framed
from archaeology.data.source import Sample
from archaeology.dig.labels import plain_name
from archaeology.evaluate import Marks, Trial, judges, mark, trial_of
from archaeology.explain import Explanation, explain_images, explanations
from archaeology.figures._explained_image import ExplainedImage, MethodMap
from archaeology.specimens.specimen import Specimen

FLOOR, NUM_FLOORS = "random", 5  # what knows nothing, and how many of it
MOST_ANSWERS, FEW_CLASSES = 3, 12


@dataclass(frozen=True, eq=False)
class Explained:
    """One image explained to the end.

    Attributes:
        trial: The image, the model, the class.
        probabilities: Of all classes.
        maps: By method.
        marks: By method and judge.
        floor: Marks of random maps by judge, one for each.
        missing: Methods that the model does not allow, and why.
    """

    trial: Trial
    probabilities: Tensor
    maps: Mapping[str, Explanation]
    marks: Mapping[str, Mapping[str, Marks]]
    floor: Mapping[str, tuple[float, ...]]
    missing: Mapping[str, str]

    @property
    def specimen(self) -> Specimen:
        """The model."""
        return self.trial.specimen

    @property
    def target(self) -> int:
        """Number of the class explained."""
        return int(self.trial.target[0])

    @property
    def answer(self) -> int:
        """Number of the likeliest class."""
        return int(self.probabilities.argmax())

    def likeliest(self, most: int) -> list[tuple[int, float]]:
        """Numbers and probabilities of at most so many classes, likeliest first."""
        found = self.probabilities.topk(min(most, len(self.probabilities)))
        return list(zip(found.indices.tolist(), found.values.tolist(), strict=True))

    def shown(self) -> ExplainedImage:
        """As the figure wants it."""
        photo = (self.trial.images[0].float() * 255).round().to(torch.uint8).cpu().numpy()
        maps = []
        for name, explanation in self.maps.items():
            values = explanation.ranking[0].detach().double().cpu().numpy()
            maps.append(
                MethodMap(
                    name,
                    values,
                    is_signed=explanation.attribution is not None,
                    has_evidence=bool(explanation.has_evidence[0]),
                    looks_at_class=explanations.get(name).looks_at_class,
                    marks={judge: float(found.score[0]) for judge, found in self.marks[name].items()},
                )
            )
        return ExplainedImage(
            model=self.specimen.name,
            photo=photo,
            answers=tuple(
                (class_name(self.specimen, number), value) for number, value in self.likeliest(MOST_ANSWERS)
            ),
            target=class_name(self.specimen, self.target),
            probability=float(self.probabilities[self.target]),
            maps=tuple(maps),
            floor=self.floor,
        )


def read_image(path: Path) -> Sample:
    """The pixels of an image file, as they are.

    Raises:
        FileNotFoundError: If there is no such file; suggests the nearest one.
        IsADirectoryError: If it is a folder.
        BadImageError: If it is no image of a known kind.
    """
    if path.is_dir():
        raise IsADirectoryError(
            f"IMAGE must be an image file, but {path} is a folder; name the images in it, or use "
            f"archaeology dig --data folder:{path}."
        )
    if not path.exists():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, beside, n=1)
        hint = f"did you mean {path.parent / near[0]}?" if near else "look for a typing mistake."
        raise FileNotFoundError(f"IMAGE must be an image file, but there is no file {path}; {hint}")
    try:
        return Sample(decode_image(path.read_bytes(), str(path)), None)
    except BadImageError as error:  # which speaks of data sets
        reason = str(error).partition("; replace it")[0]
        raise BadImageError(f"{reason}; name another file, or save it as PNG.") from error


def pixels_for(sample: Sample, specimen: Specimen) -> PixelImage:
    """The image in the size and cut that the model was trained for, as a batch of one.

    Raises:
        BadImageError: If it is so long and thin that it would fill the memory.
    """
    try:
        pixels = framed(sample, specimen.image_size, specimen.crop_fraction)[0]
    except ValueError as error:
        raise BadImageError(
            f"The image must fit into the frame of {specimen.name}, but {error}; cut it."
        ) from error
    return torch.from_numpy(pixels.copy())[None]


def class_name(specimen: Specimen, number: int) -> str:
    """What class `number` is called."""
    return specimen.classes[number] if specimen.classes else f"class {number}"


def class_number(specimen: Specimen, target: str, num_classes: int) -> int:
    """The class that `target` names or numbers; a name goes first.

    Raises:
        UnknownNameError: If there is none; suggests the nearest ones.
    """
    plain = {plain_name(name): number for number, name in reversed(list(enumerate(specimen.classes)))}
    exact = {name: number for number, name in reversed(list(enumerate(specimen.classes)))}
    number = exact.get(target, plain.get(plain_name(target)))
    if number is None and target.isdecimal() and int(target) < num_classes:
        number = int(target)
    if number is not None:
        return number
    said = f"No class of {specimen.name} is called {target!r}"
    if near := [specimen.classes[plain[name]] for name in get_close_matches(plain_name(target), plain, n=3)]:
        said += f"; did you mean {' or '.join(map(repr, near))}?"
    else:
        said += "."
    few = f": {', '.join(specimen.classes)}" if 0 < len(specimen.classes) <= FEW_CLASSES else ""
    raise UnknownNameError(f"{said} It has {num_classes:,} classes, numbered from 0{few}.")


def explained(
    specimen: Specimen,
    pixels: PixelImage,
    *,
    methods: Sequence[str],
    by: Sequence[str],
    target: str | None = None,
    seed: int = 0,
) -> Explained:
    """Explain one image and mark every map.

    Args:
        specimen: Any model.
        pixels: A batch of one.
        methods: Names of methods; those that the model does not allow are listed.
        by: Names of judges.
        target: Name or number of the class; the model's own answer if None.
        seed: Of random maps and of judges.

    Raises:
        UnknownNameError: If a method, judge or class has no such name.
        ValueError: If the model gives no finite answer, or a judge objects.
    """
    with torch.no_grad():
        logits = specimen.predict(pixels).float().cpu()
    if not torch.isfinite(logits).all():
        raise ValueError(
            f"{specimen.name} must answer with finite numbers to be explained, but gives "
            f"{int((~torch.isfinite(logits)).sum())} logits that are not; its weights may be broken."
        )
    number = int(logits.argmax()) if target is None else class_number(specimen, target, logits.shape[1])
    trial = trial_of(specimen, pixels, torch.tensor([number], device=specimen.device), seed=seed)
    maps: dict[str, Explanation] = {}
    marks: dict[str, dict[str, Marks]] = {}
    missing: dict[str, str] = {}
    with progress(f"explaining with {specimen.name}", len(methods)) as advance:
        for name in methods:
            try:
                maps[name] = explanation_of(name, trial)
            except (ValueError, SelfCheckError) as error:
                missing[name] = str(error)
            else:
                marks[name] = {judge: mark(judge, trial, maps[name]) for judge in by}
            advance(note=name)
    floor = {judge: floor_of(judge, trial) for judge in by}
    return Explained(trial, logits.softmax(dim=1)[0], maps, marks, floor, missing)


def explanation_of(name: str, trial: Trial) -> Explanation:
    """The map of one method.

    Raises:
        UnknownNameError: If there is no such method.
        ValueError: If the model does not allow it; says why.
        SelfCheckError: If the method cannot reproduce the model.
    """
    method = explanations.get(name)
    if method.needs_attention and trial.specimen.kind != "transformer":
        raise ValueError(f"it reads attention, and {trial.specimen.name} has none.")
    parameters = {"seed": trial.seed} if name == FLOOR else {}
    return explain_images(name, trial.specimen, trial.images, trial.target, **parameters)


def floor_of(judge: str, trial: Trial) -> tuple[float, ...]:
    """What maps that know nothing get from a judge: the marks of random ones."""
    found = []
    for number in range(NUM_FLOORS):
        noise = explain_images(
            FLOOR, trial.specimen, trial.images, trial.target, seed=trial.seed + 1 + number
        )
        found.append(float(mark(judge, trial, noise).score[0]))
    return tuple(found)


def check_judges(names: Sequence[str]) -> None:
    """Raise unless these judges can mark an image whose object nobody has outlined.

    Raises:
        UnknownNameError: If there is no such judge.
        ValueError: If one needs to know where the object is.
    """
    for name in names:
        if judges.get(name).kind == "truth":
            raise ValueError(
                f"the judge {name!r} must know where the object is, but an image file does not tell; leave it out, "
                "or give boxes or masks to archaeology.evaluate.trial_of."
            )

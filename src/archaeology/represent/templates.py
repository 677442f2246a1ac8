"""From class names to sentences: a template says a name in the way in which captions speak of pictures.

A model that has read captions has seldom read a bare name, so it is asked with a sentence around it
(`radford2021learning`, section 3.1.4); which sentence is a choice that the answer should not depend on.
"""

from collections.abc import Sequence

PLACE = "{}"
#: Neutral wordings for photographs, used where nothing is known of a model's captions.
PHOTOS = (
    "{}",
    "a photo of a {}",
    "a photo of the {}",
    "a blurry photo of a {}",
    "a close-up photo of a {}",
    "a small picture of a {}",
    "a picture in which there is a {}",
    "this is a {}",
)


def prompts(template: str, classes: Sequence[str]) -> list[str]:
    """The template with every class name in turn; underscores become spaces.

    Raises:
        ValueError: If the template has no place for a name, or as `check_classes`.
    """
    check_templates([template])
    check_classes(classes)
    return [template.replace(PLACE, spoken(name)) for name in classes]


def spoken(name: str) -> str:
    """A class name as it is said: "hot_dog" is "hot dog"."""
    return " ".join(name.replace("_", " ").split())


def check_templates(templates: Sequence[str]) -> None:
    """Raise unless every template has a place for a name.

    Raises:
        ValueError: If there is none, one has no "{}", or one is there twice.
    """
    without = [template for template in templates if PLACE not in template]
    if not templates or without:
        said = f"{without[0]!r} has none" if without else "there is no template"
        raise ValueError(
            f'every template must have {{}} where the name of the class goes, as "a photo of a {{}}", but {said}.'
        )
    twice = sorted({template for template in templates if list(templates).count(template) > 1})
    if twice:
        raise ValueError(f"every template must be there once, but {twice[0]!r} comes twice; leave one out.")


def check_classes(classes: Sequence[str]) -> None:
    """Raise unless there are two classes or more, each with a name of its own.

    Raises:
        ValueError: If there are fewer, a name is empty, or two are said alike.
    """
    if len(classes) < 2:
        raise ValueError(
            f"there must be at least two classes to choose from, but got {list(classes)}; name more."
        )
    said = [spoken(name).lower() for name in classes]
    empty = [number for number, name in enumerate(said) if not name]
    if empty:
        raise ValueError(
            f"every class must have a name, but that of class {empty[0]} is empty; give names, in the order of "
            "the labels."
        )
    twice = [name for number, name in enumerate(said) if name in said[:number]]
    if twice:
        raise ValueError(
            f"class names must all be different, or nobody can tell the classes apart, but {twice[0]!r} comes twice; "
            'say more of each, as "crane (bird)".'
        )

"""Every field of `TrainConfig` as an option that is left as the recipe says unless it is given."""

from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model

from archaeology.training.config import TrainConfig

WORDS = ("budget", "save_every", "epsilon", "attack_step_size")  # such as 10m and 8/255
NOT_FOR_WORDS = ("patch_keep",)  # a table; recipes set it


def kind_of(name: str) -> Any:
    """What the option called `name` takes on the command line."""
    annotation = TrainConfig.model_fields[name].annotation
    if name in WORDS:
        return str
    if get_origin(annotation) is not Literal and get_args(annotation):  # X | None
        return get_args(annotation)[0]
    return annotation


def _option(name: str) -> tuple[Any, Any]:
    field = TrainConfig.model_fields[name]
    if field.default is False:
        return bool, Field(default=False, description=field.description)
    return kind_of(name) | None, Field(default=None, description=field.description)


if TYPE_CHECKING:
    Overrides = BaseModel
else:
    Overrides = create_model(
        "Overrides",
        __config__=ConfigDict(frozen=True, extra="forbid"),
        __doc__="How to train, where it differs from the recipe.",
        **{name: _option(name) for name in TrainConfig.model_fields if name not in NOT_FOR_WORDS},
    )


def given(overrides: BaseModel) -> dict[str, Any]:
    """The fields that were given."""
    fields = type(overrides).model_fields
    return {name: value for name, value in overrides if value != fields[name].default}

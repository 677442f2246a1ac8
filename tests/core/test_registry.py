"""Names on a shelf, and what is said about names that are not on it."""

import pytest

from archaeology.core.errors import UnknownNameError
from archaeology.core.registry import Registry, unknown_name


@pytest.fixture
def methods() -> Registry[int]:
    registry: Registry[int] = Registry("explanation method")
    for number, name in enumerate(("rollout", "grad_cam", "raw_attention")):
        registry.register(name)(number)
    return registry


def test_things_come_back_in_the_order_they_came(methods: Registry[int]) -> None:
    assert methods.names() == list(methods) == ["rollout", "grad_cam", "raw_attention"]
    assert [methods.get(name) for name in methods] == [0, 1, 2]
    assert len(methods) == 3
    assert "rollout" in methods and "rolout" not in methods and 7 not in methods


def test_decorator_returns_what_it_shelves() -> None:
    registry: Registry[type] = Registry("thing")

    @registry.register("box")
    class Box:
        pass

    assert registry.get("box") is Box


@pytest.mark.parametrize("name", ["rolout", "Rollout", "ROLLOUT", "roll", "rollouts"])
def test_near_miss_is_suggested(methods: Registry[int], name: str) -> None:
    with pytest.raises(UnknownNameError) as raised:
        methods.get(name)
    expected = "did you mean 'rollout'? Known: rollout, grad_cam, raw_attention."
    assert str(raised.value) == f"No explanation method is called '{name}'; {expected}"


def test_no_suggestion_where_nothing_is_near(methods: Registry[int]) -> None:
    with pytest.raises(UnknownNameError) as raised:
        methods.get("camera")
    expected = "No explanation method is called 'camera'. Known: rollout, grad_cam, raw_attention."
    assert str(raised.value) == expected


def test_suggestion_keeps_its_own_spelling() -> None:
    assert "did you mean 'ViT'?" in str(unknown_name("model", "vit", ["ResNet50", "ViT"]))


def test_empty_shelf() -> None:
    with pytest.raises(UnknownNameError, match=r"No thing is called 'a'\. Known: none\."):
        Registry("thing").get("a")


def test_name_is_taken_once(methods: Registry[int]) -> None:
    with pytest.raises(ValueError, match="The explanation method 'rollout' is registered already; choose"):
        methods.register("rollout")(9)
    assert methods.get("rollout") == 0


def test_unknown_name_is_a_value_error() -> None:
    assert issubclass(UnknownNameError, ValueError)

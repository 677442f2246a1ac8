import pytest

from archaeology.specimens.layout import TokenLayout


def test_counts() -> None:
    layout = TokenLayout(3, 5, ("class", "register", "register"))

    assert (layout.num_prefix, layout.num_patches, layout.num_tokens) == (3, 15, 18)
    assert layout.class_token == 0
    assert TokenLayout(3, 5, ("register", "class")).class_token == 1
    assert TokenLayout(3, 5).class_token is None


def test_check_names_both_counts() -> None:
    layout = TokenLayout(3, 5, ("class",))

    layout.check(16, "blocks.0")
    with pytest.raises(
        ValueError, match=r"blocks.0 has 17 tokens while the layout declares 1 prefix \+ 3 x 5.*= 16"
    ):
        layout.check(17, "blocks.0")


def test_windows_are_not_checked() -> None:
    TokenLayout(7, 7, order="windows").check(12, "layers.0")

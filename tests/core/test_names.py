"""Names and counts read as people write them."""

import pytest

from archaeology.core.names import first_few, joined, plural, short_name


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("bundled:vit_cifar10", "vit_cifar10"),
        ("run:runs/mine/", "mine"),
        ("vit", "vit"),
        ("folder:/", "folder:/"),
    ],
)
def test_the_last_part_of_a_reference_is_what_people_say(reference, said):
    assert short_name(reference) == said


def test_a_list_ends_with_and():
    assert [joined(list(words)) for words in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]


def test_a_long_list_is_cut_and_says_how_much_is_left():
    assert first_few(list("abc"), 3) == "a, b, c"
    assert first_few(list("abcde"), 3) == "a, b, c and 2 more"
    assert first_few(list("abcde"), 3, of="classes") == "a, b, c and 2 more classes"


def test_counted_things_are_one_or_many():
    assert [plural(n, "patch", "patches") for n in (0, 1, 2000)] == ["0 patches", "1 patch", "2,000 patches"]
    assert plural(3, "image") == "3 images"

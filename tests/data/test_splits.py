import pytest

from archaeology.core.errors import UnknownNameError
from archaeology.data.splits import choose_split, is_split_name


def test_the_only_split_needs_no_name() -> None:
    assert choose_split(["extra"], None, "photos") == "extra"


@pytest.mark.parametrize(
    ("wanted", "there"),
    [("val", "validation"), ("validation", "val"), ("valid", "dev"), ("test", "Testing"), ("TRAIN", "train")],
)
def test_spellings_mean_the_same(wanted: str, there: str) -> None:
    assert choose_split(["other", there], wanted, "photos") == there


def test_an_exact_name_comes_before_a_spelling() -> None:
    assert choose_split(["val", "validation"], "validation", "photos") == "validation"


def test_several_splits_must_be_chosen_from() -> None:
    with pytest.raises(
        ValueError, match=r"photos has the splits train, test; say which, for example --split test"
    ):
        choose_split(["train", "test"], None, "photos")


def test_a_missing_split_lists_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"No split of photos is called 'val'.*Known: train, test"):
        choose_split(["train", "test"], "val", "photos")


def test_two_spellings_at_once_are_ambiguous() -> None:
    with pytest.raises(UnknownNameError, match="Known: val, validation"):
        choose_split(["val", "validation"], "dev", "photos")


def test_split_names() -> None:
    assert is_split_name("Validation") and is_split_name("train") and not is_split_name("cats")

import pytest

from archaeology.figures import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.8349, "1.83"),
        (12.34, "12.3"),
        (0.04567, "0.0457"),
        (1234.5, "1,234"),
        (-2.5, "\u22122.50"),
        (0.0, "0"),
        (float("nan"), "\u2013"),
        (float("inf"), "\u2013"),
        (4.2e-7, "4.2\u202f\u00d7\u202f10⁻⁷"),
        (2.5e8, "2.5\u202f\u00d7\u202f10⁸"),
    ],
)
def test_numbers_keep_few_digits(value, text):
    assert words.number(value) == text


def test_there_is_no_negative_zero():
    assert words.fixed(-0.001, 1) == "0.0"
    assert words.fixed(-0.06, 1) == "\u22120.1"


def test_shares_become_percent():
    assert words.percent(0.8637) == "86.4\u202f%"
    assert words.tight("95 % of 7 %") == "95\u202f% of 7\u202f%"


def test_minus_signs_are_told_from_hyphens():
    assert words.tight("both-same, -2.0 to (-1.0) in 3-4") == "both-same, \u22122.0 to (\u22121.0) in 3-4"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.3456, "= 0.346"),
        (0.00712, "= 0.0071"),
        (3.04e-8, "= 3.0\u202f\u00d7\u202f10⁻⁸"),
        (1e-300, "< 10⁻¹²"),
        (1.0, "= 1.000"),
    ],
)
def test_p_values_are_readable(value, text):
    assert words.p_value(value) == text

"""Numbers as a report writes them: few digits, thousands apart, a real minus sign."""

import math
import re

NOT_KNOWN = "\N{EN DASH}"
THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


def number(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits, never in exponent form between 0.001 and a million."""
    if not math.isfinite(value):
        return NOT_KNOWN
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return _power_of_ten(value)
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return fixed(value, decimals)


def fixed(value: float, decimals: int) -> str:
    """`value` with this many decimals, thousands apart, a real minus sign and no negative zero."""
    if not math.isfinite(value):
        return NOT_KNOWN
    text = f"{value:,.{decimals}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def percent(share: float, decimals: int = 1) -> str:
    """A share between 0 and 1 as "86.4 %", number and sign kept together."""
    return f"{fixed(100 * share, decimals)}{THIN}%"


def points(share: float, decimals: int = 1) -> str:
    """A difference of two shares as percentage points: "7.5"."""
    return fixed(100 * share, decimals)


def tight(text: str) -> str:
    """`text` with every percent sign kept on the line of its number, and real minus signs."""
    return re.sub(r"(?<=[\s(])-(?=\d)", MINUS, text.replace(" %", f"{THIN}%"))


def count(whole: int) -> str:
    """A whole number with its thousands apart."""
    return f"{whole:,}"


def p_value(value: float) -> str:
    """What follows the letter p: "= 0.034", or a power of ten where it is small."""
    if value < 1e-12:
        return "< 10" + _raised(-12)
    if value < 1e-3:
        return "= " + _power_of_ten(value)
    return "= " + fixed(value, 3 if value >= 0.01 else 4)


def _power_of_ten(value: float) -> str:
    exponent = math.floor(math.log10(abs(value)))
    return f"{fixed(value / 10**exponent, 1)}{THIN}\N{MULTIPLICATION SIGN}{THIN}10{_raised(exponent)}"


def _raised(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))

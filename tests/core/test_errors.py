"""The error for a missing extra says what to type."""

import pytest

from archaeology.core.errors import BadImageError, MissingExtraError, SelfCheckError


def test_missing_extra_says_what_to_install() -> None:
    with pytest.raises(ImportError) as raised:
        raise MissingExtraError("transformers", "hub", "hf:google/vit")
    assert str(raised.value) == (
        "hf:google/vit needs the package 'transformers', which is not installed; "
        "run: pip install 'attention-archaeology[hub]'"
    )


def test_whom_to_catch() -> None:
    assert issubclass(BadImageError, ValueError)
    assert issubclass(SelfCheckError, RuntimeError)

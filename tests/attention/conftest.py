import pytest
from torch.nn.attention import flex_attention


@pytest.fixture(autouse=True)
def untraced_flex_attention(monkeypatch):
    """Dynamo cannot trace what checks shapes at run time, so FlexAttention runs without it here."""
    monkeypatch.setattr(flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)

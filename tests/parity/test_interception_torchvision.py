"""The patterns seen in torchvision's models are those of `need_weights=True`, and of Swin's definition in loops."""

import pytest
import torch
from torch import nn

from archaeology.capture import Attention, intercepted

torchvision = pytest.importorskip("torchvision")

BATCH = 2


def _sharp(model):
    """The same model with random weights that make sharp patterns and logits that depend on them."""
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if path.endswith(("in_proj_weight", "qkv.weight")):
                parameter.normal_(std=1.3 / parameter.shape[1] ** 0.5)
            elif path.endswith("relative_position_bias_table"):
                parameter.normal_()
            elif path in ("heads.head.weight", "head.weight"):  # zero at first in ViT
                parameter.normal_(std=0.02)
    return model.eval()


def _inputs_of(model, kind, images):
    """Output of the model, and what each of its modules of a kind is given."""
    found: dict[str, torch.Tensor] = {}
    handles = [
        module.register_forward_pre_hook(lambda module, given, path=path: found.__setitem__(path, given[0]))
        for path, module in model.named_modules()
        if isinstance(module, kind)
    ]
    output = model(images)
    for handle in handles:
        handle.remove()
    return output, found


def _num_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def _seen(model, images, **options):
    events: list[Attention] = []
    with intercepted(model, events.append, **options):
        output = model(images)
    assert _num_hooks(model) == 0
    return output, events


def _assert_sharp_rows(pattern):
    torch.testing.assert_close(pattern.sum(-1), torch.ones_like(pattern[..., 0]))
    assert float(pattern.amax(-1).mean()) > 4 / pattern.shape[-1]


@pytest.mark.slow
@torch.no_grad()
def test_vit_b_16():
    torch.manual_seed(0)
    model = _sharp(torchvision.models.vit_b_16(weights=None, image_size=96, num_classes=11))
    images = torch.randn(BATCH, 3, 96, 96)
    native = model(images)
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        plain, inputs = _inputs_of(model, nn.MultiheadAttention, images)
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
    output, events = _seen(model, images)
    assert float(plain.abs().max()) > 0.1
    assert torch.equal(output, plain)
    torch.testing.assert_close(output, native, atol=1e-5, rtol=1e-5)
    assert [event.module for event in events] == list(inputs)
    assert len(events) == 12
    for event in events:
        tokens = inputs[event.module]
        attention = model.get_submodule(event.module)
        _, own = attention(tokens, tokens, tokens, need_weights=True, average_attn_weights=False)
        torch.testing.assert_close(event.pattern(), own, atol=1e-5, rtol=0)
        _assert_sharp_rows(event.pattern())
        assert event.kind == "token"
    explicit, _ = _seen(model, images, materialise=True)
    torch.testing.assert_close(explicit, plain, atol=1e-5, rtol=1e-5)


def _region(place, size, window, shift):
    """Part of the rolled image: only places of the same part were neighbours before."""
    return 0 if place < size - window else (1 if place < size - shift else 2)


def _swin_patterns(attention, features):
    """Window attention written out window by window: pad, roll, cut, score, add the bias of the offset, mask."""
    batch, height, width, embed = features.shape
    window, heads = attention.window_size[0], attention.num_heads
    rows, columns = (-(-size // window) * window for size in (height, width))
    padded = torch.zeros(batch, rows, columns, embed)
    padded[:, :height, :width] = features
    shift_rows, shift_columns = (0 if size <= window else attention.shift_size[0] for size in (rows, columns))
    projected = attention.qkv(padded.roll((-shift_rows, -shift_columns), (1, 2)))
    places = [(row, column) for row in range(window) for column in range(window)]
    bias = torch.zeros(heads, window**2, window**2)
    for i, (row, column) in enumerate(places):
        for j, (other_row, other_column) in enumerate(places):
            offset = (row - other_row + window - 1) * (2 * window - 1) + column - other_column + window - 1
            bias[:, i, j] = attention.relative_position_bias_table[offset]
    patterns = []
    for image in range(batch):
        for top in range(0, rows, window):
            for left in range(0, columns, window):
                inside = projected[image, top : top + window, left : left + window].reshape(
                    window**2, 3, heads, -1
                )
                query, key = inside[:, 0].transpose(0, 1), inside[:, 1].transpose(0, 1)
                scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5 + bias
                if shift_rows or shift_columns:
                    regions = torch.tensor(
                        [
                            3 * _region(top + row, rows, window, shift_rows)
                            + _region(left + column, columns, window, shift_columns)
                            for row, column in places
                        ]
                    )
                    scores = scores - 100 * (
                        regions[:, None] != regions
                    )  # torchvision's mask leaks this little
                patterns.append(scores.softmax(-1))
    return torch.stack(patterns)


@pytest.mark.slow
@torch.no_grad()
def test_swin_t():
    from torchvision.models.swin_transformer import ShiftedWindowAttention

    torch.manual_seed(0)
    model = _sharp(torchvision.models.swin_t(weights=None, num_classes=11))
    images = torch.randn(
        BATCH, 3, 112, 112
    )  # 28, 14, 7 and 4 patches a side: the last are padded to a window
    plain, inputs = _inputs_of(model, ShiftedWindowAttention, images)
    output, events = _seen(model, images)
    assert torch.equal(output, plain)
    assert [event.module for event in events] == list(inputs)
    assert [event.kind for event in events] == ["window"] * 4 + ["token"] * 8
    for event in events:
        own = _swin_patterns(model.get_submodule(event.module), inputs[event.module])
        torch.testing.assert_close(event.pattern(), own, atol=1e-5, rtol=0)
        _assert_sharp_rows(event.pattern())
    explicit, _ = _seen(model, images, materialise=True)
    torch.testing.assert_close(explicit, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_b_16", "swin_t"])
@torch.no_grad()
def test_no_hook_is_left_after_an_exception(name):
    options = {"image_size": 32} if name == "vit_b_16" else {}
    model = getattr(torchvision.models, name)(weights=None, **options).eval()

    def crash(event):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), intercepted(model, crash):
        model(torch.randn(1, 3, 32, 32))
    assert _num_hooks(model) == 0
    assert torch._C._len_torch_function_stack() == 0

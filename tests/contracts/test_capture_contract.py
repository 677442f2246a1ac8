"""Capture leaves no trace, repeats itself, and treats each image as if it were alone, whatever the model."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from archaeology.capture import HeadEdit, capture, check_capture, intercepted
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen

BATCH, CLASSES, HEAD, DIM, TOKEN = 3, 5, 2, 4, 9


def _softmax(query, key, value):
    return (query @ key.mT / 2).softmax(-1) @ value


def _einsum(query, key, value):
    return torch.einsum("bhjd,bhij->bhid", value, (query @ key.mT / 2).softmax(-1))


def _folded(query, key, value):
    batch = len(query)
    query, key, value = (part.flatten(0, 1) for part in (query, key, value))
    return torch.bmm(F.softmax(torch.bmm(query, key.mT) / 2, -1), value).unflatten(0, (batch, HEAD))


class Attends(nn.Module):
    num_heads = HEAD

    def __init__(self, attend):
        super().__init__()
        self.qkv, self.attend = nn.Linear(HEAD * DIM, 3 * HEAD * DIM), attend

    def forward(self, x):
        parts = self.qkv(x).unflatten(-1, (3, HEAD, DIM)).permute(2, 0, 3, 1, 4)
        return x + self.attend(*parts).transpose(1, 2).flatten(2)


class MultiHead(nn.Module):
    def __init__(self, need_weights):
        super().__init__()
        self.inner = nn.MultiheadAttention(HEAD * DIM, HEAD, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x):
        return x + self.inner(x, x, x, need_weights=self.need_weights)[0]


class Windows(Attends):
    """Three windows of three tokens in each image."""

    def forward(self, x):
        return super().forward(x.unflatten(1, (3, 3)).flatten(0, 1)).unflatten(0, (-1, 3)).flatten(1, 2)


class Vision(nn.Module):
    def __init__(self, make):
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(3, HEAD * DIM, 4, 4)
        self.blocks = nn.Sequential(make(), make())
        self.dropout = nn.Dropout(0.0)
        self.head = nn.Linear(HEAD * DIM, CLASSES)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.6)
        self.head.bias.requires_grad_(False)

    def forward(self, images):
        return self.head(self.dropout(self.blocks(self.patch(images).flatten(2).mT).mean(1)))


MODELS = {
    "sdpa": lambda: Attends(F.scaled_dot_product_attention),
    "softmax": lambda: Attends(_softmax),
    "einsum": lambda: Attends(_einsum),
    "heads in the batch": lambda: Attends(_folded),
    "multi-head attention": lambda: MultiHead(need_weights=False),
    "multi-head attention with weights": lambda: MultiHead(need_weights=True),
    "encoder layer": lambda: nn.TransformerEncoderLayer(HEAD * DIM, HEAD, 16, 0.0, batch_first=True),
    "windows": lambda: Windows(F.scaled_dot_product_attention),
}


@pytest.fixture(params=MODELS)
def specimen(request):
    order = "windows" if request.param == "windows" else "flat"
    layout = TokenLayout(3, 3, readout="mean", order=order)
    return Specimen(
        request.param, Vision(MODELS[request.param]).eval(), "transformer", [], (12, 12), layout=layout
    )


def _images(number=BATCH):
    return torch.rand(number, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def _state(model):
    """All that a capture could leave behind."""
    return (
        [module.training for module in model.modules()],
        [(name, parameter.requires_grad, parameter.grad) for name, parameter in model.named_parameters()],
        [parameter.detach().clone().tolist() for parameter in model.parameters()],
        [
            (len(module._forward_hooks), len(module._forward_pre_hooks), sorted(module.__dict__))
            for module in model.modules()
        ],
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
        torch._C._len_torch_function_stack(),
    )


OPTIONS = {
    "patterns": {},
    "gradients": {"gradients": True},
    "taps": {"taps": ("patch", "blocks.0"), "gradients": True},
    "late tap": {"taps": ("blocks.0",), "gradients": True, "patterns": False},
}


def test_check_passes(specimen):
    check_capture(specimen, _images())


@pytest.mark.parametrize("options", OPTIONS)
def test_nothing_is_left_behind(specimen, options):
    before = _state(specimen.model)
    capture(specimen, _images(), **OPTIONS[options])
    assert _state(specimen.model) == before


@pytest.mark.parametrize("options", OPTIONS)
def test_nothing_is_left_behind_after_an_exception(specimen, options):
    class CrashError(Exception):
        pass

    def crash(module, given):
        raise CrashError

    handle = specimen.model.head.register_forward_pre_hook(crash)
    before = _state(specimen.model)
    with pytest.raises(CrashError):
        capture(specimen, _images(), **OPTIONS[options])
    assert _state(specimen.model) == before
    handle.remove()
    assert torch.equal(capture(specimen, _images()).logits, capture(specimen, _images()).logits)


def test_training_flags_stay_where_they_are(specimen):
    specimen.model.train()
    before = _state(specimen.model)
    capture(specimen, _images(), gradients=True)
    assert _state(specimen.model) == before


@pytest.mark.parametrize("options", OPTIONS)
def test_the_same_run_gives_the_same_record(specimen, options):
    one, two = (capture(specimen, _images(), **OPTIONS[options]) for _ in range(2))
    assert torch.equal(one.logits, two.logits)
    for first, second in zip(one.attentions, two.attentions, strict=True):
        assert torch.equal(first.pattern, second.pattern)
        assert (first.pattern_gradient is None) == (second.pattern_gradient is None)
        if first.pattern_gradient is not None:
            assert torch.equal(first.pattern_gradient, second.pattern_gradient)
    for path in one.gradients:
        assert torch.equal(one.gradients[path], two.gradients[path])


@pytest.mark.parametrize("options", OPTIONS)
def test_each_image_is_recorded_as_if_alone(specimen, options):
    specimen.model.double()  # so that only a mistake, not rounding, can make a difference
    images = _images().double()
    together = capture(specimen, images, **OPTIONS[options])
    assert together.logits.isfinite().all()
    for i in range(BATCH):
        alone = capture(specimen, images[i : i + 1], target=together.target[i : i + 1], **OPTIONS[options])
        torch.testing.assert_close(alone.logits[0], together.logits[i])
        for one, all_of_them in zip(alone.attentions, together.attentions, strict=True):
            part = slice(i * len(one.pattern), (i + 1) * len(one.pattern))  # windows of the image
            assert one.kind == all_of_them.kind
            torch.testing.assert_close(one.pattern, all_of_them.pattern[part])
            torch.testing.assert_close(one.pattern.sum(-1), torch.ones_like(one.pattern[..., 0]))
            if one.pattern_gradient is not None:
                torch.testing.assert_close(one.pattern_gradient, all_of_them.pattern_gradient[part])
        for path, activation in alone.activations.items():
            torch.testing.assert_close(activation[0], together.activations[path][i])
        for path, gradient in alone.gradients.items():
            torch.testing.assert_close(gradient[0], together.gradients[path][i])


def test_each_image_is_edited_as_if_alone(specimen):
    images, head = _images(), torch.tensor([1, -1, 0])
    with torch.no_grad(), intercepted(specimen.model, None, edit=HeadEdit(1, head)):
        together = specimen.predict(images)
    with torch.no_grad():
        plain = specimen.predict(images)
    for i in range(BATCH):
        with torch.no_grad(), intercepted(specimen.model, None, edit=HeadEdit(1, head[i : i + 1])):
            alone = specimen.predict(images[i : i + 1])
        torch.testing.assert_close(alone[0], together[i])
        changed = float((together[i] - plain[i]).abs().max())
        assert (changed > 1e-3) == (int(head[i]) >= 0)


def test_dtype_is_kept():
    for dtype in (torch.float32, torch.float64):
        model = Vision(MODELS["softmax"]).eval().to(dtype)
        specimen = Specimen("toy", model, "transformer", [], (12, 12))
        record = capture(specimen, _images().to(dtype), taps=("patch",), gradients=True)
        assert record.stack().dtype == record.gradients["patch"].dtype == record.logits.dtype == dtype

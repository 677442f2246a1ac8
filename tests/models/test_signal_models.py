"""Models of signals: shapes, gradients, independence within a batch, what they can see, and clear refusals."""

import pytest
import torch

from archaeology.core.errors import UnknownNameError
from archaeology.models import Attention1D, ConvNet1D, FullyConnected, Recurrent, build
from archaeology.models.convnet1d import dilations
from archaeology.models.signal import SignalHead, SignalStem

LENGTH = 44
SMALL = {"length": LENGTH, "patch_size": 4, "embed_dim": 12, "depth": 2}
MODELS = {
    "fully_connected": ("fully_connected", {"shape": [LENGTH], "widths": [7, 5]}),
    "convnet1d": ("convnet1d", SMALL),
    "gru": ("recurrent", SMALL | {"cell": "gru"}),
    "lstm": ("recurrent", SMALL | {"cell": "lstm"}),
    "softmax": ("attention1d", SMALL | {"num_heads": 3}),
    "linear": ("attention1d", SMALL | {"num_heads": 3, "attention": "linear"}),
    "window": (
        "attention1d",
        SMALL | {"num_heads": 3, "attention": "sliding_window", "attention_options": {"radius": 2}},
    ),
    "none": ("attention1d", SMALL | {"num_heads": 3, "positions": "none"}),
    "learnable": ("attention1d", SMALL | {"num_heads": 3, "positions": "learnable"}),
    "rotary": ("attention1d", SMALL | {"num_heads": 3, "positions": "rotary"}),
    "alibi": ("attention1d", SMALL | {"num_heads": 3, "positions": "alibi"}),
    "relative_bias": ("attention1d", SMALL | {"num_heads": 3, "positions": "relative_bias"}),
}


def small(name):
    torch.manual_seed(0)
    return build(*MODELS[name]).eval()


def reach(model, place):
    """Which samples of the input the answer at `place` depends on."""
    signals = torch.randn(1, LENGTH, requires_grad=True)
    model(signals)[0, place].backward()
    return signals.grad[0].abs() > 0


@pytest.mark.parametrize("name", MODELS)
def test_signals_in_signals_out_each_for_itself(name):
    model, signals = small(name), torch.randn(3, LENGTH)
    together = model(signals)
    assert together.shape == (3, LENGTH) and together.dtype == torch.float32
    size = float(together.detach().std())
    assert size < 0.2  # near zero before training, so what differs is measured against what is there
    for index in range(3):
        alone = model(signals[index : index + 1])[0]
        torch.testing.assert_close(alone / size, together[index] / size, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_learns(name):
    model = small(name).train()
    model(torch.randn(2, LENGTH)).square().sum().backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


@pytest.mark.parametrize("name", ["fully_connected", "gru", "lstm", "softmax", "none"])
def test_answers_depend_on_the_whole_signal(name):
    assert bool(reach(small(name), 0).all()) and bool(reach(small(name), LENGTH - 1).all())


def test_a_convolution_sees_the_whole_signal_once_it_is_deep_enough():
    deep = ConvNet1D(LENGTH, 4, embed_dim=6, depth=3).eval()
    assert deep.dilations == (1, 2, 4)
    assert bool(reach(deep, 0).all()) and bool(reach(deep, LENGTH - 1).all())
    shallow = ConvNet1D(LENGTH, 4, embed_dim=6, depth=1).eval()
    assert not bool(reach(shallow, 0)[-4:].any())


def test_dilations_double_until_they_reach_across_and_then_start_again():
    assert dilations(125, 8, 5) == (1, 2, 4, 8, 16, 32, 1, 2)
    assert dilations(2, 3, 3) == (1, 1, 1)


def test_a_token_sees_about_thirty_samples_around_its_own():
    stem = SignalStem(LENGTH, 4, 8)
    signals = torch.randn(1, LENGTH, requires_grad=True)
    stem(signals)[0, :, 5].sum().backward()
    seen = signals.grad[0].nonzero().flatten()
    assert (int(seen.min()), int(seen.max()) + 1) == (20 - 12, 24 + 12)


def test_token_n_writes_samples_of_patch_n():
    head = SignalHead(4, 8)
    maps = torch.randn(1, 8, 11)
    changed = maps.clone()
    changed[:, :, 5] += 1
    differs = (head(maps) - head(changed))[0].abs() > 0
    assert differs.nonzero().flatten().tolist() == list(range(16, 28))


def test_recurrent_cells_are_those_of_pytorch_in_both_directions():
    for cell, kind in (("gru", torch.nn.GRU), ("lstm", torch.nn.LSTM)):
        memory = Recurrent(LENGTH, 4, embed_dim=12, depth=2, cell=cell).memory
        assert isinstance(memory, kind) and memory.bidirectional and memory.hidden_size == 6


def test_fully_connected_takes_images_too():
    model = build("fully_connected", {"shape": [3, 5, 7], "widths": [11]})
    assert model(torch.rand(2, 3, 5, 7)).shape == (2, 3, 5, 7)


def test_sizes_by_default_are_comparable():
    models = [FullyConnected((500,)), ConvNet1D(), Recurrent(), Recurrent(cell="lstm"), Attention1D()]
    counts = [sum(value.numel() for value in model.parameters()) for model in models]
    assert min(counts) > 250_000 and max(counts) < 350_000


@pytest.mark.parametrize("maker", [ConvNet1D, Recurrent, Attention1D])
def test_signals_of_another_length_are_refused(maker):
    with pytest.raises(ValueError, match="signals must be 44 samples long, but got 40"):
        maker(LENGTH, 4, embed_dim=12)(torch.randn(2, 40))
    with pytest.raises(ValueError, match="patch_size must divide length, but got length=44, patch_size=5"):
        maker(LENGTH, 5, embed_dim=12)


@pytest.mark.parametrize(
    ("maker", "arguments", "message"),
    [
        (ConvNet1D, {"depth": 0}, "depth must be >= 1 and kernel_size odd"),
        (ConvNet1D, {"kernel_size": 4}, "kernel_size odd and >= 3, but got depth=6, kernel_size=4"),
        (ConvNet1D, {"embed_dim": 0}, "embed_dim must be >= 1, but got 0"),
        (Recurrent, {"cell": "rnn"}, "cell must be one of gru, lstm, but got 'rnn'"),
        (Recurrent, {"embed_dim": 7}, "embed_dim even, but got depth=3, embed_dim=7"),
        (Recurrent, {"depth": 0}, "depth must be >= 1"),
        (Attention1D, {"depth": 0}, "depth must be >= 1, but got 0"),
        (Attention1D, {"num_heads": 5}, "num_heads must divide embed_dim, but got embed_dim=96, num_heads=5"),
        (FullyConnected, {"shape": (5,), "widths": ()}, "at least one positive size each"),
        (FullyConnected, {"shape": (5, 0)}, "at least one positive size each"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(maker, arguments, message):
    with pytest.raises(ValueError, match=message):
        maker(**arguments)


def test_unknown_words_are_refused():
    with pytest.raises(UnknownNameError, match="softmux"):
        Attention1D(attention="softmux")
    with pytest.raises(UnknownNameError, match="rotery"):
        Attention1D(positions="rotery")
    with pytest.raises(UnknownNameError, match="argument of recurrent is called 'cel'"):
        build("recurrent", {"cel": "gru"})


def test_a_fully_connected_net_refuses_samples_of_another_shape():
    with pytest.raises(ValueError, match=r"samples must have the shape \(5,\), but got \(6,\)"):
        FullyConnected((5,))(torch.randn(2, 6))

"""The head that does the averaging is found, and every number is that of a model with that head cut by hand."""

import numpy as np
import pytest
import torch
from tests.ablate.hand_made import FEATURES, Amplitudes, Grouping, amplitudes, scores
from torch import nn

from archaeology.ablate.head_map import Layer, head_map
from archaeology.ablate.world_heads import ablate_world_heads
from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import intercepted
from archaeology.core.bootstrap import Intervals, bootstrap_ratios
from archaeology.stats.alignment import group_alignment


def test_the_head_that_averages_is_found_and_no_other() -> None:
    model, batch = Grouping().train(), amplitudes(53)
    found = ablate_world_heads(model, batch, scores, batch_size=20)
    assert found.layers == (Layer("first", "token", 2), Layer("second", "cross", 2))
    assert model.training and found.names == ("amplitude_error", "mse")
    assert found.scores().value[0] < 0.02  # it does average
    rise = found.rise("amplitude_error")
    assert rise.value.shape == (2, 2) and rise.n == 53
    assert rise.low[1, 1] > 0.3
    rise.value[1, 1] = rise.high[1, 1] = 0
    assert np.abs(rise.value).max() < 0.01 and rise.high.max() < 0.01
    above = found.above_median("amplitude_error")
    assert above.low[1, 1] > 0.3 and above.at(1, 1).excludes(0.0)


def test_alignment_finds_the_same_head() -> None:
    model, batch = Grouping().eval(), amplitudes(29)
    members = torch.eye(11, dtype=torch.bool).expand(29, -1, -1)
    values: list[torch.Tensor] = []

    def see(attention: Attention) -> None:
        alignment = group_alignment(attention.pattern(), members, members, batch.same)
        values.append(alignment.others.value)

    with intercepted(model, see), torch.no_grad():
        model(batch.pair()[0])
    (_, _), (random, averaging) = values
    others = batch.same.float().sum(-1) - 1
    # It looks at its kind, itself included: the share of the others, over their area.
    assert float(averaging) == pytest.approx(
        float((others / (others + 1))[others > 0].sum() / (others[others > 0] / 11).sum()), rel=1e-4
    )
    assert abs(float(random) - 1) < 0.3 < float(averaging) - 1


class TwoLayers(nn.Module):
    """As `Grouping`, with random weights, and heads that can be cut by hand."""

    def __init__(self) -> None:
        super().__init__()
        made = Grouping()
        self.first, self.second = made.first, made.second
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.6)
        self.answers: list[torch.Tensor] = []

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, cut: torch.Tensor | None, head: int
    ) -> torch.Tensor:
        answers = []
        for number in range(2):
            place = slice(number * FEATURES, (number + 1) * FEATURES)
            weights = (query[..., place] @ key[..., place].mT / FEATURES**0.5).softmax(-1)
            answers.append(weights @ value[..., place])
        self.answers += answers
        if cut is not None:
            answers[head] = cut.expand_as(answers[head])
        return torch.cat(answers, dim=-1)

    def forward(
        self, inputs: torch.Tensor, layer: int = -1, head: int = -1, cut: torch.Tensor | None = None
    ) -> torch.Tensor:
        tokens = torch.cat([inputs, torch.zeros_like(inputs)], dim=-1)
        parts = self.first.qkv(tokens).chunk(3, dim=-1)
        answer = self.attend(*parts, cut if layer == 0 else None, head)
        tokens = tokens + self.first.proj(answer)
        parts = (self.second.q(tokens), *self.second.kv(tokens).chunk(2, dim=-1))
        answer = self.attend(*parts, cut if layer == 1 else None, head)
        return self.second.proj(answer)[..., 0]


def as_layers(model: TwoLayers) -> Grouping:
    made = Grouping()
    made.load_state_dict(model.state_dict())
    return made


@pytest.mark.parametrize("batch_size", [5, 100])
def test_every_number_is_that_of_a_head_cut_by_hand(batch_size: int) -> None:
    by_hand, batch = TwoLayers().eval(), amplitudes(13)
    found = ablate_world_heads(as_layers(by_hand), batch, scores, batch_size=batch_size)
    inputs, _ = batch.pair()
    with torch.no_grad():
        runs = [by_hand(inputs)]
        means = [answer.mean(dim=0) for answer in by_hand.answers]
        for layer in (0, 1):
            for head in (0, 1):
                runs.append(by_hand(inputs, layer, head, means[2 * layer + head]))
    marks = [scores(batch, run) for run in runs]
    for column, name in enumerate(("amplitude_error", "mse")):
        part = np.stack([mark[name].part.numpy() for mark in marks], axis=1)
        whole = np.stack([mark[name].whole.numpy() for mark in marks], axis=1)
        np.testing.assert_allclose(found.part[:, column], part, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.whole[:, column], whole, rtol=1e-4, atol=1e-5)
        ratios = part.sum(0) / whole.sum(0)
        assert found.scores().value[column] == pytest.approx(ratios[0], rel=1e-3)
        rise = (ratios[1:] - ratios[0]).reshape(2, 2)
        np.testing.assert_allclose(found.rise(name).value, rise, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(
            found.above_median(name).value, rise - np.median(rise), rtol=1e-3, atol=1e-5
        )
    assert len({round(float(x), 5) for x in ratios}) == 5  # every head matters, and differently
    mean = (found.rise("mse").value + found.rise("amplitude_error").value) / 2
    np.testing.assert_allclose(found.rise("mse", "amplitude_error").value, mean)


class Forgetful(Grouping):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.dropout(inputs, 0.5, self.training))


def test_models_are_judged_in_evaluation_mode_and_left_in_their_own() -> None:
    batch, model = amplitudes(7), Forgetful()
    training = ablate_world_heads(model.train(), batch, scores)
    assert model.training
    evaluating = ablate_world_heads(model.eval(), batch, scores)
    assert not model.training
    np.testing.assert_array_equal(training.part, evaluating.part)


def test_intervals_are_paired_over_samples() -> None:
    found = ablate_world_heads(Grouping(), amplitudes(31), scores)
    rise = found.rise("amplitude_error", seed=7)
    alone = bootstrap_ratios(found.part[:, 0], found.whole[:, 0], seed=7)
    difference = alone.value[1:] - alone.value[0]
    np.testing.assert_allclose(rise.value.flatten(), difference)
    width = rise.high[0, 0] - rise.low[0, 0]
    assert width < 0.5 * (alone.high[0] - alone.low[0])  # what is common to both runs cancels
    assert found.rise("amplitude_error", seed=7).low.tolist() == rise.low.tolist()


def test_layers_with_fewer_heads_end_in_nan() -> None:
    layers = (Layer("a", "token", 1), Layer("b", "cross", 3))
    numbers = np.arange(8.0).reshape(2, 4)
    laid_out = head_map(layers, Intervals(numbers, numbers - 1, numbers + 1, 5))
    assert laid_out.value.shape == (2, 2, 3)
    np.testing.assert_array_equal(laid_out.value[1], [[4, np.nan, np.nan], [5, 6, 7]])
    np.testing.assert_array_equal(laid_out.low[0], [[-1, np.nan, np.nan], [0, 1, 2]])
    np.testing.assert_array_equal(laid_out.high[0], [[1, np.nan, np.nan], [2, 3, 4]])


class Deaf(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[..., 3]


def test_bad_input_is_refused() -> None:
    batch = amplitudes(3)
    with pytest.raises(ValueError, match="must have attention to look at, but Deaf showed none"):
        ablate_world_heads(Deaf(), batch, scores)
    with pytest.raises(ValueError, match="at least one image, but got none"):
        ablate_world_heads(Grouping(), batch.part(0, 0), scores)
    found = ablate_world_heads(Grouping(), batch, scores)
    for names in ((), ("iou",)):
        with pytest.raises(ValueError, match="names must be some of the scores"):
            found.rise(*names)
    assert isinstance(batch, Amplitudes)


def test_the_mode_is_restored_after_an_error() -> None:
    def broken(batch: Amplitudes, prediction: torch.Tensor) -> dict[str, object]:
        raise RuntimeError("no score")

    model = Grouping().train()
    with pytest.raises(RuntimeError, match="no score"):
        ablate_world_heads(model, amplitudes(3), broken)  # pyright: ignore
    assert model.training and model.first.training

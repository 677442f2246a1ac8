"""Grad-CAM against its formula in loops, for feature maps, tokens and grids with channels last."""

import pytest
import torch
from tests.oracles import explanations as oracle

from archaeology.capture.record import Record
from archaeology.explain import explain
from archaeology.specimens.layout import TokenLayout

LAYOUT = TokenLayout(rows=2, columns=3, prefix=("class", "register"))


def record(shape, layout=None, gradients=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    activation, gradient = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return Record(
        images=torch.zeros(shape[0], 3, 2, 3),
        logits=torch.zeros(shape[0], 2),
        target=torch.arange(shape[0]) % 2,
        layout=layout,
        attentions=(),
        activations={"first": activation * 2, "last": activation},
        gradients={"first": gradient, "last": gradient} if gradients else {},
    )


def assert_equals_loops(explanation, activation, gradient):
    """Both `(batch, channel, row, column)`."""
    for image in range(len(activation)):
        wanted = torch.tensor(
            oracle.grad_cam(activation[image].tolist(), gradient[image].tolist()), dtype=torch.float64
        )
        torch.testing.assert_close(explanation.heatmap[image], wanted, rtol=1e-12, atol=1e-12)


def test_feature_maps_of_a_convolutional_network():
    made = record((3, 5, 2, 7))
    explanation = explain("grad_cam", made)
    assert_equals_loops(explanation, made.activations["last"], made.gradients["last"])
    assert explanation.parameters == {"layer": "last"}
    assert explanation.target.tolist() == [0, 1, 0]
    assert_equals_loops(
        explain("grad_cam", made, layer="first"), made.activations["first"], made.gradients["first"]
    )


@pytest.mark.parametrize("prefix", [2, 0])
def test_tokens_go_back_to_their_places(prefix):
    made = record((3, 6 + prefix, 5), LAYOUT)

    def laid_out(tokens):
        return tokens[:, prefix:].reshape(3, 2, 3, 5).permute(0, 3, 1, 2)

    assert_equals_loops(
        explain("grad_cam", made), laid_out(made.activations["last"]), laid_out(made.gradients["last"])
    )


def test_channels_last_of_a_hierarchical_transformer():
    made = record((3, 2, 3, 5), TokenLayout(rows=4, columns=6, order="windows"))
    assert_equals_loops(
        explain("grad_cam", made),
        made.activations["last"].movedim(-1, 1),
        made.gradients["last"].movedim(-1, 1),
    )


def test_map_without_positive_evidence_says_so():
    made = record((2, 5, 2, 7))
    made.gradients["last"][1] = -made.activations["last"][1].abs().sum() * torch.ones(5, 2, 7)
    made.activations["last"][1].abs_()
    explanation = explain("grad_cam", made)
    assert explanation.has_evidence.tolist() == [True, False]
    assert float(explanation.heatmap[1].abs().max()) == 0
    made.activations["last"][0, 0, 0, 0] = torch.nan
    assert explain("grad_cam", made).has_evidence.tolist() == [False, False]


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"needs gradients.*gradients=True"):
        explain("grad_cam", record((2, 5, 2, 7), gradients=False))
    with pytest.raises(ValueError, match=r"No tapped layer is called 'lasst'; did you mean 'last'"):
        explain("grad_cam", record((2, 5, 2, 7)), layer="lasst")
    with pytest.raises(ValueError, match=r"or \(batch, 8 tokens, embed\), but last gives shape \(2, 5\)"):
        explain("grad_cam", record((2, 5), LAYOUT))
    with pytest.raises(
        ValueError, match=r"\(batch, channel, row, column\), but last gives shape \(2, 8, 5\)"
    ):
        explain("grad_cam", record((2, 8, 5)))

"""Grad-CAM++ against its formula in loops, for feature maps and for tokens."""

import pytest
import torch
from tests.explain.test_grad_cam import LAYOUT, record
from tests.oracles import gradient_explanations as oracle

from archaeology.explain import explain


def assert_equals_loops(explanation, activation, gradient):
    """Both `(batch, channel, row, column)`."""
    for image in range(len(activation)):
        wanted = oracle.grad_cam_plus_plus(activation[image].tolist(), gradient[image].tolist())
        torch.testing.assert_close(
            explanation.heatmap[image], torch.tensor(wanted, dtype=torch.float64), rtol=1e-10, atol=1e-10
        )


def test_feature_maps_of_a_convolutional_network():
    made = record((3, 5, 2, 7))
    for maps in made.activations.values():
        maps.abs_()
    explanation = explain("grad_cam_plus_plus", made)
    assert_equals_loops(explanation, made.activations["last"], made.gradients["last"])
    assert explanation.parameters == {"layer": "last"}
    assert explanation.target.tolist() == [0, 1, 0]
    first = explain("grad_cam_plus_plus", made, layer="first")
    assert_equals_loops(first, made.activations["first"], made.gradients["first"])


def test_tokens_go_back_to_their_places():
    made = record((3, 8, 5), LAYOUT)

    def laid_out(tokens):
        return tokens[:, 2:].reshape(3, 2, 3, 5).permute(0, 3, 1, 2)

    assert_equals_loops(
        explain("grad_cam_plus_plus", made),
        laid_out(made.activations["last"]),
        laid_out(made.gradients["last"]),
    )


def test_tiny_gradients_give_the_same_map_only_smaller():
    made = record((3, 5, 2, 7))
    made.activations["last"].abs_()
    made.gradients["last"].mul_(1e-6)
    small = explain("grad_cam_plus_plus", made).heatmap
    made.gradients["last"].mul_(1e-6)
    torch.testing.assert_close(explain("grad_cam_plus_plus", made).heatmap * 1e6, small, rtol=1e-4, atol=0)


def test_map_without_positive_evidence_says_so():
    made = record((2, 5, 2, 7))
    made.activations["last"].abs_()
    made.gradients["last"][1] = -made.gradients["last"][1].abs()
    explanation = explain("grad_cam_plus_plus", made)
    assert explanation.has_evidence.tolist() == [True, False]
    assert float(explanation.heatmap[1].abs().max()) == 0
    made.activations["last"][0, 0, 0, 0] = torch.nan
    assert explain("grad_cam_plus_plus", made).has_evidence.tolist() == [False, False]


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"grad_cam_plus_plus needs gradients.*gradients=True"):
        explain("grad_cam_plus_plus", record((2, 5, 2, 7), gradients=False))
    with pytest.raises(ValueError, match=r"grad_cam_plus_plus needs feature maps.*last gives shape \(2, 5\)"):
        explain("grad_cam_plus_plus", record((2, 5), LAYOUT))
    with pytest.raises(ValueError, match=r"No tapped layer is called 'lasst'; did you mean 'last'"):
        explain("grad_cam_plus_plus", record((2, 5, 2, 7)), layer="lasst")

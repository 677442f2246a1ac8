"""Grad-CAM++: as Grad-CAM, but each place of a feature map weighs in by how much it alone would raise the class.

`ReLU(sum over channels of w_c * F_c)` with `w_c = sum over places of a_c * ReLU(g_c)` and
`a_c = g_c^2 / (2 g_c^2 + (sum over places of F_c) g_c^3)`, g the gradient. Source: `chattopadhay2018grad`, which
differentiates the exponential of the logit and so gets powers of one gradient; the factor exp(logit), the same for the
whole map, is left out. Differs: where g is positive, and nothing else counts, `a_c = 1 / (2 + (sum of F_c) g_c)`, which
needs no small number to keep from dividing by zero. The usual package adds 1e-6 to the denominator, more than all the
rest where gradients are below a thousandth, and then weighs by their cube. The paper's features are never negative; a
transformer's are, and where their sum times the gradient is near -2 the formula has a pole: prefer grad_cam there.
"""

from jaxtyping import Float
from torch import Tensor

from archaeology.capture.record import Record
from archaeology.core.shapes import Heatmap
from archaeology.explain.explanation import Explanation
from archaeology.explain.grad_cam import combined, maps_of
from archaeology.explain.method import of_record


def class_activation_map(
    activation: Float[Tensor, "batch channel row column"], gradient: Float[Tensor, "batch channel row column"]
) -> Heatmap:
    """Feature maps weighted place by place, added up, negative places set to zero.

    Args:
        activation: Feature maps of one layer.
        gradient: Derivative of the explained logit with respect to them.
    """
    divisor = 2 + activation.sum(dim=(2, 3), keepdim=True) * gradient
    share = (gradient.clamp(min=0) / divisor).masked_fill(gradient <= 0, 0)
    return combined(activation, share.sum(dim=(2, 3)))


@of_record("grad_cam_plus_plus", title="Grad-CAM++", target_layer=True)
def grad_cam_plus_plus(record: Record, *, layer: str | None = None) -> Explanation:
    """Grad-CAM++ of the record's target class at one layer.

    Args:
        record: Captured with `taps=(layer,), gradients=True`.
        layer: Module path of the layer to read, or None for the last one that was tapped.

    Raises:
        ValueError: If the record holds no gradients, or the layer's output is no map.
        UnknownNameError: If `layer` was not tapped.

    References:
        `chattopadhay2018grad`. Differs: see the module.
    """
    chosen, activation, gradient = maps_of(record, layer, "grad_cam_plus_plus")
    return Explanation(
        heatmap=class_activation_map(activation, gradient),
        method="grad_cam_plus_plus",
        parameters={"layer": chosen},
        formula=(
            "ReLU(sum_c w_c * F_c), w_c = sum_xy ReLU(g_c) / (2 + g_c * sum_xy F_c), g = d logit / dF, "
            f"F = output of {chosen}"
        ),
        target=record.target,
    )

"""Grad-CAM: which places of a late feature map would raise the class, by their gradient.

`ReLU(sum over channels of (mean over places of the gradient) * feature map)`. Source: `selvaraju2017grad`,
written for convolutional networks; on a transformer the tokens of a block are laid out on the patch grid
first, prefix tokens left out. Differs: values stay raw (no stretching to [0, 1], no enlarging), so a map
without positive evidence is all zero and says so (`Explanation.has_evidence`). The record's graph starts at
the layer read, so it costs about one forward pass.
"""

from jaxtyping import Float
from torch import Tensor

from archaeology.capture.record import Record
from archaeology.core.registry import unknown_name
from archaeology.core.shapes import Heatmap
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import of_record
from archaeology.specimens.layout import TokenLayout


def class_activation_map(
    activation: Float[Tensor, "batch channel row column"], gradient: Float[Tensor, "batch channel row column"]
) -> Heatmap:
    """Feature maps weighted by the mean of their gradient, added up, negative places set to zero.

    Args:
        activation: Feature maps of one layer.
        gradient: Derivative of the explained logit with respect to them.
    """
    return combined(activation, gradient.mean(dim=(2, 3)))


def combined(
    activation: Float[Tensor, "batch channel row column"], weights: Float[Tensor, "batch channel"]
) -> Heatmap:
    """Feature maps added up with these weights, negative places set to zero."""
    total = weights[:, None] @ activation.flatten(2)
    return total.view(len(activation), *activation.shape[2:]).clamp(min=0)


def on_grid(
    activation: Tensor, layout: TokenLayout | None, layer: str, method: str
) -> Float[Tensor, "batch channel row column"]:
    """A layer's output as feature maps: tokens go back to their places, channels come first.

    Raises:
        ValueError: If the output is neither maps nor all the tokens of the layout.
    """
    if activation.ndim == 4:
        return activation.movedim(-1, 1) if _is_channels_last(activation, layout) else activation
    if (
        activation.ndim == 3
        and layout is not None
        and activation.shape[1]
        in (
            layout.num_tokens,
            layout.num_patches,
        )
    ):
        patches = activation[:, activation.shape[1] - layout.num_patches :]
        return patches.movedim(-1, 1).unflatten(2, (layout.rows, layout.columns))
    expected = "" if layout is None else f" or (batch, {layout.num_tokens} tokens, embed)"
    raise ValueError(
        f"{method} needs feature maps (batch, channel, row, column){expected}, but {layer} gives shape "
        f"{tuple(activation.shape)}; choose a layer before pooling."
    )


def _is_channels_last(activation: Tensor, layout: TokenLayout | None) -> bool:
    """Whether a transformer's 4-axis output is (batch, row, column, embed), as Swin's: its grid says so."""
    if layout is None:
        return False
    rows, columns = activation.shape[1:3]
    return (
        layout.rows % rows == 0
        and layout.columns % columns == 0
        and rows * layout.columns == columns * layout.rows
    )


def maps_of(
    record: Record, layer: str | None, method: str
) -> tuple[str, Float[Tensor, "batch channel row column"], Float[Tensor, "batch channel row column"]]:
    """Name of a tapped layer, its feature maps and their gradient.

    Args:
        record: Captured with `taps=(layer,), gradients=True`.
        layer: Module path, or None for the last one that was tapped.
        method: Who asks, for the message of an error.

    Raises:
        ValueError: If the record holds no gradients, or the layer's output is no map.
        UnknownNameError: If `layer` was not tapped.
    """
    if not record.gradients:
        raise ValueError(
            f"{method} needs gradients of a layer, but this record has none; "
            "capture with taps=(specimen.target_layer,), gradients=True."
        )
    taps = list(record.gradients)
    chosen = taps[-1] if layer is None else layer
    if chosen not in record.gradients:
        raise unknown_name("tapped layer", chosen, taps)
    return (
        chosen,
        on_grid(record.activations[chosen], record.layout, chosen, method),
        on_grid(record.gradients[chosen], record.layout, chosen, method),
    )


@of_record("grad_cam", title="Grad-CAM", target_layer=True)
def grad_cam(record: Record, *, layer: str | None = None) -> Explanation:
    """Grad-CAM of the record's target class at one layer.

    Args:
        record: Captured with `taps=(layer,), gradients=True`.
        layer: Module path of the layer to read, or None for the last one that was tapped.

    Raises:
        ValueError: If the record holds no gradients, or the layer's output is no map.
        UnknownNameError: If `layer` was not tapped.

    References:
        `selvaraju2017grad`. Differs: see the module.
    """
    chosen, activation, gradient = maps_of(record, layer, "grad_cam")
    return Explanation(
        heatmap=class_activation_map(activation, gradient),
        method="grad_cam",
        parameters={"layer": chosen},
        formula=f"ReLU(sum_c mean_xy(d logit / d F_c) * F_c), F = output of {chosen}",
        target=record.target,
    )

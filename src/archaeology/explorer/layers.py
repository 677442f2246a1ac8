"""From attention as it was seen or stored to the layers that the explorer shows of one image."""

from archaeology.dig.seen_attention import SeenAttention
from archaeology.explorer.subject import AttentionLayer, AttentionLayers


def layers_of_image(seen: SeenAttention, image: int) -> AttentionLayers:
    """The layers of image number `image` of a batch."""
    layers: list[AttentionLayer] = []
    for number, (module, grid) in enumerate(zip(seen.modules, seen.grids, strict=True)):
        pattern = seen.patterns[number][image].float().cpu().numpy() if seen.patterns else None
        places = seen.places[number].int().cpu().numpy() if seen.places else None
        if pattern is not None:
            heads = pattern.shape[-3]
        else:
            assert seen.readout is not None
            heads = seen.readout.shape[2]
        layers.append(AttentionLayer(module, grid[0], grid[1], heads, pattern, places))
    readout = None if seen.readout is None else seen.readout[image].float().cpu().numpy()
    return AttentionLayers(seen.kind, tuple(layers), readout=readout)

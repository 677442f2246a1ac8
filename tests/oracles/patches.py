"""Images with patches lost, covered or shuffled, pixel by pixel."""

import numpy as np
from tests.oracles.judges import patch_of


def fill_of(image, fill):
    """Colour of each channel: black, or the image's mean."""
    return [0.0 if fill == "black" else float(np.mean(channel)) for channel in image]


def without(image, lost, fill):
    """`image` (channel, height, width) with the pixels for which `lost(y, x)` holds filled."""
    found = np.array(image, dtype=np.float64)
    for channel, colour in enumerate(fill_of(image, fill)):
        for y in range(image.shape[1]):
            for x in range(image.shape[2]):
                if lost(y, x):
                    found[channel, y, x] = colour
    return found


def without_patches(image, patches, grid, fill):
    def lost(y, x):
        row, column = patch_of(y, x, image.shape[1:], grid)
        return row * grid[1] + column in patches

    return without(image, lost, fill)


def without_rectangle(image, corner, sides, fill):
    def lost(y, x):
        return 0 <= y - corner[0] < sides[0] and 0 <= x - corner[1] < sides[1]

    return without(image, lost, fill)


def with_pieces(image, sources, grid):
    """Each piece of the result is the piece `sources[place]` of the image; equal pieces only."""
    height, width = image.shape[1] // grid[0], image.shape[2] // grid[1]
    found = np.array(image, dtype=np.float64)
    for place, source in enumerate(sources):
        row, column = divmod(place, grid[1])
        from_row, from_column = divmod(source, grid[1])
        for y in range(height):
            for x in range(width):
                found[:, row * height + y, column * width + x] = image[
                    :, from_row * height + y, from_column * width + x
                ]
    return found

"""A picture as a model sees it: scaled until it just covers the model's frame, then its middle is cut out.

Imports no torch, so that a small process can use it. Digs, `explore()` and the app all frame with this.
"""

import math

from PIL import Image

Box = tuple[float, float, float, float]
NO_BOX: Box = (math.nan, math.nan, math.nan, math.nan)


class EndlessError(ValueError):
    """Raised for an image so long and thin that scaling it would fill the memory."""


class Framing:
    """How an image of one size is brought to another: scaled to `scaled`, then cut at `left`, `top`.

    The numbers are those of torchvision's `Resize` followed by `CenterCrop`, so that published models see
    what they were trained to see; a frame that is not square is covered in both directions.
    """

    def __init__(self, height: int, width: int, size: tuple[int, int], crop_fraction: float) -> None:
        """Plan for an image of `height` x `width` pixels and a frame of `size` (height, width)."""
        self.size, self.height, self.width = size, height, width
        frame_height, frame_width = (math.floor(side / crop_fraction) for side in size)
        if frame_height * width <= frame_width * height:  # the width decides
            self.scaled = max(int(frame_width * height / width), frame_height), frame_width
        else:
            self.scaled = frame_height, max(int(frame_height * width / height), frame_width)
        self.scale = self.scaled[0] / height, self.scaled[1] / width
        self.is_identity = self.scaled == (height, width) == size
        self.top = round((self.scaled[0] - size[0]) / 2)
        self.left = round((self.scaled[1] - size[1]) / 2)

    def apply(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        """`image` in its frame."""
        if self.scaled != (image.height, image.width):
            image = image.resize((self.scaled[1], self.scaled[0]), resample)
        return image.crop((self.left, self.top, self.left + self.size[1], self.top + self.size[0]))

    def box(self, box: Box | None) -> Box:
        """`box` in pixels of the frame, cut at its border; NaN where it is unknown, empty or cropped away."""
        if box is None:
            return NO_BOX
        x_min, x_max = (min(max(x * self.scale[1] - self.left, 0.0), self.size[1]) for x in (box[0], box[2]))
        y_min, y_max = (min(max(y * self.scale[0] - self.top, 0.0), self.size[0]) for y in (box[1], box[3]))
        return (x_min, y_min, x_max, y_max) if x_max > x_min and y_max > y_min else NO_BOX

    def check(self, most_pixels: int | None) -> None:
        """That the image, scaled to cover the frame, has at most so many pixels; any number for None.

        Raises:
            EndlessError: If it has more.
        """
        if most_pixels is not None and math.prod(self.scaled) > most_pixels:
            raise EndlessError(
                f"it is {self.height}x{self.width} pixels, so long and thin that covering "
                f"{self.size[0]}x{self.size[1]} needs over {most_pixels:,} pixels"
            )

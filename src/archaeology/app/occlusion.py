"""What if these patches had been covered? Logits of several models before and after, on the same covered image."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from archaeology.app.decoding import Picture
from archaeology.app.seeing import batch_of, scores_of
from archaeology.capture.record import unit_images
from archaeology.explain.baselines import baseline_image
from archaeology.specimens.layout import cell_of_pixel
from archaeology.specimens.specimen import Specimen

MOST_CELLS = 16384
BASELINES = {"grey": "grey", "blur": "blurred"}


class Wish(BaseModel):
    """What a visitor wants."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    models: list[str] = Field(min_length=1, max_length=8)
    places: list[int] = Field(max_length=MOST_CELLS)
    grid: tuple[int, int]
    fill: Literal["grey", "blur"] = "grey"

    @model_validator(mode="after")
    def _inside(self) -> "Wish":
        rows, columns = self.grid
        if not (rows >= 1 and columns >= 1 and rows * columns <= MOST_CELLS):
            raise ValueError(
                f"grid must be rows and columns of at most {MOST_CELLS} places, but is {self.grid}"
            )
        if any(not 0 <= place < rows * columns for place in self.places):
            raise ValueError(f"places must lie in 0..{rows * columns - 1}, numbered row by row")
        return self


def occluded(wish: Wish, specimens: Mapping[str, Specimen], picture: Picture) -> Mapping[str, Any]:
    """The likeliest classes of each model before and after; runs in the worker."""
    found: dict[str, Any] = {}
    for key, specimen in specimens.items():
        images = unit_images(batch_of([picture], specimen), specimen.device)
        cells = cell_of_pixel((images.shape[2], images.shape[3]), wish.grid)
        covered = torch.isin(cells, torch.tensor(wish.places, dtype=cells.dtype)).to(images.device)
        fill = baseline_image(BASELINES[wish.fill], images, specimen)
        with torch.inference_mode(False), torch.no_grad():
            before, after = specimen.predict(torch.cat([images, torch.where(covered, fill, images)]))
        found[key] = {"before": scores_of(specimen, before), "after": scores_of(specimen, after)}
    return {"models": found}

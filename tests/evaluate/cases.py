"""Trials small enough for loops: a random transformer in float64 on images of 6 x 9 pixels, 2 x 3 patches."""

from dataclasses import replace

import torch
from tests.ablate import small_models as small

from archaeology.evaluate.trial import trial_of
from archaeology.explain.explanation import Explanation

GRID = (2, 3)


def specimen(seed=0):
    made = small.timm_vit(depth=2)
    made.model.double()
    return replace(made, target_layer="blocks.1.norm1")


def images(count):
    return small.images(count).double() / 255


def masks(count):
    made = torch.zeros(count, 6, 9, dtype=torch.bool)
    made[:, 1:4, 2:7] = True
    return made


def trial(count=4, **parameters):
    given = {"masks": masks(count), **parameters}
    return trial_of(specimen(), images(count), torch.arange(count) % 7, **given)


def shown(values, attribution=False):
    """An explanation with this map."""
    values = torch.as_tensor(values, dtype=torch.float64)
    return Explanation(
        heatmap=values.clamp(min=0) if attribution else values,
        method="made up",
        attribution=values if attribution else None,
    )


def scattered(count, grid=GRID, seed=0):
    """Maps in which no two patches are equal."""
    generator = torch.Generator().manual_seed(seed)
    return shown(torch.rand(count, *grid, generator=generator, dtype=torch.float64))


def orders(explanation):
    """Patches, most telling first, as lists."""
    return explanation.ranking.flatten(1).argsort(dim=1, descending=True).tolist()


def predicting(trial):
    """One image as an array to a list of logits."""

    def predict(image):
        with torch.no_grad():
            return trial.specimen.predict(torch.as_tensor(image)[None])[0].tolist()

    return predict

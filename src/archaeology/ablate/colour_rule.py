"""Does a head see that a circle is red? Recolour one circle, run again, and watch who still looks at it.

In `shapes2d` only red-dominant filled circles may share their colour. So one filled circle of a scene is given colours
of less and more red, all else alike, and the attention that the other red circles pay it is measured at every level,
together with what becomes of it in the answer. An intervention: nothing but the colour of that circle differs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor, nn

from archaeology.ablate.head_map import Layer, attention_layers, head_map
from archaeology.ablate.recolour import RecolourScenes, recolour_scenes
from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import intercepted
from archaeology.core.bootstrap import Intervals, bootstrap_of
from archaeology.data.worlds.shapes2d import Shapes2D, Shapes2DBatch
from archaeology.data.worlds.shapes2d_rule import mean_colours
from archaeology.data.worlds.shapes2d_scores import mean_inside

LEVELS = (-120, -80, -40, -10, 10, 40, 80, 120)


@dataclass(frozen=True, eq=False)
class ColourRule:
    """What every head and the answer make of a filled circle, at every level of its red dominance.

    Attributes:
        layers: Attention layers in the order of the pass.
        levels: Red minus the larger of green and blue, of the chosen circle; 0 to 255 is the range of a colour.
        scene: Numbers of the samples; those without a second, red-dominant circle are left out.
        mass: Share of the attention of the other red circles' tokens that falls on the circle's tokens; heads layer by
            layer. In cross-attention those that look are the tokens drawn where the other circles are.
        area: The circle's share of the tokens: what uniform attention would give.
        seen: Mean colour of the answer inside the circle, 0 to 255.
        drawn: How far the answer goes from the background (0) to the expected colour (1) inside the circle. Expected is
            what the target shows, or where it shows nothing the mean of the other red circles.
        should: The same of the target: 1, or 0 where the circle should vanish.
    """

    layers: tuple[Layer, ...]
    levels: tuple[int, ...]
    scene: Int[np.ndarray, " sample"]
    mass: Float[np.ndarray, "sample level place"]
    area: Float[np.ndarray, " sample"]
    seen: Float[np.ndarray, "sample level 3"]
    drawn: Float[np.ndarray, "sample level"]
    should: Float[np.ndarray, "sample level"]

    def attention(self, *, seed: int = 0) -> Intervals:
        """The mass of each head over chance, `(level, layer, head)`; 1 is chance."""
        return head_map(self.layers, self._over_area(lambda mass: mass, seed))

    def step(self, *, seed: int = 0) -> Intervals:
        """How much more a red-dominant circle is looked at: mean over levels above 0 less mean below, over chance.

        `(layer, head)`, with intervals over scenes, each compared with itself.
        """
        levels = np.array(self.levels)

        def step(mass: np.ndarray) -> np.ndarray:
            return mass[:, levels > 0].mean(axis=1) - mass[:, levels < 0].mean(axis=1)

        return head_map(self.layers, self._over_area(step, seed))

    def shown(self, *, seed: int = 0) -> Intervals:
        """`drawn` at every level: where the rule is known it steps from 0 to 1 as dominance crosses zero."""
        return bootstrap_of(self.drawn, lambda means: means, seed=seed)

    def _over_area(self, formula: Callable[[np.ndarray], np.ndarray], seed: int) -> Intervals:
        """`formula(mass)` over area, both as means over scenes."""
        num_scenes, *rest = self.mass.shape
        samples = np.concatenate([self.mass.reshape(num_scenes, -1), self.area[:, None]], axis=1)

        def over_area(means: np.ndarray) -> np.ndarray:
            found = formula(means[:, :-1].reshape(-1, *rest))
            return found / means[:, -1].reshape(-1, *[1] * (found.ndim - 1))

        return bootstrap_of(samples, over_area, seed=seed)


@torch.no_grad()
def colour_rule(
    model: nn.Module,
    world: Shapes2D,
    patch_size: int,
    *,
    count: int = 200,
    levels: Sequence[int] = LEVELS,
    batch_size: int = 50,
    device: torch.device | str = "cpu",
) -> ColourRule:
    """Recolour one filled circle in each of the world's first `count` scenes, at every level.

    Args:
        model: Maps images to images; its tokens are the patches of the image, row by row, in every attention.
        world: Where the scenes come from.
        patch_size: Side of the model's patches in pixels.
        count: How many scenes are looked at; those without two filled circles, one of them red, are left out.
        levels: Of red dominance, some below and some above 0.
        batch_size: Scenes at once.
        device: Where the model is.

    Raises:
        ValueError: If levels are impossible, no scene can be used, or the model's tokens are not the patches.
    """
    scenes = recolour_scenes(world, count, patch_size, levels).to(device)
    parts = [scenes.part(start, start + batch_size) for start in range(0, len(scenes), batch_size)]
    was_training = model.training
    model.eval()
    try:
        layers = attention_layers(model, scenes.part(0, 1).at_level(world, levels[0]).pair()[0])
        runs = [[_run(model, part, part.at_level(world, level)) for level in levels] for part in parts]
    finally:
        model.train(was_training)
    mass, seen, drawn, should = (
        torch.cat([torch.stack([level[name] for level in run], dim=1) for run in runs]).double().cpu().numpy()
        for name in ("mass", "seen", "drawn", "should")
    )
    area = scenes.looked_at.double().mean(dim=-1).cpu().numpy()
    number = scenes.number.cpu().numpy()
    return ColourRule(layers, tuple(levels), number, mass, area, seen, drawn, should)


def _run(model: nn.Module, scenes: RecolourScenes, batch: Shapes2DBatch) -> dict[str, Tensor]:
    """What heads and answer make of the chosen circles of some scenes."""
    masses: list[Tensor] = []

    def see(attention: Attention) -> None:
        masses.append(_mass(attention, scenes))

    inputs, _ = batch.pair()
    with intercepted(model, see):
        answer = model(inputs)
    group = mean_colours(scenes.others[:, None].expand_as(batch.evidence), batch.colour)
    expected = torch.where(batch.vanishes[..., None], group, batch.painted)
    seen, wanted, shown = (
        colour[scenes.chosen]
        for colour in (255 * mean_inside(batch, answer.float()), expected, batch.painted)
    )
    ground = batch.background
    way = wanted - ground

    def along(colour: Float[Tensor, "batch 3"]) -> Float[Tensor, " batch"]:
        return ((colour - ground) * way).sum(dim=-1) / (way**2).sum(dim=-1)

    return {"mass": torch.cat(masses, dim=1), "seen": seen, "drawn": along(seen), "should": along(shown)}


def _mass(attention: Attention, scenes: RecolourScenes) -> Float[Tensor, "batch head"]:
    """Share of the others' attention that falls on the circle; weights count by their size, as in group alignment."""
    num_tokens = scenes.looking.shape[1]
    if attention.shape[0] != len(scenes) or attention.shape[2:] != (num_tokens, num_tokens):
        raise ValueError(
            f"every attention must be among the {num_tokens} patches of the image, but {attention.module} has the "
            f"shape {attention.shape} (batch, head, query, key) for {len(scenes)} images; give the model's patch_size."
        )
    weights = attention.pattern().abs().float()
    weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    looking = scenes.looking.float() / scenes.looking.sum(dim=1, keepdim=True)
    return einsum(
        looking,
        weights,
        scenes.looked_at.float(),
        "batch query, batch head query key, batch key -> batch head",
    )

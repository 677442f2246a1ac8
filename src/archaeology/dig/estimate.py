"""What a dig would take: each stage timed on a few images and multiplied, memory from the sizes of what is held."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from archaeology.core.names import plural
from archaeology.data.open import open_source
from archaeology.data.source import ImageSource
from archaeology.dig.ablation import TRIED_PER_HEAD, ablation_count, pruning_count
from archaeology.dig.causes import PASSES_OF_AN_IMAGE as PASSES_FOR_CAUSES
from archaeology.dig.causes import causes_count, training_source
from archaeology.dig.config import DigConfig
from archaeology.dig.dissecting import PASSES_OF_AN_IMAGE as PASSES_TO_DISSECT
from archaeology.dig.dissecting import dissection_count
from archaeology.dig.judging import PASSES_OF_A_METHOD, judging_count
from archaeology.dig.representing import PASSES_OF_AN_IMAGE as PASSES_OF_LAYERS
from archaeology.dig.representing import represent_count
from archaeology.dig.robustness import PASSES_OF_AN_IMAGE, robustness_count
from archaeology.dig.seen_attention import FULL_PATTERN_TOKENS
from archaeology.explain.method import explanations
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen
from archaeology.stats.specialization_sums import sum_specialization
from archaeology.stats.survey import sum_heads

TRIAL = 4
SECONDS_OF_REPORT = 8.0
SECONDS_OF_PROBES = 0.08  # for each image of the survey of layers


@dataclass(frozen=True)
class Forecast:
    """Estimated seconds of each stage, and peak memory in bytes besides Python and PyTorch themselves."""

    images: int
    ablation_images: int
    seconds: dict[str, float]
    memory: int

    @property
    def total(self) -> float:
        """All stages, in seconds."""
        return sum(self.seconds.values())

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "images": self.images,
            "ablation_images": self.ablation_images,
            "seconds": self.seconds,
            "total_seconds": self.total,
            "memory_bytes": self.memory,
        }

    def text(self) -> str:
        """For people."""
        lines = [f"  {name:9} {seconds:8.1f} s" for name, seconds in self.seconds.items()]
        return "\n".join(
            [
                f"{plural(self.images, 'image')}, {self.ablation_images:,} of them for head ablation; estimated:",
                *lines,
                f"  {'all':9} {self.total:8.1f} s",
                f"  memory    {self.memory / 1e6:8.0f} MB besides Python and PyTorch (about 600 MB)",
                "",
            ]
        )


def estimate(config: DigConfig) -> Forecast:
    """Try `TRIAL` images through every stage and scale up.

    Raises:
        ValueError: As the dig itself would, for wrong names or data.
    """
    vit, cnn = (load(name, device=config.device) for name in (config.vit, config.cnn))
    source = open_source(config.data, split=config.split)
    training = training_source(config)
    count = min(config.images, len(source))
    trial = min(TRIAL, count)
    size = max(vit.image_size, cnn.image_size)
    batch = torch.rand(trial, 3, *size, generator=torch.Generator().manual_seed(0))
    per_image = {
        "decode": decoding(source),
        "vit": timed(lambda: forward(vit, batch)) / trial,
        "cnn": timed(lambda: forward(cnn, batch)) / trial,
        "heads": timed(lambda: sum_specialization(vit, batch, ids=[str(row) for row in range(trial)]))
        / trial,
    }
    layers, heads = counted_heads(vit, batch)
    ablated = ablation_count(config, vit, num_heads=layers * heads, available=count)
    pruned = pruning_count(config, vit, num_heads=layers * heads, available=count)
    judged = {role: judging_count(config, one, available=count) for role, one in (("vit", vit), ("cnn", cnn))}
    broken = robustness_count(config, {"vit": vit, "cnn": cnn}, available=count)
    asked = causes_count(config, {"vit": vit, "cnn": cnn}, available=count)
    layered = represent_count(config, {"vit": vit, "cnn": cnn}, available=count)
    apart = dissection_count(config, {"vit": vit, "cnn": cnn}, available=count)
    shown = min(count, config.layer_images + config.pair_images)
    seconds = {
        "decode": per_image["decode"] * count,
        "predict": (per_image["vit"] + per_image["cnn"]) * count,
        "heads": per_image["heads"] * count,
        # The suffixes after each layer are half of the passes on average; means cost one pass more.
        "ablate": per_image["vit"] * ablated * (2 + 2 * layers + layers * heads / 2),
        "prune": per_image["vit"] * pruned * layers * heads * TRIED_PER_HEAD / 2,
        "judge": PASSES_OF_A_METHOD
        * len(explanations)
        * sum(per_image[role] * number for role, number in judged.items()),
        "attack": PASSES_OF_AN_IMAGE * (per_image["vit"] + per_image["cnn"]) * broken,
        "causes": PASSES_FOR_CAUSES * (per_image["vit"] + per_image["cnn"]) * asked
        + (0 if training is None else decoding(training) * len(training)),
        # Reading features is quick; probes of every layer are not, and depend on the number of layers and images.
        "represent": PASSES_OF_LAYERS * (per_image["vit"] + per_image["cnn"]) * layered
        + SECONDS_OF_PROBES * layered,
        "dissect": PASSES_TO_DISSECT * (per_image["vit"] + per_image["cnn"]) * apart,
        "maps": (2 * per_image["vit"] + 2 * per_image["cnn"]) * shown,
        "report": SECONDS_OF_REPORT,
    }
    held = memory(config, vit, cnn) + (0 if training is None else len(training) * 3 * size[0] * size[1])
    return Forecast(count, ablated, {name: round(value, 2) for name, value in seconds.items()}, held)


def timed(work: Callable[[], object]) -> float:
    """Seconds that the second of two calls takes (the first warms up)."""
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def decoding(source: ImageSource) -> float:
    """Seconds that it takes to decode an image."""
    trial = min(TRIAL, len(source))
    return timed(lambda: [source.get(index) for index in range(trial)]) / trial


@torch.inference_mode()
def forward(specimen: Specimen, batch: torch.Tensor) -> torch.Tensor:
    """One forward pass."""
    return specimen.predict(batch)


def counted_heads(vit: Specimen, batch: torch.Tensor) -> tuple[int, int]:
    """Attention layers, and heads of the widest of them."""
    sums = sum_heads(vit, batch[:1])
    return int(sums.layer.max()) + 1, int(sums.head.max()) + 1


def memory(config: DigConfig, vit: Specimen, cnn: Specimen) -> int:
    """Weights, one batch in float, and the patterns kept for the images shown through all layers."""
    weights = sum(p.numel() * p.element_size() for one in (vit, cnn) for p in one.model.parameters())
    height, width = max(vit.image_size, cnn.image_size)
    pixels = 3 * height * width * 4 * config.batch_size
    tokens = vit.layout.num_tokens if vit.layout else 0
    patterns = 0
    if vit.layout and vit.layout.order == "flat":
        layers, heads = counted_heads(vit, torch.zeros(1, 3, height, width))
        kept = config.layer_images * 2 if tokens <= FULL_PATTERN_TOKENS else 0
        patterns = (
            layers * heads * tokens**2 * (10 * 4 + kept)
        )  # a chunk of ten in float32, the kept ones in half
    return int(weights + 8 * pixels + patterns)

"""Which map to believe: methods of explanation marked on some of the images, chunk by chunk, for one model.

Judging asks the model about hundreds of edited images for each image, so how many are judged follows from what the
model costs, unless somebody says how many. A model too large for that is not judged unasked, and the results say so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from archaeology.core.storage import sha256_of
from archaeology.dig.budget import affordable
from archaeology.dig.config import DigConfig
from archaeology.dig.parts import Arrays, Parts
from archaeology.dig.survey import Images, each_chunk
from archaeology.evaluate.judge import judges
from archaeology.evaluate.leaderboard import Leaderboard, leaderboard
from archaeology.evaluate.sheet import Sheet, mark_all
from archaeology.explain.method import explanations
from archaeology.specimens.specimen import Specimen

# What judging may cost where nobody says how many images to take, in multiply-adds: minutes on two CPU cores.
BUDGET = {"cpu": 3e12, "cuda": 3e14}
# Passes of the model for one image, one method and all judges; edited images are shared between judges.
PASSES_OF_A_METHOD = 100
FEWEST, MOST = 8, 24
CHUNK = 8
# Judges that have every map drawn anew, of a randomized model or of noisy images, see the first chunk only.
DRAWN_ANEW = ("sanity", "robustness")
PARAMETERS: Mapping[str, Mapping[str, object]] = {"randomization": {"only_whole": True}}


@dataclass(frozen=True)
class Judged:
    """What a dig found out about the explanations of one model.

    Attributes:
        board: The leaderboard; None where nothing was judged.
        reason: Why nothing was.
    """

    board: Leaderboard | None
    reason: str = ""

    def describe(self) -> Mapping[str, object] | None:
        """For `results.json`."""
        return None if self.board is None else self.board.describe()

    def rows(self, model: str) -> list[dict[str, Any]]:
        """For `explanations.parquet`."""
        return [] if self.board is None else [{"model": model, **row} for row in self.board.rows()]


def judging_count(config: DigConfig, specimen: Specimen, *, available: int) -> int:
    """How many images to judge on: as asked, else what the budget allows, at most 24; 0 below 8."""
    if config.judge_images is not None:
        return min(config.judge_images, available)
    quick = affordable(BUDGET, PASSES_OF_A_METHOD * len(explanations), specimen)
    return 0 if quick < min(FEWEST, available) else min(quick, MOST, available)


def judge_methods(
    role: str, specimen: Specimen, fingerprint: str, images: Images, parts: Parts, config: DigConfig
) -> Judged:
    """Every method that the model allows, marked by every judge that the images allow, on the class it predicts."""
    count = judging_count(config, specimen, available=len(images))
    if count < 2:
        return Judged(None, _why_not(config, len(images)))
    chosen = images.only(images.spread(count, config.seed))
    decoded = chosen.decoded
    truth = decoded.masks is not None or decoded.boxes is not None
    asked = {name: PARAMETERS.get(name, {}) for name in judges if truth or judges.get(name).kind != "truth"}
    known = sha256_of(
        *(b"" if array is None else array.tobytes() for array in (decoded.boxes, decoded.masks))
    )

    def of_chunk(batch: torch.Tensor, some: slice) -> Arrays:
        masks = None if decoded.masks is None else torch.from_numpy(np.array(decoded.masks[some]))
        boxes = None
        if masks is None and decoded.boxes is not None:
            boxes = torch.from_numpy(np.array(decoded.boxes[some]))
        of_some = {name: by for name, by in asked.items() if judges.get(name).kind not in DRAWN_ANEW}
        by = asked if some.start == 0 else of_some
        sheet = mark_all(specimen, batch, masks=masks, boxes=boxes, by=by, at_once=CHUNK, seed=config.seed)
        return sheet.arrays()

    few = Images(chosen.decoded, chosen.hashes, min(CHUNK, chosen.chunk))
    ingredients = (fingerprint, str(config.seed), *explanations, repr(asked), known)
    found = each_chunk(f"judge-{role}", few, parts, ingredients, of_chunk)
    sheet = Sheet.joined([Sheet.from_arrays(part) for part in found])
    return Judged(leaderboard(sheet, seed=config.seed))


def _why_not(config: DigConfig, available: int) -> str:
    if available < 2:
        return f"there was only {available} image, and judging needs at least 2"
    if config.judge_images is not None:
        return f"judge_images was {config.judge_images}, and judging needs at least 2 images"
    return (
        "judging a model of this size on this device takes long, so it is done when asked for: dig with "
        "--judge-images 20"
    )

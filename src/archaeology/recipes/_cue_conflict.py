"""What the cue-conflict recipes share: in half of the training images texture agrees with shape, in half it is random.

So shape always tells and texture helps: a model is free to lean on either, which the `conflict` split then measures.
"""

from archaeology.data.cache import DecodedImages, decode_once
from archaeology.data.worlds.cue_conflict import CueConflict

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
# Evaluation uses seed 0, so no training image is ever judged; one seed each, so no scene comes twice.
TRAINING_SEEDS, NUM_TRAINING = {"aligned": 1, "random": 2}, 20_000
NUM_TEST = 2_000


def training_images(data: str | None) -> tuple[DecodedImages, ...]:
    """40,000 generated images, half of them aligned; nothing is read from disk, so `data` must be None."""
    if data is not None:
        raise ValueError(f"cue_conflict is generated, so --data must be left out, but got {data!r}.")
    sources = (
        CueConflict(split, seed=seed, num_images=NUM_TRAINING) for split, seed in TRAINING_SEEDS.items()
    )
    return tuple(decode_once(source, (64, 64)) for source in sources)


def test_images(data: str | None) -> DecodedImages:
    """2,000 images of the `random` split, where only shape tells."""
    return decode_once(CueConflict("random", seed=0, num_images=NUM_TEST), (64, 64))

"""Learned by heart: far better on training images than on images never trained on."""

from collections.abc import Iterator

from archaeology.diagnose.diagnosis import Case, Diagnosis, checks

# Accuracy on training images above that on others: regularised trainings end below a fifth.
GAP = 0.25
FEW_IMAGES = 10_000  # vision transformers from scratch take tens of thousands


@checks.register("overfitting")
def overfitting(case: Case) -> Iterator[Diagnosis]:
    """Far better on training images than on others."""
    run = case.history
    pair = run.accuracies()
    if pair is None or pair[0] - pair[1] < GAP:
        return
    train, test = pair
    count = run.num_training
    images = "" if count is None else f", of which there are {'only ' if count < FEW_IMAGES else ''}{count:,}"
    yield Diagnosis(
        "overfitting",
        f"accuracy is {train:.3f} on training images{images}, but {test:.3f} on others",
        "more images; else stronger augmentation (--policy trivial --mixup 0.8 --cutmix 1), --drop-path 0.1, a teacher "
        "or a pretrained start, or fewer epochs",
        {"train_accuracy": train, "test_accuracy": test, "num_training": count},
    )

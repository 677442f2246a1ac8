"""Learned by heart: far better on training images than on images never trained on."""

from collections.abc import Iterator

from archaeology.diagnose.diagnosis import Case, Diagnosis, checks

# Accuracy on training images above that on other images: regularised trainings end below a fifth. Where there are few
# images (vision transformers from scratch take tens of thousands), a tenth is told as well.
GAP, GAP_OF_FEW = 0.25, 0.1
FEW_IMAGES = 10_000


@checks.register("overfitting")
def overfitting(case: Case) -> Iterator[Diagnosis]:
    """Far better on training images than on others."""
    run = case.history
    pair = run.accuracies()
    if pair is None:
        return
    train, test = pair
    count = run.num_training
    is_few = count is not None and count < FEW_IMAGES
    if train - test < (GAP_OF_FEW if is_few else GAP):
        return
    images = "" if count is None else f", of which there are {'only ' if is_few else ''}{count:,}"
    yield Diagnosis(
        "overfitting",
        f"accuracy is {train:.3f} on training images{images}, but {test:.3f} on others",
        "more images; else stronger augmentation (--policy trivial --mixup 0.8 --cutmix 1), --drop-path 0.1, a teacher "
        "or a pretrained start, or fewer epochs",
        {"train_accuracy": train, "test_accuracy": test, "num_training": count},
    )

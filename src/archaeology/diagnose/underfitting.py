"""Too little learned, from too few images or in too few steps: low on training images and on others alike."""

from collections.abc import Iterator

from archaeology.diagnose.diagnosis import Case, Diagnosis, checks

# Share of the way from guessing to all right, on training images as they are.
LOW = 0.6
CLOSE = 0.1  # training accuracy above that on other images, below which nothing was learned by heart
# Vision transformers from scratch take some thousand steps, and tens of thousands of images.
FEW_STEPS, FEW_IMAGES = 2_000, 10_000
EXPLAINED = ("divergence", "plateau", "out_of_memory", "error", "uniform_attention")


@checks.register("underfitting")
def underfitting(case: Case) -> Iterator[Diagnosis]:
    """Low on training images too, because there were few of them or few steps; not of one trained by an adversary.

    Whoever learns from the worst is low on plain training images, however long it learns.
    """
    run = case.history
    if run.config.get("adversarial", "none") != "none":
        return
    pair = run.accuracies()
    if pair is None or case.has(*EXPLAINED) or run.num_classes is None or run.state == "running":
        return
    train, test = pair
    chance = 1 / run.num_classes
    images = run.num_training or FEW_IMAGES
    is_little = run.steps < FEW_STEPS or images < FEW_IMAGES
    if (train - chance) / (1 - chance) > LOW or train - test > CLOSE or not is_little:
        return
    fell = 1 - run.loss[-1] / run.loss[len(run.loss) * 2 // 3] if len(run.loss) > 2 else 0.0
    falling = f"; the loss still fell by {100 * fell:.0f} % in the last third" if fell > 0 else ""
    few = []
    remedies = []
    if run.steps < FEW_STEPS:
        few.append(f"only {run.steps} steps were taken")
        remedies.append("train for more epochs (--epochs)")
    if images < FEW_IMAGES:
        few.append(f"there are only {images:,} training images")
        remedies.append("start from a trained model, learn from a teacher, or take a convolutional network")
    yield Diagnosis(
        "underfitting",
        f"accuracy is {train:.3f} on training images and {test:.3f} on others (guessing: {chance:.3f}), and "
        f"{' and '.join(few)}{falling}",
        "; ".join(remedies),
        {
            "train_accuracy": train,
            "test_accuracy": test,
            "steps": run.steps,
            "num_training": run.num_training,
        },
    )

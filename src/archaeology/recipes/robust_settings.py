"""What recipes share that go on from plain weights and learn to withstand changes of 8/255: few epochs of short PGD."""

from collections.abc import Mapping

#: Two steps, not the one of fast adversarial training: from plain weights, at this epsilon, one step is learned by
#: heart within the first epoch (`wong2020fast` call it catastrophic overfitting).
ROBUST_SETTINGS: Mapping[str, object] = {
    "epochs": 6,
    "adversarial": "pgd",
    "attack_steps": 2,
    "attack_step_size": 5 / 255,
    "epsilon": 8 / 255,
    "label_smoothing": 0.0,
}

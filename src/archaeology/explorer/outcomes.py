"""What became of an image: which of two models was wrong, in words and as a key to group by."""

from collections.abc import Sequence

from archaeology.dig.labels import plain_name
from archaeology.explorer.subject import Model

OUTCOMES = {
    "both-same": "Both wrong, same answer",
    "both-different": "Both wrong, different answers",
    "vit-only": "Only the ViT wrong",
    "cnn-only": "Only the CNN wrong",
    "none": "Both right",
    "disagree": "Different answers",
    "agree": "Same answer",
}


def outcome_of(models: Sequence[Model]) -> str | None:
    """Key into `OUTCOMES` for a ViT and a CNN that both answered; None for any other company."""
    by_key = {model.key: model.answer for model in models}
    vit, cnn = by_key.get("vit"), by_key.get("cnn")
    if vit is None or cnn is None or len(models) != 2:
        return None
    is_same = plain_name(vit.name) == plain_name(cnn.name)
    if vit.is_right is None or cnn.is_right is None:
        return "agree" if is_same else "disagree"
    if vit.is_right:
        return "none" if cnn.is_right else "cnn-only"
    if cnn.is_right:
        return "vit-only"
    return "both-same" if is_same else "both-different"

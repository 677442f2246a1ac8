"""What a pass of a model costs, roughly, so that a dig can say how many images are quick."""

from collections.abc import Mapping

from archaeology.specimens.specimen import Specimen

PLACES = 64  # where a weight of a model without tokens is used, more or less: those of a CNN's last maps


def cost_of_a_pass(specimen: Specimen) -> float:
    """About a multiply-add for each weight and token, or place of a CNN's maps."""
    return float(specimen.num_parameters * (specimen.layout.num_tokens if specimen.layout else PLACES))


def affordable(budget: Mapping[str, float], passes: float | int, *specimens: Specimen) -> int:
    """Images for which so many passes of each model stay within a budget.

    Args:
        budget: Multiply-adds by kind of device; that of the CPU where a kind is not named.
        passes: For each image and model.
        specimens: The models, all on one device.
    """
    most = budget.get(specimens[0].device.type, budget["cpu"])
    return int(most / max(passes * sum(cost_of_a_pass(one) for one in specimens), 1))

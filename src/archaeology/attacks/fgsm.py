"""The fast gradient sign method: one step of full size along the gradient, the cheapest attack there is.

Source: `goodfellow2015explaining`; in the "l2" norm the step is the gradient, brought to length epsilon. A model that
withstands it and falls to more steps has learnt to hide its gradient rather than to be robust.
"""

from archaeology.attacks.method import Aim, attack
from archaeology.attacks.norms import each, project, steepest
from archaeology.attacks.victim import Victim
from archaeology.core.shapes import Image


@attack("fgsm", title="FGSM", norms=("linf", "l2"))
def fgsm(victim: Victim, aim: Aim, *, loss: str = "cross_entropy") -> Image:
    """Every image moved by epsilon along its gradient.

    Args:
        victim: The model.
        aim: What to break.
        loss: Of `LOSSES`.

    References:
        `goodfellow2015explaining`.
    """
    gradient = victim.gradient(aim.images, aim.labels, aim.rows, loss).gradient
    step = each(aim.epsilon) * steepest(gradient, aim.norm)
    return project(aim.images + step, aim.images, aim.epsilon, aim.norm)

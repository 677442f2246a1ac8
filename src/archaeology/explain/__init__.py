"""Heat maps: which patches counted, one method per file, each a pure function of a record."""

from archaeology.core.facade import make_callable
from archaeology.explain.explanation import Explanation as Explanation
from archaeology.explain.explanation import explain as explain
from archaeology.explain.explanation import explanations as explanations
from archaeology.explain.grad_cam import grad_cam as grad_cam
from archaeology.explain.raw_attention import raw_attention as raw_attention
from archaeology.explain.rollout import rollout as rollout

make_callable(__name__, explain)  # so that archaeology.explain("rollout", record) reads as in the README

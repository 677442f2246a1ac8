"""Heat maps: which patches counted, one method per file, most of them pure functions of a record."""

from archaeology.core.facade import make_callable
from archaeology.explain.attention_flow import attention_flow as attention_flow
from archaeology.explain.attention_times_gradient import attention_times_gradient as attention_times_gradient
from archaeology.explain.explanation import Explanation as Explanation
from archaeology.explain.grad_cam import grad_cam as grad_cam
from archaeology.explain.grad_cam_plus_plus import grad_cam_plus_plus as grad_cam_plus_plus
from archaeology.explain.gradient import gradient as gradient
from archaeology.explain.gradient_rollout import gradient_rollout as gradient_rollout
from archaeology.explain.integrated_gradients import integrated_gradients as integrated_gradients
from archaeology.explain.legrad import legrad as legrad
from archaeology.explain.lrp import lrp as lrp
from archaeology.explain.method import Method as Method
from archaeology.explain.method import Needs as Needs
from archaeology.explain.method import explain as explain
from archaeology.explain.method import explain_all as explain_all
from archaeology.explain.method import explain_images as explain_images
from archaeology.explain.method import explanations as explanations
from archaeology.explain.occlusion import occlusion as occlusion
from archaeology.explain.random import random as random
from archaeology.explain.raw_attention import raw_attention as raw_attention
from archaeology.explain.relevance import relevance as relevance
from archaeology.explain.rollout import rollout as rollout
from archaeology.explain.smooth_grad import smooth_grad as smooth_grad

make_callable(__name__, explain)  # so that archaeology.explain("rollout", record) reads as in the README

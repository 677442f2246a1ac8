"""Whole layers by name, for ideas that are more than a way to attend: they own their projections, or their cache.

A mechanism takes queries, keys and values; a layer takes tokens. Both say what they are by `facts` and what they can
do by `supports`, so that the table of the zoo lists them side by side.
"""

from torch import nn

from archaeology.core.registry import Registry

layers: Registry[type[nn.Module]] = Registry("attention layer")

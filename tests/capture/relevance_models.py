"""One block of a transformer that attends in any of four ways, and weights for the loops that check it."""

import torch
import torch.nn.functional as F
from torch import nn

from archaeology.attention.softmax import Softmax

TOKENS, FEATURES, WIDTH, HEAD, HIDDEN, CLASSES = 5, 3, 7, 4, 6, 2
ROUTES = ("sdpa", "eager", "einsum", "baddbmm", "mechanism")


class Block(nn.Module):
    def __init__(self, route="sdpa"):
        super().__init__()
        self.route = route
        self.embed = nn.Linear(FEATURES, WIDTH)
        self.position = nn.Parameter(torch.randn(TOKENS, WIDTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, HEAD) for _ in range(3))
        self.out = nn.Linear(HEAD, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)
        self.mechanism = Softmax()

    def attend(self, query, key, value):
        scale = HEAD**-0.5
        if self.route == "sdpa":
            return F.scaled_dot_product_attention(query, key, value=value)
        if self.route == "eager":
            return ((query * scale) @ key.transpose(-2, -1)).softmax(-1) @ value
        if self.route == "einsum":
            pattern = torch.einsum("nid,njd->nij", query, key).mul(scale).softmax(-1)
            return torch.einsum("nij,njd->nid", pattern, value)
        if self.route == "baddbmm":
            nothing = query.new_zeros(1, 1, 1)
            return torch.baddbmm(nothing, query * scale, key.mT).softmax(-1).bmm(value)
        return self.mechanism(query[:, None], key[:, None], value[:, None])[:, 0]

    def forward(self, tokens):
        placed = self.embed(tokens) + self.position
        normed = self.norm(placed)
        middle = placed + self.out(self.attend(self.query(normed), self.key(normed), self.value(normed)))
        last = middle + self.down(F.gelu(self.up(middle)))
        return self.head(last.mean(1))


def block(route="sdpa"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = Block(route).double()
        for parameter in made.parameters():
            nn.init.normal_(parameter)
    return made.requires_grad_(False)


def tokens(count=3):
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, TOKENS, FEATURES, dtype=torch.float64, generator=generator)


def weights(made):
    """As nested lists, for the loops."""
    found = {"position": made.position.tolist(), "norm": (made.norm.weight.tolist(), made.norm.bias.tolist())}
    for name in ("embed", "query", "key", "value", "out", "up", "down", "head"):
        layer = getattr(made, name)
        found[name], found[name + "_bias"] = layer.weight.tolist(), layer.bias.tolist()
    return found

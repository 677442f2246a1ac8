"""Weights that are zero, and windows of a grid: ours against `entmax`, torchvision and timm.

Sparsemax and entmax-1.5 on scores of four heads; whole layers of shifted windows in the stages of Swin-T, projections
included, the same weights in all. Issue 3 asks for sparsemax 2.5 times faster, and for nothing slower; windows have no
promise beside that. Memory that is freed is kept, for both sides.
"""

import sys
from collections.abc import Callable

import entmax
import torch
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torchvision.models.swin_transformer import ShiftedWindowAttention

from archaeology.attention.entmax import entmax15
from archaeology.attention.multi_head import MultiHeadAttention
from archaeology.attention.sparsemax import sparsemax
from archaeology.core.allocation import tune_allocation
from benchmarks._side_by_side import Comparison, Setting, comparison, report, seconds, setting

STAGES = (
    (4, 56, 96, 3),
    (4, 28, 192, 6),
    (8, 14, 384, 12),
    (32, 7, 768, 24),
)  # batch, side, features, heads of Swin-T
WINDOW = 7
Run = Callable[[Tensor], Tensor]


def main() -> None:
    given = setting(__doc__)
    tune_allocation()
    report("attention_weighting", given, comparisons(given))


def comparisons(given: Setting) -> list[Comparison]:
    return [*weightings(given), *windows(given)]


def weightings(given: Setting) -> list[Comparison]:
    """Scores to weights."""
    lines = []
    for length in (32,) if given.small else (512, 1024):
        for name, ours, theirs, target in (
            ("sparsemax", sparsemax, entmax.sparsemax, 2.5),
            ("entmax-1.5", entmax15, entmax.entmax15, 1.0),
        ):
            scores = torch.randn(1, 4, length, length, requires_grad=True)
            torch.testing.assert_close(ours(scores), theirs(scores), atol=1e-5, rtol=1e-3)
            case = f"{name}, scores (1, 4, {length}, {length})"
            lines += both_ways(given, case, {"entmax": (theirs, target)}, ours, scores)
    return lines


def windows(given: Setting) -> list[Comparison]:
    lines = []
    for dtype in (torch.float32, torch.bfloat16):
        for batch, side, embed_dim, heads in ((1, 14, 12, 3),) if given.small else STAGES:
            shift = WINDOW // 2 if side > WINDOW else 0
            layers = [layer.to(dtype) for layer in with_same_weights(side, embed_dim, heads, shift)]
            ours, vision, block = layers
            tokens = torch.randn(batch, side * side, embed_dim, dtype=dtype, requires_grad=True)
            on_grid = (batch, side, side, embed_dim)

            def by_torchvision(tokens: Tensor, layer: nn.Module = vision, grid: tuple = on_grid) -> Tensor:
                return layer(tokens.view(grid)).flatten(1, 2)

            def by_timm(tokens: Tensor, layer: nn.Module = block, grid: tuple = on_grid) -> Tensor:
                return layer._attn(tokens.view(grid)).flatten(1, 2)

            for peer in (by_torchvision, by_timm):
                close = (
                    {"atol": 1e-5, "rtol": 1e-3} if dtype == torch.float32 else {"atol": 0.02, "rtol": 0.05}
                )
                torch.testing.assert_close(ours(tokens), peer(tokens), **close)
            kind = str(dtype).removeprefix("torch.")
            case = f"windows, {kind}, {batch} x {side} x {side} x {embed_dim}, {heads} heads, shift {shift}"
            peers = {"torchvision": (by_torchvision, None), "timm": (by_timm, None)}
            lines += both_ways(given, case, peers, ours, tokens)
    return lines


def with_same_weights(
    side: int, embed_dim: int, heads: int, shift: int
) -> tuple[MultiHeadAttention, ShiftedWindowAttention, SwinTransformerBlock]:
    vision = ShiftedWindowAttention(embed_dim, [WINDOW, WINDOW], [shift, shift], heads)
    block = SwinTransformerBlock(embed_dim, (side, side), heads, window_size=WINDOW, shift_size=shift)
    state = {name: tensor for name, tensor in vision.state_dict().items() if "index" not in name}
    block.attn.load_state_dict(state)
    ours = MultiHeadAttention(
        embed_dim,
        heads,
        mechanism="shifted_window",
        options={"window": WINDOW, "shift": shift},
        grid=(side, side),
    )
    ours.qkv.load_state_dict(vision.qkv.state_dict())
    ours.proj.load_state_dict(vision.proj.state_dict())
    with torch.no_grad():
        ours.mechanism.table.copy_(vision.relative_position_bias_table.T)
    return ours, vision, block


def both_ways(
    given: Setting, case: str, peers: dict[str, tuple[Run, float | None]], ours: Run, tensor: Tensor
) -> list[Comparison]:
    """Forward, and forward with backward, of ours and all peers in turn."""
    upstream = torch.randn_like(ours(tensor))
    runs = [ours, *(run for run, _ in peers.values())]
    steps = {
        "forward": [lambda run=run: torch.no_grad()(run)(tensor) for run in runs],
        "forward + backward": [lambda run=run: run(tensor).backward(upstream) for run in runs],
    }
    lines = []
    for way, sides in steps.items():
        mine, *taken = seconds(given, *sides, rounds=7)
        for (peer, (_, target)), theirs in zip(peers.items(), taken, strict=True):
            promised = target if way == "forward + backward" else None
            milliseconds = {"ours": 1e3 * mine, "theirs": 1e3 * theirs, "unit": "ms"}
            lines.append(comparison(f"{case}, {way}", peer, **milliseconds, target=promised))
    return lines


if __name__ == "__main__":
    sys.exit(main())

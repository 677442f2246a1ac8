"""Pattern times values is one sum over keys; letters say which axis is which, however a model writes it.

`attn @ v`, `v @ attn.mT`, `bmm` on heads folded into the batch and `einsum("bhij,bjhd->bihd", ...)` are one
contraction with its axes in another order. Here that order becomes `(batch, head, query, key)` and back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from jaxtyping import Float
from torch import Size, Tensor

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Hints:
    """What is known of the pass and of the module that attends, where it is known.

    Attributes:
        num_images: Images in the pass; tells the batch from other leading axes.
        num_heads: Heads that the module declares; tells heads from windows, also where they share an axis.
        module_input: Shape of what the module was given.
        batch: Of this attention, where its call tells; then heads are folded into it only beyond that.
    """

    num_images: int | None = None
    num_heads: int | None = None
    module_input: tuple[int, ...] = ()
    batch: int | None = None


@dataclass(frozen=True)
class Contraction:
    """Which letter of the three tensors is batch, head, query, key and dim.

    Attributes:
        pattern: Letters of the axes of the pattern as the model holds it.
        value: Letters of the values.
        output: Letters of their product.
        batch: Letters that together make the batch, the images' own letter first.
        head: Letters that together make the heads; empty where the batch hides them or there are none.
        query: Letters of the tokens that look.
        key: Letters of the tokens that are looked at: those summed over.
        dim: Letters of the features.
        sizes: Size of each letter.
        num_heads: Heads that `head` holds, or that are folded into the batch.
    """

    pattern: str
    value: str
    output: str
    batch: str
    head: str
    query: str
    key: str
    dim: str
    sizes: dict[str, int]
    num_heads: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Batch, head, query, key."""
        return (
            self._size(self.batch + self.head) // self.num_heads,
            self.num_heads,
            self._size(self.query),
            self._size(self.key),
        )

    @property
    def num_features(self) -> int:
        """Size of `dim`."""
        return self._size(self.dim)

    def pattern_of(self, tensor: Tensor) -> Float[Tensor, "batch head query key"]:
        """The pattern as the model holds it, in our order."""
        return self._gather(tensor, self.pattern, self.query, self.key)

    def value_of(self, tensor: Tensor) -> Float[Tensor, "batch head key dim"]:
        """The values as the model holds them, in our order."""
        return self._gather(tensor, self.value, self.key, self.dim)

    def output_of(self, tensor: Tensor) -> Float[Tensor, "batch head query dim"]:
        """The product as the model holds it, in our order."""
        return self._gather(tensor, self.output, self.query, self.dim)

    def pattern_back(self, pattern: Float[Tensor, "batch head query key"]) -> Tensor:
        """A pattern in the model's own order again."""
        return self._scatter(pattern, self.pattern, self.query + self.key)

    def output_back(self, output: Float[Tensor, "batch head query dim"]) -> Tensor:
        """A product in the model's own order again."""
        return self._scatter(output, self.output, self.query + self.dim)

    def _size(self, letters: str) -> int:
        return prod(self.sizes[letter] for letter in letters)

    def _gather(self, tensor: Tensor, axes: str, third: str, fourth: str) -> Tensor:
        axes = axes[len(axes) - tensor.ndim :]  # broadcasting adds the leading axes that are missing
        # Fewer rows than all where only some are asked; keys may have other features than values.
        rows, last = (prod(tensor.shape[axes.index(letter)] for letter in part) for part in (third, fourth))
        wanted = self.batch + self.head + third + fourth
        for letter in wanted:
            if letter not in axes:
                tensor, axes = tensor.unsqueeze(-1), axes + letter
        tensor = tensor.permute([axes.index(letter) for letter in wanted])
        spread = [self.sizes[letter] for letter in self.batch + self.head]
        tensor = tensor.expand(spread + list(tensor.shape[len(spread) :]))
        return tensor.reshape(self.shape[0], self.num_heads, rows, last)

    def _scatter(self, tensor: Tensor, axes: str, last: str) -> Tensor:
        made = self.batch + self.head + last
        tensor = tensor.reshape([self.sizes[letter] for letter in made])
        return tensor.permute([made.index(letter) for letter in axes])


def matmul_axes(left: int, right: int) -> tuple[str, str, str]:
    """Letters of `left @ right` for their numbers of axes (both at least 2): rows i, sum j, columns k.

    Missing leading axes are lettered all the same: broadcasting adds them.
    """
    lead = [letter for letter in LETTERS if letter not in "ijk"][: max(left, right) - 2]
    lead = "".join(lead)
    return lead + "ij", lead + "jk", lead + "ik"


def einsum_axes(equation: str, num_axes: Sequence[int]) -> tuple[str, str, str] | None:
    """Letters of an einsum of two tensors: left, right, output; None for other numbers, or a diagonal.

    Args:
        equation: As given to `torch.einsum`; may hold an ellipsis and leave the output out.
        num_axes: Of each operand.
    """
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    operands = inputs.split(",")
    if len(operands) != 2 or len(num_axes) != 2:
        return None
    free = [letter for letter in LETTERS if letter not in equation]
    hidden = [count - len(axes.replace("...", "")) for axes, count in zip(operands, num_axes, strict=True)]
    ellipsis = "".join(free[: max(hidden)]) if "..." in equation else ""
    if not arrow:
        once = [letter for letter in sorted(set(inputs) - set(".,")) if inputs.count(letter) == 1]
        output = ("..." if "..." in inputs else "") + "".join(once)
    for number, axes in enumerate(operands):
        operands[number] = axes.replace("...", ellipsis[len(ellipsis) - hidden[number] :])
    output = output.replace("...", ellipsis)
    if any(len(set(axes)) != len(axes) for axes in (*operands, output)):
        return None
    return operands[0], operands[1], output


def letter_sizes(*parts: tuple[str, Size]) -> dict[str, int]:
    """Size of each letter; where two tensors disagree, one of them is 1 and is spread out."""
    sizes: dict[str, int] = {}
    for axes, shape in parts:
        for letter, size in zip(axes[len(axes) - len(shape) :], shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return sizes


def contraction(
    pattern: str,
    value: str,
    output: str,
    sizes: dict[str, int],
    hints: Hints,
    *,
    query: str | None = None,
) -> Contraction | None:
    """Find the roles of the letters; None where the product is no sum over keys of pattern times value.

    Args:
        pattern: Letters of the pattern.
        value: Letters of the values.
        output: Letters of their product.
        sizes: Size of each letter.
        hints: What else is known.
        query: Letters of the queries where known, else guessed: those that only the pattern brings.
    """
    key = "".join(letter for letter in pattern if letter in value and letter not in output)
    dim = "".join(letter for letter in output if letter in value and letter not in pattern)
    lost = (set(pattern) - set(key) - set(output)) | (set(value) - set(key) - set(output))
    if not key or lost:
        return None
    rest = "".join(letter for letter in pattern if letter not in key)
    if query is None:
        only = "".join(letter for letter in rest if letter not in value)
        # Two shared letters are batch and head; with fewer, the values are shared by the heads (multi-query).
        query = only if len(rest) - len(only) >= 2 else only[-1:]
    lead = "".join(letter for letter in rest if letter not in query)
    head = _head_letter(lead, sizes, hints)
    batch = "".join(letter for letter in lead if letter != head)
    num_heads = sizes[head] if head else _folded_heads(prod(sizes[letter] for letter in lead), hints)
    return Contraction(pattern, value, output, batch, head, query, key, dim, sizes, num_heads)


def _head_letter(lead: str, sizes: dict[str, int], hints: Hints) -> str:
    if len(lead) < 2:
        return ""
    declared = [letter for letter in lead[1:] if sizes[letter] == hints.num_heads]
    if declared:
        return declared[-1]
    first, last = lead[0], lead[-1]
    images_second = sizes[last] == hints.num_images and sizes[first] % sizes[last] != 0
    return first if len(lead) == 2 and (images_second or sizes[first] == hints.num_heads) else last


def _folded_heads(batch: int, hints: Hints) -> int:
    """How many heads are folded into the batch: those declared, unless the module was given such a batch."""
    if hints.batch is not None:
        return batch // hints.batch
    heads, given = hints.num_heads, hints.module_input
    if heads is None or batch % (heads * (hints.num_images or 1)):
        return 1
    tokens_first = len(given) > 1 and given[1] == batch // heads
    return 1 if given and given[0] == batch and not tokens_first else heads

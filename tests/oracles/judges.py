"""Judges of explanations as their papers write them: loops over pixels and plain lists, in float64."""

import math

import numpy as np


def patch_of(y, x, size, grid):
    """Row and column of the patch that a pixel's centre lies in."""
    return int((y + 0.5) * grid[0] / size[0]), int((x + 0.5) * grid[1] / size[1])


def composed(image, fill, kept, grid):
    """`image` where its patch is kept, else `fill`; all as arrays (channel, height, width)."""
    found = np.array(fill, dtype=np.float64)
    _, height, width = image.shape
    for y in range(height):
        for x in range(width):
            row, column = patch_of(y, x, (height, width), grid)
            if row * grid[1] + column in kept:
                found[:, y, x] = image[:, y, x]
    return found


def softmax(logits):
    exponentials = [math.exp(value - max(logits)) for value in logits]
    return [value / sum(exponentials) for value in exponentials]


def area(way, predict, image, fill, order, grid, steps, target):
    """Area under the target's probability while patches of `order` go (deletion) or come (insertion)."""
    counts = sorted({round(step * len(order) / steps) for step in range(steps + 1)})
    values = []
    for count in counts:
        kept = set(order[count:]) if way == "deletion" else set(order[:count])
        values.append(softmax(predict(composed(image, fill, kept, grid)))[target])
    total = 0.0
    for first in range(len(counts) - 1):
        width = (counts[first + 1] - counts[first]) / len(order)
        total += width * (values[first] + values[first + 1]) / 2
    return total


def blurred(image, grid):
    """Weights exp(-d^2 / 2 s^2) down and across, s one side of a patch, over the pixels that are there."""
    channels, height, width = image.shape
    down, across = height / grid[0], width / grid[1]
    found = np.zeros_like(image)
    for channel in range(channels):
        for y in range(height):
            for x in range(width):
                total = weights = 0.0
                for v in range(height):
                    for u in range(width):
                        weight = math.exp(-((v - y) ** 2) / (2 * down**2) - (u - x) ** 2 / (2 * across**2))
                        total += weight * image[channel, v, u]
                        weights += weight
                found[channel, y, x] = total / weights
    return found


def imputed(image, known):
    """Unknown pixels as weighted means of their neighbours inside the image: a dense system, solved."""
    channels, height, width = image.shape
    unknown = [(y, x) for y in range(height) for x in range(width) if not known[y][x]]
    found = np.array(image, dtype=np.float64)
    if not unknown:
        return found
    matrix = np.zeros((len(unknown), len(unknown)))
    right = np.zeros((len(unknown), channels))
    for number, (y, x) in enumerate(unknown):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                v, u = y + dy, x + dx
                if (dy, dx) == (0, 0) or not (0 <= v < height and 0 <= u < width):
                    continue
                weight = 1 / 12 if dy and dx else 1 / 6
                matrix[number, number] += weight
                if known[v][u]:
                    right[number] += weight * image[:, v, u]
                else:
                    matrix[number, unknown.index((v, u))] -= weight
    solved = np.linalg.solve(matrix, right)
    for (y, x), values in zip(unknown, solved, strict=True):
        found[:, y, x] = values
    return found


def correlation(first, second):
    """Pearson's; 0 where one of them does not vary."""
    mean = sum(first) / len(first), sum(second) / len(second)
    both = sum((a - mean[0]) * (b - mean[1]) for a, b in zip(first, second, strict=True))
    spread = sum((a - mean[0]) ** 2 for a in first) * sum((b - mean[1]) ** 2 for b in second)
    return both / math.sqrt(spread) if spread else 0.0


def ranks(values):
    """1 for the lowest; equal values share the mean of their ranks."""
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2
        for value in values
    ]


def gini(values):
    """Mean absolute difference of all pairs over twice the mean."""
    sizes = [abs(value) for value in values]
    apart = sum(abs(a - b) for a in sizes for b in sizes)
    return apart / (2 * len(sizes) * sum(sizes))


def simplicity(values):
    """1 - entropy / log(count)."""
    sizes = [abs(value) for value in values]
    shares = [size / sum(sizes) for size in sizes if size]
    return 1 + sum(share * math.log(share) for share in shares) / math.log(len(sizes))


def pointing(heat, truth):
    """Share of the pixels of the highest patch or patches that are inside; `heat` by patch, `truth` by pixel."""
    grid, size = (len(heat), len(heat[0])), (len(truth), len(truth[0]))
    highest = max(max(row) for row in heat)
    inside = counted = 0.0
    for y in range(size[0]):
        for x in range(size[1]):
            row, column = patch_of(y, x, size, grid)
            if heat[row][column] == highest:
                inside += truth[y][x]
                counted += 1
    return inside / counted


def mass(heat, truth):
    """The map, spread evenly over each patch's pixels, inside over all, over the share of the area."""
    grid, size = (len(heat), len(heat[0])), (len(truth), len(truth[0]))
    inside = total = area = 0.0
    for y in range(size[0]):
        for x in range(size[1]):
            row, column = patch_of(y, x, size, grid)
            inside += heat[row][column] * truth[y][x]
            total += heat[row][column]
            area += truth[y][x] / (size[0] * size[1])
    return inside / total / area


def fewest(predict, image, fill, order, grid):
    """How many patches of `order` must become `fill` until another class wins; one more than all if none does."""
    before = int(np.argmax(predict(image)))
    for count in range(1, len(order) + 1):
        if int(np.argmax(predict(composed(image, fill, set(order[count:]), grid)))) != before:
            return count
    return len(order) + 1

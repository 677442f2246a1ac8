"""Rollout and Grad-CAM as their papers write them: loops over plain lists, whole matrices, no shortcut."""


def rollout(patterns, head_fusion="mean", discard=None):
    """Product of the mixing matrices of `patterns[layer][head][query][key]`; `discard` zeroes in place."""
    product = None
    for heads in patterns:
        mixed = []
        tokens = len(heads[0])
        fused = [[0.0] * tokens for _ in range(tokens)]
        for query in range(tokens):
            for key in range(tokens):
                values = [head[query][key] for head in heads]
                fused[query][key] = {
                    "mean": sum(values) / len(values),
                    "max": max(values),
                    "min": min(values),
                }[head_fusion]
        if discard is not None:
            discard(fused)
        for query in range(tokens):
            row = [0.5 * fused[query][key] + (0.5 if query == key else 0.0) for key in range(tokens)]
            mixed.append([weight / sum(row) for weight in row])
        product = mixed if product is None else times(mixed, product)
    return product


def weakest_zeroed(ratio):
    """Zero the weakest share of all entries, but none as large as the weakest one that is kept."""

    def discard(matrix):
        values = sorted(weight for row in matrix for weight in row)
        weakest_kept = values[int(len(values) * ratio)]
        for row in matrix:
            for key, weight in enumerate(row):
                if weight < weakest_kept:
                    row[key] = 0.0

    return discard


def times(left, right):
    size = len(left)
    result = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(size):
            for k in range(size):
                result[i][j] += left[i][k] * right[k][j]
    return result


def grad_cam(activation, gradient):
    """`activation[channel][row][column]` of one image."""
    channels, rows, columns = len(activation), len(activation[0]), len(activation[0][0])
    heatmap = [[0.0] * columns for _ in range(rows)]
    for channel in range(channels):
        weight = 0.0
        for row in range(rows):
            for column in range(columns):
                weight += gradient[channel][row][column] / (rows * columns)
        for row in range(rows):
            for column in range(columns):
                heatmap[row][column] += weight * activation[channel][row][column]
    return [[max(value, 0.0) for value in row] for row in heatmap]

"""Methods that weigh attention by gradients, as their papers write them: loops over plain lists, whole matrices.

`patterns` and `gradients` are indexed [layer][head][query][key], of one image.
"""

from math import tanh

from tests.oracles.explanations import times


def evidence(heads, gradients):
    """Mean over heads of `ReLU(A * dA)`."""
    queries, keys = len(heads[0]), len(heads[0][0])
    mean = [[0.0] * keys for _ in range(queries)]
    for head, gradient in zip(heads, gradients, strict=True):
        for query in range(queries):
            for key in range(keys):
                mean[query][key] += max(head[query][key] * gradient[query][key], 0.0) / len(heads)
    return mean


def identity(size):
    return [[float(row == column) for column in range(size)] for row in range(size)]


def relevance(patterns, gradients):
    """`R <- R + mean evidence times R`, from the first layer on, starting with the identity."""
    size = len(patterns[0][0])
    relevance = identity(size)
    for heads, gradient in zip(patterns, gradients, strict=True):
        update = times(evidence(heads, gradient), relevance)
        relevance = [
            [old + new for old, new in zip(*rows, strict=True)]
            for rows in zip(relevance, update, strict=True)
        ]
    return relevance


def gradient_rollout(patterns, gradients):
    """Product of all (evidence + identity), each row divided by its sum."""
    size = len(patterns[0][0])
    product = identity(size)
    for heads, gradient in zip(patterns, gradients, strict=True):
        mixed = []
        for query, row in enumerate(evidence(heads, gradient)):
            with_itself = [weight + (query == key) for key, weight in enumerate(row)]
            mixed.append([weight / sum(with_itself) for weight in with_itself])
        product = times(mixed, product)
    return product


def grad_cam_plus_plus(activation, gradient):
    """`activation[channel][row][column]` of one image, with the paper's fraction as it stands."""
    rows, columns = len(activation[0]), len(activation[0][0])
    places = [(row, column) for row in range(rows) for column in range(columns)]
    heatmap = [[0.0] * columns for _ in range(rows)]
    for features, slopes in zip(activation, gradient, strict=True):
        total = sum(features[row][column] for row, column in places)
        weight = 0.0
        for row, column in places:
            slope = slopes[row][column]
            if slope != 0:
                alpha = slope**2 / (2 * slope**2 + total * slope**3)
                weight += alpha * max(slope, 0.0)
        for row, column in places:
            heatmap[row][column] += weight * features[row][column]
    return [[max(value, 0.0) for value in row] for row in heatmap]


def block(tokens, patterns, value_weight, mix_weight):
    """`x + heads`, then `x + tanh(W x)`: a transformer block given its patterns[head][query][key]."""
    count, width = len(tokens), len(tokens[0])
    values = [[_dot(row, token) for row in value_weight] for token in tokens]
    size = width // len(patterns)
    mixed = []
    for query in range(count):
        new = list(tokens[query])
        for feature in range(width):
            weights = patterns[feature // size][query]
            new[feature] += sum(weights[key] * values[key][feature] for key in range(count))
        mixed.append([old + tanh(_dot(row, new)) for old, row in zip(new, mix_weight, strict=True)])
    return mixed


def read(tokens, weight, bias):
    """A logit from the hyperbolic tangent of the mean token."""
    mean = [sum(column) / len(tokens) for column in zip(*tokens, strict=True)]
    return _dot(weight, [tanh(value) for value in mean]) + bias


def positive_differences(logit, patterns, step=1e-5):
    """Mean over heads and queries of the positive central differences of `logit`, key by key."""
    heads, queries, keys = len(patterns), len(patterns[0]), len(patterns[0][0])
    mean = [0.0] * keys
    for head in range(heads):
        for query in range(queries):
            for key in range(keys):
                row, before = patterns[head][query], patterns[head][query][key]
                row[key] = before + step
                above = logit(patterns)
                row[key] = before - step
                below = logit(patterns)
                row[key] = before
                mean[key] += max((above - below) / (2 * step), 0.0) / (heads * queries)
    return mean


def _dot(left, right):
    return sum(a * b for a, b in zip(left, right, strict=True))

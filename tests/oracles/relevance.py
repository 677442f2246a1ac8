"""Relevance handed back layer by layer, as the papers write it: loops over plain numbers, no gradient anywhere.

One block of a transformer with one head: patches are projected, positions added, the block attends and thinks, tokens
are averaged and classified. All weights are lists; a linear layer is `weight[out][in]`, `bias[out]`.
"""

from math import erf, exp, sqrt


def linear(weight, bias, x):
    return [
        sum(w * value for w, value in zip(row, x, strict=True)) + b
        for row, b in zip(weight, bias, strict=True)
    ]


def through_linear(weight, x, answer, relevance):
    """Epsilon rule, epsilon zero: `R_i = sum over j of x_i w_ji R_j / z_j`."""
    return [
        sum(x[i] * weight[j][i] * relevance[j] / answer[j] for j in range(len(answer))) for i in range(len(x))
    ]


def layer_norm(weight, bias, x, eps):
    mean = sum(x) / len(x)
    deviation = sqrt(sum((value - mean) ** 2 for value in x) / len(x) + eps)
    matrix = [[weight[j] * ((i == j) - 1 / len(x)) / deviation for i in range(len(x))] for j in range(len(x))]
    return linear(matrix, bias, x), matrix


def gelu(x):
    return x * 0.5 * (1 + erf(x / sqrt(2)))


def shared(parts, total, relevance):
    """To each summand its share."""
    return [part / total * relevance for part in parts]


def block(model, tokens, target, rule):
    """Relevance of `tokens[token][feature]` for the logit of `target`, and that logit."""
    count, width = len(tokens), len(tokens[0])
    embedded = [linear(model["embed"], model["embed_bias"], token) for token in tokens]
    placed = [
        [e + p for e, p in zip(*pair, strict=True)] for pair in zip(embedded, model["position"], strict=True)
    ]
    normed, matrices = zip(*(layer_norm(*model["norm"], token, 1e-5) for token in placed), strict=True)
    query, key, value = (
        [linear(model[name], model[name + "_bias"], token) for token in normed]
        for name in ("query", "key", "value")
    )
    inner = len(query[0])
    scores = [
        [sum(query[i][d] * key[j][d] for d in range(inner)) / sqrt(inner) for j in range(count)]
        for i in range(count)
    ]
    pattern = [[exp(s) / sum(exp(other) for other in row) for s in row] for row in scores]
    heads = [
        [sum(pattern[i][j] * value[j][d] for j in range(count)) for d in range(inner)] for i in range(count)
    ]
    attended = [linear(model["out"], model["out_bias"], head) for head in heads]
    middle = [[p + a for p, a in zip(*pair, strict=True)] for pair in zip(placed, attended, strict=True)]
    wide = [linear(model["up"], model["up_bias"], token) for token in middle]
    bent = [[gelu(x) for x in token] for token in wide]
    thought = [linear(model["down"], model["down_bias"], token) for token in bent]
    last = [[m + t for m, t in zip(*pair, strict=True)] for pair in zip(middle, thought, strict=True)]
    mean = [sum(token[d] for token in last) / count for d in range(len(last[0]))]
    logits = linear(model["head"], model["head_bias"], mean)

    relevance = [0.0] * len(logits)
    relevance[target] = logits[target]
    of_mean = through_linear(model["head"], mean, logits, relevance)
    of_last = [[last[i][d] / count / mean[d] * of_mean[d] for d in range(len(mean))] for i in range(count)]
    found = []
    of_middle, of_attended = [], []
    for i in range(count):
        pairs = [shared((middle[i][d], thought[i][d]), last[i][d], of_last[i][d]) for d in range(len(mean))]
        of_bent = through_linear(model["down"], bent[i], thought[i], [pair[1] for pair in pairs])
        of_wide = of_bent  # an activation passes on what it gets
        passed = through_linear(model["up"], middle[i], wide[i], of_wide)
        of_middle.append([pair[0] + more for pair, more in zip(pairs, passed, strict=True)])
    of_placed = []
    for i in range(count):
        pairs = [
            shared((placed[i][d], attended[i][d]), middle[i][d], of_middle[i][d]) for d in range(len(mean))
        ]
        of_placed.append([pair[0] for pair in pairs])
        of_attended.append([pair[1] for pair in pairs])
    of_heads = [through_linear(model["out"], heads[i], attended[i], of_attended[i]) for i in range(count)]
    of_query, of_key, of_value = ([[0.0] * inner for _ in range(count)] for _ in range(3))
    share = 0.5 if rule == "attnlrp" else 1.0
    for i in range(count):
        of_pattern = [0.0] * count
        for j in range(count):
            for d in range(inner):
                part = pattern[i][j] * value[j][d] / heads[i][d] * of_heads[i][d]
                of_value[j][d] += share * part
                of_pattern[j] += (1 - share) * part
        total = sum(of_pattern)
        for j in range(count):
            of_score = scores[i][j] * (of_pattern[j] - pattern[i][j] * total)
            for d in range(inner):
                part = query[i][d] * key[j][d] / sqrt(inner) / scores[i][j] * of_score
                of_query[i][d] += 0.5 * part
                of_key[j][d] += 0.5 * part
    for i in range(count):
        of_normed = [0.0] * width_of(normed)
        for name, answer, of_answer in (
            ("query", query, of_query),
            ("key", key, of_key),
            ("value", value, of_value),
        ):
            passed = through_linear(model[name], normed[i], answer[i], of_answer[i])
            of_normed = [a + b for a, b in zip(of_normed, passed, strict=True)]
        passed = through_linear(matrices[i], placed[i], normed[i], of_normed)
        of_token = [a + b for a, b in zip(of_placed[i], passed, strict=True)]
        of_embedded = [e / p * r for e, p, r in zip(embedded[i], placed[i], of_token, strict=True)]
        found.append(through_linear(model["embed"], tokens[i], embedded[i], of_embedded))
    assert len(found[0]) == width
    return found, logits[target]


def width_of(tokens):
    return len(tokens[0])

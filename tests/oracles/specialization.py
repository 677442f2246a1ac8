"""What a head looks at compared with what there is to see, in loops and floats, from the definitions."""

import math


def mean(values):
    return sum(values) / len(values)


def correlation(one, other):
    left, right = mean(one), mean(other)
    covariance = sum((a - left) * (b - right) for a, b in zip(one, other, strict=True))
    return covariance / math.sqrt(sum((a - left) ** 2 for a in one) * sum((b - right) ** 2 for b in other))


def edge_energy(image, rows, columns):
    """`image[channel][row][column]`; means over equal patches."""
    height, width = len(image[0]), len(image[0][0])

    def brightness(row, column):
        row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
        return 0.299 * image[0][row][column] + 0.587 * image[1][row][column] + 0.114 * image[2][row][column]

    def length(row, column):
        across = down = 0.0
        for offset, weight in ((-1, 1), (0, 2), (1, 1)):
            across += weight * (brightness(row + offset, column + 1) - brightness(row + offset, column - 1))
            down += weight * (brightness(row + 1, column + offset) - brightness(row - 1, column + offset))
        return math.sqrt(across**2 + down**2) / 4

    tall, wide = height // rows, width // columns
    return [
        mean([length(row * tall + y, column * wide + x) for y in range(tall) for x in range(wide)])
        for row in range(rows)
        for column in range(columns)
    ]


def patch_colours(image, rows, columns):
    tall, wide = len(image[0]) // rows, len(image[0][0]) // columns
    return [
        [
            mean([channel[row * tall + y][column * wide + x] for y in range(tall) for x in range(wide)])
            for channel in image
        ]
        for row in range(rows)
        for column in range(columns)
    ]


def inside_box(box, height, width, rows, columns):
    """Share of each patch, by counting the points of a fine grid."""
    fine = 40
    tall, wide = height / rows, width / columns
    shares = []
    for row in range(rows):
        for column in range(columns):
            hits = 0
            for y in range(fine):
                for x in range(fine):
                    down, right = (row + (y + 0.5) / fine) * tall, (column + (x + 0.5) / fine) * wide
                    hits += box[0] <= right <= box[2] and box[1] <= down <= box[3]
            shares.append(hits / fine**2)
    return shares


def received(rows, prefix):
    """Mean share that each patch gets; `rows` are over all keys and sum to one."""
    return [mean([row[prefix + patch] for row in rows]) for patch in range(len(rows[0]) - prefix)]


def colour_alignment(rows, colours, prefix):
    """Row q is the one of patch q."""
    weights, likeness = [], []
    for query, row in enumerate(rows):
        for key in range(len(colours)):
            if key != query:
                weights.append(row[prefix + key])
                likeness.append(-math.dist(colours[query], colours[key]))
    return correlation(weights, likeness)


def object_alignment(rows, inside, prefix):
    gets = received(rows, prefix)
    there = sum(weight * share for weight, share in zip(gets, inside, strict=True)) / sum(gets)
    return there / mean(inside)


def agreement(rows, others):
    return correlation(
        [weight for row in rows for weight in row], [weight for row in others for weight in row]
    )


def position_share(patterns):
    """`patterns[image]` is a flat list of entries; blind attention is 1 / keys, the mean of the rows' entries."""
    number, entries = len(patterns), len(patterns[0])
    blind = mean([weight for pattern in patterns for weight in pattern])
    around = mean([(weight - blind) ** 2 for pattern in patterns for weight in pattern])
    within = 0.0
    for entry in range(entries):
        values = [pattern[entry] for pattern in patterns]
        middle = mean(values)
        within += sum((value - middle) ** 2 for value in values) / (number - 1)
    return 1 - within / entries / around


def jackknife_error(patterns, groups):
    """Delete-a-group jackknife of Busing and others, groups of any size; for equal sizes the usual one."""
    names = sorted(set(groups))
    whole, number = position_share(patterns), len(patterns)
    left, ratios = [], []
    for name in names:
        left.append(position_share([p for p, g in zip(patterns, groups, strict=True) if g != name]))
        ratios.append(number / groups.count(name))
    centre = len(names) * whole - sum((1 - 1 / r) * value for r, value in zip(ratios, left, strict=True))
    total = 0.0
    for ratio, value in zip(ratios, left, strict=True):
        pseudo = ratio * whole - (ratio - 1) * value
        total += (pseudo - centre) ** 2 / (ratio - 1)
    return math.sqrt(total / len(names))

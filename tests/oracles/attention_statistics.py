"""Statistics of one row as their definitions write them: loops, floats, no tensor operation."""

import math


def entropy(row):
    total = sum(row)
    result = 0.0
    for weight in row:
        share = weight / total
        if share > 0:
            result -= share * math.log(share)
    return result


def distance(row, query, columns, patch_height, patch_width):
    """Row over patches only; `query` counts patches row by row."""
    total = sum(row)
    result = 0.0
    for key, weight in enumerate(row):
        vertical = (key // columns - query // columns) * patch_height
        horizontal = (key % columns - query % columns) * patch_width
        result += weight / total * math.sqrt(vertical**2 + horizontal**2)
    return result


def participation(row):
    total = sum(row)
    inverse = 0.0
    for weight in row:
        inverse += (weight / total) ** 2
    return 1 / inverse / len(row)


def largest_weight(row):
    largest = row[0]
    for weight in row:
        if weight > largest:
            largest = weight
    return largest / sum(row)


def gini(row):
    """Mean absolute difference of all pairs, over twice the mean."""
    n, total = len(row), sum(row)
    difference = 0.0
    for one in row:
        for other in row:
            difference += abs(one - other)
    return difference / (2 * n * total)


def token_mass(row, token):
    return row[token] / sum(row)


def neighbour_mass(row, query, columns, num_prefix):
    """Row over all keys; `query` counts patches row by row."""
    result = 0.0
    for key, weight in enumerate(row[num_prefix:]):
        vertical = abs(key // columns - query // columns)
        horizontal = abs(key % columns - query % columns)
        if key != query and vertical <= 1 and horizontal <= 1:
            result += weight
    return result / sum(row)


def sink_mass(rows, left_out=None):
    """Rows of zeros do not count."""
    shares = [[weight / sum(row) for weight in row] for row in rows if sum(row) > 0]
    best = math.nan
    for key in range(len(rows[0])):
        if key == left_out or not shares:
            continue
        received = sum(row[key] for row in shares) / len(shares)
        best = received if math.isnan(best) or received > best else best
    return best

"""Methods that ask the model again and again, as their papers write them: loops over numbers in double precision.

The model is a function of nested lists, `image[channel][row][column]`, that returns the logit of the class explained,
or its gradient in the same shape.
"""

from math import cos, exp, pi, tanh


def tanh_network(first, first_bias, second, mean, std):
    """Logit and gradient of `sum over j of second[j] * tanh(first[j] . (x - mean) / std + first_bias[j])`."""

    def each(image):
        return [
            (channel, row, column, value)
            for channel, rows in enumerate(image)
            for row, columns in enumerate(rows)
            for column, value in enumerate(columns)
        ]

    def hidden(image):
        sums = []
        for weights, bias in zip(first, first_bias, strict=True):
            total = bias
            for place, (channel, _, _, value) in enumerate(each(image)):
                total += weights[place] * (value - mean[channel]) / std[channel]
            sums.append(total)
        return sums

    def logit(image):
        return sum(weight * tanh(total) for weight, total in zip(second, hidden(image), strict=True))

    def gradient(image):
        found = [[[0.0 for _ in columns] for columns in rows] for rows in image]
        for weights, weight, total in zip(first, second, hidden(image), strict=True):
            for place, (channel, row, column, _) in enumerate(each(image)):
                slope = weight * (1 - tanh(total) ** 2) * weights[place] / std[channel]
                found[channel][row][column] += slope
        return found

    return logit, gradient


def legendre_nodes(steps):
    """Places and weights on [0, 1]: roots of the Legendre polynomial by Newton's method."""
    places, weights = [], []
    for number in range(steps):
        x = -cos(pi * (number + 0.75) / (steps + 0.5))
        for _ in range(100):
            before, now = 1.0, x
            for degree in range(2, steps + 1):
                before, now = now, ((2 * degree - 1) * x * now - (degree - 1) * before) / degree
            if steps == 1:
                before, now = 1.0, x
            slope = steps * (x * now - before) / (x * x - 1)
            x -= now / slope
        places.append((1 + x) / 2)
        weights.append(1 / ((1 - x * x) * slope * slope))
    return places, weights


def integrated_gradients(gradient, image, baseline, places, weights):
    shares = [[0.0 for _ in row] for row in image[0]]
    for place, weight in zip(places, weights, strict=True):
        point = [
            [
                [b + place * (x - b) for x, b in zip(xs, bs, strict=True)]
                for xs, bs in zip(xss, bss, strict=True)
            ]
            for xss, bss in zip(image, baseline, strict=True)
        ]
        slopes = gradient(point)
        for channel, rows in enumerate(slopes):
            for row, columns in enumerate(rows):
                for column, slope in enumerate(columns):
                    step = image[channel][row][column] - baseline[channel][row][column]
                    shares[row][column] += weight * slope * step
    return shares


def blurred(image, deviation, reach):
    """A Gaussian of whole pixels, edges repeated."""
    heights, widths = len(image[0]), len(image[0][0])
    kernel = {
        (down, right): exp(-0.5 * (down**2 + right**2) / deviation**2)
        for down in range(-reach, reach + 1)
        for right in range(-reach, reach + 1)
    }
    total = sum(kernel.values())
    return [
        [
            [
                sum(
                    weight
                    * rows[min(max(row + down, 0), heights - 1)][min(max(column + right, 0), widths - 1)]
                    for (down, right), weight in kernel.items()
                )
                / total
                for column in range(widths)
            ]
            for row in range(heights)
        ]
        for rows in image
    ]


def smooth_grad(gradient, image, noises, deviation, squared):
    """`noises` are standard normal numbers in the shape of the image, one set for each noisy copy."""
    total = [[[0.0 for _ in columns] for columns in rows] for rows in image]
    for noise in noises:
        noisy = [
            [
                [min(max(x + deviation * n, 0.0), 1.0) for x, n in zip(xs, ns, strict=True)]
                for xs, ns in zip(xss, nss, strict=True)
            ]
            for xss, nss in zip(image, noise, strict=True)
        ]
        for channel, rows in enumerate(gradient(noisy)):
            for row, columns in enumerate(rows):
                for column, slope in enumerate(columns):
                    total[channel][row][column] += (slope * slope if squared else slope) / len(noises)
    return [
        [max(abs(channel[row][column]) for channel in total) for column in range(len(total[0][0]))]
        for row in range(len(total[0]))
    ]


def occlusion(logit, image, fill, borders, window, stride):
    """`borders` are the first pixels of the patches and the end, down and right."""
    rows, columns = len(borders[0]) - 1, len(borders[1]) - 1
    found = [[[] for _ in range(columns)] for _ in range(rows)]
    whole = logit(image)
    for top in _starts(rows, window, stride):
        for left in _starts(columns, window, stride):
            bottom, right = min(top + window, rows), min(left + window, columns)
            covered = [[list(columns) for columns in channel] for channel in image]
            for channel in range(len(image)):
                for row in range(borders[0][top], borders[0][bottom]):
                    for column in range(borders[1][left], borders[1][right]):
                        covered[channel][row][column] = fill[channel][row][column]
            fall = whole - logit(covered)
            for row in range(top, bottom):
                for column in range(left, right):
                    found[row][column].append(fall)
    return [[sum(falls) / len(falls) for falls in line] for line in found]


def _starts(patches, window, stride):
    """Where windows begin, until one reaches the far edge."""
    starts = [0]
    while starts[-1] + window < patches:
        starts.append(starts[-1] + stride)
    return starts

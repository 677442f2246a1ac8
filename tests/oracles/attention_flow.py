"""Maximum flow through layers of attention, by searching ways that still have room, over plain lists in float64."""

from collections import deque


def capacities(patterns):
    """Pipes of `patterns[layer][head][query][key]`: {node: {node: capacity}}, a node being (layer, token).

    Nodes of layer 0 are the input, and (layer, query) looks at (layer - 1, key).
    """
    pipes = {}
    for layer, heads in enumerate(patterns, start=1):
        tokens = len(heads[0])
        for query in range(tokens):
            mean = [sum(head[query][key] for head in heads) / len(heads) for key in range(tokens)]
            row = [0.5 * weight + 0.5 * (query == key) for key, weight in enumerate(mean)]
            for key, weight in enumerate(row):
                pipes.setdefault((layer, query), {})[(layer - 1, key)] = weight / sum(row)
    return pipes


def maximum_flow(pipes, source, sink):
    """Shortest way with room left, again and again, until there is none."""
    room = {}
    for start, ends in pipes.items():
        for end, width in ends.items():
            room.setdefault(start, {})[end] = width
            room.setdefault(end, {}).setdefault(start, 0.0)
    total = 0.0
    while True:
        came_from, waiting = {source: None}, deque([source])
        while waiting and sink not in came_from:
            node = waiting.popleft()
            for end, left in room[node].items():
                if left > 1e-13 and end not in came_from:
                    came_from[end] = node
                    waiting.append(end)
        if sink not in came_from:
            return total
        way, node = [], sink
        while came_from[node] is not None:
            way.append((came_from[node], node))
            node = came_from[node]
        amount = min(room[start][end] for start, end in way)
        for start, end in way:
            room[start][end] -= amount
            room[end][start] += amount
        total += amount

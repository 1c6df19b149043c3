"""Compiled loops over a graph in CSR form: triangles around agents, and distances from an agent.

Legend: N agents, E directed ties, sorted by neighbour within each agent.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def triangles_around(agents, offset_N1, neighbour_E):
    """Pairs of neighbours of each of `agents` that are tied themselves."""
    closed = np.zeros(len(agents), np.int64)
    for place in range(len(agents)):
        begin, end = offset_N1[agents[place]], offset_N1[agents[place] + 1]
        for tie in range(begin, end):
            other = neighbour_E[tie]
            mine, theirs, last = tie + 1, offset_N1[other], offset_N1[other + 1]
            while mine < end and theirs < last:
                if neighbour_E[mine] < neighbour_E[theirs]:
                    mine += 1
                elif neighbour_E[mine] > neighbour_E[theirs]:
                    theirs += 1
                else:
                    closed[place] += 1
                    mine += 1
                    theirs += 1
    return closed


@njit(cache=True, nogil=True)
def distances_from(source, offset_N1, neighbour_E, distance_N, queue_N):
    """How many agents are reached from `source`, and the sum of their distances; both arrays are scratch space."""
    distance_N[:] = -1
    distance_N[source] = 0
    queue_N[0] = source
    head, tail, total = 0, 1, 0
    while head < tail:
        agent = queue_N[head]
        head += 1
        for tie in range(offset_N1[agent], offset_N1[agent + 1]):
            other = neighbour_E[tie]
            if distance_N[other] < 0:
                distance_N[other] = distance_N[agent] + 1
                total += distance_N[other]
                queue_N[tail] = other
                tail += 1
    return tail - 1, total

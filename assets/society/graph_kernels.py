"""Compiled loops over a graph in CSR form: triangles around agents, and distances from some agents.

Legend: N agents, E directed ties, sorted by neighbour within each agent.
"""

import numpy as np
from numba import njit

NONE = np.uint64(0)


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
def _bits(mask):
    """How many bits of a 64-bit mask are set."""
    mask = mask - ((mask >> np.uint64(1)) & np.uint64(0x5555555555555555))
    mask = (mask & np.uint64(0x3333333333333333)) + ((mask >> np.uint64(2)) & np.uint64(0x3333333333333333))
    mask = (mask + (mask >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((mask * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, nogil=True)
def distances_from(sources, offset_N1, neighbour_E):
    """How many agents are reached from each of up to 64 `sources`, all together, and the sum of their distances.

    All sources are followed at once, one bit of a mask per source, so that a tie is visited once per distance instead
    of once per source.

    Source: multi-source breadth-first search, Then et al. (2014), The more the merrier, algorithm 2.
    """
    num_agents = len(offset_N1) - 1
    seen_N, now_N = np.zeros(num_agents, np.uint64), np.zeros(num_agents, np.uint64)
    next_N = np.zeros(num_agents, np.uint64)
    for place in range(len(sources)):
        now_N[sources[place]] |= np.uint64(1) << np.uint64(place)
    seen_N[:] = now_N
    reached, total, distance, is_moving = 0, 0, 0, True
    while is_moving:
        distance += 1
        is_moving = False
        for agent in range(num_agents):
            if now_N[agent] != NONE:
                for tie in range(offset_N1[agent], offset_N1[agent + 1]):
                    next_N[neighbour_E[tie]] |= now_N[agent]
        for agent in range(num_agents):
            found = next_N[agent] & ~seen_N[agent]
            if found != NONE:
                num_found = _bits(found)
                reached, total = reached + num_found, total + distance * num_found
                seen_N[agent] |= found
                is_moving = True
            now_N[agent] = found
            next_N[agent] = NONE
    return reached, total

"""Compiled loops of tie formation: who is drawn, weighed up and tied, and how pairs become a destination-sorted CSR.

Plain arrays in, plain arrays out; no tables and no random state but the one handed in. Draws come from a counter-based
generator, so that an area's ties depend on its seed alone: not on threads, nor on what other areas do.

Source: SplitMix64, Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators; drawing from cumulated
weights by a guide table, Chen & Asau (1974); open addressing with linear probes, Knuth, The art of computer
programming 3, section 6.4.

Legend: N agents of one area, P pairs, E directed ties, C circles, A attributes, K candidates.
"""

import numpy as np
from numba import njit

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S27, S30, S31, S11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)
UNIT = 1.0 / 9007199254740992.0
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
ONE = np.uint64(1)
ZERO = np.uint64(0)

TRIES = 6
"""Draws of a tie whose pair turns out to be tied already, before it is given up as one that the area cannot hold."""


@njit(cache=True, nogil=True)
def uniform(state):
    """A number from [0, 1); `state` is uint64[1] and moves on."""
    state[0] += GOLDEN
    mixed = state[0]
    mixed = (mixed ^ (mixed >> S30)) * MIX_1
    mixed = (mixed ^ (mixed >> S27)) * MIX_2
    mixed = mixed ^ (mixed >> S31)
    return np.float64(mixed >> S11) * UNIT


@njit(cache=True, nogil=True)
def guide_of(upto_N):
    """First position whose cumulated weight exceeds each of N evenly spaced points."""
    num = len(upto_N)
    guide_N = np.empty(num, np.int32)
    step = upto_N[num - 1] / num
    position = 0
    for place in range(num):
        while position < num - 1 and upto_N[position] <= place * step:
            position += 1
        guide_N[place] = position
    return guide_N


@njit(cache=True, nogil=True)
def _find(point, upto_N, guide_N, per_step):
    """Position whose stretch of the cumulated weights holds a point; `per_step` is N over the sum of weights."""
    num = len(upto_N)
    position = guide_N[min(np.int64(point * per_step), num - 1)]
    while position > 0 and upto_N[position - 1] > point:
        position -= 1
    while position < num - 1 and upto_N[position] <= point:
        position += 1
    return position


@njit(cache=True, nogil=True)
def _slot(table, key):
    """Where the key is in the hash set, or the free place where it belongs."""
    mask = np.uint64(len(table) - 1)
    place = ((key * GOLDEN) >> S27) & mask
    while table[place] != EMPTY and table[place] != key:
        place = (place + ONE) & mask
    return place


@njit(cache=True, nogil=True)
def _is_new(table, key):
    """Whether a pair was not there before; it is afterwards."""
    slot = _slot(table, key)
    is_new = table[slot] == EMPTY
    if is_new:
        table[slot] = key
    return is_new


@njit(cache=True, nogil=True)
def _key(first, second):
    low, high = min(first, second), max(first, second)
    return (np.uint64(low) << np.uint64(32)) | np.uint64(high)


@njit(cache=True, nogil=True)
def _odds(code_a, code_b, gap, gap_odds, shift_A, mask_A, odds_A):
    differs = code_a ^ code_b
    odds = gap_odds[gap]
    for attribute in range(len(odds_A)):
        is_shared = (differs >> shift_A[attribute]) & mask_A[attribute] == ZERO
        odds *= odds_A[attribute] if is_shared else 1.0
    return odds


@njit(cache=True, nogil=True)
def _taken(state, odds_K, alter_K):
    """One of the candidates, drawn by its odds, which come summed up one after the other."""
    point, taken = uniform(state) * odds_K[-1], 0
    while taken < len(odds_K) - 1 and odds_K[taken] <= point:
        taken += 1
    return alter_K[taken]


@njit(cache=True, nogil=True)
def likeness(code_a, code_b, gap, gap_utility, shift_A, mask_A, log_odds_A):
    """What two agents have in common as a fraction: 1 with everything shared, 0 with nothing, 50 years apart."""
    differs = code_a ^ code_b
    utility, highest, lowest = gap_utility[gap], 0.0, gap_utility[50]
    for attribute in range(len(log_odds_A)):
        highest += log_odds_A[attribute]
        if (differs >> shift_A[attribute]) & mask_A[attribute] == ZERO:
            utility += log_odds_A[attribute]
    if highest <= lowest:
        return 1.0
    return min(1.0, max(0.0, (utility - lowest) / (highest - lowest)))


@njit(cache=True, nogil=True)
def adjacency(num_agents, low_P, high_P):
    """Neighbours of each agent, both ways: offsets [N + 1] and neighbours [E]."""
    offset_N1 = np.zeros(num_agents + 1, np.int64)
    for pair in range(len(low_P)):
        offset_N1[low_P[pair] + 1] += 1
        offset_N1[high_P[pair] + 1] += 1
    for agent in range(num_agents):
        offset_N1[agent + 1] += offset_N1[agent]
    next_N = offset_N1[:-1].copy()
    neighbour_E = np.empty(2 * len(low_P), np.int32)
    for pair in range(len(low_P)):
        low, high = low_P[pair], high_P[pair]
        neighbour_E[next_N[low]] = high
        next_N[low] += 1
        neighbour_E[next_N[high]] = low
        next_N[high] += 1
    return offset_N1, neighbour_E


@njit(cache=True, nogil=True)
def choose(
    state,
    num_wanted,
    num_candidates,
    circle_share,
    order_N,
    upto_N,
    guide_N,
    edge_C1,
    code_N,
    age_N,
    household_N,
    gap_odds,
    shift_A,
    mask_A,
    odds_A,
    table,
    low_P,
    high_P,
    num_pairs,
):
    """Ties chosen within an area, each among a handful of candidates; returns how many pairs there are now.

    Agents look for ties in the order of circles, in numbers proportional to their propensity (systematic sampling).
    Code, age and household come in that order too, so that what an agent looks at lies close in memory. Pairs are
    written behind the first `num_pairs`.
    """
    num_agents = len(order_N)
    total = upto_N[num_agents - 1]
    per_step = num_agents / total
    odds_K, place_K = np.empty(num_candidates), np.empty(num_candidates, np.int32)
    start = uniform(state)
    circle, done = 0, 0
    for ego in range(num_agents):
        while edge_C1[circle + 1] <= ego:
            circle += 1
        due = np.int64(np.floor(upto_N[ego] / total * num_wanted + start))
        circle_low = upto_N[edge_C1[circle] - 1] if edge_C1[circle] > 0 else 0.0
        circle_high = upto_N[edge_C1[circle + 1] - 1]
        while done < due:
            done += 1
            for _ in range(TRIES):
                low, high = 0.0, total
                if uniform(state) < circle_share:
                    low, high = circle_low, circle_high
                sum_of_odds = 0.0
                for candidate in range(num_candidates):
                    alter = _find(low + uniform(state) * (high - low), upto_N, guide_N, per_step)
                    if household_N[alter] != household_N[ego]:
                        gap = abs(np.int64(age_N[ego]) - np.int64(age_N[alter]))
                        sum_of_odds += _odds(code_N[ego], code_N[alter], gap, gap_odds, shift_A, mask_A, odds_A)
                    odds_K[candidate], place_K[candidate] = sum_of_odds, alter
                if sum_of_odds == 0.0:
                    continue
                first, second = order_N[ego], order_N[_taken(state, odds_K, place_K)]
                if _is_new(table, _key(first, second)):
                    low_P[num_pairs], high_P[num_pairs] = min(first, second), max(first, second)
                    num_pairs += 1
                    break
    return num_pairs


@njit(cache=True, nogil=True)
def close(
    state,
    num_wanted,
    num_candidates,
    order_N,
    upto_N,
    offset_N1,
    neighbour_E,
    code_N,
    age_N,
    household_N,
    gap_odds,
    shift_A,
    mask_A,
    odds_A,
    table,
    low_P,
    high_P,
    num_pairs,
):
    """Ties with a tie of a tie, each among the ends of two-step walks; returns how many pairs there are now.

    Ends that are tied with the agent already are told by the few ties it had when the wave began, which are at hand;
    only the end that is taken is looked up among the pairs of this wave too.
    """
    num_agents = len(order_N)
    total = upto_N[num_agents - 1]
    odds_K, alter_K = np.empty(num_candidates), np.empty(num_candidates, np.int32)
    start = uniform(state)
    done = 0
    for position in range(num_agents):
        due = np.int64(np.floor(upto_N[position] / total * num_wanted + start))
        ego = order_N[position]
        degree = offset_N1[ego + 1] - offset_N1[ego]
        if degree == 0:
            done = due
        while done < due:
            done += 1
            for _ in range(TRIES):
                sum_of_odds = 0.0
                for candidate in range(num_candidates):
                    between = neighbour_E[offset_N1[ego] + np.int64(uniform(state) * degree)]
                    width = offset_N1[between + 1] - offset_N1[between]
                    alter = neighbour_E[offset_N1[between] + np.int64(uniform(state) * width)]
                    is_open = alter != ego and household_N[alter] != household_N[ego]
                    for tie in range(offset_N1[ego], offset_N1[ego + 1]):
                        is_open &= neighbour_E[tie] != alter
                    if is_open:
                        gap = abs(np.int64(age_N[ego]) - np.int64(age_N[alter]))
                        sum_of_odds += _odds(code_N[ego], code_N[alter], gap, gap_odds, shift_A, mask_A, odds_A)
                    odds_K[candidate], alter_K[candidate] = sum_of_odds, alter
                if sum_of_odds == 0.0:
                    continue
                alter = _taken(state, odds_K, alter_K)
                if _is_new(table, _key(ego, alter)):
                    low_P[num_pairs], high_P[num_pairs] = min(ego, alter), max(ego, alter)
                    num_pairs += 1
                    break
    return num_pairs


@njit(cache=True, nogil=True)
def choose_across(
    state,
    num_wanted,
    num_candidates,
    upto_N,
    guide_N,
    order_N,
    code_N,
    age_N,
    household_N,
    upto_M,
    guide_M,
    order_M,
    code_M,
    age_M,
    household_M,
    gap_odds,
    shift_A,
    mask_A,
    odds_A,
    table,
    own_P,
    other_P,
    num_pairs,
):
    """Ties between agents of one area and of another; every second is looked for from the other side."""
    odds_K, alter_K = np.empty(num_candidates), np.empty(num_candidates, np.int32)
    per_step_N, per_step_M = len(upto_N) / upto_N[-1], len(upto_M) / upto_M[-1]
    for number in range(num_wanted):
        for _ in range(TRIES):
            if number % 2 == 0:
                ego = order_N[_find(uniform(state) * upto_N[-1], upto_N, guide_N, per_step_N)]
                ego_code, ego_age, ego_household = code_N[ego], age_N[ego], household_N[ego]
            else:
                ego = order_M[_find(uniform(state) * upto_M[-1], upto_M, guide_M, per_step_M)]
                ego_code, ego_age, ego_household = code_M[ego], age_M[ego], household_M[ego]
            sum_of_odds = 0.0
            for candidate in range(num_candidates):
                if number % 2 == 0:
                    alter = order_M[_find(uniform(state) * upto_M[-1], upto_M, guide_M, per_step_M)]
                    alter_code, alter_age, alter_household = code_M[alter], age_M[alter], household_M[alter]
                else:
                    alter = order_N[_find(uniform(state) * upto_N[-1], upto_N, guide_N, per_step_N)]
                    alter_code, alter_age, alter_household = code_N[alter], age_N[alter], household_N[alter]
                if ego_household != alter_household:
                    gap = abs(np.int64(ego_age) - np.int64(alter_age))
                    sum_of_odds += _odds(ego_code, alter_code, gap, gap_odds, shift_A, mask_A, odds_A)
                odds_K[candidate], alter_K[candidate] = sum_of_odds, alter
            if sum_of_odds == 0.0:
                continue
            alter = _taken(state, odds_K, alter_K)
            own, other = (ego, alter) if number % 2 == 0 else (alter, ego)
            if _is_new(table, (np.uint64(own) << np.uint64(32)) | np.uint64(other)):
                own_P[num_pairs], other_P[num_pairs] = own, other
                num_pairs += 1
                break
    return num_pairs


@njit(cache=True, nogil=True)
def strengths(own_P, other_P, code_N, age_N, code_M, age_M, gap_utility, shift_A, mask_A, log_odds_A, lowest, highest):
    """Strength of each pair, linear in what its ends have in common."""
    strength_P = np.empty(len(own_P), np.float32)
    for pair in range(len(own_P)):
        own, other = own_P[pair], other_P[pair]
        gap = abs(np.int64(age_N[own]) - np.int64(age_M[other]))
        alike = likeness(code_N[own], code_M[other], gap, gap_utility, shift_A, mask_A, log_odds_A)
        strength_P[pair] = np.float32(lowest + (highest - lowest) * alike)
    return strength_P


@njit(cache=True, nogil=True)
def to_rows(num_agents, first, low_P, high_P, type_P, strength_P, own_Q, other_Q, type_Q, strength_Q, rank_of_type):
    """All ties of an area's agents as a CSR: offsets [N + 1], then speaker, type and strength, sorted within agents.

    P pairs lie within the area, in positions of the area; Q ties come in from elsewhere, `own` in positions of the area
    and `other` in positions of the whole population, in which speakers are named (`first` is the area's).
    """
    offset_N1 = np.zeros(num_agents + 1, np.int64)
    for pair in range(len(low_P)):
        offset_N1[low_P[pair] + 1] += 1
        offset_N1[high_P[pair] + 1] += 1
    for tie in range(len(own_Q)):
        offset_N1[own_Q[tie] + 1] += 1
    for agent in range(num_agents):
        offset_N1[agent + 1] += offset_N1[agent]
    num_ties = offset_N1[num_agents]
    src_E, type_E = np.empty(num_ties, np.int32), np.empty(num_ties, np.uint8)
    strength_E = np.empty(num_ties, np.float32)
    next_N = offset_N1[:-1].copy()
    for pair in range(len(low_P)):
        for ego, alter in ((low_P[pair], high_P[pair]), (high_P[pair], low_P[pair])):
            rest = (offset_N1, next_N, src_E, type_E, strength_E, rank_of_type)
            _insert(ego, np.int32(first + alter), type_P[pair], strength_P[pair], *rest)
    for tie in range(len(own_Q)):
        rest = (offset_N1, next_N, src_E, type_E, strength_E, rank_of_type)
        _insert(own_Q[tie], other_Q[tie], type_Q[tie], strength_Q[tie], *rest)
    return offset_N1, src_E, type_E, strength_E


@njit(cache=True, nogil=True)
def _insert(ego, speaker, tie_type, strength, offset_N1, next_N, src_E, type_E, strength_E, rank_of_type):
    place = next_N[ego]
    while place > offset_N1[ego] and (
        src_E[place - 1] > speaker
        or (src_E[place - 1] == speaker and rank_of_type[type_E[place - 1]] > rank_of_type[tie_type])
    ):
        src_E[place], type_E[place], strength_E[place] = src_E[place - 1], type_E[place - 1], strength_E[place - 1]
        place -= 1
    src_E[place], type_E[place], strength_E[place] = speaker, tie_type, strength
    next_N[ego] += 1

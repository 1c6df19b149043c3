"""The Triton kernels of a whole timestep: what an agent asks its peers, and all that follows from what it hears.

Between them lies social attention. Nothing but the state, the query and what was heard travels to and from memory: what
a timestep makes of an agent in between stays in registers, where one operation after another would write and read it
some twenty times over. Weights lie padded in one table, `layers`: rows are the inputs of every layer in one order,
columns the outputs of one layer after another (`model/lsm/fused.py` fills it).

    rows      identity | memory | channels | latent | event | peers | recalled | traces
    columns   query | about events | source trust | about episodes | felt | change | reset | keep | candidate
              | conviction | voice

Legend: B agents of a program, Z identity, S memory, K channels, U latent, F message, G traces, X expression, H hidden,
Q query, O source types, M episode slots; a P before a size means that it is padded to a power of two.
"""

# pyright: reportMissingImports=false, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

import triton
import triton.language as tl

from model.kernels.triton_episodes import recall, store_episode, strength
from model.kernels.triton_tiles import TRACES, add, add_messages, begin, clipped, gelu, put, row, score, tanh, tile

HALF_REACHED = tl.constexpr(0.5)
"""`model.lsm.exposure.LEAST_REMEMBERED`."""
NUMBERS = tl.constexpr(16)
"""Single numbers at the head of `vectors`."""


@triton.jit(do_not_specialize=["num"])
def ask(
    identity,
    channels,
    latent,
    layers,
    biases,
    query,
    num,
    Z: tl.constexpr,
    PZ: tl.constexpr,
    PS: tl.constexpr,
    K: tl.constexpr,
    PK: tl.constexpr,
    U: tl.constexpr,
    PU: tl.constexpr,
    Q: tl.constexpr,
    PQ: tl.constexpr,
    ALL: tl.constexpr,
    PRECISION: tl.constexpr,
    AGENTS: tl.constexpr,
):
    """What each agent asks its peers, [N, Q]."""
    agent_B = tl.program_id(0).to(tl.int64) * AGENTS + tl.arange(0, AGENTS)
    is_agent_B = agent_B < num
    zero_B = agent_B.to(tl.float32) * 0.0
    sum_BQ = begin(biases, zero_B, 0, PQ)
    sum_BQ = add(layers, sum_BQ, tile(identity, agent_B, is_agent_B, Z, PZ), 0, PZ, 0, PQ, ALL, PRECISION)
    sum_BQ = add(layers, sum_BQ, tile(channels, agent_B, is_agent_B, K, PK), PZ + PS, PK, 0, PQ, ALL, PRECISION)
    sum_BQ = add(layers, sum_BQ, tile(latent, agent_B, is_agent_B, U, PU), PZ + PS + PK, PU, 0, PQ, ALL, PRECISION)
    put(query, sum_BQ, agent_B, is_agent_B, Q, PQ)


@triton.jit
def _attend(
    query_BF,
    trust_BO,
    null,
    exposure,
    exposure_stride,
    event_key,
    event_value,
    event_facts,
    event_number,
    num_events,
    agent_B,
    is_agent_B,
    zero_B,
    PF: tl.constexpr,
    PO: tl.constexpr,
    SCALE: tl.constexpr,
    AGENTS: tl.constexpr,
):
    """Attention over the few active events: message, traces, how far any event reached, and the one heeded most."""
    event_BF = tl.zeros([AGENTS, PF], tl.float32)
    traces_BG = tl.zeros([AGENTS, TRACES], tl.float32)
    total_B, missed_B, highest_B = zero_B + null, zero_B + 1, zero_B
    top_B = tl.full([AGENTS], -1, tl.int64)
    for active in range(num_events):
        number = tl.load(event_number + 2 * active)
        source = tl.load(event_number + 2 * active + 1)
        reach = tl.load(exposure + number.to(tl.int64) * exposure_stride + agent_B, mask=is_agent_B, other=0)
        reach_B = reach.to(tl.float32)
        trust_B = tl.sum(tl.where(tl.arange(0, PO)[None, :] == source, trust_BO, 0.0), 1)
        weight_B = reach_B * tl.exp(score(query_BF, row(event_key, active, PF), SCALE) + trust_B)
        event_BF += weight_B[:, None] * row(event_value, active, PF)[None, :]
        traces_BG += weight_B[:, None] * row(event_facts, active, TRACES)[None, :]
        total_B += weight_B
        missed_B *= 1 - reach_B
        heeded_B = tl.where(reach_B >= HALF_REACHED, weight_B, 0.0)
        top_B = tl.where(heeded_B > highest_B, number.to(tl.int64), top_B)
        highest_B = tl.maximum(heeded_B, highest_B)
    return event_BF / total_B[:, None], traces_BG / total_B[:, None], 1 - missed_B, top_B


@triton.jit(do_not_specialize=["num", "exposure_stride", "num_events", "num_contents"])
def move(
    identity,
    channels,
    latent,
    memory,
    conviction,
    expression,
    slot_event,
    slot_timestep,
    slot_salience,
    slot_appraisal,
    heard,
    offsets,
    exposure,
    next_channels,
    next_latent,
    next_memory,
    next_conviction,
    next_expression,
    next_slot_event,
    next_slot_timestep,
    next_slot_salience,
    next_slot_appraisal,
    exposed,
    salience,
    top_event,
    appraisal,
    layers,
    biases,
    mix,
    out,
    out_bias,
    vectors,
    event_key,
    event_value,
    event_facts,
    event_number,
    content_key,
    content_value,
    content_number,
    at,
    num,
    exposure_stride,
    num_events,
    num_contents,
    Z: tl.constexpr,
    PZ: tl.constexpr,
    S: tl.constexpr,
    PS: tl.constexpr,
    K: tl.constexpr,
    PK: tl.constexpr,
    U: tl.constexpr,
    PU: tl.constexpr,
    F: tl.constexpr,
    PF: tl.constexpr,
    X: tl.constexpr,
    PX: tl.constexpr,
    PO: tl.constexpr,
    PH: tl.constexpr,
    PH2: tl.constexpr,
    Q: tl.constexpr,
    PQ: tl.constexpr,
    M: tl.constexpr,
    PM: tl.constexpr,
    ALL: tl.constexpr,
    THRESHOLD: tl.constexpr,
    DECAY: tl.constexpr,
    HAS_PEERS: tl.constexpr,
    RESTS: tl.constexpr,
    ROUNDS: tl.constexpr,
    PRECISION: tl.constexpr,
    AGENTS: tl.constexpr,
):
    """The next state of every agent and what the timestep did to it, from what it heard."""
    SCALE: tl.constexpr = F**-0.5
    MEMORY: tl.constexpr = PZ
    CHANNELS: tl.constexpr = PZ + PS
    EVENT: tl.constexpr = PZ + PS + PK + PU
    TO_EVENTS: tl.constexpr = PQ
    TO_TRUST: tl.constexpr = PQ + PF
    TO_EPISODES: tl.constexpr = TO_TRUST + PO
    TO_FELT: tl.constexpr = TO_EPISODES + PF
    TO_CHANGE: tl.constexpr = TO_FELT + PH2
    TO_RESET: tl.constexpr = TO_CHANGE + PH
    TO_KEEP: tl.constexpr = TO_RESET + PS
    TO_CANDIDATE: tl.constexpr = TO_KEEP + PS
    TO_CONVICTION: tl.constexpr = TO_CANDIDATE + PS
    TO_VOICE: tl.constexpr = TO_CONVICTION + PH2

    agent_B = tl.program_id(0).to(tl.int64) * AGENTS + tl.arange(0, AGENTS)
    is_agent_B = agent_B < num
    zero_B = agent_B.to(tl.float32) * 0.0
    timestep = tl.load(at)
    slot_M = tl.arange(0, PM)
    identity_BZ = tile(identity, agent_B, is_agent_B, Z, PZ)
    channels_BK = tile(channels, agent_B, is_agent_B, K, PK)
    latent_BU = tile(latent, agent_B, is_agent_B, U, PU)

    # What events said.
    query_BF = begin(biases, zero_B, TO_EVENTS, PF)
    query_BF = add(layers, query_BF, identity_BZ, 0, PZ, TO_EVENTS, PF, ALL, PRECISION)
    query_BF = add(layers, query_BF, channels_BK, CHANNELS, PK, TO_EVENTS, PF, ALL, PRECISION)
    trust_BO = begin(biases, zero_B, TO_TRUST, PO)
    trust_BO = add(layers, trust_BO, identity_BZ, 0, PZ, TO_TRUST, PO, ALL, PRECISION)
    trust_BO = tanh(add(layers, trust_BO, channels_BK, CHANNELS, PK, TO_TRUST, PO, ALL, PRECISION))
    event_BF, traces_BG, exposure_B, top_B = _attend(
        query_BF,
        trust_BO,
        tl.load(vectors),
        exposure,
        exposure_stride,
        event_key,
        event_value,
        event_facts,
        event_number,
        num_events,
        agent_B,
        is_agent_B,
        zero_B,
        PF,
        PO,
        SCALE,
        AGENTS,
    )

    # What peers said.
    peers_B = zero_B
    peers_BF = tl.zeros([AGENTS, PF], tl.float32)
    if HAS_PEERS:
        first_B = tl.load(offsets + agent_B, mask=is_agent_B, other=0)
        last_B = tl.load(offsets + agent_B + 1, mask=is_agent_B, other=0)
        peers_B = (last_B > first_B).to(tl.float32)
        peers_BF = add(mix, peers_BF, tile(heard, agent_B, is_agent_B, Q, PQ), 0, PQ, 0, PF, PF, PRECISION)

    # What is remembered.
    place_BM = agent_B[:, None] * M + slot_M[None, :]
    is_slot_BM = is_agent_B[:, None] & (slot_M < M)[None, :]
    about_BM = tl.load(slot_event + place_BM, mask=is_slot_BM, other=-1)
    when_BM = tl.load(slot_timestep + place_BM, mask=is_slot_BM, other=0)
    felt_BM = tl.load(slot_salience + place_BM, mask=is_slot_BM, other=0.0).to(tl.float32)
    taken_BM = tl.load(slot_appraisal + place_BM, mask=is_slot_BM, other=0.0).to(tl.float32)
    strength_BM = strength(felt_BM, when_BM, timestep, THRESHOLD, DECAY)
    query_BF = begin(biases, zero_B, TO_EPISODES, PF)
    query_BF = add(layers, query_BF, channels_BK, CHANNELS, PK, TO_EPISODES, PF, ALL, PRECISION)
    query_BF = add(layers, query_BF, latent_BU, CHANNELS + PK, PU, TO_EPISODES, PF, ALL, PRECISION)
    recalled_BF, recall_BG = recall(
        query_BF,
        about_BM,
        strength_BM,
        taken_BM,
        content_key,
        content_value,
        content_number,
        num_contents,
        zero_B,
        PF,
        SCALE,
        AGENTS,
    )
    traces_BG += recall_BG
    received_B = 1 - (1 - peers_B) * (1 - exposure_B)
    reached_B = zero_B + 1
    if RESTS:
        reached_B = 1 - (1 - received_B) * (1 - tl.max(strength_BM, 1))

    # How the timestep was felt.
    hidden_BH = begin(biases, zero_B, TO_FELT, PH2)
    hidden_BH = add(layers, hidden_BH, channels_BK, CHANNELS, PK, TO_FELT, PH2, ALL, PRECISION)
    hidden_BH = add(layers, hidden_BH, latent_BU, CHANNELS + PK, PU, TO_FELT, PH2, ALL, PRECISION)
    hidden_BH = add_messages(
        layers, hidden_BH, event_BF, peers_BF, recalled_BF, traces_BG, EVENT, PF, TO_FELT, PH2, ALL, PRECISION
    )
    hidden_BH = gelu(hidden_BH)
    felt_B = tl.sum(hidden_BH * row(vectors + NUMBERS, 0, PH2)[None, :], 1) + tl.load(vectors + 1)
    taken_B = tl.sum(hidden_BH * row(vectors + NUMBERS, 1, PH2)[None, :], 1) + tl.load(vectors + 2)
    felt_B = tl.sigmoid(felt_B) * received_B
    taken_B = tanh(taken_B) * received_B
    tl.store(exposed + agent_B, (exposure_B > 0).to(tl.int8), mask=is_agent_B)
    tl.store(salience + agent_B, felt_B, mask=is_agent_B)
    tl.store(top_event + agent_B, top_B, mask=is_agent_B)
    tl.store(appraisal + agent_B, taken_B, mask=is_agent_B)

    store_episode(
        slot_event,
        slot_timestep,
        slot_salience,
        slot_appraisal,
        next_slot_event,
        next_slot_timestep,
        next_slot_salience,
        next_slot_appraisal,
        felt_B,
        taken_B,
        top_B,
        timestep,
        place_BM,
        is_slot_BM,
        slot_M,
        M,
        THRESHOLD,
        DECAY,
    )

    # Memory: the running summary.
    memory_BS = tile(memory, agent_B, is_agent_B, S, PS)
    reset_BS = begin(biases, zero_B, TO_RESET, PS)
    reset_BS = add(layers, reset_BS, memory_BS, MEMORY, PS, TO_RESET, PS, ALL, PRECISION)
    reset_BS = add_messages(
        layers, reset_BS, event_BF, peers_BF, recalled_BF, traces_BG, EVENT, PF, TO_RESET, PS, ALL, PRECISION
    )
    candidate_BS = begin(biases, zero_B, TO_CANDIDATE, PS)
    candidate_BS = add(
        layers, candidate_BS, tl.sigmoid(reset_BS) * memory_BS, MEMORY, PS, TO_CANDIDATE, PS, ALL, PRECISION
    )
    candidate_BS = add_messages(
        layers, candidate_BS, event_BF, peers_BF, recalled_BF, traces_BG, EVENT, PF, TO_CANDIDATE, PS, ALL, PRECISION
    )
    keep_BS = begin(biases, zero_B, TO_KEEP, PS)
    keep_BS = add(layers, keep_BS, memory_BS, MEMORY, PS, TO_KEEP, PS, ALL, PRECISION)
    keep_BS = add_messages(
        layers, keep_BS, event_BF, peers_BF, recalled_BF, traces_BG, EVENT, PF, TO_KEEP, PS, ALL, PRECISION
    )
    step_BS = reached_B[:, None] * (1 - tl.sigmoid(keep_BS)) * (tanh(candidate_BS) - memory_BS)
    put(next_memory, memory_BS + step_BS, agent_B, is_agent_B, S, PS)

    # Transition: the residual change of channels and latent.
    identity_BZ = tile(identity, agent_B, is_agent_B, Z, PZ)
    change_BH = begin(biases, zero_B, TO_CHANGE, PH)
    change_BH = add(layers, change_BH, identity_BZ, 0, PZ, TO_CHANGE, PH, ALL, PRECISION)
    change_BH = add(layers, change_BH, memory_BS, PZ, PS, TO_CHANGE, PH, ALL, PRECISION)
    change_BH = add(layers, change_BH, channels_BK, CHANNELS, PK, TO_CHANGE, PH, ALL, PRECISION)
    change_BH = add(layers, change_BH, latent_BU, CHANNELS + PK, PU, TO_CHANGE, PH, ALL, PRECISION)
    change_BH = add_messages(
        layers, change_BH, event_BF, peers_BF, recalled_BF, traces_BG, EVENT, PF, TO_CHANGE, PH, ALL, PRECISION
    )
    change_BH = gelu(change_BH)
    WIDE: tl.constexpr = 2 * (PK + PU)
    gate_BK = begin(out_bias, zero_B, 0, PK)
    gate_BK = add(out, gate_BK, change_BH, 0, PH, 0, PK, WIDE, PRECISION)
    target_BK = begin(out_bias, zero_B, PK + PU, PK)
    target_BK = add(out, target_BK, change_BH, 0, PH, PK + PU, PK, WIDE, PRECISION)
    step_BK = reached_B[:, None] * tl.sigmoid(gate_BK) * (tanh(target_BK) - channels_BK)
    channels_BK = clipped(channels_BK + step_BK)
    gate_BU = begin(out_bias, zero_B, PK, PU)
    gate_BU = add(out, gate_BU, change_BH, 0, PH, PK, PU, WIDE, PRECISION)
    target_BU = begin(out_bias, zero_B, 2 * PK + PU, PU)
    target_BU = add(out, target_BU, change_BH, 0, PH, 2 * PK + PU, PU, WIDE, PRECISION)
    step_BU = reached_B[:, None] * tl.sigmoid(gate_BU) * (tanh(target_BU) - latent_BU)
    latent_BU = clipped(latent_BU + step_BU)
    if ROUNDS:
        channels_BK = channels_BK.to(tl.bfloat16).to(tl.float32)
        latent_BU = latent_BU.to(tl.bfloat16).to(tl.float32)
    put(next_channels, channels_BK, agent_B, is_agent_B, K, PK)
    put(next_latent, latent_BU, agent_B, is_agent_B, U, PU)

    # Expression; whom nothing reached keeps its own, to the bit.
    hidden_BH = begin(biases, zero_B, TO_CONVICTION, PH2)
    hidden_BH = add(layers, hidden_BH, channels_BK, CHANNELS, PK, TO_CONVICTION, PH2, ALL, PRECISION)
    hidden_BH = gelu(add(layers, hidden_BH, latent_BU, CHANNELS + PK, PU, TO_CONVICTION, PH2, ALL, PRECISION))
    firm_B = tl.sum(hidden_BH * row(vectors + NUMBERS, 2, PH2)[None, :], 1) + tl.load(vectors + 3)
    firm_B = tl.sigmoid(firm_B)
    voice_BX = begin(biases, zero_B, TO_VOICE, PX)
    voice_BX = add(layers, voice_BX, channels_BK, CHANNELS, PK, TO_VOICE, PX, ALL, PRECISION)
    voice_BX = add(layers, voice_BX, latent_BU, CHANNELS + PK, PU, TO_VOICE, PX, ALL, PRECISION)
    voice_BX += firm_B[:, None] * tl.load(vectors + NUMBERS + 3 * PH2 + tl.arange(0, PX))[None, :]
    x_X = tl.arange(0, PX)
    will_B = tl.sum(tl.where(x_X[None, :] == X, voice_BX, 0.0), 1)
    voice_BX = tl.sigmoid(will_B)[:, None] * tanh(voice_BX)
    is_moved_B = reached_B > 0
    before_B = tl.load(conviction + agent_B, mask=is_agent_B, other=0.0).to(tl.float32)
    firm_B = tl.where(is_moved_B, firm_B, before_B)
    tl.store(next_conviction + agent_B, firm_B.to(next_conviction.dtype.element_ty), mask=is_agent_B)
    before_BX = tile(expression, agent_B, is_agent_B, X, PX)
    put(next_expression, tl.where(is_moved_B[:, None], voice_BX, before_BX), agent_B, is_agent_B, X, PX)

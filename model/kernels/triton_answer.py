"""The Triton kernels of social attention, backward: gradients by listener and tie, then sums by speaker.

The weights of a tie are computed again from the logarithm of the softmax's denominator that the forward pass kept.

Source: Dao et al. (2022), FlashAttention, algorithm 4, with the ties of a graph in place of rows of a matrix.

Legend: as in `triton_ties.py`; P ties of a hub read together.
"""

# pyright: reportMissingImports=false, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportAssignmentType=false

import triton
import triton.language as tl

from model.kernels.triton_ties import gates, group, rows, scores, tie


@triton.jit
def _slopes(grad_LHX, query_LHX, key_LX, weight_LH, mean_LH):
    """Gradients of the scores, [L, H], and of the keys, [L, X], of one tie per listener."""
    slope_LH = weight_LH * (tl.sum(grad_LHX * key_LX[:, None, :], 2) - mean_LH)
    to_key_LX = tl.sum(weight_LH[:, :, None] * grad_LHX + slope_LH[:, :, None] * query_LHX, 1)
    return slope_LH, to_key_LX


@triton.jit
def _keep(
    grad_key,
    grad_strength,
    grad_gate_ties,
    grad_score,
    slope_LH,
    to_key_LX,
    stored_LX,
    gate_LX,
    place_L,
    is_tie_L,
    h_H,
    x_X,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Writes the gradients of one tie per listener."""
    at_LX = place_L[:, None] * WIDTH + x_X[None, :]
    is_kept_LX = is_tie_L[:, None] & (x_X < WIDTH)[None, :]
    tl.store(grad_key + at_LX, to_key_LX * gate_LX, mask=is_kept_LX)
    tl.store(grad_gate_ties + at_LX, to_key_LX * stored_LX, mask=is_kept_LX)
    tl.store(grad_strength + place_L, tl.sum(slope_LH, 1), mask=is_tie_L)
    is_kept_LH = is_tie_L[:, None] & (h_H < HEADS)[None, :]
    tl.store(grad_score + place_L[:, None] * HEADS + h_H[None, :], slope_LH, mask=is_kept_LH)


@triton.jit(do_not_specialize=["num"])
def answer(
    grad,
    denominator,
    query,
    expression,
    gate,
    bias,
    log_strength,
    offsets,
    src,
    kind,
    grad_query,
    grad_key,
    grad_strength,
    grad_gate_ties,
    grad_score,
    num,
    HEADS: tl.constexpr,
    PADDED_HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    TYPES: tl.constexpr,
    MOST: tl.constexpr,
    LISTENERS: tl.constexpr,
):
    """Gradients of a group of listeners: of queries, and per tie of the key, the gate, the scores and the strength."""
    x_X, h_H = tl.arange(0, PADDED), tl.arange(0, PADDED_HEADS)
    agent_L, first_L, last_L, is_mine_L = group(offsets, num, MOST, LISTENERS)
    row_LHX, is_there_LHX = rows(agent_L, is_mine_L, h_H, x_X, HEADS, WIDTH)
    query_LHX = tl.load(query + row_LHX, mask=is_there_LHX, other=0.0)
    grad_LHX = tl.load(grad + row_LHX, mask=is_there_LHX, other=0.0)
    is_kept_LH = is_mine_L[:, None] & (h_H < HEADS)[None, :]
    lse_LH = tl.load(denominator + agent_L[:, None] * HEADS + h_H[None, :], mask=is_kept_LH, other=0.0)
    longest = tl.max(last_L - first_L, 0)
    mean_LH = tl.zeros([LISTENERS, PADDED_HEADS], tl.float32)
    for step in range(0, longest):
        place_L = first_L + step
        stored_LX, kind_L, strength_L = tie(expression, log_strength, src, kind, place_L, place_L < last_L, x_X, WIDTH)
        key_LX = stored_LX.to(tl.float32) * gates(gate, kind_L, x_X, WIDTH)
        score_LH = scores(query_LHX, key_LX, bias, kind_L, strength_L, h_H, HEADS, TYPES)
        mean_LH += tl.exp(score_LH - lse_LH) * tl.sum(grad_LHX * key_LX[:, None, :], 2)
    to_query_LHX = tl.zeros([LISTENERS, PADDED_HEADS, PADDED], tl.float32)
    for step in range(0, longest):
        place_L = first_L + step
        is_tie_L = place_L < last_L
        stored_LX, kind_L, strength_L = tie(expression, log_strength, src, kind, place_L, is_tie_L, x_X, WIDTH)
        stored_LX, gate_LX = stored_LX.to(tl.float32), gates(gate, kind_L, x_X, WIDTH)
        key_LX = stored_LX * gate_LX
        score_LH = scores(query_LHX, key_LX, bias, kind_L, strength_L, h_H, HEADS, TYPES)
        slope_LH, to_key_LX = _slopes(grad_LHX, query_LHX, key_LX, tl.exp(score_LH - lse_LH), mean_LH)
        to_query_LHX += slope_LH[:, :, None] * key_LX[:, None, :]
        _keep(
            grad_key,
            grad_strength,
            grad_gate_ties,
            grad_score,
            slope_LH,
            to_key_LX,
            stored_LX,
            gate_LX,
            place_L,
            is_tie_L,
            h_H,
            x_X,
            HEADS,
            WIDTH,
        )
    tl.store(grad_query + row_LHX, to_query_LHX, mask=is_there_LHX)


@triton.jit(do_not_specialize=["num"])
def answer_hubs(
    grad,
    denominator,
    query,
    expression,
    gate,
    bias,
    log_strength,
    offsets,
    src,
    kind,
    grad_query,
    grad_key,
    grad_strength,
    grad_gate_ties,
    grad_score,
    num,
    HEADS: tl.constexpr,
    PADDED_HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    TYPES: tl.constexpr,
    MOST: tl.constexpr,
    SPAN: tl.constexpr,
    PIECE: tl.constexpr,
):
    """The same for the hubs among a span of listeners."""
    x_X, h_H = tl.arange(0, PADDED), tl.arange(0, PADDED_HEADS)
    start = tl.program_id(0).to(tl.int64) * SPAN
    for agent in range(start, tl.minimum(start + SPAN, num)):
        first, last = tl.load(offsets + agent), tl.load(offsets + agent + 1)
        if last - first > MOST:
            row_HX = (agent * HEADS + h_H[:, None]) * WIDTH + x_X[None, :]
            is_there_HX = (h_H < HEADS)[:, None] & (x_X < WIDTH)[None, :]
            query_HX = tl.load(query + row_HX, mask=is_there_HX, other=0.0)
            grad_HX = tl.load(grad + row_HX, mask=is_there_HX, other=0.0)
            lse_H = tl.load(denominator + agent * HEADS + h_H, mask=h_H < HEADS, other=0.0)
            mean_H = tl.zeros([PADDED_HEADS], tl.float32)
            for step in range(first, last, PIECE):
                place_P = step + tl.arange(0, PIECE)
                stored_PX, kind_P, strength_P = tie(
                    expression, log_strength, src, kind, place_P, place_P < last, x_X, WIDTH
                )
                key_PX = stored_PX.to(tl.float32) * gates(gate, kind_P, x_X, WIDTH)
                score_PH = scores(query_HX[None, :, :], key_PX, bias, kind_P, strength_P, h_H, HEADS, TYPES)
                weight_PH = tl.exp(score_PH - lse_H[None, :])
                mean_H += tl.sum(weight_PH * tl.sum(grad_HX[None, :, :] * key_PX[:, None, :], 2), 0)
            to_query_HX = tl.zeros([PADDED_HEADS, PADDED], tl.float32)
            for step in range(first, last, PIECE):
                place_P = step + tl.arange(0, PIECE)
                is_tie_P = place_P < last
                stored_PX, kind_P, strength_P = tie(expression, log_strength, src, kind, place_P, is_tie_P, x_X, WIDTH)
                stored_PX, gate_PX = stored_PX.to(tl.float32), gates(gate, kind_P, x_X, WIDTH)
                key_PX = stored_PX * gate_PX
                score_PH = scores(query_HX[None, :, :], key_PX, bias, kind_P, strength_P, h_H, HEADS, TYPES)
                weight_PH = tl.exp(score_PH - lse_H[None, :])
                slope_PH, to_key_PX = _slopes(
                    grad_HX[None, :, :], query_HX[None, :, :], key_PX, weight_PH, mean_H[None, :]
                )
                to_query_HX += tl.sum(slope_PH[:, :, None] * key_PX[:, None, :], 0)
                _keep(
                    grad_key,
                    grad_strength,
                    grad_gate_ties,
                    grad_score,
                    slope_PH,
                    to_key_PX,
                    stored_PX,
                    gate_PX,
                    place_P,
                    is_tie_P,
                    h_H,
                    x_X,
                    HEADS,
                    WIDTH,
                )
            tl.store(grad_query + row_HX, to_query_HX, mask=is_there_HX)


@triton.jit
def _gradient_of_key(grad_key, order, place_L, is_tie_L, x_X, WIDTH: tl.constexpr):
    tie_L = tl.load(order + place_L, mask=is_tie_L, other=0).to(tl.int64)
    is_read_LX = is_tie_L[:, None] & (x_X < WIDTH)[None, :]
    return tl.load(grad_key + tie_L[:, None] * WIDTH + x_X[None, :], mask=is_read_LX, other=0.0)


@triton.jit(do_not_specialize=["num"])
def sum_by_speaker(
    grad_key,
    order,
    offsets,
    grad_expression,
    num,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    MOST: tl.constexpr,
    SPEAKERS: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """Gradients of the expressions of a group of speakers: the sums over those who hear them."""
    x_X = tl.arange(0, PADDED)
    speaker_L, first_L, last_L, is_mine_L = group(offsets, num, MOST, SPEAKERS)
    sum_LX = tl.zeros([SPEAKERS, PADDED], tl.float32)
    for step in range(0, tl.max(last_L - first_L, 0), AT_ONCE):
        parts = ()
        for ahead in tl.static_range(AT_ONCE):
            place_L = first_L + step + ahead
            part = _gradient_of_key(grad_key, order, place_L, place_L < last_L, x_X, WIDTH)
            parts = parts + (part,)  # noqa: RUF005 - Triton does not unpack into a tuple
        for ahead in tl.static_range(AT_ONCE):
            sum_LX += parts[ahead]
    is_kept_LX = is_mine_L[:, None] & (x_X < WIDTH)[None, :]
    tl.store(grad_expression + speaker_L[:, None] * WIDTH + x_X[None, :], sum_LX, mask=is_kept_LX)


@triton.jit(do_not_specialize=["num"])
def sum_by_hub(
    grad_key,
    order,
    offsets,
    grad_expression,
    num,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    MOST: tl.constexpr,
    SPAN: tl.constexpr,
    PIECE: tl.constexpr,
):
    """The same for speakers among a span whom very many hear."""
    x_X = tl.arange(0, PADDED)
    start = tl.program_id(0).to(tl.int64) * SPAN
    for speaker in range(start, tl.minimum(start + SPAN, num)):
        first, last = tl.load(offsets + speaker), tl.load(offsets + speaker + 1)
        if last - first > MOST:
            sum_X = tl.zeros([PADDED], tl.float32)
            for step in range(first, last, PIECE):
                place_P = step + tl.arange(0, PIECE)
                sum_X += tl.sum(_gradient_of_key(grad_key, order, place_P, place_P < last, x_X, WIDTH), 0)
            tl.store(grad_expression + speaker * WIDTH + x_X, sum_X, mask=x_X < WIDTH)

"""The Triton kernels of social attention, forward: a group of listeners a warp, hubs one at a time.

The softmax is computed as ties are read: a program keeps the highest score, the sum of exponentials and the weighted
sum of keys of every listener and head in registers, and rescales them when a higher score appears. `AT_ONCE` ties of
each listener are asked for before the first of them is used.

Source: Dao et al. (2022), FlashAttention, algorithm 1, with the ties of a graph in place of rows of a matrix.

Legend: as in `triton_ties.py`; P ties of a hub read together.
"""

# pyright: reportMissingImports=false, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportAssignmentType=false

import triton
import triton.language as tl

from model.kernels.triton_ties import LOWEST, gates, group, rows, scores, tie


@triton.jit(do_not_specialize=["num"])
def hear(
    query,
    expression,
    gate,
    bias,
    log_strength,
    offsets,
    src,
    kind,
    heard,
    denominator,
    num,
    HEADS: tl.constexpr,
    PADDED_HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    TYPES: tl.constexpr,
    MOST: tl.constexpr,
    LISTENERS: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """What a group of listeners hears."""
    x_X, h_H = tl.arange(0, PADDED), tl.arange(0, PADDED_HEADS)
    agent_L, first_L, last_L, is_mine_L = group(offsets, num, MOST, LISTENERS)
    row_LHX, is_there_LHX = rows(agent_L, is_mine_L, h_H, x_X, HEADS, WIDTH)
    query_LHX = tl.load(query + row_LHX, mask=is_there_LHX, other=0.0)
    heard_LHX = tl.zeros([LISTENERS, PADDED_HEADS, PADDED], tl.float32)
    highest_LH = tl.full([LISTENERS, PADDED_HEADS], LOWEST, tl.float32)
    total_LH = tl.zeros([LISTENERS, PADDED_HEADS], tl.float32)
    for step in range(0, tl.max(last_L - first_L, 0), AT_ONCE):
        ties = ()
        for ahead in tl.static_range(AT_ONCE):
            place_L = first_L + step + ahead
            one = tie(expression, log_strength, src, kind, place_L, place_L < last_L, x_X, WIDTH)
            ties = ties + (one,)  # noqa: RUF005 - Triton does not unpack into a tuple
        for ahead in tl.static_range(AT_ONCE):
            stored_LX, kind_L, strength_L = ties[ahead]
            key_LX = stored_LX.to(tl.float32) * gates(gate, kind_L, x_X, WIDTH)
            score_LH = scores(query_LHX, key_LX, bias, kind_L, strength_L, h_H, HEADS, TYPES)
            higher_LH = tl.maximum(highest_LH, score_LH)
            scale_LH = tl.exp(highest_LH - higher_LH)
            weight_LH = tl.exp(score_LH - higher_LH)
            heard_LHX = heard_LHX * scale_LH[:, :, None] + weight_LH[:, :, None] * key_LX[:, None, :]
            total_LH = total_LH * scale_LH + weight_LH
            highest_LH = higher_LH
    is_heard_L = last_L > first_L
    total_LH = tl.where(is_heard_L[:, None], total_LH, 1.0)
    tl.store(heard + row_LHX, heard_LHX / total_LH[:, :, None], mask=is_there_LHX)
    lse_LH = tl.where(is_heard_L[:, None], highest_LH + tl.log(total_LH), 0.0)
    is_kept_LH = is_mine_L[:, None] & (h_H < HEADS)[None, :]
    tl.store(denominator + agent_L[:, None] * HEADS + h_H[None, :], lse_LH, mask=is_kept_LH)


@triton.jit(do_not_specialize=["num"])
def hear_hubs(
    query,
    expression,
    gate,
    bias,
    log_strength,
    offsets,
    src,
    kind,
    heard,
    denominator,
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
    """What the hubs among a span of listeners hear."""
    x_X, h_H = tl.arange(0, PADDED), tl.arange(0, PADDED_HEADS)
    start = tl.program_id(0).to(tl.int64) * SPAN
    for agent in range(start, tl.minimum(start + SPAN, num)):
        first, last = tl.load(offsets + agent), tl.load(offsets + agent + 1)
        if last - first > MOST:
            row_HX = (agent * HEADS + h_H[:, None]) * WIDTH + x_X[None, :]
            is_there_HX = (h_H < HEADS)[:, None] & (x_X < WIDTH)[None, :]
            query_HX = tl.load(query + row_HX, mask=is_there_HX, other=0.0)
            heard_HX = tl.zeros([PADDED_HEADS, PADDED], tl.float32)
            highest_H = tl.full([PADDED_HEADS], LOWEST, tl.float32)
            total_H = tl.zeros([PADDED_HEADS], tl.float32)
            for step in range(first, last, PIECE):
                place_P = step + tl.arange(0, PIECE)
                stored_PX, kind_P, strength_P = tie(
                    expression, log_strength, src, kind, place_P, place_P < last, x_X, WIDTH
                )
                key_PX = stored_PX.to(tl.float32) * gates(gate, kind_P, x_X, WIDTH)
                score_PH = scores(query_HX[None, :, :], key_PX, bias, kind_P, strength_P, h_H, HEADS, TYPES)
                higher_H = tl.maximum(highest_H, tl.max(score_PH, 0))
                scale_H = tl.exp(highest_H - higher_H)
                weight_PH = tl.exp(score_PH - higher_H[None, :])
                heard_HX = heard_HX * scale_H[:, None] + tl.sum(weight_PH[:, :, None] * key_PX[:, None, :], 0)
                total_H = total_H * scale_H + tl.sum(weight_PH, 0)
                highest_H = higher_H
            tl.store(heard + row_HX, heard_HX / total_H[:, None], mask=is_there_HX)
            tl.store(denominator + agent * HEADS + h_H, highest_H + tl.log(total_H), mask=h_H < HEADS)

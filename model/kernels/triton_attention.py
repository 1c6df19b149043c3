"""Social attention on graphics processors, in Triton: one program per listener, softmax computed as ties are read.

A program walks over its listener's in-ties in pieces of `PIECE`, keeps the highest score, the sum of exponentials and
the weighted sum of keys of a head in registers, and rescales them when a higher score appears. There are no atomics:
sums over the ties of a listener or of a speaker belong to one program, so results have the same bits in every run.

Expressions may be stored as bfloat16 or float16; sums are float32.

Legend: N listeners, S speakers, E ties, H heads, X expression, T tie types, P ties of a piece.

Source: Dao et al. (2022), FlashAttention, algorithm 1, with the ties of a graph in place of the rows of a matrix.
"""

# pyright: reportMissingImports=false, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

import torch
import triton
import triton.language as tl
from torch import Tensor

from model.kernels.gradients import Gradients

PIECE = 32


@triton.jit
def _keys(expression, gate, src, kind, place_P, is_tie_P, x_X, WIDTH: tl.constexpr):
    speaker_P = tl.load(src + place_P, mask=is_tie_P, other=0).to(tl.int64)
    kind_P = tl.load(kind + place_P, mask=is_tie_P, other=0).to(tl.int64)
    is_read_PX = is_tie_P[:, None] & (x_X < WIDTH)[None, :]
    stored_PX = tl.load(expression + speaker_P[:, None] * WIDTH + x_X[None, :], mask=is_read_PX, other=0.0)
    gate_PX = tl.load(gate + kind_P[:, None] * WIDTH + x_X[None, :], mask=is_read_PX, other=0.0)
    return stored_PX.to(tl.float32), gate_PX, kind_P


@triton.jit
def _scores(query_X, key_PX, bias, log_strength, kind_P, place_P, is_tie_P, head, TYPES: tl.constexpr):
    bias_P = tl.load(bias + head * TYPES + kind_P, mask=is_tie_P, other=0.0)
    strength_P = tl.load(log_strength + place_P, mask=is_tie_P, other=0.0)
    return tl.where(is_tie_P, tl.sum(query_X[None, :] * key_PX, 1) + bias_P + strength_P, float("-inf"))


@triton.jit
def _hear(
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
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    TYPES: tl.constexpr,
    PIECE: tl.constexpr,
):
    agent, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    first, last = tl.load(offsets + agent), tl.load(offsets + agent + 1)
    x_X = tl.arange(0, PADDED)
    row = (agent * HEADS + head) * WIDTH
    query_X = tl.load(query + row + x_X, mask=x_X < WIDTH, other=0.0)
    heard_X = tl.zeros([PADDED], tl.float32)
    highest = float("-inf")
    total = 0.0
    for start in range(first, last, PIECE):
        place_P = start + tl.arange(0, PIECE)
        is_tie_P = place_P < last
        stored_PX, gate_PX, kind_P = _keys(expression, gate, src, kind, place_P, is_tie_P, x_X, WIDTH)
        key_PX = stored_PX * gate_PX
        score_P = _scores(query_X, key_PX, bias, log_strength, kind_P, place_P, is_tie_P, head, TYPES)
        higher = tl.maximum(highest, tl.max(score_P, 0))
        scale = tl.exp(highest - higher)
        weight_P = tl.exp(score_P - higher)
        heard_X = heard_X * scale + tl.sum(weight_P[:, None] * key_PX, 0)
        total = total * scale + tl.sum(weight_P, 0)
        highest = higher
    is_heard = last > first
    tl.store(heard + row + x_X, tl.where(is_heard, heard_X / tl.where(is_heard, total, 1.0), 0.0), mask=x_X < WIDTH)
    tl.store(
        denominator + agent * HEADS + head, tl.where(is_heard, highest + tl.log(tl.where(is_heard, total, 1.0)), 0.0)
    )


@triton.jit
def _answer(
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
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    TYPES: tl.constexpr,
    PIECE: tl.constexpr,
):
    """Per tie: gradients of the speaker's expression, of the gate, of the score per head and of the strength."""
    agent = tl.program_id(0).to(tl.int64)
    first, last = tl.load(offsets + agent), tl.load(offsets + agent + 1)
    x_X = tl.arange(0, PADDED)
    for head in tl.static_range(HEADS):
        row = (agent * HEADS + head) * WIDTH
        query_X = tl.load(query + row + x_X, mask=x_X < WIDTH, other=0.0)
        grad_X = tl.load(grad + row + x_X, mask=x_X < WIDTH, other=0.0)
        lse = tl.load(denominator + agent * HEADS + head)
        mean = 0.0
        for start in range(first, last, PIECE):
            place_P = start + tl.arange(0, PIECE)
            is_tie_P = place_P < last
            stored_PX, gate_PX, kind_P = _keys(expression, gate, src, kind, place_P, is_tie_P, x_X, WIDTH)
            key_PX = stored_PX * gate_PX
            score_P = _scores(query_X, key_PX, bias, log_strength, kind_P, place_P, is_tie_P, head, TYPES)
            mean += tl.sum(tl.exp(score_P - lse) * tl.sum(grad_X[None, :] * key_PX, 1), 0)
        to_query_X = tl.zeros([PADDED], tl.float32)
        for start in range(first, last, PIECE):
            place_P = start + tl.arange(0, PIECE)
            is_tie_P = place_P < last
            stored_PX, gate_PX, kind_P = _keys(expression, gate, src, kind, place_P, is_tie_P, x_X, WIDTH)
            key_PX = stored_PX * gate_PX
            score_P = _scores(query_X, key_PX, bias, log_strength, kind_P, place_P, is_tie_P, head, TYPES)
            weight_P = tl.exp(score_P - lse)
            slope_P = weight_P * (tl.sum(grad_X[None, :] * key_PX, 1) - mean)
            to_query_X += tl.sum(slope_P[:, None] * key_PX, 0)
            to_key_PX = weight_P[:, None] * grad_X[None, :] + slope_P[:, None] * query_X[None, :]
            is_kept_PX = is_tie_P[:, None] & (x_X < WIDTH)[None, :]
            at_PX = place_P[:, None] * WIDTH + x_X[None, :]
            if head > 0:
                before_PX = tl.load(grad_key + at_PX, mask=is_kept_PX, other=0.0)
                gate_before_PX = tl.load(grad_gate_ties + at_PX, mask=is_kept_PX, other=0.0)
                strength_before_P = tl.load(grad_strength + place_P, mask=is_tie_P, other=0.0)
            else:
                before_PX = tl.zeros([PIECE, PADDED], tl.float32)
                gate_before_PX = tl.zeros([PIECE, PADDED], tl.float32)
                strength_before_P = tl.zeros([PIECE], tl.float32)
            tl.store(grad_key + at_PX, before_PX + to_key_PX * gate_PX, mask=is_kept_PX)
            tl.store(grad_gate_ties + at_PX, gate_before_PX + to_key_PX * stored_PX, mask=is_kept_PX)
            tl.store(grad_strength + place_P, strength_before_P + slope_P, mask=is_tie_P)
            tl.store(grad_score + place_P * HEADS + head, slope_P, mask=is_tie_P)
        tl.store(grad_query + row + x_X, to_query_X, mask=x_X < WIDTH)


@triton.jit
def _sum_by_speaker(
    grad_key, order, offsets, grad_expression, WIDTH: tl.constexpr, PADDED: tl.constexpr, PIECE: tl.constexpr
):
    speaker = tl.program_id(0).to(tl.int64)
    first, last = tl.load(offsets + speaker), tl.load(offsets + speaker + 1)
    x_X = tl.arange(0, PADDED)
    sum_X = tl.zeros([PADDED], tl.float32)
    for start in range(first, last, PIECE):
        place_P = start + tl.arange(0, PIECE)
        is_tie_P = place_P < last
        tie_P = tl.load(order + place_P, mask=is_tie_P, other=0).to(tl.int64)
        is_read_PX = is_tie_P[:, None] & (x_X < WIDTH)[None, :]
        sum_X += tl.sum(tl.load(grad_key + tie_P[:, None] * WIDTH + x_X[None, :], mask=is_read_PX, other=0.0), 0)
    tl.store(grad_expression + speaker * WIDTH + x_X, sum_X, mask=x_X < WIDTH)


def hear(
    query_NHX: Tensor,
    expression_SX: Tensor,
    gate_TX: Tensor,
    bias_HT: Tensor,
    log_strength_E: Tensor,
    offsets_N1: Tensor,
    src_E: Tensor,
    tie_type_E: Tensor,
) -> tuple[Tensor, Tensor]:
    """What each listener hears, [N, H, X] float32, and the logarithm of each softmax's denominator, [N, H]."""
    num_listeners, heads, width = query_NHX.shape
    heard_NHX = torch.empty_like(query_NHX, memory_format=torch.contiguous_format)
    denominator_NH = query_NHX.new_empty(num_listeners, heads)
    if num_listeners:
        tensors = _contiguous(query_NHX, expression_SX, gate_TX, bias_HT, log_strength_E, offsets_N1, src_E, tie_type_E)
        _hear[(num_listeners, heads)](
            *tensors, heard_NHX, denominator_NH, heads, width, _padded(width), bias_HT.shape[1], PIECE
        )
    return heard_NHX, denominator_NH


def answer(
    grad_NHX: Tensor,
    denominator_NH: Tensor,
    query_NHX: Tensor,
    expression_SX: Tensor,
    gate_TX: Tensor,
    bias_HT: Tensor,
    log_strength_E: Tensor,
    offsets_N1: Tensor,
    src_E: Tensor,
    tie_type_E: Tensor,
    order_E: Tensor,
    source_offsets_S1: Tensor,
) -> Gradients:
    """The gradients, from the gradient of what was heard and the denominators that `hear` returned.

    Gates and biases are summed over ties by torch in an order that is the same in every run; this takes E × X numbers.
    """
    num_listeners, heads, width = query_NHX.shape
    num_ties, num_types = len(src_E), bias_HT.shape[1]
    grad_query_NHX = torch.empty_like(query_NHX, memory_format=torch.contiguous_format)
    grad_key_EX, grad_gate_EX = query_NHX.new_empty(num_ties, width), query_NHX.new_empty(num_ties, width)
    grad_strength_E, grad_score_EH = query_NHX.new_empty(num_ties), query_NHX.new_empty(num_ties, heads)
    grad_expression_SX = query_NHX.new_zeros(len(expression_SX), width)
    tensors = _contiguous(query_NHX, expression_SX, gate_TX, bias_HT, log_strength_E, offsets_N1, src_E, tie_type_E)
    if num_listeners:
        _answer[(num_listeners,)](
            grad_NHX.contiguous(),
            denominator_NH,
            *tensors,
            grad_query_NHX,
            grad_key_EX,
            grad_strength_E,
            grad_gate_EX,
            grad_score_EH,
            heads,
            width,
            _padded(width),
            num_types,
            PIECE,
        )
        _sum_by_speaker[(len(expression_SX),)](
            grad_key_EX, order_E, source_offsets_S1, grad_expression_SX, width, _padded(width), PIECE
        )
    one_hot_TE = torch.nn.functional.one_hot(tie_type_E.long(), num_types).to(query_NHX.dtype).T
    return Gradients(
        grad_query_NHX,
        grad_expression_SX,
        one_hot_TE @ grad_gate_EX,
        (one_hot_TE @ grad_score_EH).T,
        grad_strength_E,
    )


def _contiguous(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.detach().contiguous() for tensor in tensors)


def _padded(width: int) -> int:
    return triton.next_power_of_2(width)

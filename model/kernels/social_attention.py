"""Attention over in-ties in expression space: what every agent hears, weighted by whom it listens to.

Agents broadcast only their expression, so the key projection and the tie-type gate act on the receiver's query, and the
value projection comes after the weighted sum: each tie moves X values per head and no matrix of agents × agents exists.

    key_e      = x_src(e) ⊙ g_type(e)
    score_eh   = q_dst(e),h · key_e + b_h,type(e) + log strength_e
    weight_eh  = softmax of score_eh over the in-ties of dst(e)
    heard_ih   = Σ_e→i weight_eh · key_e

Segments are reduced in the order of the ties, without atomics, so the same input gives the same bits on the same
machine whatever the number of threads. Scores of one head exist at a time; memory is O(E·H + E·X).

Legend: N agents, E ties, H heads, X expression, T tie types.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def social_attention(
    query_NHX: Tensor,
    expression_NX: Tensor,
    gate_TX: Tensor,
    bias_HT: Tensor,
    log_strength_E: Tensor,
    offsets_N1: Tensor,
    src_E: Tensor,
    dst_E: Tensor,
    tie_type_E: Tensor,
    by_source: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """What each agent hears per head; zero for agents without in-ties.

    Listeners may be a block of the agents: queries, offsets and dst count within the block, src among all speakers.

    Args:
        query_NHX: receivers' queries with the key projection absorbed.
        expression_NX: what agents broadcast.
        gate_TX: gate per tie type.
        bias_HT: preference of a head for a tie type.
        log_strength_E: logarithm of the trust in each tie, finite.
        offsets_N1: int64, in-ties of agent i are offsets[i] … offsets[i + 1].
        src_E: int64, speaker of each tie; ties are sorted by listener.
        dst_E: int64, listener of each tie.
        tie_type_E: int64, type of each tie.
        by_source: the order that sorts ties by speaker, and the speakers' offsets in it; the backward pass sorts
            again where it is left out.

    Returns:
        [N, H, X], differentiable once with respect to the five float inputs.

    Source: Veličković et al. (2018), Graph attention networks, equations 2–4, with dot-product scores.
    """
    order_E, source_offsets = by_source if by_source else (None, None)
    return _SocialAttention.apply(
        query_NHX,
        expression_NX,
        gate_TX,
        bias_HT,
        log_strength_E,
        offsets_N1,
        src_E,
        dst_E,
        tie_type_E,
        order_E,
        source_offsets,
    )


def sort_by_source(src_E: Tensor, num_agents: int) -> tuple[Tensor, Tensor]:
    """The order [E] that sorts ties by speaker, ties of one speaker in their old order, and offsets [N + 1] in it."""
    counts_N = torch.bincount(src_E, minlength=num_agents)
    return torch.argsort(src_E, stable=True), torch.cat([counts_N.new_zeros(1), counts_N.cumsum(0)])


def segment_sum(values_EX: Tensor, offsets_N1: Tensor) -> Tensor:
    """Sum of the rows of each segment, in order; zero for empty segments."""
    if len(values_EX) == 0:
        return values_EX.new_zeros((len(offsets_N1) - 1, *values_EX.shape[1:]))
    return torch.segment_reduce(values_EX, "sum", offsets=offsets_N1, axis=0, unsafe=True, initial=0)


def segment_softmax(score_EH: Tensor, offsets_N1: Tensor, dst_E: Tensor) -> Tensor:
    """Softmax over the rows of each segment, stable for scores of any finite size."""
    if len(score_EH) == 0:
        return score_EH
    highest_NH = torch.segment_reduce(score_EH, "max", offsets=offsets_N1, axis=0, unsafe=True)
    weight_EH = (score_EH - highest_NH.index_select(0, dst_E)).exp()
    return weight_EH / segment_sum(weight_EH, offsets_N1).index_select(0, dst_E)


class _SocialAttention(torch.autograd.Function):
    """The operation with its gradient written out, so that no E × H × X tensor is kept for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        query_NHX: Tensor,
        expression_NX: Tensor,
        gate_TX: Tensor,
        bias_HT: Tensor,
        log_strength_E: Tensor,
        offsets_N1: Tensor,
        src_E: Tensor,
        dst_E: Tensor,
        tie_type_E: Tensor,
        source_order_E: Tensor | None,
        source_offsets_N1: Tensor | None,
    ) -> Tensor:
        num_heads = query_NHX.shape[1]
        key_EX = expression_NX.index_select(0, src_E) * gate_TX.index_select(0, tie_type_E)
        query_HNX = query_NHX.transpose(0, 1).contiguous()
        score_EH = torch.stack([(query_NX.index_select(0, dst_E) * key_EX).sum(1) for query_NX in query_HNX], dim=1)
        score_EH += bias_HT.T.index_select(0, tie_type_E) + log_strength_E[:, None]
        weight_EH = segment_softmax(score_EH, offsets_N1, dst_E)
        ctx.save_for_backward(
            query_NHX,
            expression_NX,
            gate_TX,
            weight_EH,
            offsets_N1,
            src_E,
            dst_E,
            tie_type_E,
            source_order_E,
            source_offsets_N1,
        )
        ctx.num_tie_types = bias_HT.shape[1]
        return torch.stack(
            [segment_sum(weight_EH[:, head, None] * key_EX, offsets_N1) for head in range(num_heads)], dim=1
        )

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        (grad_NHX,) = grad_outputs
        query_NHX, expression_NX, gate_TX, weight_EH, offsets, src_E, dst_E, tie_type_E, order_E, source_offsets = (
            ctx.saved_tensors
        )
        expression_EX = expression_NX.index_select(0, src_E)
        gate_EX = gate_TX.index_select(0, tie_type_E)
        key_EX = expression_EX * gate_EX
        grad_key_EX = torch.zeros_like(key_EX)
        grad_query, grad_score = [], []
        for head in range(query_NHX.shape[1]):
            weight_E1 = weight_EH[:, head, None]
            grad_heard_EX = grad_NHX[:, head].index_select(0, dst_E)
            grad_weight_E1 = (grad_heard_EX * key_EX).sum(1, keepdim=True)
            mean_N1 = segment_sum(weight_E1 * grad_weight_E1, offsets)
            grad_score_E1 = weight_E1 * (grad_weight_E1 - mean_N1.index_select(0, dst_E))
            grad_key_EX += weight_E1 * grad_heard_EX + grad_score_E1 * query_NHX[:, head].index_select(0, dst_E)
            grad_query.append(segment_sum(grad_score_E1 * key_EX, offsets))
            grad_score.append(grad_score_E1)
        grad_score_EH = torch.cat(grad_score, dim=1)
        if order_E is None:
            order_E, source_offsets = sort_by_source(src_E, len(expression_NX))
        one_hot_TE = torch.nn.functional.one_hot(tie_type_E, ctx.num_tie_types).to(key_EX.dtype).T
        grad_expression_NX = segment_sum((grad_key_EX * gate_EX).index_select(0, order_E), source_offsets)
        return (
            torch.stack(grad_query, dim=1),
            grad_expression_NX,
            one_hot_TE @ (grad_key_EX * expression_EX),
            (one_hot_TE @ grad_score_EH).T,
            grad_score_EH.sum(1),
            *(None,) * 6,
        )

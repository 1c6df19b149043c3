"""Social attention in plain torch: the oracle that the other backends are held to, on any device and in any precision.

Segments are reduced in the order of the ties, without atomics, so the same input gives the same bits on the same
machine whatever the number of threads. Scores of one head exist at a time; memory is O(E·H + E·X).

Legend: N listeners, S speakers, E ties, H heads, X expression, T tie types.
"""

import torch
from torch import Tensor

from model.kernels.gradients import Gradients
from model.kernels.segments import listeners, segment_sum


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
    """What each listener hears, [N, H, X], and the logarithm of each softmax's denominator, [N, H]."""
    tie_type_E, dst_E = tie_type_E.long(), listeners(offsets_N1, len(tie_type_E))
    key_EX = _keys(expression_SX, gate_TX, src_E, tie_type_E)
    score_EH = _scores(query_NHX, key_EX, bias_HT, log_strength_E, dst_E, tie_type_E)
    if len(score_EH) == 0:
        return query_NHX.new_zeros(query_NHX.shape), query_NHX.new_zeros(query_NHX.shape[:2])
    highest_NH = torch.segment_reduce(score_EH, "max", offsets=offsets_N1, axis=0, unsafe=True)
    is_heard_N1 = (offsets_N1.diff() > 0)[:, None]
    highest_NH = torch.where(is_heard_N1, highest_NH, 0.0)
    weight_EH = (score_EH - highest_NH.index_select(0, dst_E)).exp()
    total_NH = torch.where(is_heard_N1, segment_sum(weight_EH, offsets_N1), 1.0)
    weight_EH = weight_EH / total_NH.index_select(0, dst_E)
    heard = [segment_sum(weight_EH[:, head, None] * key_EX, offsets_N1) for head in range(query_NHX.shape[1])]
    return torch.stack(heard, dim=1), highest_NH + total_NH.log()


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
    """The gradients, written out so that no E × H × X tensor is kept.

    Args:
        grad_NHX: gradient of what each listener heard.
        denominator_NH: second result of `hear`.
        query_NHX: and the following, as for `hear`.
        order_E: the order that sorts ties by speaker.
        source_offsets_S1: the speakers' offsets in that order.
    """
    tie_type_E, dst_E = tie_type_E.long(), listeners(offsets_N1, len(tie_type_E))
    expression_EX = expression_SX.to(query_NHX.dtype).index_select(0, src_E)
    gate_EX = gate_TX.index_select(0, tie_type_E)
    key_EX = expression_EX * gate_EX
    score_EH = _scores(query_NHX, key_EX, bias_HT, log_strength_E, dst_E, tie_type_E)
    weight_EH = (score_EH - denominator_NH.index_select(0, dst_E)).exp()
    grad_key_EX = torch.zeros_like(key_EX)
    grad_query, grad_score = [], []
    for head in range(query_NHX.shape[1]):
        weight_E1 = weight_EH[:, head, None]
        grad_heard_EX = grad_NHX[:, head].index_select(0, dst_E)
        grad_weight_E1 = (grad_heard_EX * key_EX).sum(1, keepdim=True)
        mean_N1 = segment_sum(weight_E1 * grad_weight_E1, offsets_N1)
        grad_score_E1 = weight_E1 * (grad_weight_E1 - mean_N1.index_select(0, dst_E))
        grad_key_EX += weight_E1 * grad_heard_EX + grad_score_E1 * query_NHX[:, head].index_select(0, dst_E)
        grad_query.append(segment_sum(grad_score_E1 * key_EX, offsets_N1))
        grad_score.append(grad_score_E1)
    grad_score_EH = torch.cat(grad_score, dim=1)
    one_hot_TE = torch.nn.functional.one_hot(tie_type_E, bias_HT.shape[1]).to(key_EX.dtype).T
    return Gradients(
        torch.stack(grad_query, dim=1),
        segment_sum((grad_key_EX * gate_EX).index_select(0, order_E), source_offsets_S1),
        one_hot_TE @ (grad_key_EX * expression_EX),
        (one_hot_TE @ grad_score_EH).T,
        grad_score_EH.sum(1),
    )


def _keys(expression_SX: Tensor, gate_TX: Tensor, src_E: Tensor, tie_type_E: Tensor) -> Tensor:
    return expression_SX.to(gate_TX.dtype).index_select(0, src_E) * gate_TX.index_select(0, tie_type_E)


def _scores(
    query_NHX: Tensor, key_EX: Tensor, bias_HT: Tensor, log_strength_E: Tensor, dst_E: Tensor, tie_type_E: Tensor
) -> Tensor:
    query_HNX = query_NHX.transpose(0, 1).contiguous()
    score_EH = torch.stack([(query_NX.index_select(0, dst_E) * key_EX).sum(1) for query_NX in query_HNX], dim=1)
    return score_EH + bias_HT.T.index_select(0, tie_type_E) + log_strength_E[:, None]

"""Social attention on graphics processors, in Triton: calls the kernels of `triton_hear.py` and `triton_answer.py`.

Listeners with up to `MOST_IN_GROUP` in-ties are computed `LISTENERS` at a time by one warp, all heads together; those
with more, one at a time by `HUB_WARPS` warps. Which of the two computes a listener depends on its number of in-ties
alone, and there are no atomics: every sum belongs to one program, so results have the same bits in every run and for
every cut of the listeners into blocks. Speakers are handled the same way in the backward pass.

Expressions may be stored as bfloat16 or float16; sums are float32.

Legend: N listeners, S speakers, E ties, H heads, X expression, T tie types.
"""

# pyright: reportMissingImports=false, reportCallIssue=false, reportIndexIssue=false

import torch
import triton
from torch import Tensor

from model.kernels import triton_answer, triton_hear
from model.kernels.gradients import Gradients

LISTENERS = 8
"""Listeners of a program: each of their ties is read while those of the seven others are waited for."""
AT_ONCE = 4
"""Ties of a listener that are asked for before the first of them is used."""
MOST_IN_GROUP = 128
"""In-ties of a listener from which it is a hub: the others of its group would wait for it."""
HUB_PIECE, HUB_WARPS, HUB_SPAN = 128, 8, 128
"""Ties of a hub read together, warps that do so, and listeners among whom one program looks for hubs."""
COMPILED = {"enable_fp_fusion": True}
"""Products and sums round once; said here since Triton's own choice differs between versions."""


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
        inputs = _contiguous(query_NHX, expression_SX, gate_TX, bias_HT, log_strength_E, offsets_N1, src_E, tie_type_E)
        outputs, sizes = (heard_NHX, denominator_NH), _sizes(heads, width, bias_HT.shape[1])
        triton_hear.hear[_groups(num_listeners)](
            *inputs, *outputs, num_listeners, *sizes, MOST_IN_GROUP, LISTENERS, AT_ONCE, num_warps=1, **COMPILED
        )
        triton_hear.hear_hubs[_spans(num_listeners)](
            *inputs,
            *outputs,
            num_listeners,
            *sizes,
            MOST_IN_GROUP,
            HUB_SPAN,
            HUB_PIECE,
            num_warps=HUB_WARPS,
            **COMPILED,
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
    num_ties, num_types, num_speakers = len(src_E), bias_HT.shape[1], len(expression_SX)
    grad_query_NHX = torch.empty_like(query_NHX, memory_format=torch.contiguous_format)
    grad_key_EX, grad_gate_EX = query_NHX.new_empty(num_ties, width), query_NHX.new_empty(num_ties, width)
    grad_strength_E, grad_score_EH = query_NHX.new_empty(num_ties), query_NHX.new_empty(num_ties, heads)
    grad_expression_SX = query_NHX.new_zeros(num_speakers, width)
    if num_listeners:
        inputs = _contiguous(query_NHX, expression_SX, gate_TX, bias_HT, log_strength_E, offsets_N1, src_E, tie_type_E)
        outputs = (grad_query_NHX, grad_key_EX, grad_strength_E, grad_gate_EX, grad_score_EH)
        arguments = (grad_NHX.contiguous(), denominator_NH, *inputs, *outputs, num_listeners)
        sizes = _sizes(heads, width, num_types)
        triton_answer.answer[_groups(num_listeners)](
            *arguments, *sizes, MOST_IN_GROUP, LISTENERS, num_warps=1, **COMPILED
        )
        triton_answer.answer_hubs[_spans(num_listeners)](
            *arguments, *sizes, MOST_IN_GROUP, HUB_SPAN, HUB_PIECE, num_warps=HUB_WARPS, **COMPILED
        )
        summed = (grad_key_EX, order_E, source_offsets_S1, grad_expression_SX, num_speakers, width, _padded(width))
        triton_answer.sum_by_speaker[_groups(num_speakers)](
            *summed, MOST_IN_GROUP, LISTENERS, AT_ONCE, num_warps=1, **COMPILED
        )
        triton_answer.sum_by_hub[_spans(num_speakers)](
            *summed, MOST_IN_GROUP, HUB_SPAN, HUB_PIECE, num_warps=HUB_WARPS, **COMPILED
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


def _sizes(heads: int, width: int, num_types: int) -> tuple[int, ...]:
    return heads, _padded(heads), width, _padded(width), num_types


def _padded(size: int) -> int:
    return triton.next_power_of_2(size)


def _groups(size: int) -> tuple[int]:
    return (triton.cdiv(size, LISTENERS),)


def _spans(size: int) -> tuple[int]:
    return (triton.cdiv(size, HUB_SPAN),)

"""Social attention on processors: calls `social_attention.c` from several threads, block by block.

Blocks of listeners hold about equal numbers of ties and depend on the graph alone; a listener with more than `HUB_TIES`
in-ties is cut into parts whose sums are combined in their order. So hubs keep no thread waiting, and the number of
threads changes no bit.

Legend: N listeners, S speakers, E ties, H heads, X expression, T tie types, B blocks, P parts of a hub.
"""

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.kernels.compiler import find_compiler, load_library
from model.kernels.gradients import Gradients

SOURCE = Path(__file__).with_name("social_attention.c")
HUB_TIES = 4096
"""In-ties above which a listener is cut into parts; the C file has the same number."""

TIES_PER_BLOCK = 65_536
LARGE_BYTES = 2**22
LANES = 8
"""Expressions are padded with zeros to a multiple of this, so that rows fill whole registers."""


class _Inputs(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("query", "expression", "gate", "bias", "log_strength", "offsets")),
        ("src", ctypes.c_void_p),
        ("type", ctypes.c_void_p),
        ("num_ties", ctypes.c_int64),
        ("num_types", ctypes.c_int64),
    ]


class _Gradients(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("heard", "denominator", "key", "log_strength")]


@dataclass(frozen=True)
class _Work:
    """Blocks of listeners without hubs' ties, and the hubs with the bounds of their parts."""

    blocks: tuple[tuple[int, int], ...]
    hubs: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]


def build() -> str:
    """Makes sure that the kernel can be built and loaded on this machine, and names the compiler.

    Raises:
        KernelUnavailable: it cannot.
    """
    _library(4, 16, is_half=False)
    return find_compiler().name


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
    """What each listener hears, [N, H, X], and the logarithm of each softmax's denominator, [N, H].

    Args:
        query_NHX: float32.
        expression_SX: float32, or bfloat16, which is widened as it is read.
        gate_TX: float32.
        bias_HT: float32.
        log_strength_E: float32, finite.
        offsets_N1: int64.
        src_E: int32, or converted.
        tie_type_E: uint8, or converted.

    Raises:
        KernelUnavailable: the kernel cannot be built here.
    """
    call = _Call(query_NHX, expression_SX, gate_TX, bias_HT, log_strength_E, offsets_N1, src_E, tie_type_E)
    heads, width = call.heads, call.width
    heard_NHX = call.empty(len(query_NHX), heads, width)
    denominator_NH = torch.empty(len(query_NHX), heads)
    library, inputs = call.library, ctypes.byref(call.inputs)
    ends = (_at(heard_NHX), _at(denominator_NH))
    _run(library.hear, [(inputs, begin, end, *ends) for begin, end in call.work.blocks])
    for agent, parts in call.work.hubs:
        highest_PH = torch.empty(len(parts), heads)
        total_PH, heard_PHX = torch.empty_like(highest_PH), torch.empty(len(parts), heads, width)
        results = zip(parts, highest_PH, total_PH, heard_PHX, strict=True)
        _run(library.hear_part, [(inputs, agent, *bounds, *map(_at, tensors)) for bounds, *tensors in results])
        scale_PH = (highest_PH - highest_PH.amax(0)).double().exp()
        total_H = (scale_PH * total_PH).sum(0)
        heard_NHX[agent] = ((scale_PH[:, :, None] * heard_PHX).sum(0) / total_H[:, None]).float()
        denominator_NH[agent] = (highest_PH.amax(0) + total_H.log()).float()
    return heard_NHX[:, :, : query_NHX.shape[2]], denominator_NH


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

    Args:
        grad_NHX: gradient of what each listener heard.
        denominator_NH: second result of `hear`.
        query_NHX: and the following, as for `hear`.
        order_E: the order that sorts ties by speaker.
        source_offsets_S1: int64, the speakers' offsets in that order.
    """
    call = _Call(query_NHX, expression_SX, gate_TX, bias_HT, log_strength_E, offsets_N1, src_E, tie_type_E)
    heads, width, work, library = call.heads, call.width, call.work, call.library
    num_ties, num_parts = len(src_E), len(work.blocks) + len(work.hubs)
    grad_NHX, order_E = _rows(grad_NHX), order_E.to(torch.int32)
    grad_query_NHX = call.empty(len(query_NHX), heads, width)
    grad_key_EX, grad_strength_E = call.empty(num_ties, width), torch.empty(num_ties)
    grad_gate_BTX = torch.zeros(num_parts, len(gate_TX), width)
    grad_bias_BHT = torch.zeros(num_parts, *bias_HT.shape)
    grad_expression_SX = torch.empty(len(expression_SX), width)
    gradients = _Gradients(*(_at(part) for part in (grad_NHX, denominator_NH, grad_key_EX, grad_strength_E)))
    inputs, outputs = ctypes.byref(call.inputs), ctypes.byref(gradients)
    shares = zip(work.blocks, grad_gate_BTX, grad_bias_BHT, strict=False)
    _run(
        library.answer,
        [(inputs, outputs, *block, _at(grad_query_NHX), _at(gate), _at(bias)) for block, gate, bias in shares],
    )
    for place, (agent, parts) in enumerate(work.hubs, start=len(work.blocks)):
        mean_PH = torch.empty(len(parts), heads)
        bounds = zip(parts, mean_PH, strict=True)
        _run(library.answer_means, [(inputs, outputs, agent, *part, _at(mean_H)) for part, mean_H in bounds])
        mean_H = mean_PH.sum(0)
        query_PHX = torch.zeros(len(parts), heads, width)
        gate_PTX = torch.zeros(len(parts), len(gate_TX), width)
        bias_PHT = torch.zeros(len(parts), *bias_HT.shape)
        results = zip(parts, query_PHX, gate_PTX, bias_PHT, strict=True)
        _run(
            library.answer_part,
            [(inputs, outputs, agent, *part, _at(mean_H), *map(_at, tensors)) for part, *tensors in results],
        )
        grad_query_NHX[agent] = query_PHX.sum(0)
        grad_gate_BTX[place], grad_bias_BHT[place] = gate_PTX.sum(0), bias_PHT.sum(0)
    _sum_by_speaker(library, grad_key_EX, order_E, source_offsets_S1, grad_expression_SX)
    true_width = query_NHX.shape[2]
    return Gradients(
        grad_query_NHX[:, :, :true_width],
        grad_expression_SX[:, :true_width],
        grad_gate_BTX.double().sum(0).float()[:, :true_width],
        grad_bias_BHT.double().sum(0).float(),
        grad_strength_E,
    )


def _sum_by_speaker(
    library: ctypes.CDLL, grad_key_EX: Tensor, order_E: Tensor, offsets_S1: Tensor, grad_expression_SX: Tensor
) -> None:
    """Sums by speaker in blocks of about equal numbers of ties; a speaker whom very many hear is summed in parts."""
    sum_up, keys, num_ties = library.gather_by_speaker, (_at(grad_key_EX), _at(order_E)), len(order_E)
    offsets_S1 = offsets_S1.contiguous()
    ties = (*keys, _at(offsets_S1), num_ties, TIES_PER_BLOCK)
    _run(sum_up, [(*ties, begin, end, _at(grad_expression_SX)) for begin, end in _blocks(offsets_S1)])
    for speaker in torch.nonzero(offsets_S1.diff() > TIES_PER_BLOCK)[:, 0].tolist():
        first, last = int(offsets_S1[speaker]), int(offsets_S1[speaker + 1])
        bounds_P1 = torch.tensor([*range(first, last, TIES_PER_BLOCK), last])
        parts_PX = torch.empty(len(bounds_P1) - 1, grad_key_EX.shape[1])
        part = (*keys, _at(bounds_P1), num_ties, TIES_PER_BLOCK)
        _run(sum_up, [(*part, number, number + 1, _at(parts_PX)) for number in range(len(parts_PX))])
        grad_expression_SX[speaker] = parts_PX.double().sum(0).float()


class _Call:
    """The inputs of one call in the layout that C reads; keeps the tensors alive while C has their addresses."""

    def __init__(
        self,
        query_NHX: Tensor,
        expression_SX: Tensor,
        gate_TX: Tensor,
        bias_HT: Tensor,
        log_strength_E: Tensor,
        offsets_N1: Tensor,
        src_E: Tensor,
        tie_type_E: Tensor,
    ) -> None:
        tensors = (
            _rows(query_NHX),
            _rows(expression_SX),
            _rows(gate_TX),
            bias_HT.detach().contiguous(),
            log_strength_E.detach().contiguous(),
            offsets_N1.contiguous(),
            src_E.to(torch.int32).contiguous(),
            tie_type_E.to(torch.uint8).contiguous(),
        )
        wanted = (torch.float32, expression_SX.dtype, *(torch.float32,) * 3)
        for position, (tensor, dtype) in enumerate(zip(tensors, wanted, strict=False)):
            assert tensor.dtype == dtype, f"input {position} of the kernel is {tensor.dtype}, not {dtype}"
        assert expression_SX.dtype in (torch.float32, torch.bfloat16)
        self.tensors = tensors
        self.heads, self.width = query_NHX.shape[1], tensors[0].shape[2]
        self.library = _library(self.heads, self.width, expression_SX.dtype == torch.bfloat16)
        self.inputs = _Inputs(*(_at(tensor) for tensor in tensors), len(src_E), bias_HT.shape[1])
        self.work = _cut(tensors[5])

    def empty(self, *shape: int) -> Tensor:
        """Memory for a large result, on large pages where the system has them."""
        tensor = torch.empty(shape)
        if tensor.nbytes >= LARGE_BYTES:
            self.library.use_large_pages(_at(tensor), tensor.nbytes)
        return tensor


def _rows(values: Tensor) -> Tensor:
    """The numbers in row order, the last axis padded with zeros to whole registers."""
    missing = -values.shape[-1] % LANES
    values = values.detach()
    return (torch.nn.functional.pad(values, (0, missing)) if missing else values).contiguous()


def _at(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _blocks(offsets_N1: Tensor) -> tuple[tuple[int, int], ...]:
    """Bounds of blocks of agents that hold about equal numbers of ties."""
    num_ties = int(offsets_N1[-1])
    num_blocks = max(1, -(-num_ties // TIES_PER_BLOCK))
    wanted = torch.linspace(0, num_ties, num_blocks + 1, dtype=torch.float64).round().to(torch.int64)
    bounds = torch.searchsorted(offsets_N1, wanted)
    bounds[0], bounds[-1] = 0, len(offsets_N1) - 1
    return tuple(pairwise(torch.unique_consecutive(bounds).tolist()))


def _cut(offsets_N1: Tensor) -> _Work:
    hubs = []
    for agent in torch.nonzero(offsets_N1.diff() > HUB_TIES)[:, 0].tolist():
        first, last = int(offsets_N1[agent]), int(offsets_N1[agent + 1])
        hubs.append((agent, tuple((start, min(last, start + HUB_TIES)) for start in range(first, last, HUB_TIES))))
    return _Work(_blocks(offsets_N1), tuple(hubs))


def _run(function: Callable[..., int | None], calls: Sequence[tuple[Any, ...]]) -> None:
    """Calls the function on as many threads as torch uses; C gives the interpreter's lock free."""
    num_threads = torch.get_num_threads()
    if num_threads == 1 or len(calls) == 1:
        results = [function(*arguments) for arguments in calls]
    else:
        results = list(_pool(num_threads).map(lambda arguments: function(*arguments), calls))
    if any(results):
        raise MemoryError("The attention kernel could not allocate its buffers. Use fewer threads or smaller blocks.")


@cache
def _pool(num_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(num_threads, thread_name_prefix="social-attention")


@cache
def _library(heads: int, width: int, is_half: bool) -> ctypes.CDLL:
    library = load_library(SOURCE, {"HEADS": heads, "WIDTH": width, **({"HALF": 1} if is_half else {})})
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    for name, types in {
        "hear": [pointer, whole, whole, pointer, pointer],
        "hear_part": [pointer, whole, whole, whole, pointer, pointer, pointer],
        "answer": [pointer, pointer, whole, whole, pointer, pointer, pointer],
        "answer_means": [pointer, pointer, whole, whole, whole, pointer],
        "answer_part": [pointer, pointer, whole, whole, whole, pointer, pointer, pointer, pointer],
        "use_large_pages": [pointer, whole],
        "gather_by_speaker": [pointer, pointer, pointer, whole, whole, whole, whole, pointer],
    }.items():
        function = getattr(library, name)
        function.argtypes = types
        function.restype = None if name in ("gather_by_speaker", "use_large_pages") else ctypes.c_int
    return library

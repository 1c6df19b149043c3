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
BLOCKS_PER_THREAD = 2
"""Of a round of the backward pass, whose gradients per tie then stay in the caches until they are summed."""
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
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("heard", "denominator", "key", "log_strength")),
        ("first", ctypes.c_int64),
    ]


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
    num_parts = len(work.blocks) + len(work.hubs)
    rounds = _rounds(work, offsets_N1)
    grad_NHX = _rows(grad_NHX)
    grad_query_NHX = call.empty(len(query_NHX), heads, width)
    grad_key_EX = call.empty(max((later.last - later.first for later in rounds), default=0), width)
    grad_strength_E = torch.empty(len(src_E))
    grad_gate_BTX = torch.zeros(num_parts, len(gate_TX), width)
    grad_bias_BHT = torch.zeros(num_parts, *bias_HT.shape)
    speakers = _Speakers(call, order_E, source_offsets_S1)
    gradients = _Gradients(*(_at(part) for part in (grad_NHX, denominator_NH, grad_key_EX, grad_strength_E)), 0)
    inputs, outputs = ctypes.byref(call.inputs), ctypes.byref(gradients)
    for now in rounds:
        gradients.first = now.first
        shares = zip(work.blocks[now.blocks], grad_gate_BTX[now.blocks], grad_bias_BHT[now.blocks], strict=True)
        _run(
            library.answer,
            [(inputs, outputs, *block, _at(grad_query_NHX), _at(gate), _at(bias)) for block, gate, bias in shares],
        )
        for place, (agent, parts) in enumerate(work.hubs[now.hubs], start=len(work.blocks) + now.hubs.start):
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
        speakers.add(inputs, outputs, now)
    true_width = query_NHX.shape[2]
    return Gradients(
        grad_query_NHX[:, :, :true_width],
        speakers.result()[:, :true_width],
        grad_gate_BTX.double().sum(0).float()[:, :true_width],
        grad_bias_BHT.double().sum(0).float(),
        grad_strength_E,
    )


@dataclass(frozen=True)
class _Round:
    """Blocks and hubs whose ties, first … last, have their gradients in memory together."""

    blocks: slice
    hubs: slice
    first: int
    last: int


def _rounds(work: _Work, offsets_N1: Tensor) -> list[_Round]:
    """Blocks in rounds, few enough that the gradients of a round's ties stay in the caches until they are summed."""
    size = BLOCKS_PER_THREAD * torch.get_num_threads()
    rounds, hub = [], 0
    for start in range(0, len(work.blocks), size):
        blocks = work.blocks[start : start + size]
        begin, end = blocks[0][0], blocks[-1][1]
        next_hub = hub
        while next_hub < len(work.hubs) and work.hubs[next_hub][0] < end:
            next_hub += 1
        ties = int(offsets_N1[begin]), int(offsets_N1[end])
        rounds.append(_Round(slice(start, start + len(blocks)), slice(hub, next_hub), *ties))
        hub = next_hub
    return rounds


class _Speakers:
    """Gradients of expressions, round by round: each speaker's ties are added in their order, whatever the rounds are.

    Every thread adds to speakers of its own. A speaker whom very many hear is also summed in double precision.
    """

    def __init__(self, call: "_Call", order_E: Tensor, offsets_S1: Tensor) -> None:
        num_speakers, num_ties = len(offsets_S1) - 1, len(order_E)
        num_ranges = torch.get_num_threads() if num_ties > TIES_PER_BLOCK else 1
        wanted = torch.linspace(0, num_ties, num_ranges + 1, dtype=torch.float64).round().to(torch.int64)
        bounds = torch.searchsorted(offsets_S1.contiguous(), wanted)
        bounds[0], bounds[-1] = 0, num_speakers
        self.ranges = tuple(pairwise(torch.unique_consecutive(bounds).tolist()))
        self.library = call.library
        self.grad_SX = call.empty(num_speakers, call.width).zero_()
        self.loud = torch.nonzero(offsets_S1.diff() > TIES_PER_BLOCK)[:, 0]
        self.places = [
            order_E[int(offsets_S1[speaker]) : int(offsets_S1[speaker + 1])].to(torch.int32)
            for speaker in self.loud.tolist()
        ]
        self.next_L = torch.zeros(len(self.loud), dtype=torch.int64)
        self.sum_LX = torch.zeros(len(self.loud), call.width, dtype=torch.float64)

    def add(self, inputs: Any, outputs: Any, ties: _Round) -> None:
        """Adds the gradients of a round's ties."""
        part = (inputs, outputs, ties.first, ties.last)
        _run(self.library.add_by_speaker, [(*part, *bounds, _at(self.grad_SX)) for bounds in self.ranges])
        loud = zip(self.places, self.next_L, self.sum_LX, strict=True)
        _run(
            self.library.add_of_speaker,
            [(outputs, _at(places), len(places), ties.last, _at(place), _at(sum_X)) for places, place, sum_X in loud],
        )

    def result(self) -> Tensor:
        """The sums, [S, X]."""
        self.grad_SX[self.loud] = self.sum_LX.float()
        return self.grad_SX


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
        "add_by_speaker": [pointer, pointer, whole, whole, ctypes.c_int32, ctypes.c_int32, pointer],
        "add_of_speaker": [pointer, pointer, whole, whole, pointer, pointer],
    }.items():
        function = getattr(library, name)
        function.argtypes = types
        function.restype = None if name == "use_large_pages" else ctypes.c_int
    return library

"""Attention over in-ties in expression space: what every agent hears, weighted by whom it listens to.

Agents broadcast only their expression, so the key projection and the tie-type gate act on the receiver's query, and the
value projection comes after the weighted sum: each tie moves X values and no matrix of agents × agents exists.

    key_e      = x_src(e) ⊙ g_type(e)
    score_eh   = q_dst(e),h · key_e + b_h,type(e) + log strength_e
    weight_eh  = softmax of score_eh over the in-ties of dst(e)
    heard_ih   = Σ_e→i weight_eh · key_e

One operation, three backends that agree: `reference_attention.py` (plain torch, the oracle), `cpu_attention.py`
(compiled C) and `triton_attention.py` (graphics processors). Every sum is taken in an order that the graph fixes, so
the same input gives the same bits on the same machine whatever the number of threads.

Legend: N agents, E ties, H heads, X expression, T tie types.
"""

import logging
import os
from functools import cache
from types import ModuleType
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels import cpu_attention, reference_attention
from model.kernels.compiler import KernelUnavailable

logger = logging.getLogger(__name__)

Backend = Literal["auto", "reference", "cpu", "triton"]
_CHOICE = "POPULACE_ATTENTION_BACKEND"


def _chosen_by_environment() -> str:
    """What the environment says, `auto` where it says nothing."""
    name = os.environ.get(_CHOICE) or "auto"
    if name not in get_args(Backend):
        raise ValueError(f"{_CHOICE} is {name!r}. Allowed: {', '.join(get_args(Backend))}.")
    return name


_chosen = _chosen_by_environment()


def use_backend(name: Backend) -> None:
    """Chooses the backend for all later calls; `auto` takes the fastest that the device and the numbers allow.

    Raises:
        ValueError: the name is not known.
        KernelUnavailable: the backend was asked for by name and cannot be had here.
    """
    global _chosen
    if name not in get_args(Backend):
        raise ValueError(f"Attention backend {name!r} is not known. Allowed: {', '.join(get_args(Backend))}.")
    if name == "cpu":
        cpu_attention.build()
    if name == "triton":
        _triton()
    _chosen = name


def describe_backend() -> str:
    """Which backend is taken on this machine, and why, in a sentence for people."""
    if _chosen != "auto":
        problem = problem_with_choice()
        return f"{_chosen}, as chosen" + (f", cannot run here: {problem}" if problem else "")
    if torch.cuda.is_available():
        problem = _problem_with("triton")
        return f"reference: {problem}" if problem else "triton"
    problem = _problem_with("cpu")
    return f"reference: {problem}" if problem else f"cpu, compiled with {cpu_attention.build()}"


def problem_with_choice() -> str | None:
    """Why the backend that was chosen by name cannot be had here; None where it can, or none was chosen."""
    return _problem_with(_chosen)


def social_attention(
    query_NHX: Tensor,
    expression_NX: Tensor,
    gate_TX: Tensor,
    bias_HT: Tensor,
    log_strength_E: Tensor,
    offsets_N1: Tensor,
    src_E: Tensor,
    tie_type_E: Tensor,
    by_source: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """What each agent hears per head; zero for agents without in-ties.

    Listeners may be a block of the agents: queries and offsets count within the block, src among all speakers.

    Args:
        query_NHX: receivers' queries with the key projection absorbed.
        expression_NX: what agents broadcast; may be stored as bfloat16, sums are taken in the queries' precision.
        gate_TX: gate per tie type.
        bias_HT: preference of a head for a tie type.
        log_strength_E: logarithm of the trust in each tie, finite.
        offsets_N1: int64, in-ties of agent i are offsets[i] … offsets[i + 1].
        src_E: int32 or int64, speaker of each tie; ties are sorted by listener.
        tie_type_E: uint8 or int64, type of each tie.
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
        tie_type_E,
        order_E,
        source_offsets,
        _backend_for(query_NHX),
    )


def sort_by_source(src_E: Tensor, num_agents: int) -> tuple[Tensor, Tensor]:
    """The order [E] that sorts ties by speaker, ties of one speaker in their old order, and offsets [N + 1] in it."""
    counts_N = torch.bincount(src_E, minlength=num_agents)
    order_E = torch.argsort(src_E, stable=True)
    return order_E, torch.cat([counts_N.new_zeros(1), counts_N.cumsum(0)])


class _SocialAttention(torch.autograd.Function):
    """The operation with its gradient written out by a backend."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, order_E, source_offsets, backend = inputs
        heard_NHX, denominator_NH = backend.hear(*tensors)
        ctx.save_for_backward(*tensors, denominator_NH, order_E, source_offsets)
        ctx.backend = backend
        return heard_NHX

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        *tensors, denominator_NH, order_E, source_offsets = ctx.saved_tensors
        if order_E is None:
            order_E, source_offsets = sort_by_source(tensors[6], len(tensors[1]))
        gradients = ctx.backend.answer(grad_outputs[0], denominator_NH, *tensors, order_E, source_offsets)
        typed = (gradient.to(tensor.dtype) for gradient, tensor in zip(gradients, tensors[:5], strict=True))
        return (*typed, *(None,) * 6)


def timestep_kernels(like: Tensor) -> ModuleType | None:
    """The kernels of a whole timestep, where numbers like these lie on a device that can run them; None elsewhere.

    Raises:
        KernelUnavailable: the Triton backend was chosen by name and cannot be had here.
    """
    if _chosen == "triton" or (_chosen == "auto" and like.device.type == "cuda" and _said_problem("triton") is None):
        _triton()
        from model.kernels import triton_timestep

        return triton_timestep
    return None


def _backend_for(query_NHX: Tensor) -> ModuleType:
    if _chosen == "reference" or query_NHX.dtype != torch.float32:
        return reference_attention
    if _chosen == "triton":
        return _triton()
    if query_NHX.device.type == "cuda":
        return _triton() if _chosen == "auto" and _said_problem("triton") is None else reference_attention
    return cpu_attention if _chosen == "cpu" or _said_problem("cpu") is None else reference_attention


@cache
def _said_problem(name: Literal["cpu", "triton"]) -> str | None:
    """Why a backend cannot be had, said once in the log; None where it can."""
    problem = _problem_with(name)
    if problem is not None:
        logger.warning("Social attention runs on the slower reference backend. %s", problem)
    return problem


def _problem_with(name: str) -> str | None:
    try:
        if name == "cpu":
            cpu_attention.build()
        if name == "triton":
            _triton()
    except KernelUnavailable as error:
        return str(error)
    return None


def _triton() -> ModuleType:
    try:
        from model.kernels import triton_attention
    except ImportError as error:
        raise KernelUnavailable(
            f"The triton backend needs the package triton, which is not installed ({error}). It comes with torch for "
            "CUDA; choose another backend elsewhere."
        ) from error
    if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
        raise KernelUnavailable(
            "The triton backend needs a graphics processor that torch sees, and there is none. Choose auto, cpu or "
            "reference, or set TRITON_INTERPRET=1 to try kernels out on a processor, thousands of times slower."
        )
    return triton_attention

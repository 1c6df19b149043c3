"""Laws of social attention on every backend: all agree with the plain torch oracle, and threads change no bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.kernels import cpu_attention, reference_attention
from model.kernels import social_attention as backends
from model.kernels.compiler import KernelUnavailable, find_compiler, load_library
from model.kernels.social_attention import describe_backend, social_attention, sort_by_source, use_backend

TYPES = 3


@st.composite
def problems(draw):
    """Inputs of the operation on a random graph: no ties, hubs, self-ties, duplicates and single agents all occur."""
    num_agents = draw(st.integers(1, 12))
    counts_N = torch.tensor(draw(st.lists(st.integers(0, 9), min_size=num_agents, max_size=num_agents)))
    return make_problem(
        counts_N, heads=draw(st.integers(1, 5)), width=draw(st.integers(1, 18)), seed=draw(st.integers(0, 10_000))
    )


def make_problem(counts_N, heads=4, width=16, seed=0, speakers=None):
    generator = torch.Generator().manual_seed(seed)
    num_agents, num_ties = len(counts_N), int(counts_N.sum())
    speakers = speakers or num_agents

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    floats = [
        normal(num_agents, heads, width),
        normal(speakers, width),
        normal(TYPES, width),
        normal(heads, TYPES),
        normal(num_ties),
    ]
    offsets_N1 = torch.cat([counts_N.new_zeros(1), counts_N.cumsum(0)])
    src_E = torch.randint(speakers, (num_ties,), generator=generator)
    return floats, (offsets_N1, src_E, torch.randint(TYPES, (num_ties,), generator=generator))


def assert_agrees_with_the_oracle(floats, ties, seed=0):
    """Both passes of the compiled kernel against the oracle in double precision."""
    exact = [value.double() for value in floats]
    heard, denominator = cpu_attention.hear(*floats, *ties)
    wanted, wanted_denominator = reference_attention.hear(*exact, *ties)
    torch.testing.assert_close(heard.double(), wanted, rtol=2e-4, atol=2e-4)
    torch.testing.assert_close(denominator.double(), wanted_denominator, rtol=2e-4, atol=2e-4)
    grad_NHX = torch.randn(heard.shape, generator=torch.Generator().manual_seed(seed))
    by_source = sort_by_source(ties[1], len(floats[1]))
    ours = cpu_attention.answer(grad_NHX, denominator, *floats, *ties, *by_source)
    theirs = reference_attention.answer(grad_NHX.double(), wanted_denominator, *exact, *ties, *by_source)
    for name, mine, other in zip(ours._fields, ours, theirs, strict=True):
        scale = float(other.abs().max()) if other.numel() else 1.0
        torch.testing.assert_close(mine.double(), other, rtol=2e-3, atol=2e-4 * max(scale, 1.0), msg=name)


@settings(deadline=None, max_examples=40)
@given(problems())
def test_compiled_kernel_agrees_with_the_oracle(problem):
    assert_agrees_with_the_oracle(*problem)


@pytest.mark.parametrize("degree", [cpu_attention.HUB_TIES, cpu_attention.HUB_TIES + 1, 3 * cpu_attention.HUB_TIES + 7])
def test_one_hub_with_everyone_agrees_with_the_oracle(degree):
    counts_N = torch.zeros(6, dtype=torch.int64)
    counts_N[2], counts_N[4] = degree, 5
    assert_agrees_with_the_oracle(*make_problem(counts_N, speakers=500))


@pytest.mark.parametrize("surplus", [0, 1, 2 * cpu_attention.TIES_PER_BLOCK + 7])
def test_one_speaker_whom_everybody_hears_agrees_with_the_oracle(surplus):
    degree = cpu_attention.TIES_PER_BLOCK + surplus
    floats, (offsets_N1, src_E, tie_type_E) = make_problem(torch.full((degree,), 2), heads=2, width=8, speakers=500)
    src_E[::2] = 3
    assert_agrees_with_the_oracle(floats, (offsets_N1, src_E, tie_type_E))


def test_without_any_tie_nothing_is_heard():
    floats, ties = make_problem(torch.zeros(4, dtype=torch.int64))
    assert not cpu_attention.hear(*floats, *ties)[0].any()
    assert_agrees_with_the_oracle(floats, ties)


def test_scores_of_any_finite_size_are_stable():
    floats, ties = make_problem(torch.full((5,), 7))
    for value in floats[:1]:
        value *= 1e4
    assert torch.isfinite(cpu_attention.hear(*floats, *ties)[0]).all()


def test_threads_and_blocks_change_no_bit():
    generator = torch.Generator().manual_seed(1)
    counts_N = torch.randint(0, 60, (9_000,), generator=generator)
    counts_N[17] = 2 * cpu_attention.HUB_TIES + 3
    floats, (offsets_N1, src_E, tie_type_E) = make_problem(counts_N)
    before = torch.get_num_threads()
    results = []
    try:
        for num_threads in (1, 2, 3):
            torch.set_num_threads(num_threads)
            heard, denominator = cpu_attention.hear(*floats, offsets_N1, src_E, tie_type_E)
            by_source = sort_by_source(src_E, len(counts_N))
            gradients = cpu_attention.answer(heard, denominator, *floats, offsets_N1, src_E, tie_type_E, *by_source)
            results.append([heard, denominator, *gradients])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(results[0], other, strict=True))
    first, last = 10, 4_321
    ties = slice(int(offsets_N1[first]), int(offsets_N1[last]))
    query_NHX, expression_NX, gate_TX, bias_HT, log_strength_E = floats
    part, _ = cpu_attention.hear(
        query_NHX[first:last],
        expression_NX,
        gate_TX,
        bias_HT,
        log_strength_E[ties],
        offsets_N1[first : last + 1] - offsets_N1[first],
        src_E[ties],
        tie_type_E[ties],
    )
    assert torch.equal(part, results[0][0][first:last])


def test_half_stored_expressions_are_summed_in_single_precision():
    floats, ties = make_problem(torch.full((200,), 30))
    half = [floats[0], floats[1].bfloat16(), *floats[2:]]
    heard, _ = cpu_attention.hear(*half, *ties)
    widened = [floats[0], half[1].float(), *floats[2:]]
    torch.testing.assert_close(heard, cpu_attention.hear(*widened, *ties)[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_gradients_of_half_stored_expressions_are_those_of_the_widened(name):
    floats, ties = make_problem(torch.full((60,), 9))
    half = [floats[0], floats[1].bfloat16(), *floats[2:]]
    widened = [floats[0], half[1].float(), *floats[2:]]
    found = []
    try:
        use_backend(name)
        for inputs in (half, widened):
            inputs = [value.clone().requires_grad_() for value in inputs]
            found.append(torch.autograd.grad(social_attention(*inputs, *ties).square().sum(), inputs))
    finally:
        use_backend("auto")
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine.float(), other.to(mine.dtype).float(), rtol=1e-5, atol=1e-5)


def test_undefined_numbers_are_not_hidden():
    floats, ties = make_problem(torch.full((4,), 3))
    floats[1][int(ties[1][0])] = float("nan")
    assert cpu_attention.hear(*floats, *ties)[0][0].isnan().any()


def test_the_operation_takes_the_backend_that_was_chosen():
    floats, (offsets_N1, src_E, tie_type_E) = make_problem(torch.full((50,), 8))
    inputs = [value.requires_grad_() for value in floats]
    gradients = {}
    try:
        for name in ("cpu", "reference"):
            use_backend(name)
            assert describe_backend() == f"{name}, as chosen"
            heard = social_attention(*inputs, offsets_N1, src_E, tie_type_E)
            gradients[name] = [heard, *torch.autograd.grad(heard.square().sum(), inputs)]
    finally:
        use_backend("auto")
    for mine, other in zip(gradients["cpu"], gradients["reference"], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="'fastest' is not known"):
        use_backend("fastest")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a graphics processor")
def test_a_backend_that_cannot_run_here_is_an_error_and_not_another_one(monkeypatch):
    floats, ties = make_problem(torch.full((4,), 3))
    with pytest.raises(KernelUnavailable, match="needs"):
        use_backend("triton")
    monkeypatch.setattr(backends, "_chosen", "triton")
    with pytest.raises(KernelUnavailable, match=r"graphics processor|not installed"):
        social_attention(*floats, *ties)
    assert describe_backend().startswith("triton, as chosen, cannot run here: ")


@pytest.mark.parametrize(("said", "taken"), [(None, "auto"), ("", "auto"), ("reference", "reference"), ("cpu", "cpu")])
def test_the_environment_chooses_the_backend(monkeypatch, said, taken):
    monkeypatch.delenv("POPULACE_ATTENTION_BACKEND", raising=False)
    if said is not None:
        monkeypatch.setenv("POPULACE_ATTENTION_BACKEND", said)
    assert backends._chosen_by_environment() == taken


@pytest.mark.parametrize("said", ["fastest", "CPU"])
def test_an_unknown_backend_of_the_environment_is_an_error(monkeypatch, said):
    monkeypatch.setenv("POPULACE_ATTENTION_BACKEND", said)
    with pytest.raises(ValueError, match=rf"POPULACE_ATTENTION_BACKEND is '{said}'. Allowed: auto"):
        backends._chosen_by_environment()


def test_without_a_compiler_the_reason_is_named(monkeypatch):
    find_compiler.cache_clear()
    monkeypatch.setenv("CC", "no-such-compiler")
    try:
        with pytest.raises(KernelUnavailable, match=r"no-such-compiler.*populace\[kernels\]"):
            load_library(cpu_attention.SOURCE, {"HEADS": 1, "WIDTH": 8})
    finally:
        find_compiler.cache_clear()


def test_a_compiler_that_fails_is_quoted(monkeypatch, tmp_path):
    broken = tmp_path / "broken.c"
    broken.write_text("this is no C\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(KernelUnavailable, match=r"could not build broken\.c"):
        load_library(broken, {})
    assert not list((tmp_path / "cache").rglob("*.so"))

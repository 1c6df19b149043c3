"""The attention operation against a dense oracle and against its own finite differences."""

import pytest
import torch

from model.kernels.social_attention import social_attention, sort_by_source

NUM_AGENTS, NUM_TIES, NUM_HEADS, WIDTH, NUM_TYPES = 9, 40, 2, 3, 4


def make_ties(seed=0):
    generator = torch.Generator().manual_seed(seed)
    dst_E = torch.randint(0, NUM_AGENTS - 2, (NUM_TIES,), generator=generator).sort().values
    counts_N = torch.bincount(dst_E, minlength=NUM_AGENTS)
    return {
        "offsets_N1": torch.cat([counts_N.new_zeros(1), counts_N.cumsum(0)]),
        "src_E": torch.randint(0, NUM_AGENTS, (NUM_TIES,), generator=generator),
        "tie_type_E": torch.randint(0, NUM_TYPES, (NUM_TIES,), generator=generator),
    }


def make_inputs(scale=1.0):
    generator = torch.Generator().manual_seed(1)
    shapes = (
        (NUM_AGENTS, NUM_HEADS, WIDTH),
        (NUM_AGENTS, WIDTH),
        (NUM_TYPES, WIDTH),
        (NUM_HEADS, NUM_TYPES),
        (NUM_TIES,),
    )
    return [(scale * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_() for shape in shapes]


def listeners_of(ties):
    return torch.repeat_interleave(torch.arange(NUM_AGENTS), ties["offsets_N1"].diff())


def oracle(query_NHX, expression_NX, gate_TX, bias_HT, log_strength_E, ties):
    """The formulas of the module, one agent at a time."""
    heard_NHX = torch.zeros_like(query_NHX)
    for agent in range(NUM_AGENTS):
        mine = torch.nonzero(listeners_of(ties) == agent)[:, 0]
        if len(mine) == 0:
            continue
        types = ties["tie_type_E"][mine]
        keys = expression_NX[ties["src_E"][mine]] * gate_TX[types]
        for head in range(NUM_HEADS):
            scores = keys @ query_NHX[agent, head] + bias_HT[head, types] + log_strength_E[mine]
            heard_NHX[agent, head] = torch.softmax(scores, 0) @ keys
    return heard_NHX


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_equals_the_dense_oracle(scale):
    ties, inputs = make_ties(), make_inputs(scale)
    with torch.no_grad():
        torch.testing.assert_close(social_attention(*inputs, **ties), oracle(*inputs, ties))


@pytest.mark.parametrize("is_sorted_before", [True, False])
def test_gradient_agrees_with_finite_differences(is_sorted_before):
    ties = make_ties()
    by_source = sort_by_source(ties["src_E"], NUM_AGENTS) if is_sorted_before else None
    assert torch.autograd.gradcheck(
        lambda *inputs: social_attention(*inputs, **ties, by_source=by_source), make_inputs()
    )


def test_agents_without_ties_hear_exactly_nothing():
    heard_NHX = social_attention(*make_inputs(), **make_ties())
    assert torch.equal(heard_NHX[-2:], torch.zeros(2, NUM_HEADS, WIDTH, dtype=torch.float64))


def test_without_any_tie_nothing_is_heard_and_no_gradient_flows():
    none = torch.zeros(0, dtype=torch.int64)
    offsets_N1 = torch.zeros(NUM_AGENTS + 1, dtype=torch.int64)
    inputs = make_inputs()
    inputs[-1] = torch.zeros(0, dtype=torch.float64, requires_grad=True)
    heard_NHX = social_attention(*inputs, offsets_N1=offsets_N1, src_E=none, tie_type_E=none)
    heard_NHX.sum().backward()
    assert not heard_NHX.any()
    assert not inputs[1].grad.any()


def test_scores_of_any_finite_size_are_stable():
    inputs = [value.detach() for value in make_inputs(1e4)]
    assert bool(torch.isfinite(social_attention(*inputs, **make_ties())).all())


def test_a_tie_type_with_a_closed_gate_is_heard_as_silence():
    ties, inputs = make_ties(), [value.detach() for value in make_inputs()]
    ties["tie_type_E"] = torch.full_like(ties["tie_type_E"], 2)
    inputs[2][2] = 0
    assert not social_attention(*inputs, **ties).any()

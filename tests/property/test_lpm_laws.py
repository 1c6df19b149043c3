"""Laws of the mechanistic engine, on random and pathological graphs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.lpm.parameters import Parameter
from model.lpm.program import Program, run
from model.lpm.programs.opinion import opinion_population, opinion_program
from model.lpm.sensitivity import sensitivity
from model.lsm.inputs import SocialGraph, Timeline

DOUBLE = torch.float64
SCORES_O = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)


@st.composite
def societies(draw):
    """Stances, ties and events: no ties, hubs, self-ties, duplicates and single agents all occur."""
    num_agents = draw(st.integers(1, 7))
    agent = st.integers(0, num_agents - 1)
    ties = draw(st.lists(st.tuples(agent, agent, st.sampled_from([1e-30, 0.5, 1e30])), max_size=15))
    if draw(st.booleans()):
        ties += [(source, 0, 0.5) for source in range(num_agents)] * 2
    stances = draw(st.lists(st.floats(-1, 1), min_size=num_agents, max_size=num_agents))
    exposure = draw(st.lists(st.booleans(), min_size=2 * num_agents, max_size=2 * num_agents))
    pushes = draw(st.lists(st.floats(-1, 1), min_size=2, max_size=2))
    return (
        torch.tensor(stances, dtype=torch.float64),
        ties,
        torch.tensor(exposure).reshape(2, num_agents),
        torch.tensor(pushes, dtype=torch.float64),
    )


def make_population(stance_N, ties, exposure_VN, valence_V, starts=(1, 3)):
    ties = sorted(ties, key=lambda tie: tie[1])
    counts_N = torch.bincount(torch.tensor([tie[1] for tie in ties], dtype=torch.int64), minlength=len(stance_N))
    graph = SocialGraph(
        torch.cat([counts_N.new_zeros(1), counts_N.cumsum(0)]),
        torch.tensor([tie[0] for tie in ties], dtype=torch.int64),
        torch.zeros(len(ties), dtype=torch.int64),
        torch.tensor([tie[2] for tie in ties], dtype=torch.float64),
    )
    types_V = torch.zeros(2, dtype=torch.int64)
    timeline = Timeline(
        embedding_VD=torch.zeros(2, 1),
        valence_V=valence_V,
        credibility_V=torch.full((2,), 0.7, dtype=torch.float64),
        source_type_V=types_V,
        start_V=torch.tensor(starts),
        duration_V=torch.tensor([2, 1]),
        exposure_VN=exposure_VN,
    )
    return opinion_population(stance_N, graph, timeline, SCORES_O)


def stances(population, num_timesteps=4):
    found = []
    run(opinion_program(), population, num_timesteps, record=lambda _, state: found.append(state["stance_N"]))
    return found


@settings(deadline=None, max_examples=60)
@given(societies())
def test_stances_stay_in_range_and_probabilities_sum_to_one(society):
    final = run(opinion_program(), make_population(*society), 5)
    assert bool((final["stance_N"].abs() <= 1).all())
    answers_NO = final["option_probabilities_NO"]
    torch.testing.assert_close(answers_NO.sum(1), torch.ones(len(answers_NO), dtype=torch.float64))


@settings(deadline=None, max_examples=60)
@given(societies(), st.randoms(use_true_random=False))
def test_renaming_agents_renames_the_result(society, random):
    stance_N, ties, exposure_VN, valence_V = society
    order = list(range(len(stance_N)))
    random.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    renamed = [(place[src], place[dst], strength) for src, dst, strength in ties]
    ours = stances(make_population(*society))[-1][order]
    theirs = stances(make_population(stance_N[order], renamed, exposure_VN[:, order], valence_V))[-1]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(societies())
def test_an_event_that_has_not_begun_changes_no_bit(society):
    stance_N, ties, exposure_VN, valence_V = society
    ours = stances(make_population(*society))
    theirs = stances(make_population(stance_N, ties, exposure_VN, torch.stack([valence_V[0], -valence_V[1]])))
    for mine, yours in zip(ours[:3], theirs[:3], strict=True):
        assert torch.equal(mine, yours)


@settings(deadline=None, max_examples=60)
@given(societies())
def test_agents_whom_nothing_reaches_keep_their_stance_to_the_bit(society):
    stance_N, ties, exposure_VN, _ = society
    listeners = {dst for _, dst, _ in ties}
    is_alone_N = torch.tensor([agent not in listeners for agent in range(len(stance_N))]) & ~exposure_VN.any(0)
    final_N = stances(make_population(*society))[-1]
    assert torch.equal(final_N[is_alone_N], stance_N[is_alone_N])


@settings(deadline=None, max_examples=20)
@given(societies())
def test_sensitivities_agree_with_finite_differences(society):
    stance_N, ties, exposure_VN, valence_V = society
    population = make_population(0.9 * stance_N, [(src, dst, 0.5) for src, dst, _ in ties], exposure_VN, valence_V)
    program = opinion_program()

    def share(state):
        return state["option_probabilities_NO"][:, 0].mean()

    found = sensitivity(program, share, population, 4, inputs=["valence_V", "credibility_V"])
    gap = 1e-6
    for name, parameter in program.parameters.items():
        ends = [
            share(run(program, population, 4, values={name: torch.tensor(parameter.value + sign * gap, dtype=DOUBLE)}))
            for sign in (1, -1)
        ]
        assert float(found[name]) == pytest.approx(float(ends[0] - ends[1]) / (2 * gap), abs=1e-6)
    for name in ("valence_V", "credibility_V"):
        step_V = torch.tensor([gap, 0.0], dtype=torch.float64)
        ends = [share(run(program, {**population, name: population[name] + sign * step_V}, 4)) for sign in (1, -1)]
        assert float(found[name][0]) == pytest.approx(float(ends[0] - ends[1]) / (2 * gap), abs=1e-6)


@settings(deadline=None)
@given(st.floats(-5, 5), st.floats(0.1, 10), st.floats(0, 1))
def test_parameters_survive_the_way_to_the_unconstrained_scale_and_back(lowest, width, place):
    parameter = Parameter(lowest + place * width, bounds=(lowest, lowest + width + 1e-9))
    back = float(parameter.constrain(parameter.unconstrained()))
    assert abs(back - float(parameter.value)) <= 2e-4 * width
    assert parameter.bounds[0] < back < parameter.bounds[1]


class Drift:
    """Adds a parameter per timestep to everybody's level."""

    name, kind, reads, writes = "drift", "discrete_time", ("level_N",), ("level_N",)

    def __init__(self, speeds):
        self.parameters = {"speed": Parameter(speeds, bounds=(-1, 1))}

    def advance(self, state, parameters, timestep):
        return {"level_N": state["level_N"] + parameters["speed"][timestep - 1]}


@given(st.integers(1, 6))
def test_every_timestep_of_a_parameter_has_its_own_sensitivity(num_timesteps):
    program = Program([Drift((0.1,) * num_timesteps)], ["level_N"])
    population = {"level_N": torch.zeros(2, dtype=torch.float64)}
    for last in range(1, num_timesteps + 1):
        found_T = sensitivity(program, lambda state: state["level_N"].mean(), population, last)["drift.speed"]
        assert found_T.tolist() == [1.0] * last + [0.0] * (num_timesteps - last)

"""Programs, calibration and sensitivities against closed forms, and what they refuse."""

import gc
import math

import pytest
import torch

from model.lpm.calibration import CalibrationError, Target, calibrate
from model.lpm.parameters import Parameter, ParameterError
from model.lpm.program import Program, ProgramError, run
from model.lpm.programs.opinion import opinion_population, opinion_program, option_probabilities, stance_of
from model.lpm.sensitivity import sensitivity
from model.lsm.inputs import SocialGraph, Timeline, empty_timeline

DOUBLE = torch.float64


class Growth:
    """Multiplies a level by 1 + rate every timestep."""

    kind, reads, writes = "discrete_time", ("level_N",), ("level_N",)

    def __init__(self, rate=0.1, name="growth", writes_really=("level_N",), cuts=False, **options):
        self.name, self.writes_really, self.cuts = name, writes_really, cuts
        self.parameters = {"rate": Parameter(rate, bounds=(-0.5, 0.5), **options)}

    def advance(self, state, parameters, timestep):  # noqa: ARG002
        rate = parameters["rate"].detach() if self.cuts else parameters["rate"]
        return dict.fromkeys(self.writes_really, state["level_N"] * (1 + rate))


class Reader(Growth):
    reads = ("absent_N",)


LEVELS = {"level_N": torch.tensor([1.0, 2.0], dtype=DOUBLE)}


def last_level(state):
    return state["level_N"]


def test_a_run_equals_its_closed_form_and_records_every_timestep():
    seen = {}
    program = Program([Growth(0.1)], ["level_N"])
    run(program, LEVELS, 3, record=lambda timestep, state: seen.update({timestep: state["level_N"]}))
    assert list(seen) == [0, 1, 2, 3]
    torch.testing.assert_close(seen[3], LEVELS["level_N"] * 1.1**3)


def test_a_program_is_checked_when_it_is_made():
    with pytest.raises(ProgramError, match=r"\(growth\) reads absent_N.*level_N"):
        Program([Reader()], ["level_N"])
    with pytest.raises(ProgramError, match="Two substeps are called 'growth'"):
        Program([Growth(), Growth()], ["level_N"])


def test_programs_do_not_share_anything():
    one, other = Program([Growth(0.1)], ["level_N"]), Program([Growth(0.2)], ["level_N"])
    assert (one.parameters["growth.rate"].value, other.parameters["growth.rate"].value) == (0.1, 0.2)


def test_a_run_refuses_what_does_not_fit():
    program = Program([Growth()], ["level_N"])
    with pytest.raises(ProgramError, match="lacks level_N"):
        run(program, {}, 1)
    with pytest.raises(ProgramError, match=r"No parameter is called growth\.speed"):
        run(program, LEVELS, 1, values={"growth.speed": torch.tensor(0.1)})
    with pytest.raises(ProgramError, match="wrote other_N; declared: level_N"):
        run(Program([Growth(writes_really=("other_N",))], ["level_N"]), LEVELS, 1)


def test_memory_of_a_run_does_not_grow_with_time():
    live = []

    def weigh(*_):
        gc.collect()
        live.append(sum(item.numel() for item in gc.get_objects() if type(item) is torch.Tensor))

    with torch.no_grad():
        run(Program([Growth()], ["level_N"]), {"level_N": torch.ones(1000)}, 8, record=weigh)
    assert max(live[4:]) <= max(live[1:4])


@pytest.mark.parametrize(
    ("value", "options", "words"),
    [
        (2.0, {"bounds": (0, 1)}, "outside the bounds"),
        ((0.5, 2.0), {"bounds": (0, 1)}, "outside the bounds"),
        (0.0, {"bounds": (1, 0)}, "first below the second"),
        (0.0, {"bounds": (0, math.inf)}, "finite"),
        (0.0, {"bounds": (0, 1), "prior": (0.0, 0.0)}, "prior"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(value, options, words):
    with pytest.raises(ParameterError, match=words):
        Parameter(value, **options)


def test_sensitivity_equals_its_closed_form():
    program = Program([Growth(0.1)], ["level_N"])
    found = sensitivity(program, lambda state: state["level_N"].sum(), LEVELS, 3, inputs=["level_N"])
    assert float(found["growth.rate"]) == pytest.approx(3 * 3 * 1.1**2)
    torch.testing.assert_close(found["level_N"], torch.full((2,), 1.1**3, dtype=DOUBLE))


def test_sensitivity_refuses_an_outcome_without_gradient():
    program = Program([Growth(cuts=True)], ["level_N"])
    with pytest.raises(ProgramError, match="its gradient is empty"):
        sensitivity(program, lambda state: state["level_N"].sum(), LEVELS, 3)
    with pytest.raises(ProgramError, match="one number"):
        sensitivity(Program([Growth()], ["level_N"]), last_level, LEVELS, 3)


def test_calibration_of_a_known_model_has_the_least_squares_error():
    """One observation y = (1 + rate) with standard error σ: the estimate is y − 1 and its standard error σ."""
    population = {"level_N": torch.ones(1, dtype=DOUBLE)}
    targets = [Target(1, last_level, torch.tensor([1.2], dtype=DOUBLE), standard_error=0.01)]
    result = calibrate(Program([Growth(0.0)], ["level_N"]), population, targets, steps=300)
    estimate = result.estimates["growth.rate"]
    assert float(estimate.value) == pytest.approx(0.2, abs=1e-5)
    assert float(estimate.standard_error) == pytest.approx(0.01, rel=1e-3)
    assert float(estimate.lower) == pytest.approx(0.2 - 1.96 * 0.01, abs=1e-3)


def test_a_prior_pulls_the_estimate_by_its_precision():
    population = {"level_N": torch.ones(1, dtype=DOUBLE)}
    targets = [Target(1, last_level, torch.tensor([1.2], dtype=DOUBLE), standard_error=0.01)]
    program = Program([Growth(0.0, prior=(0.1, 0.01))], ["level_N"])
    estimate = calibrate(program, population, targets, steps=300).estimates["growth.rate"]
    assert float(estimate.value) == pytest.approx(0.15, abs=1e-4)
    assert float(estimate.standard_error) == pytest.approx(0.01 / 2**0.5, rel=0.02)


def test_calibration_refuses_parameters_without_gradient():
    targets = [Target(2, last_level, LEVELS["level_N"], 0.1)]
    with pytest.raises(CalibrationError, match=r"growth\.rate.*cuts the gradient"):
        calibrate(Program([Growth(cuts=True)], ["level_N"]), LEVELS, targets)
    program = Program([Growth(name="live"), Growth(name="dead", cuts=True)], ["level_N"])
    with pytest.raises(CalibrationError, match=r"dead\.rate receives no gradient"):
        calibrate(program, LEVELS, targets)


def test_calibration_refuses_parameters_that_the_targets_do_not_tell_apart():
    program = Program([Growth(name="one"), Growth(name="other")], ["level_N"])
    targets = [Target(1, last_level, 1.2 * LEVELS["level_N"], 0.1)]
    with pytest.raises(CalibrationError, match="tell the parameters apart"):
        calibrate(program, LEVELS, targets, steps=300)


def test_calibration_refuses_a_gradient_that_is_not_finite():
    program = Program([Growth()], ["level_N"])
    targets = [Target(1, lambda state: (state["level_N"] - 1.1).clamp(min=0).sqrt(), LEVELS["level_N"], 0.1)]
    population = {"level_N": torch.ones(2, dtype=DOUBLE)}
    with pytest.raises(CalibrationError, match=r"gradient of growth\.rate"):
        calibrate(program, population, targets)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ([], "No targets"),
        ([Target(1, last_level, LEVELS["level_N"], 0.1), Target(2, last_level, LEVELS["level_N"])], "all or none"),
        ([Target(1, last_level, LEVELS["level_N"], 0.0)], "above 0"),
    ],
)
def test_calibration_refuses_targets_that_make_no_sense(targets, words):
    with pytest.raises(CalibrationError, match=words):
        calibrate(Program([Growth()], ["level_N"]), LEVELS, targets)


def make_society(num_agents=30, seed=0):
    """Stances and a connected random graph, with the row-stochastic weights W of its ties."""
    generator = torch.Generator().manual_seed(seed)
    stance_N = torch.rand(num_agents, generator=generator, dtype=DOUBLE) * 1.8 - 0.9
    strength_NN = torch.rand(num_agents, num_agents, generator=generator, dtype=DOUBLE) + 0.05
    strength_NN *= torch.rand(num_agents, num_agents, generator=generator) < 0.3
    strength_NN[torch.arange(num_agents), torch.arange(1, num_agents + 1) % num_agents] = 0.5
    dst_E, src_E = torch.nonzero(strength_NN).T
    counts_N = torch.bincount(dst_E, minlength=num_agents)
    offsets_N1 = torch.cat([counts_N.new_zeros(1), counts_N.cumsum(0)])
    graph = SocialGraph(offsets_N1, src_E, torch.zeros_like(src_E), strength_NN[dst_E, src_E])
    return stance_N, graph, strength_NN / strength_NN.sum(1, keepdim=True)


def fixed(value, bounds=(0.0, 3.0)):
    return Parameter(value, bounds=bounds)


SCORES_O = torch.tensor([1.0, -1.0, 0.0], dtype=DOUBLE)


def test_without_bias_and_attachment_opinions_are_degroot():
    stance_N, graph, weight_NN = make_society()
    program = opinion_program(susceptibility=fixed(1.0), bias=fixed(0.0), self_weight=fixed(1.0, (0.01, 10)))
    population = opinion_population(stance_N, graph, empty_timeline(30, 1), SCORES_O)
    mixing_NN = (torch.eye(30, dtype=DOUBLE) + weight_NN) / 2
    expected_N = torch.linalg.matrix_power(mixing_NN, 7) @ stance_N
    torch.testing.assert_close(run(program, population, 7)["stance_N"], expected_N)


def test_without_bias_opinions_settle_where_friedkin_and_johnsen_say():
    stance_N, graph, weight_NN = make_society()
    program = opinion_program(susceptibility=fixed(0.6), bias=fixed(0.0), self_weight=fixed(1.0, (0.01, 10)))
    population = opinion_population(stance_N, graph, empty_timeline(30, 1), SCORES_O)
    mixing_NN = (torch.eye(30, dtype=DOUBLE) + weight_NN) / 2
    expected_N = torch.linalg.solve(torch.eye(30, dtype=DOUBLE) - 0.6 * mixing_NN, 0.4 * stance_N)
    torch.testing.assert_close(run(program, population, 60)["stance_N"], expected_N)


def test_bias_above_one_polarises_two_camps():
    """Dandekar et al. (2013), theorem 2: with bias 1 or more, camps that hear both sides alike drift to the ends."""
    num_agents = 20
    stance_N = torch.where(torch.arange(num_agents) < 10, 0.4, -0.4).to(DOUBLE)
    src_E = torch.arange(num_agents).repeat(num_agents)
    offsets_N1 = torch.arange(num_agents + 1) * num_agents
    graph = SocialGraph(offsets_N1, src_E, torch.zeros_like(src_E), torch.ones(len(src_E), dtype=DOUBLE))
    population = opinion_population(stance_N, graph, empty_timeline(num_agents, 1), SCORES_O)
    spreads = {}
    for bias in (0.5, 2.0):
        program = opinion_program(susceptibility=fixed(1.0), bias=fixed(bias))
        spreads[bias] = float(run(program, population, 40)["stance_N"].std())
    assert spreads[2.0] > float(stance_N.std()) > spreads[0.5]


def test_events_push_by_valence_and_credibility_while_they_are_active():
    stance_N = torch.tensor([0.0, 0.0], dtype=DOUBLE)
    none = torch.zeros(0, dtype=torch.int64)
    graph = SocialGraph(torch.zeros(3, dtype=torch.int64), none, none, torch.zeros(0))
    timeline = Timeline(
        embedding_VD=torch.zeros(1, 1),
        valence_V=torch.tensor([-0.5]),
        credibility_V=torch.tensor([0.8]),
        source_type_V=torch.zeros(1, dtype=torch.int64),
        start_V=torch.tensor([2]),
        duration_V=torch.tensor([1]),
        exposure_VN=torch.tensor([[1.0, 0.0]]),
    )
    program = opinion_program(susceptibility=fixed(1.0), event_gain=fixed(1.5))
    seen = []
    population = opinion_population(stance_N, graph, timeline, SCORES_O)
    run(program, population, 3, record=lambda _, state: seen.append(state["stance_N"].tolist()))
    pushed = pytest.approx([math.tanh(-1.5 * 0.5 * 0.8), 0.0], abs=1e-7)
    assert seen[:2] == [[0.0, 0.0], [0.0, 0.0]]
    assert seen[2] == pushed
    assert seen[3] == pushed


def test_stances_and_probabilities_answer_to_one_another():
    answers_NO = option_probabilities(torch.tensor([0.9, 0.0]), torch.tensor([1.0, -1.0, 0.0]), 0.01)
    torch.testing.assert_close(answers_NO[0], torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(answers_NO[1], torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(stance_of(answers_NO, torch.tensor([1.0, -1.0, 0.0])), torch.tensor([1.0, 0.0]))


def test_a_population_that_does_not_fit_is_refused():
    stance_N, graph, _ = make_society()
    with pytest.raises(ValueError, match="one population"):
        opinion_population(stance_N[:5], graph, empty_timeline(30, 1), SCORES_O)
    with pytest.raises(ValueError, match="beyond ±1"):
        opinion_population(stance_N * 3, graph, empty_timeline(30, 1), SCORES_O)


def test_known_parameters_of_opinion_dynamics_are_recovered():
    stance_N, graph, _ = make_society(60, seed=3)
    generator = torch.Generator().manual_seed(1)
    timeline = Timeline(
        embedding_VD=torch.zeros(1, 1),
        valence_V=torch.tensor([0.6]),
        credibility_V=torch.tensor([0.9]),
        source_type_V=torch.zeros(1, dtype=torch.int64),
        start_V=torch.tensor([3]),
        duration_V=torch.tensor([2]),
        exposure_VN=torch.rand(1, 60, generator=generator) < 0.5,
    )
    population = opinion_population(stance_N, graph, timeline, SCORES_O)
    truth = {
        "influence.susceptibility": 0.7,
        "influence.bias": 1.2,
        "events.gain": 0.8,
        "answers.temperature": 0.3,
    }
    targets = []

    def observe(timestep, state):
        if timestep > 0:
            noise_NO = 0.02 * torch.randn(60, 3, generator=generator, dtype=DOUBLE)
            answers_NO = state["option_probabilities_NO"] + noise_NO
            targets.append(Target(timestep, lambda found: found["option_probabilities_NO"], answers_NO))

    values = {name: torch.tensor(value, dtype=DOUBLE) for name, value in truth.items()}
    run(opinion_program(), population, 6, record=observe, values=values)
    result = calibrate(opinion_program(), population, targets, steps=150, lr=0.1, free=list(truth))
    for name, value in truth.items():
        estimate = result.estimates[name]
        assert abs(float(estimate.value) - value) < 3.5 * float(estimate.standard_error)
        assert float(estimate.standard_error) < 0.1 * value
    assert result.losses[-1] < result.losses[0] / 10
    assert torch.allclose(result.correlation_PP.diag(), torch.ones(4, dtype=DOUBLE))

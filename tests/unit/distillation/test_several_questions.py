"""A teacher rollout that answered several questions of one scenario becomes one rollout with several targets."""

import polars as pl
import pytest
from elicit_tiny_society import tiny_society

from assets.distillation.training_set import build_training_set
from assets.traces.asking import AskingOptions
from assets.traces.elicitation import run_elicitation
from assets.traces.plan import plan_elicitation
from assets.traces.scenario_schema import Scenario
from assets.traces.scenario_table import scenarios_table
from assets.traces.teachers import TeacherEndpoint, open_teacher
from validation.attributes import ATTRIBUTES

NUM_AGENTS, NUM_TIMESTEPS = 12, 1


def test_every_question_is_a_target(tmp_path) -> None:
    agents, ties, media_sources = tiny_society(NUM_AGENTS)
    scenarios = scenarios_table(
        [
            Scenario.model_validate(
                {
                    "id": "tax",
                    "title": "A tax",
                    "description": "A tax is announced.",
                    "question": [
                        {"id": "support", "text": "A tax?", "options": ["for", "against"]},
                        {"id": "paying", "text": "Would you pay it?", "options": ["gladly", "perhaps", "hardly"]},
                    ],
                    "timesteps": {"count": NUM_TIMESTEPS, "unit": "week"},
                    "events": [],
                }
            )
        ]
    )
    respondents = pl.DataFrame(
        {
            "respondent_id": [f"made-{index}" for index in range(60)],
            "survey": "made",
            "wave": 2016,
            "design_weight": 1.0,
            **{item.name: [item.levels[index % len(item.levels)] for index in range(60)] for item in ATTRIBUTES},
        }
    )
    teacher = open_teacher(TeacherEndpoint(), respondents)
    plan = plan_elicitation(
        scenarios,
        list(range(NUM_AGENTS)),
        teacher=teacher.label,
        model=teacher.model,
        max_timesteps=NUM_TIMESTEPS,
        repeat_share=0.0,
        num_draws=1,
        seed=5,
    )
    traces = run_elicitation(
        plan,
        scenarios,
        agents,
        ties,
        media_sources,
        teacher=teacher,
        ledger_path=tmp_path / "ledger.sqlite",
        options=AskingOptions(),
        seed=5,
    ).traces
    training_set = build_training_set(agents, ties, media_sources, scenarios, traces, seed=5)
    (rollout,) = training_set.rollouts
    assert [target.options for target in rollout.targets] == [("for", "against"), ("gladly", "perhaps", "hardly")]
    for target in rollout.targets:
        assert target.probability_TPO.shape == (NUM_TIMESTEPS + 1, NUM_AGENTS, len(target.options))
        assert target.probability_TPO.sum(-1).flatten().tolist() == pytest.approx([1.0] * 2 * NUM_AGENTS, abs=1e-5)
    assert not rollout.channels_TPK.isnan().any()

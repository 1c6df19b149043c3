"""Scenarios that ask what the student was not trained on are named."""

import polars as pl

from assets.simulation.questions import warn_of_new_questions

SCENARIOS = pl.DataFrame(
    {
        "scenario_id": ["old", "old", "new", "new", "new"],
        "kind": ["question", "event", "question", "question", "event"],
        "name": ["support", "speech", "support", "trust", "march"],
    }
)


def test_only_simulated_scenarios_with_new_questions_are_named():
    (warning,) = warn_of_new_questions(SCENARIOS, ["old", "new"], ["support"], 3)

    assert warning.startswith("Scenario new asks trust, on which student version 3 was not trained")
    assert "populace run" in warning
    assert warn_of_new_questions(SCENARIOS, ["old"], ["support"], 3) == []
    assert warn_of_new_questions(SCENARIOS, ["old", "new"], ["support", "trust"], 3) == []

"""Teacher rollouts on a tiny society: with the embedded teacher, and with servers that misbehave on purpose."""

import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assets.traces import retrying
from assets.traces.asking import AskingOptions, BudgetExceeded, TeacherUnusable
from assets.traces.elicitation import Elicitation, run_elicitation
from assets.traces.embedded_teacher.appraisal import RATES
from assets.traces.embedded_teacher.replies import CHANNEL_NOISE
from assets.traces.event_reach import Triggers
from assets.traces.ledger import Ledger
from assets.traces.minds import Mind
from assets.traces.plan import plan_elicitation
from assets.traces.scenario_schema import Scenario
from assets.traces.scenario_table import scenarios_table
from assets.traces.teachers import Teacher, TeacherEndpoint, open_teacher
from validation.attributes import ATTRIBUTES
from validation.channels import channel_names
from validation.contracts import CONTRACTS

NUM_AGENTS, NUM_TIMESTEPS = 40, 3
KEY = "sk-very-secret"
OPTIONS = ["for", "against"]


@pytest.fixture(scope="module")
def agents() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "agent_id": range(NUM_AGENTS),
            "household_id": range(NUM_AGENTS),
            "respondent_id": [f"made-{index}" for index in range(NUM_AGENTS)],
            "geography": "US-NY",
            "age": rng.integers(18, 90, NUM_AGENTS),
            **{attribute.name: rng.choice(attribute.levels, NUM_AGENTS) for attribute in ATTRIBUTES},
            "imputed_attributes": [[] for _ in range(NUM_AGENTS)],
        },
        schema=CONTRACTS["agents"].polars_schema(),
    )
    return CONTRACTS["agents"].validate(frame)


@pytest.fixture(scope="module")
def ties() -> pl.DataFrame:
    """A ring of friends: everybody hears the two next to them; even agents follow source 0."""
    friends = [((i + step) % NUM_AGENTS, i, "friend", 0.5) for i in range(NUM_AGENTS) for step in (-1, 1)]
    media = [(0, i, "media", 1.0) for i in range(0, NUM_AGENTS, 2)]
    frame = pl.DataFrame(friends + media, schema=CONTRACTS["ties"].polars_schema(), orient="row")
    return CONTRACTS["ties"].validate(frame)


@pytest.fixture(scope="module")
def media_sources() -> pl.DataFrame:
    row = (0, "the paper", "local_newspaper", 0.5, "true", NUM_AGENTS // 2)
    return pl.DataFrame([row], schema=CONTRACTS["media_sources"].polars_schema(), orient="row")


@pytest.fixture(scope="module")
def respondents() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    columns = {attribute.name: rng.choice(attribute.levels, 600) for attribute in ATTRIBUTES}
    share = np.where(columns["party"] == "democrat", 0.8, 0.3)
    answers = np.where(rng.random(600) < share, "for", "against")
    ids = [f"made-{index}" for index in range(600)]
    return pl.DataFrame(
        {"respondent_id": ids, "survey": "made", "wave": 2016, "design_weight": 1.0, **columns, "item_tax": answers}
    )


def message(**changes: Any) -> dict[str, Any]:
    return {
        "source": {"name": "the mayor", "type": "government"},
        "channel": "broadcast",
        "framing": "a fair share",
        "content": "The mayor explains the tax.",
        "valence": 0.8,
        "credibility": 0.9,
        "exposure": {"reach": 1.0},
        **changes,
    }


def make_scenarios(
    events: list[dict[str, Any]] | None = None,
    triggers: list[dict[str, Any]] | None = None,
    num_questions: int = 2,
) -> pl.DataFrame:
    scenario = {
        "id": "tax",
        "title": "A tax",
        "description": "A tax is announced.",
        "question": [
            {"id": "support", "text": "A tax?", "options": OPTIONS, "item": "tax"},
            {"id": "paying", "text": "Would you pay it?", "options": ["gladly", "hardly"]},
        ][:num_questions],
        "timesteps": {"count": NUM_TIMESTEPS, "unit": "week"},
        "events": events or [],
        "triggers": triggers or [],
    }
    return scenarios_table([Scenario.model_validate(scenario)])


@dataclass
class Run:
    """Elicits the tiny society; every call opens its own teacher."""

    agents: pl.DataFrame
    ties: pl.DataFrame
    media_sources: pl.DataFrame
    respondents: pl.DataFrame
    ledger_path: Path

    def __call__(
        self,
        scenarios: pl.DataFrame | None = None,
        *,
        teacher: Teacher | None = None,
        panel: range = range(NUM_AGENTS),
        ties: pl.DataFrame | None = None,
        seed: int = 5,
        max_timesteps: int = NUM_TIMESTEPS,
        budget_usd: float = 1.0,
        ledger: str = "ledger.sqlite",
        num_draws: int = 1,
    ) -> Elicitation:
        scenarios = make_scenarios([message(id="talk", at=1)], num_questions=1) if scenarios is None else scenarios
        teacher = teacher or open_teacher(TeacherEndpoint(), self.respondents, scenarios)
        plan = plan_elicitation(
            scenarios,
            panel,
            teacher=teacher.label,
            model=teacher.model,
            max_timesteps=max_timesteps,
            repeat_share=0.3,
            num_draws=num_draws,
            seed=seed,
        )
        ties = self.ties if ties is None else ties
        return run_elicitation(
            plan,
            scenarios,
            self.agents,
            ties,
            self.media_sources,
            teacher=teacher,
            ledger_path=self.ledger_path / ledger,
            options=AskingOptions(budget_usd=budget_usd),
            seed=seed,
        )


@pytest.fixture
def run(
    agents: pl.DataFrame, ties: pl.DataFrame, media_sources: pl.DataFrame, respondents: pl.DataFrame, tmp_path: Path
) -> Run:
    return Run(agents, ties, media_sources, respondents, tmp_path)


ANSWER: dict[str, Any] = {
    "channels": [0.1] * len(channel_names()),
    "channel_confidence": [0.8] * len(channel_names()),
    "channel_evidence": "tone",
    "option_probabilities": [0.6, 0.4],
    "option": "for",
    "conviction": 0.4,
    "private_stance": 0.2,
    "public_stance": 0.1,
    "statement": "I am for it.",
    "will_share": True,
    "attention_events": 0.5,
    "attention_peers": 0.3,
    "attention_memory": 0.2,
    "memory_write": "the talk",
    "memory_salience": 0.5,
    "trust_deltas": [],
    "rationale": "because",
}
GOOD = json.dumps(ANSWER)


def reply(content: str | None, refusal: str | None = None) -> Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, "refusal": refusal}}
    return JSONResponse({"choices": [choice], "usage": {"prompt_tokens": 1000, "completion_tokens": 100}})


def error(status: int) -> Response:
    return JSONResponse({"error": {"message": "no"}}, status_code=status, headers={"retry-after-ms": "1"})


@dataclass
class Server:
    """Replies to the n-th classification with `classify(n)`, and to reactions with prose or `react(n)`."""

    classify: Callable[[int], Response] = lambda _: reply(GOOD)
    react: Callable[[int], Response] = lambda _: reply("I am for it.")
    num_reactions: int = 0
    num_classifications: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def teacher(self) -> Teacher:
        app = Starlette(routes=[Route("/v1/chat/completions", self._complete, methods=["POST"])])
        client = openai.AsyncOpenAI(
            api_key=KEY,
            base_url="http://teacher.example/v1",
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app)),
        )
        return Teacher(client, "teacher.example", "gpt-4o")

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        if "response_format" in body:
            self.num_classifications += 1
            return self.classify(self.num_classifications)
        self.num_reactions += 1
        return self.react(self.num_reactions)


@pytest.fixture
def ask_one(run: Run) -> Callable[..., dict[str, Any]]:
    """Asks one person once; the only row."""

    def ask(server: Server, **options: Any) -> dict[str, Any]:
        traces = run(teacher=server.teacher(), panel=range(1), max_timesteps=0, **options).traces
        CONTRACTS["reasoning_traces"].validate(traces)
        assert traces.height == 1
        return traces.row(0, named=True)

    return ask


# The embedded teacher


def test_every_planned_draw_becomes_a_row_that_keeps_the_contract(run: Run) -> None:
    elicitation = run(num_draws=3)
    traces = elicitation.traces
    CONTRACTS["reasoning_traces"].validate(traces)
    first = traces.filter(pl.col("draw") == 0)
    assert first.height == NUM_AGENTS * (NUM_TIMESTEPS + 1)
    assert traces.height > first.height
    assert traces["validation_status"].unique().to_list() == ["valid"]
    assert traces["teacher"].unique().to_list() == ["embedded"]
    assert elicitation.num_asked == 2 * traces.height
    assert (elicitation.num_known, elicitation.cost_usd) == (0, 0.0)


def test_the_same_seed_gives_the_same_traces_and_another_does_not(run: Run) -> None:
    one, same, other = (
        run(ledger=name, seed=seed, max_timesteps=1).traces for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert_frame_equal(one.drop("latency_ms"), same.drop("latency_ms"))
    assert not one["channels"].equals(other["channels"])


def test_a_second_run_asks_nothing_and_gives_equal_rows(run: Run) -> None:
    first, second = run(), run()
    assert second.num_asked == 0
    assert second.num_known == first.num_asked
    assert_frame_equal(first.traces, second.traces)


def test_a_longer_run_asks_for_the_new_timesteps_only(run: Run) -> None:
    short, long = run(max_timesteps=1), run(max_timesteps=2)
    assert long.num_known == short.num_asked
    assert long.num_asked == 2 * NUM_AGENTS
    assert_frame_equal(long.traces.filter(pl.col("timestep") <= 1), short.traces)


def test_left_alone_people_stay_where_they_are_up_to_noise(run: Run, ties: pl.DataFrame) -> None:
    """Drawn back to rest at rate r with noise σ each step, a channel scatters with σ / √(1 − (1 − r)²)."""
    traces = run(make_scenarios(num_questions=1), ties=ties.clear()).traces
    channels = np.array(traces.sort("timestep", "agent_id")["channels"].to_list())
    channels = channels.reshape(NUM_TIMESTEPS + 1, NUM_AGENTS, len(channel_names()))
    drift = channels[-1] - channels[0]
    rates = np.array([RATES[name] for name in channel_names()])
    spread = CHANNEL_NOISE * np.sqrt(1 + 1 / (1 - (1 - rates) ** 2))
    assert (np.abs(drift) < 5 * spread).all()
    assert (np.abs(drift.mean(axis=0)) < 5 * spread / NUM_AGENTS**0.5).all()


def test_an_event_is_shown_while_it_lasts_to_whom_it_reaches(run: Run) -> None:
    event = message(id="column", at=1, duration=2, channel="local_newspaper")
    traces = run(make_scenarios([event], num_questions=1)).traces
    seen = traces.filter(pl.col("exposures").list.contains("column"))
    assert sorted(seen["timestep"].unique()) == [1, 2]
    assert sorted(seen["agent_id"].unique()) == list(range(0, NUM_AGENTS, 2))


def test_what_neighbours_said_and_shared_is_heard_one_step_later(run: Run) -> None:
    traces = run().traces
    said = {
        (row["agent_id"], row["timestep"]): row["statement"] if row["will_share"] else None
        for row in traces.iter_rows(named=True)
    }
    assert traces.filter(pl.col("timestep") == 0)["neighbour_ids"].list.len().sum() == 0
    for row in traces.filter(pl.col("timestep") > 0).iter_rows(named=True):
        expected = {}
        for step in (-1, 1):
            other = (row["agent_id"] + step) % NUM_AGENTS
            statement = said[other, row["timestep"] - 1]
            if statement:
                expected[other] = statement
        assert dict(zip(row["neighbour_ids"], row["neighbour_statements"], strict=True)) == expected


def test_the_state_shown_is_the_state_after_the_step_before(run: Run) -> None:
    traces = run().traces.sort("agent_id", "timestep")
    for (_,), rows in traces.group_by("agent_id"):
        channels, before, deltas = (rows[name].to_list() for name in ("channels", "state_before", "channel_deltas"))
        assert before[0] == []
        assert before[1:] == channels[:-1]
        assert np.array(deltas[1:]) == pytest.approx(np.array(channels[1:]) - np.array(before[1:]), abs=1e-6)


def trigger(**when: Any) -> dict[str, Any]:
    watched = {"question": "support", "option": "for", "share_above": 0.0, "for": 2, **when}
    return {"id": "answer", "when": watched, "event": message()}


def test_a_trigger_fires_in_the_step_after_its_share_has_held(run: Run) -> None:
    traces = run(make_scenarios(triggers=[trigger()], num_questions=1)).traces
    assert traces.filter(pl.col("exposures").list.contains("answer"))["timestep"].unique().to_list() == [2]
    never = run(make_scenarios(triggers=[trigger(share_above=0.999)])).traces
    assert never["exposures"].list.len().sum() == 0


def test_a_teacher_starts_an_event_again_only_after_its_share_has_fallen_far_enough() -> None:
    row = {"name": "answer", "trigger_question": "support", "trigger_option": "for", "share_above": 0.5}
    watch = Triggers([row | {"rearm_below": None, "hold_for": 1}])
    starts = []
    for timestep, share in enumerate([0.6, 0.46, 0.6, 0.44, 0.6, 0.7]):
        minds = {agent_id: Mind(probabilities=[share, 1 - share]) for agent_id in range(3)}
        watch.observe(timestep, {"name": "support", "options": ["for", "against"]}, minds)
        starts.append(watch.start_of("answer"))
    assert starts == [1, 1, 1, 1, 5, 5]


def test_a_trigger_on_one_question_reaches_those_who_answer_the_other(run: Run) -> None:
    traces = run(make_scenarios(triggers=[trigger(question="paying", option="gladly")])).traces
    reached = traces.filter(pl.col("exposures").list.contains("answer"))
    assert sorted(reached["question_id"].unique()) == ["paying", "support"]
    assert reached["timestep"].unique().to_list() == [2]


def test_every_question_of_a_scenario_is_a_rollout_of_its_own(run: Run) -> None:
    traces = run(make_scenarios([message(id="talk", at=1)])).traces
    assert dict(traces.group_by("question_id").len().iter_rows()) == {
        "support": NUM_AGENTS * (NUM_TIMESTEPS + 1),
        "paying": NUM_AGENTS * (NUM_TIMESTEPS + 1),
    }
    CONTRACTS["reasoning_traces"].validate(traces)
    for _, rows in traces.sort("timestep").group_by("question_id", "agent_id"):
        assert rows["state_before"].to_list()[1:] == rows["channels"].to_list()[:-1]
        assert rows["option_probabilities"].list.len().unique().to_list() == [2]


# Servers that misbehave


def test_a_right_answer_after_a_malformed_one_is_repaired(ask_one: Callable[..., dict[str, Any]]) -> None:
    server = Server(classify=lambda n: reply("I say yes." if n == 1 else GOOD))
    row = ask_one(server)
    assert row["validation_status"] == "repaired"
    assert row["option_probabilities"] == [0.6, 0.4]
    repair = server.bodies[-1]["messages"]
    assert repair[-2] == {"role": "assistant", "content": "I say yes."}
    assert "not JSON" in repair[-1]["content"]
    assert row["prompt_tokens"] == 3 * 1000
    assert row["cost_usd"] == pytest.approx(3 * (1000 * 2.5 + 100 * 10) / 1e6)


def test_always_malformed_answers_fail_with_their_reason(run: Run) -> None:
    server = Server(classify=lambda _: reply(json.dumps({**ANSWER, "option": "perhaps"})))
    elicitation = run(teacher=server.teacher(), max_timesteps=1)
    CONTRACTS["reasoning_traces"].validate(elicitation.traces)
    assert elicitation.traces["validation_status"].unique().to_list() == ["failed"]
    assert elicitation.traces["channels"].null_count() == elicitation.traces.height == 2 * NUM_AGENTS
    assert not elicitation.traces["is_refusal"].any()
    assert elicitation.traces["rationale"].str.contains("option 'perhaps' is none of for, against").all()
    assert elicitation.num_asked == 3 * elicitation.traces.height, "a reaction, a classification and its repair"


@pytest.mark.parametrize(
    "server",
    [
        Server(classify=lambda _: reply(None, "I cannot answer that.")),
        Server(react=lambda _: reply(None, "I cannot answer that.")),
    ],
    ids=["classification", "reaction"],
)
def test_a_refusal_is_recorded_as_one(ask_one: Callable[..., dict[str, Any]], server: Server) -> None:
    row = ask_one(server)
    assert row["is_refusal"]
    assert row["validation_status"] == "failed"
    assert row["rationale"] == "refused: I cannot answer that."
    assert row["channels"] is None


def test_errors_of_the_server_are_retried(ask_one: Callable[..., dict[str, Any]]) -> None:
    server = Server(classify=lambda n: error(500) if n <= 2 else reply(GOOD))
    assert ask_one(server)["validation_status"] == "valid"
    assert server.num_classifications == 3


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (error(500), "HTTP 500 (no) (8 attempts)"),
        (error(400), "HTTP 400 (no)"),
        (JSONResponse({"error": "busy"}), "the reply is no chat completion: it lacks choices with a message"),
        (Response("<html>"), "the reply is no JSON (8 attempts)"),
        (JSONResponse({"choices": []}), "the reply is no chat completion: it lacks choices with a message"),
    ],
)
@pytest.mark.parametrize("stage", ["react", "classify"])
@pytest.mark.usefixtures("impatient")
def test_a_request_that_keeps_failing_is_listed_and_the_others_go_on(
    run: Run, failure: Response, reason: str, stage: str
) -> None:
    server = Server(react=lambda _: failure) if stage == "react" else Server(classify=lambda _: failure)
    traces = run(teacher=server.teacher(), panel=range(2), max_timesteps=1, budget_usd=10.0).traces
    CONTRACTS["reasoning_traces"].validate(traces)
    assert traces["rationale"].to_list() == [f"failed: {reason}"] * 4


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between attempts for milliseconds."""
    monkeypatch.setattr(retrying, "FIRST_WAIT_SECONDS", 0.002)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_nothing_more_is_asked_once_nothing_can_be(run: Run, status: int) -> None:
    server = Server(react=lambda _: error(status))
    with pytest.raises(TeacherUnusable, match="OPENAI_API_KEY") as raised:
        run(teacher=server.teacher())
    assert server.num_reactions < NUM_AGENTS
    assert KEY not in f"{raised.value} {raised.value!r}"


def test_a_key_in_the_message_of_a_server_goes_no_further(run: Run) -> None:
    said = JSONResponse({"error": {"message": f"Incorrect API key provided: {KEY}, or sk-pro****1234"}}, 401)
    with pytest.raises(TeacherUnusable, match="Incorrect API key provided: …, or …") as raised:
        run(teacher=Server(react=lambda _: said).teacher())
    assert raised.value.__cause__ is None
    assert KEY not in "".join(traceback.format_exception(raised.value))


@pytest.mark.usefixtures("impatient")
def test_a_server_that_cannot_be_reached_ends_the_run(run: Run) -> None:
    async def refuse(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    client = openai.AsyncOpenAI(
        api_key=KEY,
        base_url="http://teacher.example/v1",
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(refuse)),
    )
    with pytest.raises(TeacherUnusable, match="cannot be reached") as raised:
        run(teacher=Teacher(client, "teacher.example", "gpt-4o"))
    assert KEY not in f"{raised.value} {raised.value!r}"


# Money


PRICE_USD = (1000 * 2.5 + 100 * 10) / 1e6
"""What the server's replies cost by the published price of the model it goes by."""


def test_the_budget_stops_the_run_and_what_was_bought_is_kept(run: Run) -> None:
    server = Server()
    with pytest.raises(BudgetExceeded, match="POPULACE_TEACHER_BUDGET_USD") as raised:
        run(teacher=server.teacher(), budget_usd=0.05)
    assert KEY not in f"{raised.value!r}"
    num_bought = len(server.bodies)
    assert num_bought > 0
    with Ledger(run.ledger_path / "ledger.sqlite") as ledger:
        assert len(ledger) == num_bought, "requests under way when the budget ended are kept as well"
        assert ledger.spent_usd == pytest.approx(num_bought * PRICE_USD)
        assert ledger.spent_usd <= 0.05
    finished = run(teacher=Server().teacher(), budget_usd=10.0)
    assert finished.num_known == num_bought
    assert finished.num_asked + num_bought == 2 * NUM_AGENTS * (NUM_TIMESTEPS + 1)


def test_without_a_budget_nothing_is_sent_to_a_teacher_that_costs(run: Run) -> None:
    server = Server()
    with pytest.raises(BudgetExceeded):
        run(teacher=server.teacher(), budget_usd=0.0)
    assert server.bodies == []


def test_the_key_is_in_no_row_and_not_in_the_ledger(run: Run) -> None:
    traces = run(teacher=Server().teacher(), panel=range(2)).traces
    assert KEY not in str(traces.to_dicts())
    files = [path for path in run.ledger_path.rglob("*") if path.is_file()]
    assert files
    assert all(KEY.encode() not in file.read_bytes() for file in files)

"""The embedded teacher as any client sees it, and the response models that it answers from."""

import asyncio
import json
import math

import httpx2
import numpy as np
import openai
import polars as pl
import pytest
from openai.types.chat import ChatCompletion

from assets.traces.answers import read_answer
from assets.traces.embedded_teacher.app import NO_NOTES, create_app
from assets.traces.embedded_teacher.notes import EventNote, EventNotes
from assets.traces.embedded_teacher.phrases import REASONS, STATEMENTS
from assets.traces.embedded_teacher.reading import AskedQuestion, UnreadablePrompt, read_question, read_situation
from assets.traces.embedded_teacher.response_models import ResponseModels, fit_response_models
from assets.traces.embedded_teacher.teacher import MODEL_FAMILY, model_name
from assets.traces.prompts import Step, render_step, render_system
from assets.traces.text_encoder import TEXT_ENCODER
from validation.attributes import ATTRIBUTES

OPTIONS = ["for", "against"]
QUESTION = {
    "scenario_id": "s",
    "name": "tax",
    "item": "tax",
    "text": "A tax?",
    "options": OPTIONS,
    "option_scores": [1.0, -1.0],
    "timestep_unit": "week",
}
ASKED = AskedQuestion("s", "tax", "tax", tuple(OPTIONS), (1.0, -1.0), is_classification=True, unit="week")
PERSONA = "- person: 7\n- age: 41\n- party: Democrat or leaning to the Democrats\n- sex: man"


def make_respondents(num_respondents: int = 3_000, wave: int = 2016) -> pl.DataFrame:
    """Democrats answer `for` with 80 %, others with 30 %; nothing else matters."""
    rng = np.random.default_rng(1)
    columns = {attribute.name: rng.choice(attribute.levels, num_respondents) for attribute in ATTRIBUTES}
    share = np.where(columns["party"] == "democrat", 0.8, 0.3)
    return pl.DataFrame(
        {
            "respondent_id": [f"made-{index}" for index in range(num_respondents)],
            "survey": "made",
            "wave": wave,
            "design_weight": 1.0,
            **columns,
            "item_tax": np.where(rng.random(num_respondents) < share, "for", "against"),
        }
    )


@pytest.fixture(scope="module")
def models() -> ResponseModels:
    return fit_response_models(make_respondents())


def ask(models: ResponseModels, messages: list[dict[str, str]], seed: int = 1) -> ChatCompletion:
    async def send() -> ChatCompletion:
        transport = httpx2.ASGITransport(app=create_app(models))
        async with openai.AsyncOpenAI(
            api_key="any", base_url="http://teacher/v1", http_client=httpx2.AsyncClient(transport=transport)
        ) as client:
            return await client.chat.completions.create(model=model_name(models), messages=messages, seed=seed)  # pyright: ignore

    return asyncio.run(send())


def conversation(elicitation_pass: str, question: dict[str, object] = QUESTION) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": render_system(question, elicitation_pass)},
        {"role": "user", "content": render_step(PERSONA, "week", Step(0), question["options"])},  # pyright: ignore
    ]


def test_it_speaks_the_protocol_and_answers_by_the_schema(models: ResponseModels) -> None:
    completion = ask(models, conversation("classification"))
    assert completion.object == "chat.completion"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 0
    answer = read_answer(str(completion.choices[0].message.content), OPTIONS)
    assert "made answers to tax" in answer["rationale"]


@pytest.mark.parametrize("seed", range(12))
def test_both_passes_tell_the_same_draw(models: ResponseModels, seed: int) -> None:
    said = str(ask(models, conversation("reaction"), seed).choices[0].message.content)
    answer = read_answer(str(ask(models, conversation("classification"), seed).choices[0].message.content), OPTIONS)
    assert said.endswith(f"Says: {answer['statement'] or 'nothing'}")
    assert answer["will_share"] == bool(answer["statement"])


def test_a_reaction_is_prose_that_states_an_option(models: ResponseModels) -> None:
    content = str(ask(models, conversation("reaction")).choices[0].message.content)
    with pytest.raises(json.JSONDecodeError):
        json.loads(content)
    thinks, says = content.split("\n")
    assert thinks.startswith("Thinks: ")
    assert any(option in thinks for option in OPTIONS)
    said = [wording.format(option=option) for wording in STATEMENTS for option in OPTIONS]
    assert says in ("Says: nothing", *(f"Says: {words}." for words in said))


def test_wordings_vary_between_draws_and_every_statement_is_read_back(models: ResponseModels) -> None:
    thoughts, said = set(), set()
    for seed in range(40):
        content = str(ask(models, conversation("reaction"), seed).choices[0].message.content)
        thinks, says = content.split("\n")
        thoughts.add(thinks.replace("against", "X").replace("for", "X"))
        said.add(says.removeprefix("Says: "))
    assert len(thoughts) >= 6
    for statement in said - {"nothing"}:
        step = Step(1, statements=[f"- person 3 (friend): {statement}"])
        (option,) = read_situation(render_step(PERSONA, "week", step, OPTIONS), ASKED, NO_NOTES).peer_options
        assert option in OPTIONS


EVENT_LINE = "- news: the mayor (government, by local newspaper). A fair share. The mayor explains the tax."


def test_events_are_appraised_by_the_notes_and_unknown_ones_are_refused() -> None:
    text = render_step(PERSONA, "week", Step(2, exposures=[EVENT_LINE]), OPTIONS)
    notes = EventNotes({("s", "news"): EventNote(-0.7, 0.4)})
    (event,) = read_situation(text, ASKED, notes).events
    assert (event.name, event.source_type, event.channel) == ("news", "government", "local_newspaper")
    assert (event.valence, event.credibility) == (-0.7, 0.4)
    with pytest.raises(UnreadablePrompt, match="no note on event 'news' of scenario 's'"):
        read_situation(text, ASKED, NO_NOTES)


def test_a_seed_fixes_an_answer_and_another_seed_gives_another(models: ResponseModels) -> None:
    one, same, other = (
        ask(models, conversation("classification"), seed).choices[0].message.content for seed in (1, 1, 2)
    )
    assert one == same != other


def test_its_name_says_what_it_is_and_moves_with_the_data(models: ResponseModels) -> None:
    async def listed() -> list[str]:
        transport = httpx2.ASGITransport(app=create_app(models))
        async with openai.AsyncOpenAI(
            api_key="any", base_url="http://teacher/v1", http_client=httpx2.AsyncClient(transport=transport)
        ) as client:
            return [item.id async for item in client.models.list()]

    assert asyncio.run(listed()) == [model_name(models), TEXT_ENCODER]
    assert model_name(models).startswith(f"{MODEL_FAMILY}@")
    assert model_name(fit_response_models(make_respondents())) == model_name(models)
    assert model_name(fit_response_models(make_respondents(2_000))) != model_name(models)
    stored = make_respondents().with_columns(run_id=pl.lit("a run"))
    assert model_name(fit_response_models(stored)) == model_name(models), "who stored the rows is no matter"


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": "Hello!"}],
        [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": "Hello!"}],
        [conversation("reaction")[0], {"role": "user", "content": "Hello!"}],
        [
            {"role": "system", "content": "# Question\n- scenario: s\n- options: a | b\n- scores: high | low"},
            conversation("reaction")[1],
        ],
    ],
)
def test_an_unreadable_prompt_is_a_bad_request(models: ResponseModels, messages: list[dict[str, str]]) -> None:
    with pytest.raises(openai.BadRequestError):
        ask(models, messages)


def test_a_body_that_is_no_json_is_a_bad_request(models: ResponseModels) -> None:
    async def send() -> int:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=create_app(models))) as client:
            return (await client.post("http://teacher/v1/chat/completions", content=b"{")).status_code

    assert asyncio.run(send()) == 400


def test_without_a_survey_item_only_ideology_speaks(models: ResponseModels) -> None:
    unknown = {**QUESTION, "item": None}
    answer = read_answer(str(ask(models, conversation("classification", unknown)).choices[0].message.content), OPTIONS)
    assert "no survey item: ideology only" in answer["rationale"]


@pytest.mark.parametrize("option", ["for", "Strongly agree", "not sure, really", "No. 2"])
@pytest.mark.parametrize("reason", [reason.format(event="the-news_2") for reason in REASONS])
@pytest.mark.parametrize("wording", STATEMENTS)
def test_options_are_read_back_from_statements_whatever_their_wording(wording: str, option: str, reason: str) -> None:
    statement = f"{wording.format(option=option)}{reason}."
    step = Step(1, statements=[f"- person 3 (friend): {statement}"])
    assert read_situation(render_step(PERSONA, "week", step, OPTIONS), ASKED, NO_NOTES).peer_options == (option,)


def test_remembered_pushes_are_read_back_with_their_age() -> None:
    step = Step(5, memories=['- week 2: the-news moved me clearly away from "for"', "- week 3: my brother called"])
    (memory,) = read_situation(render_step(PERSONA, "week", step, OPTIONS), ASKED, NO_NOTES).memories
    assert (memory.event, memory.push, memory.age) == ("the-news", -0.22, 3)


def test_attributes_are_read_without_their_relative_position() -> None:
    persona = (
        "- person: 7\n- age: 41 (older than 50 % of the population, younger than 49 %)\n"
        "- political views: very liberal (more conservative than 0 % of the population, more liberal than 90 %)"
    )
    situation = read_situation(render_step(persona, "week", Step(0), OPTIONS), ASKED, NO_NOTES)
    assert situation.person_id == "7"
    assert situation.attributes == {"age": "41", "age_group": "40-49", "ideology": "very_liberal"}


def test_what_is_missing_is_named() -> None:
    with pytest.raises(UnreadablePrompt, match="# Question"):
        read_question("You are helpful.")
    with pytest.raises(UnreadablePrompt, match="# Person"):
        read_situation("Hello!", ASKED, NO_NOTES)


def mean_share(models: ResponseModels, party: str) -> float:
    """Share of `for` over people of one party who differ in everything else."""
    people = [{item.name: item.levels[index % len(item.levels)] for item in ATTRIBUTES} for index in range(12)]
    return float(np.mean([models.models["tax"].probabilities({**person, "party": party})["for"] for person in people]))


def test_response_models_recover_the_shares_they_were_made_with(models: ResponseModels) -> None:
    assert sum(models.models["tax"].probabilities({"party": "democrat"}).values()) == pytest.approx(1.0)
    assert mean_share(models, "democrat") == pytest.approx(0.8, abs=0.05)
    assert mean_share(models, "republican") == pytest.approx(0.3, abs=0.05)
    assert mean_share(models, "independent") == pytest.approx(0.3, abs=0.05)


def test_two_options_have_opposite_coefficients_of_half_the_log_odds(models: ResponseModels) -> None:
    model = models.models["tax"]
    against, in_favour = model.coefficient_of_level["party", "democrat"]
    assert against == pytest.approx(-in_favour)
    base = model.probabilities({})
    with_party = model.probabilities({"party": "democrat"})
    change = math.log(with_party["for"] / with_party["against"]) - math.log(base["for"] / base["against"])
    assert change == pytest.approx(2 * in_favour)


def test_answers_that_weigh_five_times_as_much_have_five_times_the_odds(models: ResponseModels) -> None:
    weight = pl.when(pl.col("item_tax") == "for").then(5.0).otherwise(1.0)
    weighted = fit_response_models(make_respondents().with_columns(design_weight=weight))
    before, after = mean_share(models, "republican"), mean_share(weighted, "republican")
    assert after / (1 - after) == pytest.approx(5.0 * before / (1 - before), rel=0.05)


def test_old_waves_and_thin_items_have_no_model() -> None:
    assert not fit_response_models(make_respondents(wave=1990)).models
    assert not fit_response_models(make_respondents(150)).models
    assert not fit_response_models(make_respondents(), items=["another"]).models

"""Recorded answers: codebooks applied to files, the link to respondents, and rows of reasoning_traces."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.population.surveys import load_respondents
from assets.sources.catalogue import DataCatalogue
from assets.sources.errors import CodebookError
from assets.traces.recorded_answers.as_traces import as_traces
from assets.traces.recorded_answers.codebook import find_recorded_codebooks, load_recorded_codebook
from assets.traces.recorded_answers.importing import RecordedAnswers, import_recorded_answers
from assets.traces.recorded_answers.questions import recorded_questions_table
from validation.contracts import CONTRACTS

CODEBOOK = """\
answers: town_llm
title: Answers of a model to two town items
scenario_id: town-items
sources: [town_llm.csv]
personas: {source: town_personas.csv, key: who, text: story}
respondents: {survey: town, first_row: 1}
columns: {persona: who, model: model, item: item, answer: code, draw: run, raw_answer: said}
first_draw: 1
left_out: {column: echo, value: true}
refusals: ["i cannot"]
missing: [-1]
items:
  q7:
    question_id: charge
    question: Should the town charge for driving into the centre?
    scale: ordinal
    options: {1: support, 2: unsure, 3: oppose}
    item: charge
    not_offered: [other]
  q8:
    question_id: park
    question: Should the park be larger?
    scale: nominal
    options: {1: 'yes', 2: 'no'}
"""
ANSWERS = """\
who,model,item,code,run,said,echo
1,m,q7,1,1,1,false
2,m,q7,3,1,3,false
2,m,q7,1,2,1,false
3,m,q7,,1,I cannot say that,false
1,m,q8,2,1,2,false
2,m,q8,,1,hm,false
3,m,q8,-1,1,none,false
1,m,age,44,1,44,true
"""
PERSONAS = "who,story\n1,I am one.\n2,I am two.\n3,I am three.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    own = tmp_path / "recorded_answers"
    own.mkdir()
    (own / "town_llm.yaml").write_text(CODEBOOK)
    (own / "town_llm.csv").write_text(ANSWERS)
    (own / "town_personas.csv").write_text(PERSONAS)
    return own


def respondents(*answers: str | None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "respondent_id": [f"town-2024-{row}" for row in range(len(answers))],
            "survey": ["town"] * len(answers),
            "item_charge": answers,
        },
        schema={"respondent_id": pl.String, "survey": pl.String, "item_charge": pl.String},
    )


def imported(folder: Path, people: pl.DataFrame) -> RecordedAnswers:
    codebook = load_recorded_codebook(folder / "town_llm.yaml")
    return import_recorded_answers([codebook], DataCatalogue(None, None, folder), people)


def test_every_answer_stands_beside_the_persons_own(folder: Path) -> None:
    answers = imported(folder, respondents("support", "other", None)).answers

    CONTRACTS["recorded_answers"].validate(answers)
    found = answers.select(
        "persona_id", "question_id", "draw", "option", "human_option", "respondent_id", "persona"
    ).rows()
    assert found == [
        (1, "charge", 0, "support", "support", "town-2024-0", "I am one."),
        (2, "charge", 0, "oppose", None, "town-2024-1", "I am two."),
        (2, "charge", 1, "support", None, "town-2024-1", "I am two."),
        (3, "charge", 0, None, None, "town-2024-2", "I am three."),
        (1, "park", 0, "no", None, "town-2024-0", "I am one."),
        (2, "park", 0, None, None, "town-2024-1", "I am two."),
        (3, "park", 0, None, None, "town-2024-2", "I am three."),
    ]


def test_refusals_and_unreadable_answers_stay_and_say_so(folder: Path) -> None:
    answers = imported(folder, respondents("support", "other", None)).answers

    unread = answers.filter(pl.col("validation_status") == "failed")
    assert unread.select("raw_answer", "is_refusal").rows() == [
        ("I cannot say that", True),
        ("hm", False),
        ("none", False),
    ]


def test_rows_that_echo_the_persona_are_left_out_and_counted(folder: Path) -> None:
    recorded = imported(folder, respondents("support", "other", None))

    assert recorded.uses[0]["num_left_out"] == 1
    assert recorded.uses[0]["num_answers"] == 7


def test_recorded_answers_are_traces_at_timestep_0_that_claim_nothing_else(folder: Path) -> None:
    answers = imported(folder, respondents("support", "other", None)).answers
    traces = as_traces(answers)

    CONTRACTS["reasoning_traces"].validate(traces)
    assert traces["kind"].unique().to_list() == ["recorded"]
    assert traces["timestep"].unique().to_list() == [0]
    assert traces["option"].to_list() == answers["option"].to_list()
    unknown = ("agent_id", "channels", "option_probabilities", "conviction", "statement", "cost_usd", "seed")
    assert all(traces[name].null_count() == traces.height for name in unknown)


def test_without_files_the_table_is_empty_and_the_sources_are_named(tmp_path: Path) -> None:
    recorded = import_recorded_answers(
        find_recorded_codebooks(None), DataCatalogue(None, None, tmp_path), respondents()
    )

    CONTRACTS["recorded_answers"].validate(recorded.answers)
    assert recorded.answers.height == 0
    assert "llm_openai_gpt_4o_mini" in recorded.absent["gss_2024_personas"]
    assert as_traces(recorded.answers).height == 0


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("options: {1: support, 2: unsure, 3: oppose}", "options: {1: support, 2: unsure, 3: against}", 18, "'oppose'"),
        ("    not_offered: [other]\n", "", 18, "'other'"),
        ("item: charge", "item: toll", 18, r"no item 'toll'. Items: charge"),
        ("2: unsure, 3: oppose}", "2: unsure, 4: oppose}", 17, r"found \['3'\]. Explained: \[1, 2, 4\]"),
        ("first_row: 1", "first_row: 2", 6, r"found \[1\]; allowed: 2 to 4"),
        ("answer: code", "answer: codes", 7, "no column 'codes'. Columns: who, model"),
        ("column: echo", "column: echoes", 9, "no column 'echoes'"),
        ("value: true", "value: false", 12, "items that the codebook does not describe: age"),
        ("draw: run, ", "", 7, "2 rows repeat"),
        ("survey: town", "survey: city", 6, "'city' is not known. Loaded: town"),
        ("sources: [town_llm.csv]", "sources: [town.csv]", 4, "'town.csv' is neither"),
        ("scale: nominal", "scale: cardinal", 23, "'nominal' or 'ordinal', found 'cardinal'"),
        ("{1: 'yes', 2: 'no'}", "{1: 'yes', 2: 'yes'}", 20, "different labels"),
        ("question_id: park", "question_id: charge", 1, "found twice: charge"),
        ("answers: town_llm", "answers: town", 1, "found answers 'town' in a file named town_llm.yaml"),
        ("text: story", "text: tale", 5, "no column 'tale'. Columns: who, story"),
    ],
)
def test_a_wrong_codebook_is_refused_by_its_line(folder: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in CODEBOOK
    (folder / "town_llm.yaml").write_text(CODEBOOK.replace(old, new))

    with pytest.raises(CodebookError, match=rf"town_llm\.yaml, line {line}: .*{words}"):
        imported(folder, respondents("support", "other", "oppose"))


def test_two_sets_cannot_share_a_scenario(folder: Path) -> None:
    (folder / "twin.yaml").write_text(CODEBOOK.replace("answers: town_llm", "answers: twin"))

    with pytest.raises(CodebookError, match=r"twin\.yaml, line 3: scenario_id 'town-items' is also that of"):
        find_recorded_codebooks(folder.parent)


def test_the_users_codebooks_join_the_shipped_ones(folder: Path) -> None:
    names = [codebook.spec.answers for codebook in find_recorded_codebooks(folder.parent)]

    assert names == ["gss_2024_personas", "town_llm"]


@given(codes=st.lists(st.tuples(st.integers(1, 40), st.sampled_from([1, 2, 3])), min_size=1, unique_by=lambda c: c[0]))
def test_an_import_keeps_every_row_and_its_label(tmp_path_factory: pytest.TempPathFactory, codes: list) -> None:
    own = tmp_path_factory.mktemp("recorded")
    (own / "town_llm.yaml").write_text(CODEBOOK)
    (own / "town_personas.csv").write_text(PERSONAS)
    rows = "".join(f"{who},m,q7,{code},1,{code},false\n" for who, code in codes)
    (own / "town_llm.csv").write_text(ANSWERS.splitlines()[0] + "\n" + rows)
    label = {1: "support", 2: "unsure", 3: "oppose"}

    answers = imported(own, respondents(*["unsure"] * 40)).answers

    assert dict(answers.select("persona_id", "option").rows()) == {who: label[code] for who, code in codes}
    assert answers["human_option"].to_list() == ["unsure"] * len(codes)


def test_questions_carry_wording_scale_and_embeddings() -> None:
    questions = recorded_questions_table(find_recorded_codebooks(None))

    CONTRACTS["recorded_questions"].validate(questions)
    assert questions.height == 52
    assert questions["item"].null_count() == 6
    widths = questions["options"].list.len()
    assert (questions["option_scores"].list.len() == widths).all()
    assert (questions["option_embeddings"].list.len() == widths).all()


@pytest.mark.data
def test_four_recorded_llms_lead_to_the_respondents_that_their_personas_describe(
    data_mirror: Path, tmp_path: Path
) -> None:
    catalogue = DataCatalogue(None, data_mirror, tmp_path)
    people = load_respondents(catalogue, ["gss_2024"]).frame
    answers = import_recorded_answers(find_recorded_codebooks(None), catalogue, people).answers

    assert answers["model"].n_unique() == 4
    assert answers.group_by("model").len()["len"].unique().to_list() == [52_000]
    assert answers.filter(pl.col("validation_status") == "failed").height < 200
    described = (
        answers.unique("persona_id")
        .join(people.select("respondent_id", "age", "sex"), on="respondent_id")
        .with_columns(said_age=pl.col("persona").str.extract(r"I am (\d+) years old").cast(pl.Int32))
    )
    assert described.height == 1_000
    assert (described["said_age"] == described["age"]).all()
    is_female = described["persona"].str.contains("I am female")
    assert (is_female == (described["sex"] == "female")).filter(described["sex"].is_not_null()).all()


BATCH_CODEBOOK = """\
answers: town_batch
title: Answers of a model to two town items, from a batch
scenario_id: town-batch
sources: [output.jsonl]
respondents: {survey: town, first_row: 1}
batch: {custom_id: 'p(?P<persona>\\d+)-(?P<item>\\w+)-(?P<draw>\\d+)', model: m}
items:
  q7:
    question_id: charge
    question: Should the town charge for driving into the centre?
    scale: ordinal
    options: {1: support, 2: not_sure, 3: oppose}
"""


def batch_line(custom_id: str, content: str | None, **changes: object) -> dict[str, object]:
    message = {"role": "assistant", "content": content, "refusal": changes.pop("refusal", None)}
    usage = {"prompt_tokens": 90, "completion_tokens": 2}
    body = {"model": "m-2026", "choices": [{"index": 0, "message": message}], "usage": usage}
    return {"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None} | changes


def write_batch(folder: Path, *lines: object) -> Path:
    (folder / "town_batch.yaml").write_text(BATCH_CODEBOOK)
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    (folder / "output.jsonl").write_text(text, encoding="utf-8")
    return folder / "town_batch.yaml"


def import_batch(codebook: Path) -> pl.DataFrame:
    people = respondents("support", "other", None)
    loaded = load_recorded_codebook(codebook)
    return import_recorded_answers([loaded], DataCatalogue(None, None, codebook.parent), people).answers


def test_output_of_a_batch_becomes_answers_and_failures_by_name(tmp_path: Path) -> None:
    expired = {"response": None, "error": {"code": "batch_expired", "message": "late"}}
    overloaded = {"response": {"status_code": 500, "body": {"error": {"code": "server_error"}}}}
    answers = import_batch(
        write_batch(
            tmp_path,
            batch_line("p1-q7-0", " Support. "),
            batch_line("p1-q7-1", "Not sure"),
            batch_line("p2-q7-0", "3"),
            batch_line("p2-q7-1", "it depends"),
            batch_line("p3-q7-0", None, refusal="I will not say."),
            batch_line("p3-q7-1", None, **expired),
            batch_line("p3-q7-2", None, **overloaded),
        )
    )
    CONTRACTS["recorded_answers"].validate(answers)
    CONTRACTS["reasoning_traces"].validate(as_traces(answers))
    assert answers.select("persona_id", "draw", "model", "option", "is_refusal", "raw_answer").rows() == [
        (1, 0, "m-2026", "support", False, " Support. "),
        (1, 1, "m-2026", "not_sure", False, "Not sure"),
        (2, 0, "m-2026", "oppose", False, "3"),
        (2, 1, "m-2026", None, False, "it depends"),
        (3, 0, "m-2026", None, True, "refusal: I will not say."),
        (3, 1, "m", None, False, "error: batch_expired"),
        (3, 2, "m", None, False, "error: server_error"),
    ]
    assert answers["prompt_tokens"].to_list() == [90, 90, 90, 90, 90, None, None]
    assert answers["validation_status"].to_list() == ["valid"] * 3 + ["failed"] * 4


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", r"output.jsonl:2: this line is no JSON"),
        ({"response": None}, r"output.jsonl:2: field custom_id is missing"),
        (batch_line("person 1", "1"), r"output.jsonl:2: custom_id 'person 1' does not fit"),
        (
            {"custom_id": "p1-q7-1", "response": {"status_code": 200, "body": {"choices": []}}},
            r"output.jsonl:2: field response.body.choices\[0\].message is missing",
        ),
        (batch_line("p1-q9-0", "1"), "items that the codebook does not describe: q9"),
        (batch_line("p7-q7-0", "1"), "personas lead to no respondent"),
        (batch_line("p1-q7-0", "1"), "rows repeat a model, item, persona and draw"),
    ],
)
def test_a_wrong_line_of_a_batch_is_named_by_file_line_and_field(tmp_path: Path, line: object, words: str) -> None:
    with pytest.raises(CodebookError, match=words):
        import_batch(write_batch(tmp_path, batch_line("p1-q7-0", "1"), line))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("batch: {custom_id", "note_: {custom_id", "note_"),
        ("(?P<item>", "(?P<question>", "lacks the groups item"),
        ("(?P<persona>", "(?P<persona", "no regular expression"),
    ],
)
def test_a_codebook_that_cannot_read_a_batch_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    codebook = write_batch(tmp_path, batch_line("p1-q7-0", "1"))
    codebook.write_text(BATCH_CODEBOOK.replace(old, new))
    with pytest.raises(CodebookError, match=words):
        import_batch(codebook)

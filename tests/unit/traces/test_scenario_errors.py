"""Every way a scenario file can be wrong is refused by name: line, field, what was found, what is allowed."""

from pathlib import Path

import pytest

from assets.traces.scenario_errors import ScenarioError
from assets.traces.scenario_files import LARGEST_FILE_BYTES, read_scenario

GOOD = """\
id: toll
question: {id: support, text: "Do you support the toll?", options: [support, oppose, unsure]}
population: {where: "state = 'NY' and age >= 18"}
timesteps: {count: 12, unit: week}
events:
  - id: announcement
    at: 1
    source: {name: city hall, type: government}
    channel: broadcast
    framing: clean air
    content: The city announces a toll.
    valence: -0.2
    credibility: 0.6
    exposure: {where: "region = 'northeast'", reach: 0.7}
triggers:
  - id: backlash
    when: {question: support, option: oppose, share_above: 0.55, for: 2}
    event:
      source: {name: shop owners, type: activist}
      channel: local_newspaper
      framing: shops suffer
      content: Shop owners protest.
      valence: -0.6
      credibility: 0.5
      exposure: {reach: 0.5}
interventions:
  - {path: events.announcement.credibility, values: [0.2, 0.5, 0.8]}
baseline: status-quo
"""


def errors_of(folder: Path, text: str | bytes) -> ScenarioError:
    path = folder / "toll.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ScenarioError) as caught:
        read_scenario(path)
    return caught.value


def test_the_file_that_the_cases_break_is_good(tmp_path: Path) -> None:
    path = tmp_path / "toll.yaml"
    path.write_text(GOOD)
    assert read_scenario(path).triggers[0].when.hold_for == 2


CASES = [
    # name, replaced, by, line, field, words of the message
    ("unknown field", "framing: clean air", "frame: clean air", 10, "events[0].frame", "unknown field 'frame'"),
    ("suggestion", "valence: -0.2", "valense: -0.2", 12, "events[0].valense", "Did you mean valence?"),
    ("missing field", "    valence: -0.2\n", "", 6, "events[0].valence", "required"),
    ("valence out of range", "valence: -0.2", "valence: -1.2", 12, "events[0].valence", "from -1 to 1"),
    ("reach out of range", "reach: 0.7", "reach: 70", 14, "events[0].exposure.reach", "from 0 to 1"),
    ("not a number", "valence: -0.2", "valence: .nan", 12, "events[0].valence", "finite"),
    ("number as text", "credibility: 0.6", "credibility: high", 13, "events[0].credibility", "'high'"),
    ("fraction of a timestep", "at: 1", "at: 1.5", 7, "events[0].at", "integer"),
    ("truth value as a timestep", "at: 1", "at: true", 7, "events[0].at", "integer"),
    ("event at the initial state", "at: 1", "at: 0", 7, "events[0].at", "from 1 to"),
    ("event after the end", "at: 1", "at: 13", 7, "events[0].at", "from 1 to 12"),
    ("bad predicate", "region = 'northeast'", "region = = 2", 14, "events[0].exposure.where", "not a SQL condition"),
    ("unknown attribute", "age >= 18", "shoe_size > 3", 3, "population.where", "unknown attribute 'shoe_size'"),
    ("unknown level", "state = 'NY'", "party = 'green'", 3, "population.where", "democrat, independent, republican"),
    ("code as predicate", "age >= 18", "f(age) > 1", 3, "population.where", "the left side must be an attribute"),
    ("unknown speaker", "type: government", "type: oracle", 8, "events[0].source.type", "government, expert"),
    (
        "unknown channel",
        "channel: broadcast",
        "channel: drums",
        9,
        "events[0].channel",
        "broadcast, network_television",
    ),
    ("unknown unit", "unit: week", "unit: fortnight", 4, "timesteps.unit", "'week'"),
    ("wrong option", "option: oppose", "option: against", 17, "triggers[0].when.option", "support, oppose, unsure"),
    (
        "wrong question",
        "{question: support,",
        "{question: suport,",
        17,
        "triggers[0].when.question",
        "allowed: support.",
    ),
    ("lower level", "for: 2", "for: 2, rearm_below: 0.6", 17, "triggers[0].when.rearm_below", "0 … 0.55"),
    ("trigger that cannot fire", "for: 2", "for: 12", 17, "triggers[0].when.for", "fewer timesteps"),
    (
        "time of a triggered event",
        "      valence: -0.6",
        "      at: 3\n      valence: -0.6",
        23,
        "triggers[0].event.at",
        "after",
    ),
    ("repeated id", "id: backlash", "id: announcement", 16, "triggers[0].id", "once"),
    ("one option", "[support, oppose, unsure]", "[support]", 2, "question.options", "at least 2"),
    ("repeated option", "oppose, unsure]", "oppose, oppose]", 2, "question.options", "all differ"),
    ("yes as an option", "[support, oppose, unsure]", "[support, oppose, yes]", 2, "question.options[2]", "quotes"),
    ("too few scores", "unsure]}", "unsure], option_scores: [1, -1]}", 2, "question.option_scores", "3 scores"),
    (
        "disordered scores",
        "unsure]}",
        "unsure], scale: ordinal, option_scores: [1, -1, 0]}",
        2,
        "question.option_scores",
        "ordinal",
    ),
    (
        "path to nothing",
        "events.announcement.cred",
        "events.notice.cred",
        27,
        "interventions[0].path",
        "events.announcement",
    ),
    (
        "path to a text",
        "announcement.credibility",
        "announcement.framing",
        27,
        "interventions[0].path",
        "exposure.reach",
    ),
    ("axis out of range", "[0.2, 0.5, 0.8]", "[0.2, 5.0]", 27, "interventions[0].values", "from 0 to 1"),
    ("own baseline", "baseline: status-quo", "baseline: toll", 28, "baseline", "another scenario"),
    ("id that leaves the folder", "id: toll", "id: ../../toll", 1, "id", "for example toll"),
    ("id with a line break", "id: toll", 'id: "toll\\n"', 1, "id", "letters"),
    ("absolute id", "id: toll", "id: /etc/toll", 1, "id", "for example etc-toll"),
    (
        "blank wording",
        "content: Shop owners protest.",
        "content: '  '",
        22,
        "triggers[0].event.content",
        "control characters",
    ),
    ("repeated key", "    at: 1\n", "    at: 1\n    at: 2\n", 8, "events[0].at", "again, after line 7"),
    ("tab", "    channel: broadcast", "\tchannel: broadcast", 9, "", "\\t"),
    ("object tag", "id: toll", "id: !!python/object/apply:os.getcwd []", 1, "id", "without tags"),
    ("alias", "exposure: {reach: 0.5}", "exposure: *all", 25, "", "alias"),
    (
        "merge key",
        "exposure: {reach: 0.5}",
        "exposure: {<<: {reach: 0.5}}",
        25,
        "triggers[0].event.exposure",
        "no plain name",
    ),
    ("impossible date", "framing: clean air", "framing: 2024-13-45", 10, "events[0].framing", "quote"),
    ("list for a mapping", "{count: 12, unit: week}", "[12, week]", 4, "timesteps", "count, unit"),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_wrong_file_is_refused_by_place(tmp_path: Path, old: str, new: str, line: int, field: str, words: str) -> None:
    assert GOOD.count(old) == 1
    error = errors_of(tmp_path, GOOD.replace(old, new))
    assert (line, field) in [(problem.line, problem.field) for problem in error.problems]
    message = str(error)
    assert words in message
    assert f"{tmp_path / 'toll.yaml'}, line {line}" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty file"),
        ("just words", "a mapping with the fields id"),
        ("- id: toll", "a mapping with the fields id"),
        ("id: toll\n---\nid: toll\n", "single document"),
        ("id: [unclosed\n", "no plain YAML"),
        ("a: " + "[" * 4000, "nested"),
        (b"id: caf\xe9\n", "UTF-8"),
        ("id: toll\ntitle: \x07\n", "does not allow"),
        ("#" * (LARGEST_FILE_BYTES + 1), "256 KiB"),
    ],
    ids=["empty", "words", "list", "documents", "unclosed", "deep", "encoding", "control", "large"],
)
def test_what_is_no_scenario_at_all_is_refused(tmp_path: Path, content: str | bytes, words: str) -> None:
    assert words in str(errors_of(tmp_path, content))


def test_several_problems_are_listed_together_in_the_order_of_lines(tmp_path: Path) -> None:
    text = (
        GOOD.replace("age >= 18", "height > 3")
        .replace("valence: -0.2", "valence: 2")
        .replace("type: activist", "type: x")
    )
    error = errors_of(tmp_path, text)
    assert [problem.line for problem in error.problems] == [3, 12, 19]
    assert str(error).startswith("3 problems")


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no file"):
        read_scenario(tmp_path / "absent.yaml")
    with pytest.raises(ScenarioError, match="something that is no file"):
        read_scenario(tmp_path)

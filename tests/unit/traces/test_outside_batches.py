"""Batches run by hand: exported from the plan, imported into the ledger, the same rows, nothing asked again."""

import json
import time
from pathlib import Path

import openai
import polars as pl
import pytest
from elicit_tiny_society import KEY, MODEL, SEED, elicit, tiny_plan, tiny_scenario, tiny_society
from faulty_teacher import FaultyTeacher
from polars.testing import assert_frame_equal

from assets.traces.asking import AskingOptions
from assets.traces.estimates import ledger_state
from assets.traces.outside_batches import ImportedBatch, OutsideBatchError, export_requests, import_batch
from assets.traces.prices import find_price

MEASURED = ("latency_ms", "cost_usd")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def export(path: Path, target: Path) -> int:
    agents, ties, media_sources = tiny_society(20)
    return export_requests(
        tiny_plan(20, 1), tiny_scenario(1), agents, ties, media_sources,
        ledger_path=path, options=AskingOptions(), seed=SEED, target=target,
    )  # fmt: skip


def run_by_hand(server: FaultyTeacher, requests: Path) -> list[Path]:
    """What somebody does with the file and any client; its output, and its error file if there is one."""
    client = openai.OpenAI(api_key=KEY, base_url=server.base_url)
    uploaded = client.files.create(file=requests, purpose="batch")
    batch = client.batches.create(input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h")
    while batch.status not in ("completed", "expired"):
        time.sleep(0.01)
        batch = client.batches.retrieve(batch.id)
    outputs = []
    for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
        outputs.append(requests.with_name(f"{file_id}.jsonl"))
        outputs[-1].write_bytes(client.files.content(file_id).content)
    return outputs


def bring_in(path: Path, requests: Path, outputs: list[Path]) -> ImportedBatch:
    return import_batch(path, tiny_plan(20, 1), requests, outputs)


@pytest.mark.parametrize(("expire", "faults"), [(0, {}), (1, {}), (0, {"malformed": 0.1})])
def test_a_plan_run_by_hand_gives_the_rows_of_a_live_run(
    path: Path, tmp_path: Path, expire: int, faults: dict[str, float]
) -> None:
    with FaultyTeacher() as server:
        undisturbed = elicit(tmp_path / "live.sqlite", server.base_url).traces
    requests = tmp_path / "requests.jsonl"
    with FaultyTeacher(faults, expire=expire) as server:
        cost_usd = 0.0
        for _ in range(8):
            if not export(path, requests):
                break
            outputs = run_by_hand(server, requests)
            found = bring_in(path, requests, outputs)
            cost_usd += found.cost_usd
            again = bring_in(path, requests, outputs[:1])
            assert (again.num_answers, again.cost_usd) == (0, 0.0), "importing the same again changes nothing"
        assert export(path, requests) == 0
        assert ledger_state(path).spent_usd == pytest.approx(server.cost_usd(find_price(MODEL).cost_usd))
        assert cost_usd == pytest.approx(ledger_state(path).spent_usd)
        asked = server.statuses.total()
        elicitation = elicit(path, server.base_url)
        assert elicitation.num_asked == 0
        assert server.statuses.total() == asked, "nothing is asked again"
        assert max(server.delivered.values()) == 1
    if not faults:
        assert_frame_equal(elicitation.traces.drop(MEASURED), undisturbed.drop(MEASURED))
    assert elicitation.traces["validation_status"].is_in(["valid", "repaired", "failed"]).all()


def test_live_and_by_hand_share_a_plan(path: Path, tmp_path: Path) -> None:
    requests = tmp_path / "requests.jsonl"
    with FaultyTeacher() as server:
        num_requests = export(path, requests)
        found = bring_in(path, requests, run_by_hand(server, requests))
        assert found.num_answers == num_requests > 0
        elicitation = elicit(path, server.base_url)
        assert elicitation.num_known == num_requests
        assert max(server.delivered.values()) == 1
        undisturbed = elicit(tmp_path / "live.sqlite", server.base_url).traces
    assert_frame_equal(elicitation.traces.drop(MEASURED), undisturbed.drop(MEASURED))


def changed(line: dict, **changes: object) -> str:
    return json.dumps(line | changes)


def test_lines_that_do_not_belong_are_named_and_nothing_is_imported(path: Path, tmp_path: Path) -> None:
    requests = tmp_path / "requests.jsonl"
    with FaultyTeacher() as server:
        export(path, requests)
        (output,) = run_by_hand(server, requests)
    lines = output.read_text().splitlines()
    wrong = tmp_path / "wrong.jsonl"
    for bad, words in (
        ("{", "no JSON"),
        ("[]", "custom_id is missing"),
        (changed(json.loads(lines[0]), custom_id="elsewhere"), "not among the requests"),
        (lines[0], "a second time"),
    ):
        wrong.write_text("\n".join([*lines, bad]))
        with pytest.raises(OutsideBatchError, match=words) as raised:
            bring_in(path, requests, [wrong])
        assert f"wrong.jsonl:{len(lines) + 1}" in str(raised.value)
    first = json.loads(requests.read_text().splitlines()[0])
    for bad, words in (
        (changed(first, custom_id="unplanned"), "not in elicitation_plan"),
        (changed(first, body=first["body"] | {"model": "another"}), "allowed: 'gpt-4o'"),
        (changed(first, body={}), "lacks messages"),
    ):
        wrong.write_text(bad)
        with pytest.raises(OutsideBatchError, match=words):
            bring_in(path, wrong, [output])
    with pytest.raises(OutsideBatchError, match="cannot be read"):
        bring_in(path, requests, [tmp_path / "absent.jsonl"])
    assert ledger_state(path).by_model.is_empty()
    assert isinstance(pl.read_ndjson(requests), pl.DataFrame)

"""One draw: both passes of one person at one timestep, as a row of `reasoning_traces`."""

from collections.abc import Mapping, Sequence
from typing import Any

import openai

from assets.traces.answers import MalformedAnswer, read_answer
from assets.traces.asking import Asker, all_of, is_fatal
from assets.traces.ledger import Answer
from assets.traces.minds import Mind
from assets.traces.prompts import Step, prompt_hash, render_statement, render_step, render_system, schema_hash


async def ask_draw(
    asker: Asker,
    question: Mapping[str, Any],
    timestep: int,
    custom_ids: tuple[str, str],
    place: tuple[int, int, int],
    events: Sequence[tuple[str, str]],
    heard: Sequence[tuple[int, str, str | None]],
    mind: Mind,
    persona: str,
) -> dict[str, Any]:
    """Both passes of one draw, as a row of `reasoning_traces`."""
    agent_id, draw, seed = place
    state = (mind.channels, mind.probabilities) if mind.channels and mind.probabilities else None
    memories = [text for _, text in mind.memories]
    step = Step(
        timestep,
        exposures=[line for _, line in events],
        statements=[render_statement(other, kind, str(statement)) for other, kind, statement in heard],
        memories=[f"- {text}" for text in memories],
        state=state,
    )
    user = render_step(persona, question["timestep_unit"], step, question["options"])
    request_seed = (int(custom_ids[1][:8], 16) ^ seed) & 0x7FFFFFFF
    row: dict[str, Any] = {
        "custom_id": custom_ids[1],
        "kind": "rollout",
        "scenario_id": question["scenario_id"],
        "question_id": question["name"],
        "agent_id": agent_id,
        "timestep": timestep,
        "draw": draw,
        "repeat_group": f"{question['scenario_id']}|{agent_id}|{timestep}",
        "state_before": state[0] if state else [],
        "exposures": [name for name, _ in events],
        "neighbour_ids": [other for other, _, _ in heard],
        "neighbour_statements": [statement for _, _, statement in heard],
        "retrieved_memories": memories,
        "teacher": asker.teacher.label,
        "model": asker.teacher.model,
        "prompt_hash": prompt_hash(),
        "schema_hash": schema_hash(),
        "seed": request_seed,
        "channels": None,
        "is_refusal": False,
        "validation_status": "failed",
    }
    bought: list[Answer] = []
    try:
        messages = [
            {"role": "system", "content": render_system(question, "reaction")},
            {"role": "user", "content": user},
        ]
        reaction = await asker.ask(custom_ids[0], messages, request_seed, is_json=False)
        bought.append(reaction)
        if _is_refusal(reaction):
            return row | _refused(reaction) | all_of(bought)
        row["reaction"] = reaction.content
        messages = [
            {"role": "system", "content": render_system(question, "classification")},
            {"role": "user", "content": f"{user}\n\n## What the person thinks and says\n{reaction.content}"},
        ]
        row |= await _classify(asker, custom_ids[1], messages, request_seed, list(question["options"]), bought)
        if row["channels"] is not None:
            before = state[0] if state else row["channels"]
            row["channel_deltas"] = [now - then for now, then in zip(row["channels"], before, strict=True)]
    except openai.APIError as error:
        if is_fatal(error):
            raise
        row["rationale"] = f"failed: {type(error).__name__}"
    return row | all_of(bought)


async def _classify(
    asker: Asker,
    custom_id: str,
    messages: list[dict[str, str]],
    seed: int,
    options: list[str],
    bought: list[Answer],
) -> dict[str, Any]:
    """The classification; a malformed answer is asked for once more, then recorded as failed."""
    reason = ""
    for attempt, status in enumerate(("valid", "repaired")):
        key = custom_id if attempt == 0 else f"{custom_id}/repair"
        answer = await asker.ask(key, messages, seed + attempt, is_json=True)
        bought.append(answer)
        if _is_refusal(answer):
            return _refused(answer)
        try:
            return {**read_answer(str(answer.content), options), "validation_status": status}
        except MalformedAnswer as error:
            reason = str(error)
            messages = [
                *messages,
                {"role": "assistant", "content": str(answer.content)},
                {
                    "role": "user",
                    "content": f"That answer is malformed ({reason}). Answer again, as JSON of the schema.",
                },
            ]
    return {"rationale": f"failed: {reason[:200]}"}


def _is_refusal(answer: Answer) -> bool:
    return bool(answer.refusal) or answer.content is None


def _refused(answer: Answer) -> dict[str, Any]:
    return {"is_refusal": True, "rationale": f"refused: {(answer.refusal or 'no content')[:200]}"}

"""One draw: both passes of one person at one timestep, as a row of `reasoning_traces`.

A draw hands out its requests and takes what came of them; who sends them, one by one or in batches, it does not know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assets.traces.answers import MalformedAnswer, read_answer
from assets.traces.completions import Answer, Failure, Outcome, Request, all_of
from assets.traces.minds import Mind
from assets.traces.prompts import Step, prompt_hash, render_statement, render_step, render_system, schema_hash

MOST_REASON = 200


@dataclass(frozen=True)
class Planned:
    """The planned requests of one draw and who answers them."""

    agent_id: int
    timestep: int
    draw: int
    reaction_id: str
    classification_id: str
    teacher: str
    model: str


class Draw:
    """A draw under way.

    Args:
        question: row of `scenarios` that is asked.
        planned: ids of its requests.
        seed: seed of the elicitation.
        events: names and lines of the events that reach the person.
        heard: agent, tie type and statement of each neighbour who said something.
        mind: what the person carries over from the step before.
        persona: the person in words.
    """

    def __init__(
        self,
        question: Mapping[str, Any],
        planned: Planned,
        seed: int,
        events: Sequence[tuple[str, str]],
        heard: Sequence[tuple[int, str, str]],
        mind: Mind,
        persona: str,
    ) -> None:
        self.question = question
        self.planned = planned
        state = (mind.channels, mind.probabilities) if mind.channels and mind.probabilities else None
        memories = [text for _, text in mind.memories]
        step = Step(
            planned.timestep,
            exposures=[line for _, line in events],
            statements=[render_statement(other, kind, statement) for other, kind, statement in heard],
            memories=[f"- {text}" for text in memories],
            state=state,
        )
        self._user = render_step(persona, question["timestep_unit"], step, question["options"])
        self._seed = (int(planned.classification_id[:8], 16) ^ seed) & 0x7FFFFFFF
        self._state_before = state[0] if state else []
        self._bought: list[Answer] = []
        self._malformed = ""
        self._row: dict[str, Any] = {
            "custom_id": planned.classification_id,
            "kind": "rollout",
            "scenario_id": question["scenario_id"],
            "question_id": question["name"],
            "agent_id": planned.agent_id,
            "timestep": planned.timestep,
            "draw": planned.draw,
            "repeat_group": f"{question['scenario_id']}|{planned.agent_id}|{planned.timestep}",
            "state_before": self._state_before,
            "exposures": [name for name, _ in events],
            "neighbour_ids": [other for other, _, _ in heard],
            "neighbour_statements": [statement for _, _, statement in heard],
            "retrieved_memories": memories,
            "teacher": planned.teacher,
            "model": planned.model,
            "prompt_hash": prompt_hash(),
            "schema_hash": schema_hash(),
            "seed": self._seed,
            "channels": None,
            "is_refusal": False,
            "validation_status": "failed",
        }

    def reaction_request(self) -> Request:
        """The first pass: free text."""
        messages = ({"role": "system", "content": render_system(self.question, "reaction")}, self._message(self._user))
        return Request(self.planned.reaction_id, messages, self._seed, is_json=False)

    def take_reaction(self, outcome: Outcome) -> bool:
        """Whether there is a reaction to classify."""
        answer = self._usable(outcome)
        if answer is None:
            return False
        self._row["reaction"] = answer.content
        return True

    def classification_request(self) -> Request:
        """The second pass: the reaction, classified as JSON."""
        user = f"{self._user}\n\n## What the person thinks and says\n{self._row['reaction']}"
        messages = (
            {"role": "system", "content": render_system(self.question, "classification")},
            self._message(user),
        )
        return Request(self.planned.classification_id, messages, self._seed, is_json=True)

    def take_classification(self, outcome: Outcome) -> bool:
        """Whether the answer is malformed or cut short, so that it has to be asked for once more."""
        return self._classify(outcome, "valid")

    def repair_request(self) -> Request:
        """Asks for the classification again, showing what was wrong with it."""
        first = self.classification_request()
        messages = (
            *first.messages,
            {"role": "assistant", "content": str(self._bought[-1].content)},
            self._message(f"That answer is malformed ({self._malformed}). Answer again, as JSON of the schema."),
        )
        return Request(f"{self.planned.classification_id}/repair", messages, self._seed + 1, is_json=True)

    def take_repair(self, outcome: Outcome) -> None:
        """A second malformed answer is a failure, with its reason."""
        if self._classify(outcome, "repaired"):
            self._row["rationale"] = f"failed: {self._malformed[:MOST_REASON]}"

    def row(self) -> dict[str, Any]:
        """The draw as a row of `reasoning_traces`, as far as it came."""
        return self._row | all_of(self._bought)

    def _usable(self, outcome: Outcome) -> Answer | None:
        """An answer with content; failures and refusals are noted."""
        if isinstance(outcome, Failure):
            self._row["rationale"] = f"failed: {outcome.reason[:MOST_REASON]}"
            return None
        self._bought.append(outcome)
        if outcome.is_refusal:
            why = outcome.refusal or ("content filter" if outcome.finish_reason == "content_filter" else "no content")
            self._row |= {"is_refusal": True, "rationale": f"refused: {why[:MOST_REASON]}"}
            return None
        return outcome

    def _classify(self, outcome: Outcome, status: str) -> bool:
        answer = self._usable(outcome)
        if answer is None:
            return False
        try:
            read = read_answer(str(answer.content), list(self.question["options"]))
        except MalformedAnswer as error:
            self._malformed = (
                f"cut short after {answer.completion_tokens} tokens" if answer.is_truncated else str(error)
            )
            return True
        before = self._state_before or read["channels"]
        deltas = [now - then for now, then in zip(read["channels"], before, strict=True)]
        self._row |= {**read, "channel_deltas": deltas, "validation_status": status}
        return False

    @staticmethod
    def _message(text: str) -> dict[str, str]:
        return {"role": "user", "content": text}

"""Contracts of the traces room: scenarios, the elicitation plan, teacher answers."""

from dataclasses import replace

import polars as pl

from validation.contracts.table import (
    FRACTION,
    NOT_NEGATIVE,
    SIGNED_UNIT,
    TableContract,
    column,
    list_within,
    one_of,
    sums_to_one,
)

SCENARIOS = TableContract(
    name="scenarios",
    group="traces",
    row="question, event or trigger of a scenario",
    columns={
        "scenario_id": column(pl.String, "scenario"),
        "kind": column(pl.String, "what the row describes", one_of(("question", "event", "trigger"))),
        "name": column(pl.String, "id of the question, event or trigger within the scenario"),
        "position": column(pl.Int32, "order of the row within its kind, from 0", NOT_NEGATIVE),
        "timestep": column(pl.Int32, "timestep of an event; null for questions and triggers", nullable=True),
        "duration": column(pl.Int32, "timesteps for which an event stays active", nullable=True),
        "text": column(pl.String, "wording of the question, or content of the event"),
        "options": column(pl.List(pl.String), "option labels of a question, in order", nullable=True),
        "option_scores": column(pl.List(pl.Float64), "position of each option on −1…1", nullable=True),
        "scale": column(pl.String, "nominal or ordinal, for questions", one_of(("nominal", "ordinal")), nullable=True),
        "item": column(pl.String, "survey item that asks the question, without the item_ prefix", nullable=True),
        "source_name": column(pl.String, "who speaks in the event", nullable=True),
        "source_type": column(pl.String, "kind of speaker", nullable=True),
        "channel": column(pl.String, "broadcast, or the source_type of the media that carry the event", nullable=True),
        "framing": column(pl.String, "frame of the event in a few words", nullable=True),
        "valence": column(pl.Float64, "push towards options with score +1 (+) or −1 (−)", SIGNED_UNIT, nullable=True),
        "credibility": column(pl.Float64, "credibility of the event", FRACTION, nullable=True),
        "exposure_where": column(pl.String, "predicate over agents that can be reached", nullable=True),
        "reach": column(pl.Float64, "fraction of those agents that is reached", FRACTION, nullable=True),
        "trigger_question": column(pl.String, "question that a trigger watches", nullable=True),
        "trigger_option": column(pl.String, "option that a trigger watches", nullable=True),
        "share_above": column(pl.Float64, "share above which the trigger arms", FRACTION, nullable=True),
        "rearm_below": column(
            pl.Float64, "share to which it must fall to count again; null: 0.9 of share_above", FRACTION, nullable=True
        ),
        "hold_for": column(pl.Int32, "timesteps the share must hold", nullable=True),
        "intervention_fields": column(
            pl.List(pl.String), "fields of the event that interventions vary: axes of the surface", nullable=True
        ),
        "intervention_values": column(
            pl.List(pl.List(pl.Float64)), "values to try for each of those fields, in the same order", nullable=True
        ),
        "population_where": column(pl.String, "predicate over agents of the scenario; null for all", nullable=True),
        "num_timesteps": column(pl.Int32, "timesteps to simulate after the initial state", NOT_NEGATIVE),
        "timestep_unit": column(pl.String, "calendar unit of a timestep"),
        "baseline": column(pl.String, "scenario to compare with; null for a baseline itself", nullable=True),
        "content_hash": column(pl.String, "sha256 of the scenario's content, comments and layout aside"),
        "text_encoder": column(pl.String, "encoder that made the embeddings"),
        "text_embedding": column(pl.List(pl.Float32), "embedding of text and framing"),
        "unframed_embedding": column(
            pl.List(pl.Float32),
            "embedding of an event's text without its framing; null where there is none",
            nullable=True,
        ),
        "option_embeddings": column(pl.List(pl.List(pl.Float32)), "embedding per option", nullable=True),
    },
    key=("scenario_id", "kind", "name"),
)

BENCHMARK_SCENARIOS = replace(
    SCENARIOS, name="benchmark_scenarios", row="question or event of a behaviour benchmark", may_be_empty=True
)
"""Scenarios with a published outcome: the same columns, a table of their own, so that no run trains on them."""

ELICITATION_PLAN = TableContract(
    name="elicitation_plan",
    group="traces",
    row="planned request",
    columns={
        "custom_id": column(
            pl.String, "sha256 of model, prompt and schema version, scenario, agent, timestep, draw, pass"
        ),
        "scenario_id": column(pl.String, "scenario"),
        "question_id": column(pl.String, "question that is asked"),
        "agent_id": column(pl.Int64, "agent that the persona describes", NOT_NEGATIVE),
        "timestep": column(pl.Int32, "timestep, 0 before any event", NOT_NEGATIVE),
        "draw": column(pl.Int32, "0 for the first answer, then redraws for the noise floor", NOT_NEGATIVE),
        "elicitation_pass": column(
            pl.String, "reaction in free text, then its classification", one_of(("reaction", "classification"))
        ),
        "teacher": column(pl.String, "embedded, recorded or the endpoint's host"),
        "model": column(pl.String, "model name sent to the teacher"),
        "prompt_hash": column(pl.String, "sha256 of the prompt templates"),
        "schema_hash": column(pl.String, "sha256 of the answer schema"),
        "estimated_prompt_tokens": column(pl.Int64, "tokens the prompt is expected to take", NOT_NEGATIVE),
        "estimated_completion_tokens": column(pl.Int64, "tokens the answer is expected to take", NOT_NEGATIVE),
        "estimated_cost_usd": column(pl.Float64, "expected cost", NOT_NEGATIVE),
    },
    key=("custom_id",),
)

REASONING_TRACES = TableContract(
    name="reasoning_traces",
    group="traces",
    row="teacher answer for one agent at one timestep",
    columns={
        "custom_id": column(pl.String, "custom_id of the classification request, or of the recorded answer"),
        "kind": column(
            pl.String,
            "rollout: asked step by step as an agent; recorded: imported answer of a persona written from a respondent",
            one_of(("rollout", "recorded")),
        ),
        "scenario_id": column(pl.String, "scenario; for recorded answers, the set of questions"),
        "question_id": column(pl.String, "question that was answered"),
        "agent_id": column(
            pl.Int64, "agent that the persona describes; null for recorded answers", NOT_NEGATIVE, nullable=True
        ),
        "respondent_id": column(
            pl.String, "respondent that the persona was written from; null in rollouts", nullable=True
        ),
        "human_option": column(
            pl.String,
            "what this respondent answered to the same item; null in rollouts or where not asked",
            nullable=True,
        ),
        "timestep": column(pl.Int32, "timestep, 0 before any event", NOT_NEGATIVE),
        "draw": column(pl.Int32, "0 for the first answer, then redraws", NOT_NEGATIVE),
        "repeat_group": column(pl.String, "scenario, agent and timestep, shared by redraws"),
        "state_before": column(pl.List(pl.Float32), "channels shown to the teacher, empty at timestep 0"),
        "exposures": column(pl.List(pl.String), "events that reached the agent"),
        "neighbour_ids": column(pl.List(pl.Int64), "agents whose statements were shown"),
        "neighbour_statements": column(pl.List(pl.String), "what they said, in the same order"),
        "retrieved_memories": column(pl.List(pl.String), "memories that were shown"),
        "reaction": column(
            pl.String,
            "what the person thinks and says, as played in the first pass; never shown to others",
            nullable=True,
        ),
        "channels": column(pl.List(pl.Float32), "anchored channels after the step, in file order", nullable=True),
        "channel_deltas": column(pl.List(pl.Float32), "change of each channel", nullable=True),
        "channel_confidence": column(pl.List(pl.Float32), "confidence in each channel, 0 to 1", nullable=True),
        "channel_evidence": column(pl.String, "what the reading of the channels rests on", nullable=True),
        "option_probabilities": column(pl.List(pl.Float64), "probability of each option, in order", nullable=True),
        "option": column(pl.String, "sampled option", nullable=True),
        "conviction": column(pl.Float64, "strength of the stance", FRACTION, nullable=True),
        "private_stance": column(pl.Float64, "what the person thinks, −1…1", SIGNED_UNIT, nullable=True),
        "public_stance": column(pl.Float64, "what the person says, −1…1", SIGNED_UNIT, nullable=True),
        "statement": column(pl.String, "what the person says to others", nullable=True),
        "will_share": column(pl.Boolean, "whether the statement is shared", nullable=True),
        "attention_events": column(pl.Float64, "share of attention on events", FRACTION, nullable=True),
        "attention_peers": column(pl.Float64, "share of attention on peers", FRACTION, nullable=True),
        "attention_memory": column(pl.Float64, "share of attention on memory", FRACTION, nullable=True),
        "memory_write": column(pl.String, "what the person will remember", nullable=True),
        "memory_salience": column(pl.Float64, "how strongly", FRACTION, nullable=True),
        "trust_deltas": column(pl.List(pl.Float32), "change of trust in each neighbour shown", nullable=True),
        "rationale": column(pl.String, "reasons given, private", nullable=True),
        "teacher": column(pl.String, "embedded, recorded or the endpoint's host"),
        "model": column(pl.String, "model that answered"),
        "prompt_hash": column(pl.String, "sha256 of the prompt templates, or of the recorded file"),
        "schema_hash": column(pl.String, "sha256 of the answer schema, or of the codebook"),
        "seed": column(pl.Int64, "seed sent with the request; null where it is not known", nullable=True),
        "prompt_tokens": column(pl.Int64, "tokens of both prompts; null where not known", NOT_NEGATIVE, nullable=True),
        "cached_tokens": column(
            pl.Int64, "prompt tokens served from the cache; null where not known", NOT_NEGATIVE, nullable=True
        ),
        "completion_tokens": column(
            pl.Int64, "tokens of both answers; null where not known", NOT_NEGATIVE, nullable=True
        ),
        "cost_usd": column(
            pl.Float64, "cost of both requests; null where it is not known", NOT_NEGATIVE, nullable=True
        ),
        "latency_ms": column(
            pl.Float64, "time both requests took; null where it is not known", NOT_NEGATIVE, nullable=True
        ),
        "is_refusal": column(pl.Boolean, "whether the teacher refused"),
        "validation_status": column(pl.String, "how the answer passed", one_of(("valid", "repaired", "failed"))),
    },
    key=("scenario_id", "question_id", "agent_id", "respondent_id", "timestep", "draw", "model"),
    rules=(
        sums_to_one("option_probabilities"),
        list_within("channels", -1.0, 1.0),
        list_within("channel_confidence", 0.0, 1.0),
    ),
)

RECORDED_QUESTIONS = TableContract(
    name="recorded_questions",
    group="traces",
    row="question of a set of recorded answers",
    columns={
        "scenario_id": column(pl.String, "set of questions, named like a scenario"),
        "question_id": column(pl.String, "question"),
        "variable": column(pl.String, "name of the item in the recorded files"),
        "text": column(pl.String, "wording of the question"),
        "options": column(pl.List(pl.String), "option labels, in order"),
        "option_scores": column(pl.List(pl.Float64), "position of each option on −1…1"),
        "scale": column(pl.String, "nominal or ordinal", one_of(("nominal", "ordinal"))),
        "item": column(
            pl.String,
            "survey item, without the item_ prefix, that the respondents answered; null where not asked",
            nullable=True,
        ),
        "note": column(pl.String, "what to keep in mind, for example wordings that differ; empty otherwise"),
        "text_encoder": column(pl.String, "encoder that made the embeddings"),
        "text_embedding": column(pl.List(pl.Float32), "embedding of the wording"),
        "option_embeddings": column(pl.List(pl.List(pl.Float32)), "embedding per option"),
    },
    key=("scenario_id", "question_id"),
    rules=(list_within("option_scores", -1.0, 1.0),),
)

RECORDED_ANSWERS = TableContract(
    name="recorded_answers",
    group="traces",
    row="recorded answer of one model as one persona to one question",
    columns={
        "custom_id": column(pl.String, "sha256 of set, model, question, persona and draw"),
        "scenario_id": column(pl.String, "set of questions, as in recorded_questions"),
        "question_id": column(pl.String, "question, as in recorded_questions"),
        "model": column(pl.String, "model that answered, as the file names it"),
        "persona_id": column(pl.Int64, "number of the persona in the file", NOT_NEGATIVE),
        "respondent_id": column(pl.String, "respondent that the persona was written from, as in survey_respondents"),
        "persona": column(pl.String, "text that the model was given; null where it is not at hand", nullable=True),
        "draw": column(pl.Int32, "0 for the first answer, then redraws", NOT_NEGATIVE),
        "option": column(pl.String, "option that the model chose; null where no option could be read", nullable=True),
        "human_option": column(
            pl.String,
            "what the respondent answered to the same item; null where not asked or not answered",
            nullable=True,
        ),
        "raw_answer": column(pl.String, "what the model wrote", nullable=True),
        "prompt_tokens": column(pl.Int64, "tokens of the prompt", NOT_NEGATIVE, nullable=True),
        "completion_tokens": column(pl.Int64, "tokens of the answer", NOT_NEGATIVE, nullable=True),
        "is_refusal": column(pl.Boolean, "whether the model refused"),
        "validation_status": column(pl.String, "whether an option could be read", one_of(("valid", "failed"))),
        "source_sha256": column(pl.String, "sha256 of the recorded file"),
        "codebook_sha256": column(pl.String, "sha256 of the codebook"),
    },
    key=("scenario_id", "question_id", "persona_id", "draw", "model"),
    may_be_empty=True,
)

CONTRACTS = (SCENARIOS, BENCHMARK_SCENARIOS, ELICITATION_PLAN, RECORDED_QUESTIONS, RECORDED_ANSWERS, REASONING_TRACES)

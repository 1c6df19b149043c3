"""The model card of a student: what it is, what it was trained on, how it fares, and what it must not be used for."""

from collections.abc import Mapping

from assets.distillation.distil import Distilled
from assets.distillation.held_out import SPLIT
from assets.distillation.readout_training import MISSING
from assets.distillation.static_traces import StaticTraces
from assets.distillation.training_set import TrainingSet

EMBEDDED_TEACHER = "embedded"


def render_model_card(
    distilled: Distilled, *, recipe: Mapping[str, object], data_versions: Mapping[str, object]
) -> str:
    """The card in Markdown.

    Args:
        distilled: the student and what was found out about it.
        recipe: sizes of the run.
        data_versions: version of each table that went in.
    """
    verdict = "passed" if distilled.has_passed_gates else "not passed"
    return "\n".join(
        [
            "# Large Societal Model (student)",
            "",
            f"A neural simulator of a population with {distilled.student.model.num_parameters:,} parameters, distilled "
            "from a teacher's answers about synthetic people. Agents are tokens, their social ties are the attention "
            "mask, one forward pass is one timestep for everybody.",
            "",
            "## Training data",
            "",
            *_data_lines(distilled.training_set, data_versions),
            "",
            "## How it fares on held-out agents",
            "",
            "Rows named after a baseline: mean total variation distance to the teacher's answers; lower is nearer. "
            "Both start from what the teacher said or thought at timestep 0 and predict timesteps 1 and later. A gate "
            "holds where its difference is below zero. Intervals are 95 %, paired, over agents.",
            "",
            *_gate_lines(distilled),
            "",
            f"Gates for the alias `champion` (required rows): **{verdict}**.",
            "",
            "## How it was trained",
            "",
            f"- best epoch {distilled.student.best_epoch} of {distilled.student.num_epochs} trained, chosen on "
            f"{int(distilled.training_set.is_validation_P.sum())} validation agents, and on the shares of drawn people "
            "among all that are not held out",
            *_member_lines(distilled),
            *(f"- {name}: {value}" for name, value in recipe.items()),
            "",
            "## Limits",
            "",
            "- It imitates its teacher. Agreement with the teacher is no evidence about real people; that is what the "
            "comparison with surveys in the validation report is for.",
            f"- Held out are {SPLIT}, not scenarios: the figures say nothing about questions or events unlike those "
            "it was trained on. The table unseen_scenarios says how it carries over to those.",
            "- A text unlike those that it was trained on is not read: it goes by the positions of options, and by the "
            "valence, credibility and speaker of events. Levels before any event mean nothing there.",
            "- Synthetic agents are no individuals. Do not use it to predict, rank or target a real person.",
            "- Weights are safetensors with a JSON config; loading them executes no code.",
            "",
        ]
    )


def _data_lines(training_set: TrainingSet, data_versions: Mapping[str, object]) -> list[str]:
    teacher = f"`{training_set.teacher}`, model `{training_set.teacher_model}`"
    if training_set.teacher == EMBEDDED_TEACHER:
        teacher += ". **It is not a language model**: it answers from response models estimated on surveys and a "
        teacher += "documented appraisal model"
    scenarios = ", ".join(f"`{rollout.scenario_id}`" for rollout in training_set.rollouts)
    steps = sum(rollout.num_timesteps + 1 for rollout in training_set.rollouts)
    return [
        f"- teacher: {teacher}",
        f"- panel: {training_set.num_agents} agents with {training_set.graph.num_ties} social ties among them; "
        f"{int(training_set.is_held_out_P.sum())} agents held out, by agent and never by row",
        f"- scenarios: {scenarios}; {steps * training_set.num_agents:,} answers were asked for",
        _static_line(training_set.static),
        *(f"- {name}: version {version}" for name, version in data_versions.items()),
    ]


def _static_line(static: StaticTraces | None) -> str:
    if static is None:
        return "- recorded answers: none mixed in"
    num_answers = int((static.fitted.chosen_PQ != MISSING).sum())
    return (
        f"- recorded answers mixed in: {num_answers:,} of `{static.teacher_model}`, a language model that need not be "
        f"the teacher, as {len(static.fitted.codes_PF)} people to {len(static.question_ids)} questions; the table "
        "recorded_readout says how well it answers for people it never saw, ablations what the mixture is worth"
    )


def _member_lines(distilled: Distilled) -> list[str]:
    if not distilled.others:
        return ["- one member: how far chance in training moves the figures was not measured"]
    found = ", ".join(f"{value:.4f}" for value in distilled.member_tvds)
    return [f"- {len(distilled.member_tvds)} members that differ in their seed, held-out distance each: {found}"]


def _gate_lines(distilled: Distilled) -> list[str]:
    lines = [
        "Predictions against baselines start from the teacher's channels and answer at timestep 0; the gap between "
        f"that answer and the one that channels tell stays with weight {distilled.student.anchor_weight:.1f}. "
        "Simulated people have no such answer: their channels and their gap are drawn (`lsm_simulated` in "
        "held_out_predictions), and the gates on changes, tails and 100 timesteps judge them. As predictions of single "
        "agents they stand beside what knows attributes alone as well; these rows decide nothing.",
        "",
        "| gate | student | baseline or limit | difference | 95 % interval | agents | required | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for gate in distilled.gates:
        name = gate.name.replace("held-out TVD below ", "") if gate.kind == "baseline" else gate.name
        lines.append(
            f"| {name} | {gate.student_value:.4f} | {gate.baseline_value:.4f} | {gate.difference:+.4f} | "
            f"{gate.lower:+.4f} … {gate.upper:+.4f} | {gate.num_agents} | {'yes' if gate.is_required else 'no'} | "
            f"{gate.verdict} |"
        )
    return lines

"""The sections of the validation report on what was simulated: summary, effects, profiles, interventions."""

from assets.evidence import sql_failures, sql_inputs, sql_simulated
from assets.evidence.report_blocks import MAX_CHARTS, blocks_or_warning, left_out, shown_as
from assets.evidence.report_context import ReportContext
from validation.channels import channel_names
from validation.report import Block, FactsBlock, Format, Query, Section, TextBlock, chart_block, charts, table_block

MAX_DERIVATIVES = 60
"""Rows of a table of derivatives, the largest first."""


def summary_section(query: Query, context: ReportContext) -> Section:
    """What was simulated, with what teacher, and the shares that came out."""
    student = context.student
    blocks: list[Block] = [
        FactsBlock(
            {
                "run": context.run_id,
                "created": context.created,
                "recipe": str(context.recipe.get("name", "unnamed")),
                "agents": f"{context.recipe.get('num_agents', 0):,}",
                "student": f"version {student.version}" + (f", {student.alias}" if student.alias else ""),
                "teacher": context.teacher,
            }
        ),
        TextBlock(context.teacher_statement, "warning" if context.teacher == "embedded" else "plain"),
        TextBlock(f"{student.verdict} {_gates(context)}", "plain" if student.is_champion else "warning"),
    ]
    evidence = tuple(name for name in sql_failures.EVIDENCE_TABLES if context.has(name))
    if evidence:
        blocks.append(
            table_block(
                query,
                sql_failures.standing_counts(evidence),
                "How the evidence stands; the section on failures names every figure that loses",
            )
        )
    if context.has("outcomes", "scenarios"):
        blocks.append(
            table_block(
                query,
                sql_simulated.DECISION_SHARES,
                "Decision shares at the last timestep, beside the baseline scenario and the mechanistic opinion model",
                shown_as(
                    "share",
                    "initial_share",
                    "share",
                    "lower",
                    "upper",
                    "baseline_share",
                    "mechanistic_opinion_share",
                ),
            )
        )
        blocks.append(
            TextBlock(
                "Shares are mean probabilities over agents and replicates. The 95 % interval joins the replicates' own "
                "intervals and their spread by Rubin's rule. It holds the sampling of donors and not the error of the "
                "model: for that, read the sections on the student and on survey calibration."
            )
        )
        blocks.extend(_trajectory_charts(query))
    return Section("Summary", tuple(blocks_or_warning(blocks, context, "outcomes", "scenarios")))


def effects_section(query: Query, context: ReportContext) -> Section:
    """What each scenario changed against its baseline."""
    blocks: list[Block] = []
    if context.has("counterfactuals"):
        points = shown_as("signed_share", "effect", "lower", "upper")
        blocks.append(
            table_block(query, sql_simulated.EFFECTS, "Average effects on shares, in percentage points", points)
        )
        blocks.append(
            table_block(
                query,
                sql_simulated.FLIPS,
                "Agents whose likeliest option changed",
                {"flipped_share": "share", "mean_absolute_change": "number"},
            )
        )
        pairs = query("select distinct scenario_id, question_id from counterfactuals order by scenario_id, question_id")
        for scenario_id, question_id in pairs.head(MAX_CHARTS).iter_rows():
            blocks.append(
                chart_block(
                    query,
                    sql_simulated.segment_effects(scenario_id, question_id),
                    f"{scenario_id}, {question_id}: effects by party and age",
                    charts.effect_intervals,
                    is_half=True,
                )
            )
        blocks.extend(left_out(len(pairs), "counterfactuals"))
        blocks.append(
            table_block(
                query,
                sql_simulated.SEGMENT_EFFECTS,
                "The five largest effects on segments, in percentage points",
                points,
            )
        )
    return Section("Counterfactual effects", tuple(blocks_or_warning(blocks, context, "counterfactuals")))


def profiles_section(query: Query, context: ReportContext) -> Section:
    """Clusters of agents that reason alike."""
    blocks: list[Block] = []
    if context.has("reasoning_profiles"):
        blocks.append(
            table_block(query, sql_simulated.PROFILES, "Reasoning profiles, first replicate", {"share": "share"})
        )
        found = query("select distinct scenario_id from reasoning_profiles where replicate = 0 order by scenario_id")
        for scenario_id in found["scenario_id"].head(MAX_CHARTS):
            blocks.append(
                chart_block(
                    query,
                    sql_simulated.profile_channels(scenario_id, channel_names()),
                    f"{scenario_id}: mean channels of each profile",
                    charts.channel_heatmap,
                    is_half=True,
                )
            )
        blocks.extend(left_out(len(found), "reasoning_profiles"))
    return Section("Reasoning profiles", tuple(blocks_or_warning(blocks, context, "reasoning_profiles")))


def interventions_section(query: Query, context: ReportContext) -> Section:
    """How final shares answer to the fields of events."""
    blocks: list[Block] = []
    if context.has("intervention_surface"):
        blocks.extend(_derivatives(query))
        axes = query(sql_simulated.AXES_OF_INTERVENTIONS)
        for scenario_id, parameter, question_id, _ in axes.head(MAX_CHARTS).iter_rows():
            blocks.append(
                chart_block(
                    query,
                    sql_simulated.intervention_grid(scenario_id, question_id, parameter),
                    f"{scenario_id}, {question_id}: {parameter}",
                    charts.intervention_lines,
                    is_half=True,
                )
            )
        blocks.extend(left_out(len(axes), "intervention_surface"))
        if axes.is_empty():
            blocks.append(TextBlock("No scenario of this run declares values to try, so there is no surface to draw."))
    return Section("Interventions", tuple(blocks_or_warning(blocks, context, "intervention_surface")))


def _derivatives(query: Query) -> list[Block]:
    """Derivatives by reach and timing from rollouts, how well gradients agree with them, and all others."""
    blocks: list[Block] = [
        TextBlock(
            "A derivative is the change of a share, as a fraction of people, per unit of the field, near the value in "
            "the file; fields of time are in timesteps. Those by reach and timing are finite differences: the scenario "
            "was simulated at a value below and one above, with the same draws, and the difference of the shares was "
            "divided by that of the values. The slope of tried values, a line through the values that the scenario's "
            "file lists, is what simulations further away gave. The surface of a large society is simulated with a "
            "part of it, so its final shares differ from those of the summary by that sample."
        ),
        *_largest(
            query,
            sql_simulated.FINITE_DIFFERENCES,
            "Derivatives of final shares by reach and timing of events, by finite differences; change in percentage "
            "points from the lower value to the upper",
            {"final_share": "share", "change": "signed_share"},
        ),
        *_gradient_check(query),
        *_largest(
            query,
            sql_simulated.GRADIENTS,
            "Derivatives of final shares by other fields of events and by ties, by one reverse pass",
            {"final_share": "share"},
        ),
    ]
    return blocks


def _largest(query: Query, sql: str, caption: str, formats: dict[str, Format]) -> list[Block]:
    """The first rows of an ordered statement, and how many there are where it has more."""
    table = table_block(query, f"{sql} limit {MAX_DERIVATIVES}", caption, formats)
    (num_found,) = query(f"select count(*) from ({sql})").row(0)
    if num_found <= MAX_DERIVATIVES:
        return [table]
    return [
        table,
        TextBlock(f"The largest {MAX_DERIVATIVES} of {num_found}; ask the table intervention_surface for the others."),
    ]


def _gradient_check(query: Query) -> list[Block]:
    """How often the gradient has the sign of the finite difference, by field."""
    table = table_block(
        query,
        sql_simulated.SIGNS_OF_GRADIENTS,
        "Gradients by reach and timing against finite differences, every replicate by itself; larger changes are those "
        f"of {100 * sql_simulated.LARGER_CHANGE:g} points and more",
        {"share_of_same_sign": "share"},
    )
    if table.frame.is_empty():
        return [
            TextBlock("No share moves with the reach or the timing of an event, so gradients have no sign to match.")
        ]
    counts = ", ".join(
        f"in {same} of {number} by {field}"
        for field, number, same in table.frame.select("field", "derivatives", "same_sign").iter_rows()
    )
    return [
        TextBlock(
            "Differentiated, these two fields give no size: the gradient is a slope at the first touch of an exposure "
            f"that saturates. It is a check of the sign alone, which is that of the finite difference {counts}."
        ),
        table,
    ]


def _trajectory_charts(query: Query) -> list[Block]:
    asked = query(sql_inputs.QUESTIONS)
    simulated = query("select distinct scenario_id, question_id from outcomes")
    shown = asked.join(simulated, on=["scenario_id", "question_id"], how="semi", maintain_order="left")
    blocks: list[Block] = [
        chart_block(
            query,
            sql_simulated.trajectory_shares(row["scenario_id"], row["question_id"]),
            f"{row['scenario_id']}, {row['question_id']}: shares over time",
            charts.share_trajectories,
            is_half=True,
        )
        for row in shown.head(MAX_CHARTS).iter_rows(named=True)
    ]
    return [*blocks, *left_out(len(shown), "outcomes")]


def _gates(context: ReportContext) -> str:
    gates = context.student.gates
    if not gates:
        return "No gate was recorded for it."
    failed = context.student.failed_gates
    return f"Gates passed: {len(gates) - len(failed)} of {len(gates)}." + (
        f" Not passed: {', '.join(failed)}." if failed else ""
    )

"""The sections of the validation report that show what was simulated: summary, population, society, traces, effects."""

import polars as pl

from assets.evidence import report_queries as sql
from assets.evidence.report_context import ReportContext
from validation.channels import channel_names
from validation.report import Block, FactsBlock, Format, Query, Section, TextBlock, chart_block, charts, table_block

EVIDENCE_TABLES = (
    "teacher_agreement",
    "survey_calibration",
    "dynamic_calibration",
    "benchmark_scores",
    "behaviour_scores",
)
MAX_CHARTS = 12
"""Charts of one kind; beyond it a report is no longer read, and the text says how many were left out."""


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
    evidence = tuple(name for name in EVIDENCE_TABLES if context.has(name))
    if evidence:
        blocks.append(
            table_block(
                query, sql.standing_counts(evidence), "How the evidence stands; the section on failures has every row"
            )
        )
    if context.has("outcomes", "scenarios"):
        blocks.append(
            table_block(
                query,
                sql.DECISION_SHARES,
                "Decision shares at the last timestep, beside the baseline scenario and the mechanistic opinion model",
                _shown_as(
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


def scenarios_section(query: Query, context: ReportContext) -> Section:
    """The questions that were asked."""
    blocks: list[Block] = []
    if context.has("scenarios"):
        blocks.append(table_block(query, sql.SCENARIOS, "Questions, events and baselines of the scenarios"))
    return Section("Scenarios", tuple(blocks_or_warning(blocks, context, "scenarios")))


def population_section(query: Query, context: ReportContext) -> Section:
    """Respondents, weights, agents and margins."""
    blocks: list[Block] = []
    if context.has("survey_respondents"):
        blocks.append(
            table_block(query, sql.RESPONDENTS, "Respondents by survey", {"first_wave": "text", "last_wave": "text"})
        )
    if context.has("calibrated_respondents"):
        blocks.append(
            table_block(
                query,
                sql.WEIGHTS,
                "Weights of the donors before and after raking (Kish)",
                {"effective_sample_size": "count"},
            )
        )
    if context.has("agents"):
        blocks.append(table_block(query, sql.AGENTS, "Agents", {"share_with_imputed_attributes": "share"}))
    if context.has("survey_calibration"):
        blocks.append(
            chart_block(
                query,
                sql.MARGIN_ERRORS,
                "Largest error of each margin: design weights, calibrated weights and agents",
                charts.margin_errors,
            )
        )
    return Section(
        "Population",
        tuple(blocks_or_warning(blocks, context, "survey_respondents", "calibrated_respondents", "agents")),
    )


def society_section(query: Query, context: ReportContext) -> Section:
    """Ties and their statistics."""
    blocks: list[Block] = []
    if context.has("agents", "ties"):
        blocks.append(chart_block(query, sql.DEGREES, "Social ties per agent", charts.degree_distribution))
    if context.has("graph_statistics"):
        blocks.append(
            table_block(query, sql.GRAPH_STATISTICS, "Graph statistics, under random mixing and as published elsewhere")
        )
    return Section("Society", tuple(blocks_or_warning(blocks, context, "ties", "graph_statistics")))


def traces_section(query: Query, context: ReportContext) -> Section:
    """What the teacher answered, refused and cost."""
    blocks: list[Block] = []
    if context.has("reasoning_traces"):
        shares = _shown_as("share", "refusal_share", "failed_share", "repaired_share")
        blocks.append(table_block(query, sql.TEACHERS, "Teachers that answered", {"cached_token_share": "share"}))
        blocks.append(table_block(query, sql.TRACES, "Answers by question; redraws measure the noise floor", shares))
    return Section("Reasoning traces", tuple(blocks_or_warning(blocks, context, "reasoning_traces")))


def effects_section(query: Query, context: ReportContext) -> Section:
    """What each scenario changed against its baseline."""
    blocks: list[Block] = []
    if context.has("counterfactuals"):
        points = _shown_as("signed_share", "effect", "lower", "upper")
        blocks.append(table_block(query, sql.EFFECTS, "Average effects on shares, in percentage points", points))
        blocks.append(
            table_block(
                query,
                sql.FLIPS,
                "Agents whose likeliest option changed",
                {"flipped_share": "share", "mean_absolute_change": "number"},
            )
        )
        pairs = query("select distinct scenario_id, question_id from counterfactuals order by scenario_id, question_id")
        for scenario_id, question_id in pairs.head(MAX_CHARTS).iter_rows():
            blocks.append(
                chart_block(
                    query,
                    sql.segment_effects(scenario_id, question_id),
                    f"{scenario_id}, {question_id}: effects by party and age",
                    charts.effect_intervals,
                    is_half=True,
                )
            )
        blocks.extend(left_out(len(pairs), "counterfactuals"))
        blocks.append(
            table_block(
                query, sql.SEGMENT_EFFECTS, "The five largest effects on segments, in percentage points", points
            )
        )
    return Section("Counterfactual effects", tuple(blocks_or_warning(blocks, context, "counterfactuals")))


def profiles_section(query: Query, context: ReportContext) -> Section:
    """Clusters of agents that reason alike."""
    blocks: list[Block] = []
    if context.has("reasoning_profiles"):
        blocks.append(table_block(query, sql.PROFILES, "Reasoning profiles, first replicate", {"share": "share"}))
        found = query("select distinct scenario_id from reasoning_profiles where replicate = 0 order by scenario_id")
        for scenario_id in found["scenario_id"].head(MAX_CHARTS):
            blocks.append(
                chart_block(
                    query,
                    sql.profile_channels(scenario_id, channel_names()),
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
        blocks.append(
            table_block(
                query,
                sql.GRADIENTS,
                "Derivatives of final shares with respect to fields of events, by one reverse pass",
                {"final_share": "share"},
            )
        )
        axes = query(sql.AXES_OF_INTERVENTIONS)
        for scenario_id, parameter, question_id, _ in axes.head(MAX_CHARTS).iter_rows():
            blocks.append(
                chart_block(
                    query,
                    sql.intervention_grid(scenario_id, question_id, parameter),
                    f"{scenario_id}, {question_id}: {parameter}",
                    charts.intervention_lines,
                    is_half=True,
                )
            )
        blocks.extend(left_out(len(axes), "intervention_surface"))
        if axes.is_empty():
            blocks.append(TextBlock("No scenario of this run declares values to try, so there is no surface to draw."))
    return Section("Interventions", tuple(blocks_or_warning(blocks, context, "intervention_surface")))


def _trajectory_charts(query: Query) -> list[Block]:
    asked = query(sql.QUESTIONS)
    simulated = query("select distinct scenario_id, question_id from outcomes")
    shown = asked.join(simulated, on=["scenario_id", "question_id"], how="semi", maintain_order="left")
    blocks: list[Block] = [
        chart_block(
            query,
            sql.trajectory_shares(row["scenario_id"], row["question_id"]),
            f"{row['scenario_id']}, {row['question_id']}: shares over time",
            charts.share_trajectories,
            is_half=True,
        )
        for row in shown.head(MAX_CHARTS).iter_rows(named=True)
    ]
    return [*blocks, *left_out(len(shown), "outcomes")]


def left_out(num_found: int, table: str) -> list[Block]:
    """Says how many charts were left out, where some were."""
    if num_found <= MAX_CHARTS:
        return []
    return [TextBlock(f"Charts of the first {MAX_CHARTS} of {num_found}; ask the table {table} for the others.")]


def _gates(context: ReportContext) -> str:
    gates = context.student.gates
    if not gates:
        return "No gate was recorded for it."
    failed = [gate.name for gate in gates if not gate.has_passed]
    return f"Gates passed: {len(gates) - len(failed)} of {len(gates)}." + (
        f" Not passed: {', '.join(failed)}." if failed else ""
    )


def blocks_or_warning(blocks: list[Block], context: ReportContext, *tables: str) -> list[Block]:
    """The blocks, with a warning for every table that the run did not leave."""
    absent = [table for table in tables if not context.has(table)]
    if absent:
        text = f"Not shown: this run left no table {', '.join(absent)}. Run `populace run` to make it."
        return [*blocks, TextBlock(text, "warning")]
    return blocks


def _shown_as(kind: Format, *columns: str) -> dict[str, Format]:
    return dict.fromkeys(columns, kind)


def gates_frame(context: ReportContext) -> pl.DataFrame:
    """Gates of the student as a table."""
    return pl.DataFrame(
        [
            {
                "gate": gate.name,
                "value": gate.value,
                "threshold": gate.threshold,
                "verdict": "passed" if gate.has_passed else "failed",
            }
            for gate in context.student.gates
        ],
        schema={"gate": pl.String, "value": pl.Float64, "threshold": pl.Float64, "verdict": pl.String},
    )

"""The sections of the validation report on what was simulated from: scenarios, population, society, traces."""

from assets.evidence import sql_inputs
from assets.evidence.report_blocks import blocks_or_warning, shown_as
from assets.evidence.report_context import ReportContext
from assets.evidence.report_population import population_quality_blocks
from validation.report import Block, Query, Section, chart_block, charts, network_charts, table_block


def scenarios_section(query: Query, context: ReportContext) -> Section:
    """The questions that were asked."""
    blocks: list[Block] = []
    if context.has("scenarios"):
        blocks.append(table_block(query, sql_inputs.SCENARIOS, "Questions, events and baselines of the scenarios"))
    return Section("Scenarios", tuple(blocks_or_warning(blocks, context, "scenarios")))


def population_section(query: Query, context: ReportContext) -> Section:
    """Respondents, weights, agents and margins."""
    blocks: list[Block] = []
    if context.has("survey_respondents"):
        blocks.append(
            table_block(
                query, sql_inputs.RESPONDENTS, "Respondents by survey", {"first_wave": "text", "last_wave": "text"}
            )
        )
    if context.has("calibrated_respondents"):
        blocks.append(
            table_block(
                query,
                sql_inputs.WEIGHTS,
                "Weights of the donors before and after raking (Kish)",
                {"effective_sample_size": "count"},
            )
        )
    if context.has("agents"):
        blocks.append(table_block(query, sql_inputs.AGENTS, "Agents", {"share_with_imputed_attributes": "share"}))
    if context.has("survey_calibration"):
        blocks.append(
            chart_block(
                query,
                sql_inputs.MARGIN_ERRORS,
                "Largest error of each margin: design weights, calibrated weights and agents",
                charts.margin_errors,
            )
        )
    blocks += population_quality_blocks(query, context)
    return Section(
        "Population",
        tuple(blocks_or_warning(blocks, context, "survey_respondents", "calibrated_respondents", "agents")),
    )


def society_section(query: Query, context: ReportContext) -> Section:
    """Ties and their statistics."""
    blocks: list[Block] = []
    if context.has("agents", "ties"):
        blocks.append(chart_block(query, sql_inputs.DEGREES, "Social ties per agent", charts.degree_distribution))
    if context.has("agents", "ties", "recorded_networks"):
        blocks.append(
            chart_block(
                query,
                sql_inputs.DEGREE_TAIL,
                "Tail of degrees, beside quantiles of recorded networks",
                network_charts.degree_tail,
            )
        )
    if context.has("age_mixing"):
        blocks.append(
            chart_block(
                query,
                sql_inputs.AGE_MIXING,
                "Mixing by age: agents, chance and recorded contacts side by side in each cell",
                network_charts.age_mixing_matrix,
            )
        )
    if context.has("graph_statistics"):
        blocks.append(
            chart_block(query, sql_inputs.HOMOPHILY, "Homophily beside chance", network_charts.homophily_dots)
        )
    if context.has("recorded_networks"):
        blocks.append(table_block(query, sql_inputs.RECORDED_NETWORKS, "Recorded networks beside the ties of this run"))
    if context.has("graph_statistics"):
        blocks.append(
            table_block(query, sql_inputs.GRAPH_TARGETS, "Statistics of ties that have a target, and whether it is met")
        )
        blocks.append(
            table_block(
                query, sql_inputs.GRAPH_STATISTICS, "Graph statistics, under random mixing and as published elsewhere"
            )
        )
    return Section("Society", tuple(blocks_or_warning(blocks, context, "ties", "graph_statistics")))


def traces_section(query: Query, context: ReportContext) -> Section:
    """What the teacher answered, refused and cost."""
    blocks: list[Block] = []
    if context.has("reasoning_traces"):
        shares = shown_as("share", "refusal_share", "failed_share", "repaired_share")
        blocks.append(
            table_block(query, sql_inputs.TEACHERS, "Teachers that answered", {"cached_token_share": "share"})
        )
        blocks.append(
            table_block(query, sql_inputs.TRACES, "Answers by question; redraws measure the noise floor", shares)
        )
    if context.has("scenarios"):
        blocks.append(table_block(query, sql_inputs.ENCODERS, "What encoded the texts of events and questions"))
    return Section("Reasoning traces", tuple(blocks_or_warning(blocks, context, "reasoning_traces")))

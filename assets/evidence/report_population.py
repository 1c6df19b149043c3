"""Blocks of the validation report on how the population was calibrated, and how well agents stand for the survey."""

from assets.evidence.report_blocks import shown_as
from assets.evidence.report_context import ReportContext
from validation.report import Block, Query, TextBlock, table_block

CALIBRATION = """
select metric, value, note from calibration_diagnostics
where slice = 'all' or metric in ('num_cells', 'num_empty_cells', 'num_thin_cells', 'thin_cells_weight_share')
order by metric
""".strip()

STANDARD_ERRORS = """
select e.slice as estimate, e.value as share, e.lower, e.upper, s.value as standard_error,
       d.value as standard_error_of_design_weights, e.note
from calibration_diagnostics e
join calibration_diagnostics s on s.slice = e.slice and s.metric = 'standard_error'
join calibration_diagnostics d on d.slice = e.slice and d.metric = 'standard_error_design_weights'
where e.metric = 'estimate' and s.value > 1e-5 order by s.value desc, e.slice limit 20
""".strip()

HOUSEHOLDS = """
select kind, count(*) as households, avg(num_adults) as adults, avg(num_children) as children,
       avg((num_children > 0)::int) as share_with_children, avg((num_elders > 0)::int) as share_with_elders,
       avg((county_fips is not null)::int) as share_with_county
from households group by kind order by households desc
""".strip()

IMPUTATION = """
select attribute, survey, model, imputed_share, brier_skill, lower, upper, num_held_out
from imputation_quality order by imputed_share desc, attribute
""".strip()

JOINT_SUMMARY = """
select is_raked, count(*) as pairs, count(*) filter (where is_within_sampling_error) as within_sampling_error,
       avg(abs(cramers_v_agents - cramers_v_survey)) as mean_gap,
       max(abs(cramers_v_agents - cramers_v_survey)) as largest_gap
from joint_structure group by is_raked order by is_raked
""".strip()

JOINT_PAIRS = """
select first, second, cramers_v_survey, cramers_v_agents, lower, upper, imputed_share,
       case when is_within_sampling_error then 'within' else 'outside' end as verdict
from joint_structure order by is_within_sampling_error, abs(cramers_v_agents - cramers_v_survey) desc, first, second
""".strip()

DISCLOSURE = "select metric, slice, value, note from disclosure order by metric, slice"


def population_quality_blocks(query: Query, context: ReportContext) -> list[Block]:
    """Tables on calibration, households, imputation, joint structure and disclosure; those that the run left."""
    blocks: list[Block] = []
    if context.has("calibration_diagnostics"):
        blocks.append(table_block(query, CALIBRATION, "What calibration did; errors are relative to a level's total"))
        blocks.append(
            table_block(
                query,
                STANDARD_ERRORS,
                "Shares with the largest standard errors, from replicates that were calibrated again",
                shown_as("share", "share", "lower", "upper"),
            )
        )
    if context.has("households"):
        shares = shown_as("share", "share_with_children", "share_with_elders", "share_with_county")
        blocks.append(table_block(query, HOUSEHOLDS, "Households; children are members and no agents", shares))
    if context.has("imputation_quality"):
        blocks.append(
            table_block(
                query,
                IMPUTATION,
                "Imputed attributes and the skill of the model that filled them, on held-out respondents",
                {"imputed_share": "share"},
            )
        )
    if context.has("joint_structure"):
        blocks += [
            table_block(query, JOINT_SUMMARY, "Pairs of attributes whose association is within sampling error"),
            table_block(
                query, JOINT_PAIRS, "Association of every pair: agents against survey", {"imputed_share": "share"}
            ),
        ]
    if context.has("disclosure"):
        copies = query("select value from disclosure where metric = 'share_copies'")["value"].item()
        blocks.append(table_block(query, DISCLOSURE, "How well agents point at respondents"))
        if copies > 0:
            text = (
                "Agents equal respondents in all attributes and age (share_copies above). Say `noise: distinct` in the "
                "population file before agents leave the house."
            )
            blocks.append(TextBlock(text, "warning"))
    return blocks

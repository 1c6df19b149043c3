"""The report on rectified shares: raw and corrected apart, and whether intervals hold for every option."""

from assets.evidence.rectification import LEAST_COVERAGE, LEVEL, MIN_PEOPLE, NUM_SURVEYS
from assets.evidence.report_context import ReportContext
from validation.report import Block, Query, Section, TextBlock, table_block

RECTIFIED = f"""
select ours.model, ours.method, count(distinct ours.item) as items, count(*) as options,
       avg(ours.mean_error) as mean_error, avg(ours.mean_width) as mean_width,
       avg(ours.mean_width) / avg(bare.mean_width) as width_over_survey_only,
       avg(ours.coverage) as coverage, min(ours.coverage) as lowest_coverage,
       sqrt(min(ours.coverage) * (1 - min(ours.coverage)) / {NUM_SURVEYS}) as its_monte_carlo_error,
       count(*) filter (where ours.coverage < {LEAST_COVERAGE}) as options_below, avg(ours.power) as lambda,
       avg(ours.noise_floor) as noise_floor, max(ours.survey_size) as survey_size,
       case when avg(ours.coverage) is null then 'no interval'
            when min(ours.coverage) >= {LEAST_COVERAGE} then 'holds for every option'
            when avg(ours.coverage) >= {LEAST_COVERAGE} then 'holds on average'
            else 'falls short of {LEAST_COVERAGE}' end as verdict
from rectified_shares ours join rectified_shares bare using (model, item, option)
where bare.method = 'survey_only'
group by ours.model, ours.method order by ours.model, mean_error desc, ours.method
""".strip()

COVERAGE_BY_SHARE = f"""
select method, case when least(reference, 1 - reference) < 0.05 then '1 under 5 % or over 95 %'
                    when least(reference, 1 - reference) < 0.2 then '2 under 20 % or over 80 %'
                    else '3 between' end as share_among_all,
       count(*) as options, min(coverage) as lowest_coverage, avg(coverage) as coverage,
       max(coverage) as highest_coverage,
       avg(sqrt(coverage * (1 - coverage) / {NUM_SURVEYS})) as monte_carlo_error_of_one_option,
       avg(mean_width) as mean_width
from rectified_shares where coverage is not null group by all order by share_among_all, method
""".strip()

BELOW_COVERAGE = f"""
select model, item, option, method, reference, coverage,
       sqrt(coverage * (1 - coverage) / {NUM_SURVEYS}) as monte_carlo_error, mean_width
from rectified_shares where coverage < {LEAST_COVERAGE} order by coverage, model, item, option, method
""".strip()


def rectification_section(query: Query, context: ReportContext) -> Section:
    """Shares before and after a small survey."""
    title = "Rectified shares"
    if not context.has("rectified_shares") or query("select 1 from rectified_shares limit 1").is_empty():
        text = (
            f"Nothing was rectified: no item has {MIN_PEOPLE} people with both an answer and a prediction. Make more "
            "agents, or set POPULACE_DATA_MIRROR to a folder with recorded answers."
        )
        return Section(title, (TextBlock(text, "warning"),))
    are_below = not query(BELOW_COVERAGE).is_empty()
    below: Block = (
        table_block(query, BELOW_COVERAGE, f"Options whose intervals hold less than {100 * LEAST_COVERAGE:g} %")
        if are_below
        else TextBlock(
            f"No option of any model and method is covered less than {100 * LEAST_COVERAGE:g} % of the time."
        )
    )
    return Section(
        title,
        (
            TextBlock(
                "Raw shares are the model's own. The others see a small survey of the same people: survey_only uses "
                "nothing else, post_stratified also the parties' weights, prediction_powered also what the model says "
                "of everybody. Errors are absolute differences to the share among all people. A correction that is no "
                "better than survey_only says that the model adds nothing to the interviews. λ comes from other "
                "items, so every item is held out from what corrects it. Intervals are to hold the share in "
                f"{100 * LEVEL:g} % of the surveys, and in nine tenths of that ({100 * LEAST_COVERAGE:g} %) at least, "
                "whatever the option. The noise floor is "
                "the standard error of the share among all people. The lowest coverage of many options lies "
                "below their true coverage by chance; its Monte Carlo error says by how much one option can."
            ),
            table_block(
                query,
                RECTIFIED,
                "Error and coverage over repeated small surveys, by model and method",
                {"lambda": "number", "lowest_coverage": "number", "its_monte_carlo_error": "number"},
            ),
            table_block(query, COVERAGE_BY_SHARE, "Coverage by how rare an answer is, all models together"),
            below,
        ),
    )

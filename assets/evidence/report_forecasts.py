"""The report on waves that no fit has seen, and on drift across runs."""

from assets.evidence.report_context import ReportContext
from validation.report import Block, Query, Section, TextBlock, chart_block, charts, table_block

MECHANISMS = "('momentum', 'adoption')"

FORECAST_STANDING = f"""
with mechanism as (
  select case_id, metric, slice, fitted_until, held_out, model, value, lower, upper, noise_floor
  from dynamic_calibration where model in {MECHANISMS} and slice in ('all', 'subgroups') and metric = 'skill'
), rivals as (
  select case_id, slice, string_agg(model, ', ' order by model) filter (where value > own) as ahead,
         max(value) filter (where model = 'linear_trend') as linear_trend,
         max(value) filter (where model = 'demographic_regression') as demographic_regression,
         max(value) filter (where model = 'friedkin_johnsen') as friedkin_johnsen
  from (select d.*, m.value as own from dynamic_calibration d join mechanism m using (case_id, slice, metric)
        where d.model not in {MECHANISMS})
  group by all
)
select m.case_id, m.slice, m.fitted_until, m.held_out, m.model, m.value as skill, m.lower, m.upper,
       m.noise_floor as best_possible, linear_trend, demographic_regression, friedkin_johnsen,
       case when m.value is null then 'not computed'
            when m.value < 0 and ahead is not null then 'loses to persistence, ' || ahead
            when m.value < 0 then 'loses to persistence'
            when ahead is not null then 'loses to ' || ahead
            when m.lower <= 0 or m.lower is null then 'beats every baseline, but the interval holds zero'
            else 'beats every baseline' end as verdict
from mechanism m left join rivals using (case_id, slice) order by m.case_id, m.slice
""".strip()

PEOPLE = """
select metric, model, value, lower, upper, noise_floor, num_observations as people from dynamic_calibration
where case_id = 'gss_panel_people' and slice = 'all' order by metric, value desc, model
""".strip()

PEOPLE_STANDING = """
select ours.metric, ours.model, ours.value as skill,
       case when ours.value < 0 then 'loses to persistence' || coalesce(', ' || string_agg(rival.model, ', '), '')
            when string_agg(rival.model, ', ') is null then 'beats every baseline'
            else 'loses to ' || string_agg(rival.model, ', ' order by rival.model) end as verdict
from dynamic_calibration ours
left join dynamic_calibration rival on rival.case_id = ours.case_id and rival.slice = ours.slice
  and rival.metric = ours.metric and rival.value > ours.value
where ours.case_id = 'gss_panel_people' and ours.slice = 'all' and ours.model = 'friedkin_johnsen'
  and ours.metric in ('skill', 'brier_skill')
group by ours.metric, ours.model, ours.value
""".strip()
"""The mechanism that moves people, against persistence, the transition matrix and the regression."""

PEOPLE_BY_SUBGROUP = """
select slice as subgroup, max(num_observations) as people,
       max(value) filter (where metric = 'brier' and model = 'persistence') as brier_persistence,
       max(value) filter (where metric = 'brier_skill' and model = 'transition_matrix') as skill_transition_matrix,
       max(lower) filter (where metric = 'brier_skill' and model = 'transition_matrix') as lower,
       max(upper) filter (where metric = 'brier_skill' and model = 'transition_matrix') as upper,
       max(value) filter (where metric = 'brier_skill' and model = 'friedkin_johnsen') as skill_friedkin_johnsen,
       max(value) filter (where metric = 'brier_skill' and model = 'demographic_regression') as skill_regression
from dynamic_calibration where case_id = 'gss_panel_people' and slice <> 'all' and model <> 'none'
group by slice order by slice
""".strip()

SUBGROUPS = f"""
select case_id, slice as subgroup, model, value as skill, lower, upper, noise_floor as best_possible,
       case when value is null then 'not computed' when upper < 0 then 'loses to persistence'
            when lower > 0 then 'beats persistence' when value < 0 then 'loses, but the interval holds zero'
            else 'ahead, but the interval holds zero' end as verdict
from dynamic_calibration
where metric = 'skill' and slice like '%=%' and slice not like 'item=%' and model in {MECHANISMS}
order by case_id, slice
""".strip()

ESTIMATES = """
select case_id, model, replace(metric, 'parameter ', '') as parameter, value, lower, upper, note
from dynamic_calibration where metric like 'parameter %' order by case_id, model, parameter
""".strip()

SUPPRESSED = """
select case_id, note, count(*) as series, string_agg(slice, ', ' order by slice) as slices from dynamic_calibration
where model = 'none' group by all order by case_id, note
""".strip()

FORECAST_CASES = """
select distinct case_id, item from dynamic_forecasts where segment = 'all' and model in ('momentum', 'adoption')
order by case_id desc, item
""".strip()

DRIFT = """
with runs as (
  select recorded_run, max(recorded_at) as recorded_at, dense_rank() over (order by max(recorded_at) desc) as age
  from leaderboard group by recorded_run
)
select case_id, metric, model, max(value) filter (where age = 1) as latest,
       max(value) filter (where age = 2) as run_before, max(value) filter (where age = 3) as two_before,
       max(value) filter (where age = 1) - max(value) filter (where age = 2) as change,
       max(lower) filter (where age = 1) as lower, max(upper) filter (where age = 1) as upper,
       count(distinct recorded_run) as runs
from leaderboard join runs using (recorded_run)
group by case_id, metric, model having count(*) filter (where age = 1) > 0 order by case_id, metric, model
""".strip()

RUNS = """
select strftime(max(recorded_at), '%Y-%m-%d %H:%M') as recorded, recipe, teacher, model_version as student_version,
       count(*) as figures, recorded_run as run
from leaderboard group by recorded_run, recipe, teacher, model_version order by recorded desc, run limit 20
""".strip()

QUALITY = """
with latest as (select max(recorded_at) as recorded_at from data_quality)
select table_name, suite, count(*) as expectations, count(*) filter (where not has_passed) as failed,
       string_agg(expectation || coalesce(' of ' || data_quality.column, ''), ', ' order by position)
         filter (where not has_passed) as names_of_failed,
       max(num_rows) as rows_checked, (select count(distinct recorded_run) from data_quality) as runs_on_record
from data_quality join latest using (recorded_at) group by table_name, suite order by failed desc, table_name, suite
""".strip()

MAX_CHARTS = 6


def forecast_series(case: str, item: str) -> str:
    """Observed and forecast shares of the first option, for everybody."""
    return f"""
select step, moment, model, share, is_held_out from dynamic_forecasts
where case_id = '{case}' and item = '{item}' and segment = 'all'
  and option = (select min(option) from dynamic_forecasts where case_id = '{case}' and item = '{item}')
order by model, step
""".strip()


def dynamic_section(query: Query, context: ReportContext) -> Section:
    """Skill on later waves: the calibrated mechanisms against persistence and the other baselines."""
    title = "Forecasts of later waves"
    if not context.has("dynamic_calibration", "dynamic_forecasts"):
        return Section(title, (TextBlock("Not shown: this run left no table dynamic_calibration.", "warning"),))
    blocks: list[Block] = [
        TextBlock(
            "Mechanisms are fitted by gradient on the early part of each series and compared with what came later. "
            "Skill is 1 − error / error of persistence: above zero beats the last wave, one is perfect. The best "
            "possible skill is what the sampling error of the later waves leaves. Resamples keep the cells of an item "
            "together."
        ),
        table_block(query, FORECAST_STANDING, "Skill of the calibrated mechanisms on held-out waves"),
    ]
    if not query("select 1 from dynamic_calibration where case_id = 'gss_panel_people' limit 1").is_empty():
        blocks.append(
            table_block(
                query, PEOPLE, "The same people asked again: scores of persons (Brier) and of shares (TVD)",
                {"people": "count"},
            )
        )  # fmt: skip
        blocks.append(
            table_block(
                query, PEOPLE_BY_SUBGROUP, "The same people by subgroup: skill is 1 − Brier / Brier of persistence",
                {"people": "count"},
            )
        )  # fmt: skip
    for case, item in query(FORECAST_CASES).head(MAX_CHARTS).iter_rows():
        blocks.append(
            chart_block(
                query,
                forecast_series(case, item),
                f"{case}: {item.replace('_', ' ')}, first option, everybody",
                charts.forecast_lines,
                is_half=True,
            )
        )
    blocks.append(table_block(query, SUBGROUPS, "Skill by subgroup, mean over items and held-out waves"))
    blocks.append(table_block(query, ESTIMATES, "Estimates of the mechanisms, from the early part alone"))
    if not query("select 1 from dynamic_calibration where model = 'none' limit 1").is_empty():
        blocks.append(table_block(query, SUPPRESSED, "Suppressed or refused, with the reason"))
    blocks.extend(TextBlock(f"Not calibrated: {case}: {reason}.", "warning") for case, reason in context.absent)
    return Section(title, tuple(blocks))


def drift_section(query: Query, context: ReportContext) -> Section:
    """Headline figures of this run beside those of the runs before."""
    title = "Drift across runs"
    if not context.has("leaderboard"):
        return Section(title, (TextBlock("Not shown: this run left no table leaderboard.", "warning"),))
    return Section(
        title,
        (
            TextBlock("A change within the interval is no drift. Runs of other recipes or data are not comparable."),
            table_block(query, DRIFT, "Headline figures of the last three runs, by case and model"),
            table_block(query, RUNS, "Runs on record"),
        ),
    )


def quality_section(query: Query, context: ReportContext) -> Section:
    """What Great Expectations found in the tables of this run."""
    title = "Data quality"
    if not context.has("data_quality"):
        return Section(title, (TextBlock("Not shown: this run left no table data_quality.", "warning"),))
    return Section(
        title,
        (
            TextBlock(
                "Rules that table contracts state are generated from them; every row keeps its contract at every "
                "write. Expectations add rules about whole tables and leave Data Docs, which are linked under "
                "Reproduction."
            ),
            table_block(query, QUALITY, "Expectations of this run, by suite", {"rows_checked": "count"}),
        ),
    )

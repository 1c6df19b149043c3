"""SQL of where it fails: every losing row of every evidence table, and how many figures of each kind win or lose.

Statements quote with ' only and order their rows completely: readers paste them between double quotes and get the rows.
"""

from assets.evidence.rectification import LEAST_COVERAGE
from assets.evidence.report_forecasts import FORECAST_STANDING, PEOPLE_STANDING
from assets.evidence.sql_pooling import quoted
from assets.evidence.sql_standing import MERIT, SHARES, standing

EVIDENCE_TABLES = (
    "teacher_agreement",
    "survey_calibration",
    "dynamic_calibration",
    "benchmark_scores",
    "graph_statistics",
    "behaviour_scores",
    "rectified_shares",
    "recorded_calibration",
    "unseen_scenarios",
    "recorded_readout",
    "data_quality",
)
"""Tables whose figures win, lose or fall short."""

RECTIFIED_STANDING = f"""
select ours.model, ours.method, avg(ours.mean_error) as ours,
       case when min(ours.coverage) < {LEAST_COVERAGE}
              then 'falls short: intervals of an option hold ' || round(100 * min(ours.coverage), 1) || ' %'
            when avg(ours.mean_error) >= avg(bare.mean_error) then 'loses to survey_only'
            else 'beats survey_only' end as verdict
from rectified_shares ours join rectified_shares bare using (model, item, option)
where bare.method = 'survey_only' and ours.method <> 'survey_only' group by ours.model, ours.method
""".strip()
"""Corrected and raw shares against a small survey alone, by model."""

STUDENT_BESIDE_SURVEY = """
select ours.metric, ours.value as ours,
       case when string_agg(rival.model, ', ') is null then 'beats every baseline'
            else 'loses to ' || string_agg(rival.model, ', ' order by rival.model) end as verdict
from recorded_calibration ours
left join recorded_calibration rival on rival.scenario_id = ours.scenario_id and rival.question_id = ours.question_id
  and rival.reference = ours.reference and rival.metric = ours.metric and rival.model <> ours.model
  and rival.value < ours.value
where ours.model = 'student' and ours.question_id = 'all' and ours.reference = 'survey' and not ours.is_higher_better
group by ours.scenario_id, ours.metric, ours.value
""".strip()
"""The student's answers to questions of a survey against recorded models and baselines."""


UNSEEN_STANDING = """
select ours.scenario_id, ours.metric, ours.value as ours,
       case when string_agg(rival.model, ', ') is null then 'beats every baseline'
            else 'loses to ' || string_agg(rival.model, ', ' order by rival.model) end as verdict
from unseen_scenarios ours
left join unseen_scenarios rival on rival.scenario_id = ours.scenario_id and rival.question_id = ours.question_id
  and rival.metric = ours.metric and rival.model not in ('lsm', 'lsm_seen') and rival.value < ours.value
where ours.model = 'lsm' group by ours.scenario_id, ours.question_id, ours.metric, ours.value
""".strip()
"""The student on scenarios left out of its training against baselines; the student that saw them is a bound."""

READOUT_STANDING = """
select ours.group as asked, ours.metric, ours.model, ours.value as ours,
       case when string_agg(rival.model, ', ') is null then 'beats every baseline'
            else 'loses to ' || string_agg(rival.model, ', ' order by rival.model) end as verdict
from recorded_readout ours
left join recorded_readout rival on rival.group = ours.group and rival.metric = ours.metric
  and rival.model not in ('lsm', 'lsm_registered') and rival.note not like '%knows the answer'
  and rival.value < ours.value
where ours.model in ('lsm', 'lsm_registered') group by ours.group, ours.metric, ours.model, ours.value
""".strip()
"""Students fitted to recorded answers against their rivals; an unseen question's own marginal is a bound."""

SIMULATED_STANDING = f"""
with scored as (select *, {MERIT} as merit from teacher_agreement)
select ours.metric, ours.slice, ours.value as ours,
       case when ours.value is null then 'not computed'
            when count(*) filter (where rival.merit > ours.merit) > 0 then 'loses to '
              || string_agg(rival.model, ', ' order by rival.model) filter (where rival.merit > ours.merit)
            when count(*) filter (where rival.merit = ours.merit) > 0 then 'level with '
              || string_agg(rival.model, ', ' order by rival.model) filter (where rival.merit = ours.merit)
            when count(rival.model) = 0 then 'no baseline' else 'beats every baseline' end as verdict
from scored ours
left join scored rival on rival.metric = ours.metric and rival.slice = ours.slice
  and rival.model in ('demographic_regression', 'uniform')
where ours.model = 'lsm_simulated' and ours.metric not like 'cluster_%'
group by ours.metric, ours.slice, ours.value, ours.merit
""".strip()
"""Simulated people as predictions of single agents, against what knows no more of an agent than they do."""

CLUSTER_STANDING = """
select ours.metric, ours.value as ours,
       case when ours.value is null or theirs.value is null then 'not computed'
            when ours.value < theirs.value then 'loses to persistence' else 'beats persistence' end as verdict
from teacher_agreement ours join teacher_agreement theirs using (metric, slice)
where ours.metric like 'cluster_%' and ours.model = 'lsm_simulated' and theirs.model = 'persistence'
""".strip()
"""The simulated student's reasoning clusters against those of the teacher's first answers."""


def losing_rows(tables: tuple[str, ...]) -> str:
    """Every figure in which the student loses to a baseline or a published figure is missed.

    Survey figures of one question and metric share a row that names the segments, figures of simulated people of one
    metric and verdict a row that names the slices.
    """
    parts = []
    if "teacher_agreement" in tables:
        parts.append(
            "select 'teacher agreement' as part, metric || ', ' || slice as figure, student as ours, verdict\n"
            f"from ({standing('teacher_agreement', 'true')}) where verdict like 'loses to%'"
        )
        parts.append(
            "select 'simulated people' as part, metric || ': ' || string_agg(slice, ', ' order by slice) as figure,\n"
            "       max(ours) filter (where slice = 'all') as ours,\n"
            "       verdict || ' in ' || count(*) || ' groups' as verdict\n"
            f"from ({SIMULATED_STANDING}) where verdict like 'loses to%' group by metric, verdict"
        )
        parts.append(
            "select 'reasoning clusters' as part, metric || ' of simulated people' as figure, ours, verdict\n"
            f"from ({CLUSTER_STANDING}) where verdict like 'loses to%'"
        )
    if "survey_calibration" in tables:
        parts.append(
            "select 'survey calibration' as part,\n"
            "       metric || ', ' || split_part(slice, '/', 1) || ', ' || split_part(slice, '/', 2) || ': '\n"
            "         || string_agg(split_part(slice, '/', 3), ', ' order by slice) as figure,\n"
            "       max(student) as ours, 'loses to a baseline in ' || count(*) || ' groups' as verdict\n"
            f"from ({standing('survey_calibration', SHARES)}) where verdict like 'loses to%'\n"
            "group by metric, split_part(slice, '/', 1), split_part(slice, '/', 2)"
        )
    if "behaviour_scores" in tables:
        parts.append(
            "select 'behaviour' as part, scenario_id || ', ' || quantity as figure, value as ours,\n"
            "       'falls ' || verdict || ' the range ' || target_low || ' to ' || target_high as verdict\n"
            "from behaviour_scores where model = 'lsm' and verdict <> 'within'"
        )
    if "dynamic_calibration" in tables:
        parts.append(
            "select 'forecasts' as part, case_id || ', ' || slice as figure, skill as ours, verdict\n"
            f"from ({FORECAST_STANDING}) where verdict like 'loses to%'"
        )
        parts.append(
            "select 'forecasts' as part, 'gss_panel_people, ' || metric || ' of ' || model as figure, skill as ours,\n"
            f"       verdict from ({PEOPLE_STANDING}) where verdict like 'loses to%'"
        )
    if "rectified_shares" in tables:
        parts.append(
            "select 'rectified shares' as part, model || ', ' || method as figure, ours, verdict\n"
            f"from ({RECTIFIED_STANDING}) where verdict not like 'beats%'"
        )
    if "recorded_calibration" in tables:
        parts.append(
            "select 'student beside the survey' as part, metric as figure, ours, verdict\n"
            f"from ({STUDENT_BESIDE_SURVEY}) where verdict like 'loses to%'"
        )
    if "unseen_scenarios" in tables:
        parts.append(
            "select 'unseen scenarios' as part, metric || ', ' || scenario_id as figure, ours, verdict\n"
            f"from ({UNSEEN_STANDING}) where verdict like 'loses to%'"
        )
    if "recorded_readout" in tables:
        parts.append(
            "select 'readout on a real model' as part, metric || ', ' || asked || ', ' || model as figure,\n"
            "       ours, verdict\n"
            f"from ({READOUT_STANDING}) where verdict like 'loses to%'"
        )
    if "data_quality" in tables:
        parts.append(
            "select 'data quality' as part, suite || ', ' || expectation || ', ' || results.column as figure,\n"
            "       null::double as ours, 'falls short: ' || left(observed, 60)\n"
            "         || case when length(observed) > 60 then ' …' else '' end as verdict\n"
            "from data_quality results\n"
            "where not has_passed and recorded_at = (select max(recorded_at) from data_quality)"
        )
    if "graph_statistics" in tables:
        parts.append(
            "select 'ties' as part, statistic || ', ' || tie_type as figure, value as ours,\n"
            "       case when value is null or reference_value is null then 'falls short: not computed' else\n"
            "       'falls short of ' || round(reference_value, 3) || ' ± ' || round(tolerance, 3) end as verdict\n"
            "from graph_statistics where reference_source is not null and is_met is not true"
        )
    if "benchmark_scores" in tables:
        parts.append(
            "select 'benchmarks' as part, benchmark || ', ' || slice as figure, value as ours,\n"
            "       'falls short of ' || round(target, 3) || ' ± ' || round(tolerance, 3) as verdict\n"
            "from benchmark_scores where verdict = 'falls short'"
        )
    return "select * from (\n" + "\nunion all\n".join(parts) + "\n) order by part, figure"


def standing_counts(tables: tuple[str, ...]) -> str:
    """How many figures of each kind of evidence are good, level, lost or missing."""
    parts = []
    if "teacher_agreement" in tables:
        parts.append(f"select 'reasoning clusters' as evidence, verdict from ({CLUSTER_STANDING})")
        parts.append(f"select 'simulated people as single agents' as evidence, verdict from ({SIMULATED_STANDING})")
    for table, where in (("teacher_agreement", "true"), ("survey_calibration", SHARES)):
        if table in tables:
            parts.append(
                f"select {quoted('student in ' + table.replace('_', ' '))} as evidence, verdict\n"
                f"from ({standing(table, where)})"
            )
    if "behaviour_scores" in tables:
        parts.append(
            "select 'behaviour benchmarks' as evidence,\n"
            "       case when verdict = 'within' then 'beats' else 'loses to' end as verdict\n"
            "from behaviour_scores where model = 'lsm'"
        )
    if "dynamic_calibration" in tables:
        parts.append(f"select 'forecasts of later waves' as evidence, verdict\nfrom ({FORECAST_STANDING})")
        parts.append(f"select 'forecasts of people asked again' as evidence, verdict from ({PEOPLE_STANDING})")
    if "rectified_shares" in tables:
        parts.append(f"select 'rectified shares' as evidence, verdict from ({RECTIFIED_STANDING})")
    if "recorded_calibration" in tables:
        parts.append(f"select 'student beside the weighted survey' as evidence, verdict from ({STUDENT_BESIDE_SURVEY})")
    if "unseen_scenarios" in tables:
        parts.append(f"select 'student on unseen scenarios' as evidence, verdict from ({UNSEEN_STANDING})")
    if "recorded_readout" in tables:
        parts.append(f"select 'readout on a real model' as evidence, verdict from ({READOUT_STANDING})")
    if "data_quality" in tables:
        parts.append(
            "select 'data quality' as evidence, case when has_passed then 'beats' else 'loses to' end as verdict\n"
            "from data_quality where recorded_at = (select max(recorded_at) from data_quality)"
        )
    if "graph_statistics" in tables:
        parts.append(
            "select 'targets of ties' as evidence, case when is_met then 'beats' else 'loses to' end as verdict\n"
            "from graph_statistics where reference_source is not null"
        )
    if "benchmark_scores" in tables:
        parts.append(
            "select 'published benchmarks' as evidence,\n"
            "       case when verdict = 'met' then 'beats' else 'loses to' end as verdict from benchmark_scores"
        )
    inner = "\nunion all\n".join(parts)
    return f"""
select evidence, count(*) as figures,
       count(*) filter (where verdict like 'beats%') as beats_every_baseline_or_met,
       count(*) filter (where verdict like 'loses to%' or verdict like 'falls%') as loses_or_falls_short,
       count(*) filter (where verdict not like 'beats%' and verdict not like 'loses to%' and verdict not like 'falls%')
         as level_or_not_computed
from (
{inner}
) group by evidence order by evidence
""".strip()

"""SQL of how the student stands: verdicts beside noise floor and baselines, every losing row, how many of each kind.

Statements quote with ' only and order their rows completely: readers paste them between double quotes and get the rows.
"""

from assets.evidence.report_forecasts import FORECAST_STANDING
from assets.evidence.sql_pooling import quoted

MERIT = """case when is_higher_better is null then -abs(value - 1)
              when is_higher_better then value else -value end"""
"""How good a score is, larger is better; metrics without a direction are best at one."""

EVIDENCE_TABLES = (
    "teacher_agreement",
    "survey_calibration",
    "dynamic_calibration",
    "benchmark_scores",
    "behaviour_scores",
)
"""Tables whose figures win, lose or fall short."""

BASELINES_OF = {
    "teacher_agreement": (
        "lsm_unanchored",
        "lsm_simulated",
        "lsm_no_graph",
        "persistence",
        "demographic_regression",
        "friedkin_johnsen",
        "uniform",
    ),
    "survey_calibration": ("donor_answers", "demographic_regression", "persistence", "uniform"),
}

STUDENT_OF = {"teacher_agreement": "lsm", "survey_calibration": "student"}

AXES = """
select axis, target, r2, lower, upper, r2_permuted as noise_floor, num_agents as agents
from axis_probes order by r2 desc, axis, target limit 20
""".strip()

CLUSTERS = """
select metric, model, value, lower, upper, noise_floor as teacher_seed_to_seed, num_observations as answers, note
from teacher_agreement where metric like 'cluster_%' order by metric, value desc, model
""".strip()

BENCHMARKS = """
select benchmark, slice, value as ours, target as published, tolerance, verdict,
       case when is_calibrated then 'calibrated on it: no evidence' else 'independent' end as standing, source
from benchmark_scores order by benchmark, slice
""".strip()

SHARES = "metric <> 'max_margin_error'"
"""Rows of survey_calibration that compare shares."""


def standing(table: str, where: str) -> str:
    """One row per metric and slice: the verdict, the student, its noise floor and every baseline."""
    student, baselines = STUDENT_OF[table], BASELINES_OF[table]
    columns = ",\n       ".join(
        f"max(scored.value) filter (where scored.model = {quoted(name)}) as {name}" for name in baselines
    )
    return f"""
with scored as (
  select *, {MERIT} as merit
  from {table} where {where}
), student as (
  select metric, slice, value, lower, upper, noise_floor, merit
  from scored where model = {quoted(student)}
), rivals as (
  select scored.metric, scored.slice,
         string_agg(scored.model, ', ' order by scored.model) filter (where scored.merit > student.merit) as ahead,
         string_agg(scored.model, ', ' order by scored.model) filter (where scored.merit = student.merit) as level,
         {columns}
  from scored join student using (metric, slice) where scored.model <> {quoted(student)} group by all
)
select metric, slice,
       case when student.value is null then 'not computed'
            when ahead is not null then 'loses to ' || ahead
            when level is not null then 'level with ' || level
            when rivals.metric is null then 'no baseline'
            else 'beats every baseline' end as verdict,
       student.value as student, student.lower, student.upper, student.noise_floor,
       {", ".join(baselines)}
from student left join rivals using (metric, slice) order by slice, metric
""".strip()


def notes(table: str, where: str) -> str:
    """What must be known to read the student's rows: where they come from, and why some are missing."""
    return f"""
select note, count(*) as figures, min(num_observations) as fewest_observations, string_agg(distinct metric, ', '
       order by metric) as metrics
from {table} where model = {quoted(STUDENT_OF[table])} and note is not null and {where}
group by note order by figures desc, note
""".strip()


def model_values(metric: str, slice_name: str) -> str:
    """Every model's value of one metric, for a bar chart."""
    return f"""
select model, value, lower, upper, noise_floor from teacher_agreement
where metric = {quoted(metric)} and slice = {quoted(slice_name)} and value is not null order by value, model
""".strip()


def losing_rows(tables: tuple[str, ...]) -> str:
    """Every figure in which the student loses to a baseline or a published figure is missed.

    Survey figures of one question and metric share a row that names the segments.
    """
    parts = []
    if "teacher_agreement" in tables:
        parts.append(
            "select 'teacher agreement' as part, metric || ', ' || slice as figure, student as ours, verdict\n"
            f"from ({standing('teacher_agreement', 'true')}) where verdict like 'loses to%'"
        )
        parts.append(
            "select 'reasoning clusters' as part, ours.metric as figure, ours.value as ours,\n"
            "       'loses to persistence' as verdict\n"
            "from teacher_agreement ours join teacher_agreement theirs using (metric, slice)\n"
            "where ours.metric like 'cluster_%' and ours.model = 'lsm_simulated' and theirs.model = 'persistence'\n"
            "  and ours.value < theirs.value"
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
            "       'falls ' || verdict || ' ' || target_low || ' to ' || target_high as verdict\n"
            "from behaviour_scores where model = 'lsm' and verdict <> 'within'"
        )
    if "dynamic_calibration" in tables:
        parts.append(
            "select 'forecasts' as part, case_id || ', ' || slice as figure, skill as ours, verdict\n"
            f"from ({FORECAST_STANDING}) where verdict like 'loses to%'"
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
    if "benchmark_scores" in tables:
        parts.append(
            "select 'published benchmarks' as evidence,\n"
            "       case when verdict = 'met' then 'beats' else 'loses to' end as verdict from benchmark_scores"
        )
    inner = "\nunion all\n".join(parts)
    return f"""
select evidence, count(*) as figures,
       count(*) filter (where verdict like 'beats%') as beats_every_baseline_or_met,
       count(*) filter (where verdict like 'loses to%') as loses_or_falls_short,
       count(*) filter (where verdict not like 'beats%' and verdict not like 'loses to%') as level_or_not_computed
from (
{inner}
) group by evidence order by evidence
""".strip()

"""SQL of how the student stands: verdicts beside noise floor and baselines.

Statements quote with ' only and order their rows completely: readers paste them between double quotes and get the rows.
"""

from assets.evidence.sql_pooling import quoted

MERIT = """case when is_higher_better is null then -abs(value - 1)
              when is_higher_better then value else -value end"""
"""How good a score is, larger is better; metrics without a direction are best at one."""


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

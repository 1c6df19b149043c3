"""The SQL behind the validation report: one statement per table or chart, over tables by name.

Every statement orders its rows completely, so that running it again gives the same rows in the same order. Statements
quote with ' only: readers paste them between double quotes.
"""

from assets.evidence.report_forecasts import FORECAST_STANDING

MERIT = """case when is_higher_better is null then -abs(value - 1)
              when is_higher_better then value else -value end"""
"""How good a score is, larger is better; metrics without a direction are best at one."""

BASELINES_OF = {
    "teacher_agreement": (
        "lsm_unanchored",
        "lsm_no_graph",
        "persistence",
        "demographic_regression",
        "friedkin_johnsen",
        "uniform",
    ),
    "survey_calibration": ("donor_answers", "demographic_regression", "persistence", "uniform"),
}
STUDENT_OF = {"teacher_agreement": "lsm", "survey_calibration": "student"}


Z = 1.959963984540054
T_EXPANSION = (
    (Z**3 + Z) / 4,
    (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96,
    (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384,
    (79 * Z**9 + 776 * Z**7 + 1482 * Z**5 - 1920 * Z**3 - 945 * Z) / 92160,
)
"""Student's t quantile minus the normal one, by powers of 1/ν. Source: Abramowitz & Stegun (1964), equation 26.7.5."""


def pooled(value: str, lowest: int, highest: int = 1) -> str:
    """Columns lower and upper of a mean over replicates, from their intervals and their spread, by Rubin's rule.

    With W the mean squared standard error within m replicates and B the variance between them, the variance is
    W + (1 + 1/m) B, with Student's t of ν = (m − 1)(1 + W / ((1 + 1/m) B))² degrees of freedom; one replicate keeps its
    own interval. The same rule gives the decision shares in the terminal.

    Source: Rubin (1987), Multiple imputation for nonresponse in surveys, section 3.1.
    """
    within = f"avg((greatest(upper - {value}, {value} - lower) / {Z:.6f}) ** 2)"
    between = f"((1 + 1.0 / count(*)) * coalesce(var_samp({value}), 0))"
    inverse = f"coalesce(1.0 / nullif((count(*) - 1) * (1 + {within} / nullif({between}, 0)) ** 2, 0), 0)"
    terms = " + ".join(f"{term:.5f} * {inverse} ** {power}" for power, term in enumerate(T_EXPANSION, start=1))
    spread = f"({Z:.5f} + {terms}) * sqrt({within} + {between})"
    return (
        f"case when count(*) = 1 then min(lower) else greatest({lowest}, avg({value}) - {spread}) end as lower,\n"
        f"         case when count(*) = 1 then max(upper) else least({highest}, avg({value}) + {spread}) end as upper"
    )


SEGMENT_ATTRIBUTES = ("party", "age_group", "race_ethnicity", "education")

DECISION_SHARES = f"""
with everybody as (
  select scenario_id, question_id, engine, timestep, option, avg(share) as share,
         {pooled("share", 0)}, count(*) as num_replicates, min(num_agents) as num_agents
  from outcomes where segment = 'all' group by all
), final as (
  select scenario_id, question_id, max(timestep) as timestep from everybody where engine = 'lsm' group by all
), questions as (
  select scenario_id, name as question_id, options, baseline, position from scenarios where kind = 'question'
)
select ours.scenario_id as scenario, ours.question_id as question, ours.option, ours.timestep,
       start.share as initial_share, ours.share, ours.lower, ours.upper, other.share as baseline_share,
       mechanism.share as mechanistic_opinion_share, ours.num_replicates as replicates, ours.num_agents as agents
from questions
join final using (scenario_id, question_id)
join everybody ours
  on ours.scenario_id = questions.scenario_id and ours.question_id = questions.question_id
  and ours.timestep = final.timestep and ours.engine = 'lsm'
left join everybody start
  on start.scenario_id = ours.scenario_id and start.question_id = ours.question_id
  and start.option = ours.option and start.timestep = 0 and start.engine = 'lsm'
left join everybody other
  on other.scenario_id = questions.baseline and other.question_id = ours.question_id
  and other.option = ours.option and other.timestep = ours.timestep and other.engine = 'lsm'
left join everybody mechanism
  on mechanism.scenario_id = ours.scenario_id and mechanism.question_id = ours.question_id
  and mechanism.option = ours.option and mechanism.timestep = ours.timestep and mechanism.engine = 'lpm_opinion'
order by ours.scenario_id, questions.position, ours.question_id, list_position(questions.options, ours.option)
""".strip()

SCENARIOS = """
select question.scenario_id as scenario, question.name as question, question.text as wording, question.options,
       coalesce(question.item, '') as survey_item,
       (select count(*) from scenarios e where e.scenario_id = question.scenario_id and e.kind = 'event') as events,
       (select count(*) from scenarios e where e.scenario_id = question.scenario_id and e.kind = 'trigger') as triggers,
       question.baseline
from scenarios question where question.kind = 'question'
order by question.scenario_id, question.position
""".strip()

QUESTIONS = """
select scenario_id, name as question_id, item, population_where from scenarios
where kind = 'question' order by scenario_id, position
""".strip()

RESPONDENTS = """
select survey, count(*) as respondents, min(wave) as first_wave, max(wave) as last_wave,
       count(distinct wave) as waves
from survey_respondents group by survey order by survey
""".strip()

WEIGHTS = """
select count(*) as donors,
       count(*) * sum(design_weight * design_weight)
         / (sum(design_weight) * sum(design_weight)) as design_effect_before,
       count(*) * sum(calibrated_weight * calibrated_weight)
         / (sum(calibrated_weight) * sum(calibrated_weight)) as design_effect_after,
       sum(calibrated_weight) * sum(calibrated_weight)
         / sum(calibrated_weight * calibrated_weight) as effective_sample_size,
       max(calibrated_weight) / avg(calibrated_weight) as largest_over_mean_weight
from calibrated_respondents
""".strip()

AGENTS = """
select count(*) as agents, count(distinct household_id) as households,
       count(*) / count(distinct household_id) as adults_per_household,
       count(distinct respondent_id) as donors_used, count(distinct state) as states,
       avg(case when len(imputed_attributes) > 0 then 1.0 else 0.0 end) as share_with_imputed_attributes
from agents
""".strip()

MARGIN_ERRORS = """
select replace(slice, 'margin=', '') as margin, replace(model, '_', ' ') as weights, value as error
from survey_calibration where metric = 'max_margin_error' order by margin, weights
""".strip()

DEGREES = """
with degrees as (
  select agents.agent_id, count(distinct neighbours.src) as degree
  from agents left join (select src, dst from ties where tie_type <> 'media') neighbours
    on neighbours.dst = agents.agent_id
  group by agents.agent_id
)
select degree, count(*) / sum(count(*)) over () as share, count(*) as agents
from degrees group by degree order by degree
""".strip()

GRAPH_STATISTICS = """
select statistic, tie_type, value, chance_value, reference_value, reference_source as reference
from graph_statistics order by statistic, tie_type
""".strip()

TRACES = """
select scenario_id as scenario, question_id as question, count(distinct agent_id) as agents, count(*) as answers,
       count(*) filter (where draw > 0) as redraws,
       avg(case when is_refusal then 1.0 else 0.0 end) as refusal_share,
       avg(case when validation_status = 'failed' then 1.0 else 0.0 end) as failed_share,
       avg(case when validation_status = 'repaired' then 1.0 else 0.0 end) as repaired_share,
       sum(prompt_tokens + completion_tokens)::bigint as tokens, sum(cost_usd) as cost_usd
from reasoning_traces where kind = 'rollout' group by scenario_id, question_id order by scenario_id, question_id
""".strip()

TEACHERS = """
select teacher, model, count(*) as answers, sum(cached_tokens) / greatest(sum(prompt_tokens), 1) as cached_token_share,
       avg(latency_ms) as mean_latency_ms, sum(cost_usd) as cost_usd
from reasoning_traces group by teacher, model order by teacher, model
""".strip()

AXES = """
select axis, target, r2, lower, upper, r2_permuted as noise_floor, num_agents as agents
from axis_probes order by r2 desc, axis, target limit 20
""".strip()

CLUSTERS = """
select metric, model, value, lower, upper, noise_floor as teacher_seed_to_seed, num_observations as answers, note
from teacher_agreement where metric like 'cluster_%' order by metric, value desc, model
""".strip()

EFFECTS = f"""
select scenario_id as scenario, baseline_id as baseline, question_id as question, option,
       avg(difference) as effect, {pooled("difference", -1)}, count(*) as replicates
from counterfactuals where unit = 'segment' and segment = 'all'
group by all order by scenario, baseline, question, option
""".strip()

FLIPS = """
select scenario_id as scenario, baseline_id as baseline, question_id as question,
       avg(case when has_flipped then 1.0 else 0.0 end) as flipped_share,
       avg(abs(difference)) as mean_absolute_change, count(*) // count(distinct option) as agents_and_replicates
from counterfactuals where unit = 'agent' group by all order by scenario, baseline, question
""".strip()

SEGMENT_EFFECTS = f"""
with effects as (
  select scenario_id as scenario, question_id as question, segment, option, avg(difference) as effect,
         {pooled("difference", -1)}, min(num_agents) as agents
  from counterfactuals where unit = 'segment' and segment <> 'all' group by all
), ranked as (
  select *, row_number() over (partition by scenario, question order by abs(effect) desc, segment, option) as place
  from effects
)
select scenario, question, segment, option, effect, lower, upper, agents
from ranked where place <= 5 order by scenario, question, place
""".strip()

PROFILES = """
select scenario_id as scenario, cluster as profile, size as agents, share, silhouette,
       array_to_string(defining_attributes, ', ') as more_often_than_others
from reasoning_profiles where replicate = 0 order by scenario_id, cluster
""".strip()

GRADIENTS = """
select scenario_id as scenario, question_id as question, parameter, outcome as option, avg(value) as value_in_file,
       avg(share) as final_share, avg(derivative) as derivative, count(*) as replicates
from intervention_surface where kind = 'gradient'
group by all order by abs(avg(derivative)) desc, scenario, question, parameter, option limit 30
""".strip()

AXES_OF_INTERVENTIONS = """
select scenario_id, parameter, question_id, count(distinct value) as num_values
from intervention_surface where kind = 'grid' group by all order by scenario_id, parameter, question_id
""".strip()

BENCHMARKS = """
select benchmark, slice, value as ours, target as published, tolerance, verdict,
       case when is_calibrated then 'calibrated on it: no evidence' else 'independent' end as standing, source
from benchmark_scores order by benchmark, slice
""".strip()


SHARES = "metric <> 'max_margin_error'"
"""Rows of survey_calibration that compare shares."""


def quoted(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def trajectory_shares(scenario_id: str, question_id: str) -> str:
    """Shares of every option over time: the scenario's, its baseline's and the mechanism's."""
    return f"""
with question as (
  select scenario_id, name as question_id, options, baseline from scenarios
  where kind = 'question' and scenario_id = {quoted(scenario_id)} and name = {quoted(question_id)}
)
select outcomes.timestep, outcomes.option,
       case when outcomes.scenario_id = question.baseline then 'baseline'
            when engine = 'lsm' then 'scenario' else 'mechanistic opinion' end as series,
       avg(share) as share, {pooled("share", 0)}
from outcomes join question using (question_id)
where segment = 'all' and ((outcomes.scenario_id = question.scenario_id and engine in ('lsm', 'lpm_opinion'))
      or (outcomes.scenario_id = question.baseline and engine = 'lsm'))
group by outcomes.timestep, outcomes.option, series, question.options
order by series desc, list_position(question.options, outcomes.option), outcomes.timestep
""".strip()


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
            "where ours.metric like 'cluster_%' and ours.model = 'lsm_unanchored' and theirs.model = 'persistence'\n"
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


def item_waves(item: str) -> str:
    """Which surveys and waves asked an item, how many answered, and how many of those are donors."""
    return f"""
select survey, wave, count(*) as num_respondents, count(calibrated_weight) as num_donors
from survey_respondents left join calibrated_respondents using (respondent_id)
where item_{item} is not null group by survey, wave order by survey, wave
""".strip()


def survey_against_agents(
    scenario_id: str, question_id: str, item: str, survey: str, wave: int, population_where: str | None
) -> str:
    """Shares of every option by segment, in one wave of a survey and among agents at timestep 0, with intervals."""
    segments = ", ".join(f"'{name}=' || {name}" for name in SEGMENT_ATTRIBUTES)
    condition = f"\n    and ({population_where})" if population_where else ""
    return f"""
with respondents as (
  select item_{item} as answer, coalesce(calibrated_weight, survey_respondents.design_weight) as weight,
         {", ".join(SEGMENT_ATTRIBUTES)}
  from survey_respondents left join calibrated_respondents using (respondent_id)
  where survey = {quoted(survey)} and wave = {wave} and item_{item} is not null{condition}
), members as (
  select answer, weight, unnest(['all', {segments}]) as segment from respondents
), sizes as (
  select segment, count(*) as num_respondents, sum(weight) as total,
         sum(weight) * sum(weight) / sum(weight * weight) as effective_size
  from members where segment is not null group by segment
), answers as (
  select segment, answer as option, sum(weight) as weight from members group by all
), simulated as (
  select segment, option, avg(share) as share, {pooled("share", 0)} from outcomes
  where scenario_id = {quoted(scenario_id)} and question_id = {quoted(question_id)}
    and timestep = 0 and engine = 'lsm' group by all
), compared as (
  select simulated.segment, simulated.option, coalesce(answers.weight, 0) / total as survey_share, effective_size,
         simulated.share, simulated.lower, simulated.upper, num_respondents
  from simulated join sizes using (segment) left join answers using (segment, option) where num_respondents >= 100
)
select {quoted(item)} as item, segment, option, survey_share,
       greatest(0, survey_share - 1.96 * sqrt(survey_share * (1 - survey_share) / effective_size)) as survey_lower,
       least(1, survey_share + 1.96 * sqrt(survey_share * (1 - survey_share) / effective_size)) as survey_upper,
       share, lower, upper, num_respondents as respondents
from compared order by segment, option
""".strip()


def profile_channels(scenario_id: str, channels: tuple[str, ...]) -> str:
    """Mean channels of each reasoning profile of a scenario, first replicate."""
    names = ", ".join(quoted(name.replace("_", " ")) for name in channels)
    return f"""
select 'profile ' || cluster || ' (' || round(100 * share) || ' %)' as profile,
       unnest([{names}]) as channel, unnest(channel_centroid) as value
from reasoning_profiles where scenario_id = {quoted(scenario_id)} and replicate = 0 order by cluster
""".strip()


def intervention_grid(scenario_id: str, question_id: str, parameter: str) -> str:
    """Final share of each option over the values of one field."""
    return f"""
select value, outcome, avg(share) as share, avg(difference) as difference from intervention_surface
where kind = 'grid' and scenario_id = {quoted(scenario_id)} and question_id = {quoted(question_id)}
  and parameter = {quoted(parameter)}
group by value, outcome order by outcome, value
""".strip()


def segment_effects(scenario_id: str, question_id: str) -> str:
    """Effects by party and for everybody, for a chart with intervals."""
    return f"""
select segment, option, avg(difference) as difference, {pooled("difference", -1)} from counterfactuals
where unit = 'segment' and scenario_id = {quoted(scenario_id)} and question_id = {quoted(question_id)}
  and (segment = 'all' or segment like 'party=%' or segment like 'age_group=%')
group by all order by segment, option
""".strip()

"""SQL that puts simulated shares at timestep 0 beside one wave of a survey."""

from assets.evidence.sql_pooling import pooled, quoted

SEGMENT_ATTRIBUTES = ("party", "age_group", "race_ethnicity", "education")


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

"""SQL of what was simulated: shares over time, effects, profiles, interventions."""

from assets.evidence.sql_pooling import pooled, quoted

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

TRIED_VALUES = """
with grid as (
  select scenario_id, question_id, parameter, outcome, regr_slope(share, value) as slope
  from intervention_surface where kind = 'grid' group by all having count(distinct value) > 1
)
""".strip()

TWO_WAYS = """
select differences.*, differences.derivative * (differences.value_above - differences.value_below) as change,
       gradients.derivative as gradient
from intervention_surface differences
join intervention_surface gradients using (scenario_id, replicate, parameter, question_id, outcome)
where differences.kind = 'finite_difference' and gradients.kind = 'gradient'
""".strip()
"""Derivatives that were taken by rollouts and by differentiation too: those by reach and timing."""

FINITE_DIFFERENCES = f"""
{TRIED_VALUES}, two_ways as (
{TWO_WAYS}
)
select scenario_id as scenario, question_id as question, parameter, outcome as option,
       avg(value) as value_in_file, avg(value_below) as lower_value, avg(value_above) as upper_value,
       avg(share) as final_share, avg(change) as change, avg(derivative) as derivative,
       max(grid.slope) as slope_of_tried_values,
       case when avg(derivative) is null then 'one value only' when avg(derivative) = 0 then 'no change'
            when avg(gradient) = 0 then 'gradient of zero'
            when sign(avg(gradient)) = sign(avg(derivative)) then 'same' else 'opposite' end as sign_of_gradient,
       count(*) as replicates
from two_ways left join grid using (scenario_id, question_id, parameter, outcome)
group by all order by abs(avg(change)) desc nulls last, scenario, question, parameter, option
""".strip()

LARGER_CHANGE = 0.001
"""Change of a share between the two values of a finite difference from which it is shown apart: 0.1 points."""

SIGNS_OF_GRADIENTS = f"""
with two_ways as (
{TWO_WAYS}
)
select case when parameter like '%.reach' then 'exposure.reach' else 'at' end as field, count(*) as derivatives,
       count(*) filter (where sign(gradient) = sign(derivative)) as same_sign,
       avg(case when sign(gradient) = sign(derivative) then 1.0 else 0.0 end) as share_of_same_sign,
       count(*) filter (where abs(change) >= {LARGER_CHANGE}) as larger_changes,
       count(*) filter (where abs(change) >= {LARGER_CHANGE} and sign(gradient) = sign(derivative))
         as same_sign_of_larger_changes,
       median(abs(gradient / derivative)) as median_size_of_gradient_per_difference
from two_ways where derivative <> 0 group by all order by field desc
""".strip()

GRADIENTS = f"""
{TRIED_VALUES}
select scenario_id as scenario, question_id as question, parameter, outcome as option,
       avg(surface.value) as value_in_file, avg(share) as final_share, avg(derivative) as derivative,
       max(grid.slope) as slope_of_tried_values, count(*) as replicates
from intervention_surface surface left join grid using (scenario_id, question_id, parameter, outcome)
where kind = 'gradient' and parameter not like '%.reach' and parameter not like '%.at'
group by all order by abs(avg(derivative)) desc, scenario, question, parameter, option
""".strip()

AXES_OF_INTERVENTIONS = """
select scenario_id, parameter, question_id, count(distinct value) as num_values
from intervention_surface where kind = 'grid' group by all order by scenario_id, parameter, question_id
""".strip()


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


def profile_channels(scenario_id: str, channels: tuple[str, ...]) -> str:
    """Mean channels of each reasoning profile of a scenario, first replicate."""
    names = ", ".join(quoted(name.replace("_", " ")) for name in channels)
    return f"""
select 'profile ' || cluster || ' (' || round(100 * share, 1) || ' %)' as profile,
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

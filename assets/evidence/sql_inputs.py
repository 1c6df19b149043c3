"""SQL of what a simulation starts from: scenarios, respondents, weights, agents, ties, teacher answers."""

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

SOCIAL_DEGREES = """
with degrees as (
  select agents.agent_id, count(distinct neighbours.src) as degree
  from agents left join (select src, dst from ties where tie_type <> 'media') neighbours
    on neighbours.dst = agents.agent_id
  group by agents.agent_id
)
""".strip()

DEGREES = f"""
{SOCIAL_DEGREES}
select degree, count(*) / sum(count(*)) over () as share, count(*) as agents
from degrees group by degree order by degree
""".strip()

DEGREE_TAIL = f"""
{SOCIAL_DEGREES}, steps as (select degree, count(*) / sum(count(*)) over () as share from degrees group by degree)
select 'agents' as network, degree::double as degree,
       least(1.0, sum(share) over (order by degree desc)) as share_at_least
from steps where degree > 0
union all
select network, value, case statistic when 'degree_p50' then 0.5 when 'degree_p95' then 0.05 else 0.01 end
from recorded_networks where statistic in ('degree_p50', 'degree_p95', 'degree_p99') and value > 0
order by network, degree
""".strip()

HOMOPHILY = """
select replace(statistic, 'homophily_', '') as attribute, tie_type, value, chance_value
from graph_statistics where statistic like 'homophily_%' and value is not null order by attribute, tie_type
""".strip()

AGE_MIXING = """
unpivot (
  select age_group, alter_age_group, share as agents, chance_share as chance, recorded_share as recorded
  from age_mixing where tie_type = 'all_social'
) on agents, chance, recorded into name network value share
order by age_group, alter_age_group, network
""".strip()

RECORDED_NETWORKS = """
select network, statistic, value as recorded, our_value as ours, num_people as people,
       case origin when 'kept' then 'kept figures' else origin end as origin, source
from recorded_networks order by network, statistic
""".strip()

GRAPH_STATISTICS = """
select statistic, tie_type, value, chance_value, reference_value, reference_source as reference
from graph_statistics order by statistic, tie_type
""".strip()

GRAPH_TARGETS = """
select statistic, tie_type, value as ours, chance_value, reference_value as target, tolerance,
       case when is_met is null then 'not computed' when is_met then 'met' else 'falls short' end as verdict,
       case when is_fitted then 'ties were set to it: no evidence' when is_fitted is null then ''
            else 'independent' end as standing, reference_source as source
from graph_statistics where reference_source is not null order by is_fitted, statistic, tie_type
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

ENCODERS = """
select text_encoder as encoder, max(len(text_embedding)) as numbers_per_text, count(*) as events_and_questions
from scenarios group by text_encoder order by text_encoder
""".strip()

"""The report on how simulated shares move, what parts of the student are worth, and the readout on a real LLM."""

from assets.evidence.report_blocks import no_recordings
from assets.evidence.report_context import ReportContext
from validation.report import Block, Query, Section, TextBlock, table_block

MOVES = """
with ends as (
  select scenario_id, question_id, option, max(timestep) as last
  from simulated_shares where split = 'fitted' group by all
)
select s.scenario_id as scenario, s.option, max(teacher_share) filter (where timestep = 0) as teacher_start,
       max(teacher_share) filter (where timestep = last) as teacher_end,
       max(student_share) filter (where timestep = 0) as student_start,
       max(student_share) filter (where timestep = last) as student_end,
       max(student_lower) filter (where timestep = last) as draws_lower,
       max(student_upper) filter (where timestep = last) as draws_upper,
       max(teacher_spread) filter (where timestep = last) as teacher_spread,
       max(student_spread) filter (where timestep = last) as student_spread
from simulated_shares s join ends using (scenario_id, question_id, option) where split = 'fitted'
group by s.scenario_id, s.question_id, s.option order by s.scenario_id, s.question_id, s.option
""".strip()

ABLATIONS = """
select part, metric, whole_value as whole, without_value as without, difference, lower, upper, num_agents as agents,
       epochs,
       case when lower <= 0 and upper >= 0 then 'no difference beyond chance'
            when ends_with(part, '_added') then case when lower > 0 then 'would harm' else 'would help' end
            when lower > 0 then 'helps' else 'harms' end as verdict
from ablations order by metric desc, difference desc
""".strip()

UNSEEN = """
select scenario_id as scenario, metric, model, value, lower, upper, student_minus_model, difference_lower,
       difference_upper, num_agents as agents, epochs,
       case when model = 'lsm' then '' when difference_upper < 0 then 'student better'
            when difference_lower > 0 then 'student worse' else 'no difference beyond chance' end as verdict
from unseen_scenarios order by scenario_id, metric desc, value, model
""".strip()

READOUT = """
select r.group as asked, metric, model, value, lower, upper, noise_floor, student_minus_model, difference_lower,
       difference_upper, num_questions as questions, num_personas as personas,
       case when model = 'lsm' then '' when difference_upper < 0 then 'lsm better'
            when difference_lower > 0 then 'lsm worse' else 'no difference beyond chance' end as verdict
from recorded_readout r
order by case r.group when 'unseen_personas' then 0 when 'unseen_items' then 1 else 2 end, metric desc, value
""".strip()


def distillation_section(query: Query, context: ReportContext) -> Section:
    """Simulated shares beside the teacher's, and what each part of the student is worth."""
    blocks: list[Block] = []
    if context.has("simulated_shares"):
        blocks += [
            TextBlock(
                "People drawn by their attributes, as simulations draw them, take the place of the teacher's panel. "
                "Levels at timestep 0 differ by chance, since the panel is a sample too; compare the changes. Draws "
                "span 95 % of sixteen draws of the same panel."
            ),
            table_block(query, MOVES, "Shares of simulated people and of the teacher's, first and last timestep"),
        ]
    if context.has("ablations"):
        blocks += [
            TextBlock(
                "Each row is a student that was trained in the same way without one part (leaning: the same student "
                "without each agent's first answer). Differences are paired by held-out agent; above zero the part "
                "helps. A part whose name ends in _added is none of the student's: the other student has it, and above "
                "zero it would harm. The recipe says how many parts are tried; `populace ablate` tries each."
            ),
            table_block(query, ABLATIONS, "What each part of the student is worth", {"agents": "count"}),
        ]
    if context.has("unseen_scenarios"):
        blocks += unseen_blocks(query)
    if not blocks:
        blocks = [TextBlock("Not shown: this run left no table simulated_shares. Run `populace run`.", "warning")]
    return Section("Simulated shares and parts of the student", tuple(blocks))


def unseen_blocks(query: Query) -> list[Block]:
    """Students on scenarios that were left out of their training."""
    if query("select 1 from unseen_scenarios limit 1").is_empty():
        return [
            TextBlock(
                "Scenarios that the student never saw: not measured, since the recipe leaves none out of training "
                "(num_scenario_splits) or all scenarios ask the same questions."
            )
        ]
    return [
        TextBlock(
            "Scenarios that the student never saw: a student was trained without all scenarios that ask the same "
            "questions (lsm) and meets held-out agents in them. lsm_seen, the registered student, saw other agents "
            "there: a bound, not a rival. Friedkin–Johnsen takes its parameters from the other questions. tvd is the "
            "distance of answers when each agent's first is told; share_changes the error of drawn people's changes, "
            "where persistence stands for no change. Texts unlike those of the training are not read: the student "
            "goes by the positions of options, and by the valence, credibility and speaker of events."
        ),
        table_block(query, UNSEEN, "The student on scenarios left out of training", {"agents": "count"}),
    ]


def readout_section(query: Query, context: ReportContext) -> Section:
    """The readout fitted to recorded answers of a real LLM."""
    title = "The readout on a real language model"
    if not context.has("recorded_readout") or query("select 1 from recorded_readout limit 1").is_empty():
        return no_recordings(title)
    teacher = query("select any_value(teacher_model) as name, max(num_splits) as splits from recorded_readout")
    return Section(
        title,
        (
            TextBlock(
                f"A student was fitted to recorded answers of {teacher['name'][0]} as personas, and asked for personas "
                f"and questions that it never saw ({teacher['splits'][0]} splits of the questions). It reads questions "
                "through the local encoder of hashed words, which knows no synonyms: what it says about unseen "
                "questions rests on shared words alone. item_marginal knows an unseen question's own shares and is a "
                "bound, not a rival. lsm_registered is the student of this run, whose training mixed the same answers "
                "with rollouts; it and regression_attributes know of a person what agents have too, which is less than "
                "the persona says. Intervals resample questions."
            ),
            table_block(
                query, READOUT, "Distance to the recorded answers", {"questions": "count", "personas": "count"}
            ),
        ),
    )

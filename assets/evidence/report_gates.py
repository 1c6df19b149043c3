"""The section of the report on gates: thresholds from the configuration, each number by the gate's own SQL."""

from assets.evidence.gates import Gate, load_gates
from assets.evidence.report_blocks import gates_frame
from assets.evidence.report_context import ReportContext
from assets.evidence.sql_pooling import quoted
from validation.report import Block, Query, RecordBlock, Section, TextBlock, table_block


def gates_sql(gates: tuple[Gate, ...]) -> str:
    """One row per gate: what was found beside its threshold, the verdict, and why the gate is there."""
    return "\nunion all\n".join(_row(position, gate) for position, gate in enumerate(gates)) + "\norder by position"


def _row(position: int, gate: Gate) -> str:
    bound = "null" if gate.at_least is None else f"{gate.at_least:g}"
    ceiling = "null" if gate.at_most is None else f"{gate.at_most:g}"
    rows = " + ".join(f"(select count(*) = 0 from {table})::int" for table in gate.tables)
    return f"""select {position} as position, {quoted(gate.rule)} as gate, {quoted(gate.asset)} as asset,
       found.value::double as value, {bound}::double as at_least, {ceiling}::double as at_most,
       case when {rows} > 0 then 'no evidence in this run' when found.value is null then 'fails: no number'
            when found.value < {bound} or found.value > {ceiling} then 'fails ({gate.severity})'
            else 'passes' end as verdict, {quoted(gate.why)} as why
from ({gate.sql}) found(value)"""


def gates_section(query: Query, context: ReportContext) -> Section:
    """Every gate of the student and of the outcomes, passed or not."""
    gates = tuple(gate for gate in load_gates() if context.has(*gate.tables))
    blocks: list[Block] = [
        TextBlock(
            "A gate that fails as block keeps the student from being simulated, one that fails as error makes the "
            "check of its asset red, one that fails as warn yellow; thresholds stand in gates.yaml. The alias champion "
            "hangs on the registry's own gates: a student that fails one stays a candidate, and the summary of this "
            "page, the terminal and the check say so."
        )
    ]
    if gates:
        blocks.append(table_block(query, gates_sql(gates), "Gates on the evidence of this run"))
    if context.student.gates:
        blocks.append(
            RecordBlock(gates_frame(context), "Gates of the registered student", "From the model registry's record.")
        )
    return Section("Gates", tuple(blocks))

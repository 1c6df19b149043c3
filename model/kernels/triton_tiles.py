"""What the Triton kernels of a timestep are built from: tiles of agents, rows of tables, layers, activations.

Legend: as in `triton_timestep.py`; I inputs of a layer, C its outputs.
"""

# pyright: reportMissingImports=false, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

import triton
import triton.language as tl

TRACES = tl.constexpr(16)
"""Columns for the four pushes of events and the two traces of recall, beside one another."""
LIMIT = tl.constexpr(8.0)
"""`model.lsm.dense.bounded_score` squashes scores to ± this."""


@triton.jit
def tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def gelu(x):
    return 0.5 * x * (1 + tl.erf(x * 0.7071067811865476))


@triton.jit
def clipped(x):
    """Within -1 … 1; what is no number stays none."""
    return tl.where(x < -1.0, -1.0, tl.where(x > 1.0, 1.0, x))


@triton.jit
def score(query_BF, key_F, SCALE: tl.constexpr):
    return tanh(tl.sum(query_BF * key_F[None, :], 1) * SCALE / LIMIT) * LIMIT


@triton.jit
def tile(pointer, agent_B, is_agent_B, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """Numbers by agent, [B, padded], in single precision; zero beyond the width."""
    x = tl.arange(0, PADDED)
    is_there = is_agent_B[:, None] & (x < WIDTH)[None, :]
    return tl.load(pointer + agent_B[:, None] * WIDTH + x[None, :], mask=is_there, other=0.0).to(tl.float32)


@triton.jit
def put(pointer, values, agent_B, is_agent_B, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """Writes numbers by agent, rounded to what the memory holds."""
    x = tl.arange(0, PADDED)
    is_there = is_agent_B[:, None] & (x < WIDTH)[None, :]
    tl.store(pointer + agent_B[:, None] * WIDTH + x[None, :], values.to(pointer.dtype.element_ty), mask=is_there)


@triton.jit
def row(table, number, PADDED: tl.constexpr):
    return tl.load(table + number * PADDED + tl.arange(0, PADDED))


@triton.jit
def begin(biases, zero_B, COLUMN: tl.constexpr, COLUMNS: tl.constexpr):
    """The biases of a layer for every agent, [B, C], to which `add` adds."""
    return zero_B[:, None] + tl.load(biases + COLUMN + tl.arange(0, COLUMNS))[None, :]


@triton.jit
def add(
    layers,
    sum_BC,
    input_BI,
    ROW: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMN: tl.constexpr,
    COLUMNS: tl.constexpr,
    ALL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Adds what a layer makes of an input; its weights are a part of the table of `ALL` columns."""
    rows, columns = ROW + tl.arange(0, ROWS), COLUMN + tl.arange(0, COLUMNS)
    weight_IC = tl.load(layers + rows[:, None] * ALL + columns[None, :])
    return tl.dot(input_BI, weight_IC, sum_BC, input_precision=PRECISION)


@triton.jit
def add_messages(
    layers,
    sum_BC,
    event_BF,
    peers_BF,
    recalled_BF,
    traces_BG,
    ROW: tl.constexpr,
    PF: tl.constexpr,
    COLUMN: tl.constexpr,
    COLUMNS: tl.constexpr,
    ALL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Adds what a layer makes of all that reached an agent in a timestep."""
    sum_BC = add(layers, sum_BC, event_BF, ROW, PF, COLUMN, COLUMNS, ALL, PRECISION)
    sum_BC = add(layers, sum_BC, peers_BF, ROW + PF, PF, COLUMN, COLUMNS, ALL, PRECISION)
    sum_BC = add(layers, sum_BC, recalled_BF, ROW + 2 * PF, PF, COLUMN, COLUMNS, ALL, PRECISION)
    return add(layers, sum_BC, traces_BG, ROW + 3 * PF, TRACES, COLUMN, COLUMNS, ALL, PRECISION)

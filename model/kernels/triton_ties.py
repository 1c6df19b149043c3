"""What the Triton kernels of social attention share: which ties a program reads, what travels along a tie, scores.

One warp computes a group of listeners, all heads together: no reduction crosses warps, and rows of expressions travel
as whole sectors of 32 bytes in half precision. A group walks over its listeners' ties in step; where one has fewer ties
than another, missing ones weigh nothing, which changes no bit.

Legend: L listeners of a group (or speakers, or ties of a hub read together), H heads, X expression, T tie types.
"""

# pyright: reportMissingImports=false, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportAssignmentType=false

import triton
import triton.language as tl

LOWEST = tl.constexpr(-1e30)
"""Below every score; finite, so that a listener without ties has no difference of infinities."""


@triton.jit
def tie(expression, log_strength, src, kind, place_L, is_tie_L, x_X, WIDTH: tl.constexpr):
    """What travels along one tie of each listener: the speaker's expression, the type and the strength."""
    speaker_L = tl.load(src + place_L, mask=is_tie_L, other=0).to(tl.int64)
    kind_L = tl.load(kind + place_L, mask=is_tie_L, other=0).to(tl.int32)
    strength_L = tl.load(log_strength + place_L, mask=is_tie_L, other=float("-inf"))
    is_read_LX = is_tie_L[:, None] & (x_X < WIDTH)[None, :]
    stored_LX = tl.load(expression + speaker_L[:, None] * WIDTH + x_X[None, :], mask=is_read_LX, other=0.0)
    return stored_LX, kind_L, strength_L


@triton.jit
def gates(gate, kind_L, x_X, WIDTH: tl.constexpr):
    return tl.load(gate + kind_L[:, None] * WIDTH + x_X[None, :], mask=(x_X < WIDTH)[None, :], other=0.0)


@triton.jit
def scores(query_LHX, key_LX, bias, kind_L, strength_L, h_H, HEADS: tl.constexpr, TYPES: tl.constexpr):
    bias_LH = tl.load(bias + h_H[None, :] * TYPES + kind_L[:, None], mask=(h_H < HEADS)[None, :], other=0.0)
    return tl.sum(query_LHX * key_LX[:, None, :], 2) + bias_LH + strength_L[:, None]


@triton.jit
def group(offsets, num, MOST: tl.constexpr, LISTENERS: tl.constexpr):
    """The listeners of a program, where their ties begin and end (nowhere for hubs), and who is no hub."""
    agent_L = tl.program_id(0).to(tl.int64) * LISTENERS + tl.arange(0, LISTENERS)
    first_L = tl.load(offsets + agent_L, mask=agent_L < num, other=0)
    last_L = tl.load(offsets + agent_L + 1, mask=agent_L < num, other=0)
    is_mine_L = (agent_L < num) & (last_L - first_L <= MOST)
    return agent_L, first_L, tl.where(is_mine_L, last_L, first_L), is_mine_L


@triton.jit
def rows(agent_L, is_mine_L, h_H, x_X, HEADS: tl.constexpr, WIDTH: tl.constexpr):
    """Places of numbers by listener, head and expression, and which of them there are."""
    row_LHX = (agent_L[:, None, None] * HEADS + h_H[None, :, None]) * WIDTH + x_X[None, None, :]
    is_there_LHX = is_mine_L[:, None, None] & (h_H < HEADS)[None, :, None] & (x_X < WIDTH)[None, None, :]
    return row_LHX, is_there_LHX

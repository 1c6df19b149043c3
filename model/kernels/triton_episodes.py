"""Episodes in the Triton kernels of a timestep: how much each counts, what is recalled, and which gives way.

Legend: as in `triton_timestep.py`.
"""

# pyright: reportMissingImports=false, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

import triton
import triton.language as tl

from model.kernels.triton_tiles import TRACES, row, score

RECALL_COLUMN = tl.constexpr(4)
"""Column of the traces behind the pushes of events (`model.lsm.packed.EVENT_TRACES`)."""


@triton.jit
def strength(felt_BM, when_BM, timestep, THRESHOLD: tl.constexpr, DECAY: tl.constexpr):
    return tl.maximum(felt_BM - THRESHOLD, 0.0) / (1 - THRESHOLD) * tl.exp((when_BM - timestep).to(tl.float32) * DECAY)


@triton.jit
def recall(
    query_BF,
    about_BM,
    strength_BM,
    taken_BM,
    content_key,
    content_value,
    content_number,
    num_contents,
    zero_B,
    PF: tl.constexpr,
    SCALE: tl.constexpr,
    AGENTS: tl.constexpr,
):
    """Recall over the episodes, by what they are about: message and traces."""
    column_G = tl.arange(0, TRACES)
    recalled_BF = tl.zeros([AGENTS, PF], tl.float32)
    recall_BG = tl.zeros([AGENTS, TRACES], tl.float32)
    total_B = zero_B + 1
    for content in range(num_contents):
        slot_BM = tl.where(about_BM == tl.load(content_number + content), strength_BM, 0.0)
        pull_B = tl.exp(score(query_BF, row(content_key, content, PF), SCALE))
        weight_B = pull_B * tl.sum(slot_BM, 1)
        appraised_B = pull_B * tl.sum(slot_BM * taken_BM, 1)
        recalled_BF += weight_B[:, None] * row(content_value, content, PF)[None, :]
        recall_BG += tl.where(column_G[None, :] == RECALL_COLUMN, weight_B[:, None], 0.0)
        recall_BG += tl.where(column_G[None, :] == RECALL_COLUMN + 1, appraised_B[:, None], 0.0)
        total_B += weight_B
    return recalled_BF / total_B[:, None], recall_BG / total_B[:, None]


@triton.jit
def store_episode(
    slot_event,
    slot_timestep,
    slot_salience,
    slot_appraisal,
    next_slot_event,
    next_slot_timestep,
    next_slot_salience,
    next_slot_appraisal,
    felt_B,
    taken_B,
    top_B,
    timestep,
    place_BM,
    is_slot_BM,
    slot_M,
    M: tl.constexpr,
    THRESHOLD: tl.constexpr,
    DECAY: tl.constexpr,
):
    """The slot that counts least gives way to a timestep that counts more; slots are read again, which is cheap."""
    felt_BM = tl.load(slot_salience + place_BM, mask=is_slot_BM, other=0.0).to(tl.float32)
    when_BM = tl.load(slot_timestep + place_BM, mask=is_slot_BM, other=0)
    there_BM = tl.where((slot_M < M)[None, :], strength(felt_BM, when_BM, timestep, THRESHOLD, DECAY), float("inf"))
    new_B = tl.maximum(felt_B - THRESHOLD, 0.0) / (1 - THRESHOLD)
    weakest_B = tl.where(new_B > tl.min(there_BM, 1), tl.argmin(there_BM, 1), -1)
    is_new_BM = slot_M[None, :] == weakest_B[:, None]
    about_BM = tl.load(slot_event + place_BM, mask=is_slot_BM, other=-1)
    tl.store(next_slot_event + place_BM, tl.where(is_new_BM, top_B[:, None].to(tl.int32), about_BM), mask=is_slot_BM)
    tl.store(next_slot_timestep + place_BM, tl.where(is_new_BM, timestep, when_BM), mask=is_slot_BM)
    kept = slot_salience.dtype.element_ty
    kept_BM = tl.where(is_new_BM, felt_B[:, None], felt_BM)
    tl.store(next_slot_salience + place_BM, kept_BM.to(kept), mask=is_slot_BM)
    taken_BM = tl.load(slot_appraisal + place_BM, mask=is_slot_BM, other=0.0).to(tl.float32)
    kept_BM = tl.where(is_new_BM, taken_B[:, None], taken_BM)
    tl.store(next_slot_appraisal + place_BM, kept_BM.to(kept), mask=is_slot_BM)

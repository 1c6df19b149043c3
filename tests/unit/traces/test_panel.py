"""The panel: as large as asked, the same for a seed, and connected enough to hear one another."""

import numpy as np
import polars as pl
import pytest

from assets.traces.panel import choose_panel
from validation.contracts import CONTRACTS

NUM_AGENTS = 240
AGENTS = pl.DataFrame(
    {
        "agent_id": range(NUM_AGENTS),
        "party": [("democrat", "independent", "republican")[index % 3] for index in range(NUM_AGENTS)],
        "age_group": [("18-29", "40-49", "70+")[index % 7 % 3] for index in range(NUM_AGENTS)],
    }
)


def ring(tie_type: str = "friend") -> pl.DataFrame:
    """Everybody hears the two on either side."""
    rows = [
        (int(src) % NUM_AGENTS, dst, tie_type, 1.0 / abs(src - dst))
        for dst in range(NUM_AGENTS)
        for src in (dst - 2, dst - 1, dst + 1, dst + 2)
    ]
    return pl.DataFrame(rows, schema=CONTRACTS["ties"].polars_schema(), orient="row")


@pytest.mark.parametrize("size", [0, 1, 17, 100, NUM_AGENTS])
def test_a_panel_has_the_size_asked_for_without_repeats(size: int) -> None:
    panel = choose_panel(AGENTS, ring(), size, seed=3)
    assert panel.dtype == np.int64
    assert panel.tolist() == sorted(set(panel.tolist()))
    assert panel.size == size
    assert set(panel.tolist()) <= set(range(NUM_AGENTS))


def test_a_seed_fixes_the_panel_whatever_the_order_of_the_ties() -> None:
    panel = choose_panel(AGENTS, ring(), 60, seed=3)
    assert (
        choose_panel(AGENTS, ring().sample(fraction=1.0, shuffle=True, seed=1), 60, seed=3).tolist() == panel.tolist()
    )
    assert choose_panel(AGENTS, ring(), 60, seed=4).tolist() != panel.tolist()


def test_more_members_than_agents_is_an_error() -> None:
    with pytest.raises(ValueError, match=f"panel_size is {NUM_AGENTS + 1}, but there are only {NUM_AGENTS}"):
        choose_panel(AGENTS, ring(), NUM_AGENTS + 1, seed=0)


def test_nearly_all_members_have_a_neighbour_inside() -> None:
    """A quarter of the ring, drawn at random, would leave (3/4)⁴ = 32 % of members without any of their four."""
    panel = choose_panel(AGENTS, ring(), 60, seed=3)
    inside = ring().filter(pl.col("src").is_in(panel) & pl.col("dst").is_in(panel))
    assert inside["dst"].n_unique() >= 0.9 * panel.size


def test_media_ties_recruit_nobody() -> None:
    with_ties = choose_panel(AGENTS, ring("media"), 60, seed=3)
    without = choose_panel(AGENTS, ring().clear(), 60, seed=3)
    assert with_ties.tolist() == without.tolist()


def test_without_ties_the_panel_is_spread_over_parties_and_ages() -> None:
    panel = choose_panel(AGENTS, ring().clear(), 45, seed=3)
    cells = AGENTS.filter(pl.col("agent_id").is_in(panel)).group_by("party", "age_group").len()
    assert cells["len"].to_list() == [5] * 9

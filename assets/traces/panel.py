"""Chooses the panel that a teacher is asked about: few enough to afford, connected enough to hear one another."""

import numpy as np
import polars as pl

RECRUITS = 4
"""Neighbours that one member brings in at most, so that the panel does not become a single neighbourhood."""

PEOPLE_PER_START = 16


def choose_panel(agents: pl.DataFrame, ties: pl.DataFrame, panel_size: int, seed: int) -> np.ndarray:
    """Recruits a panel by snowball from starts spread over parties and age groups.

    Args:
        agents: rows of `agents`.
        ties: rows of `ties`; social ties are followed, strongest first.
        panel_size: members wanted, at most the number of agents.
        seed: fixes starts and order.

    Returns:
        Sorted agent ids, int64, shape [panel_size].

    Raises:
        ValueError: more members than agents are asked for.

    Source: Goodman (1961), Snowball sampling.
    """
    num_agents = agents.height
    if panel_size > num_agents:
        raise ValueError(f"panel_size is {panel_size}, but there are only {num_agents} agents. Lower panel_size.")
    generator = np.random.default_rng(seed)
    neighbours = _neighbours(ties)
    shuffled = agents.select("agent_id", "party", "age_group")[generator.permutation(num_agents)]
    in_turn = shuffled.with_columns(turn=pl.int_range(pl.len()).over("party", "age_group"))
    starts = iter(in_turn.sort("turn", maintain_order=True)["agent_id"].to_list())

    members: dict[int, None] = {}
    while len(members) < panel_size:
        start = next(starts)
        wave = [] if start in members else [start]
        limit = min(panel_size, len(members) + PEOPLE_PER_START)
        members.update(dict.fromkeys(wave))
        while wave and len(members) < limit:
            invited: dict[int, None] = {}
            for member in wave:
                new = [other for other in neighbours.get(member, ()) if other not in members and other not in invited]
                invited.update(dict.fromkeys(new[:RECRUITS]))
            wave = list(invited)[: limit - len(members)]
            members.update(dict.fromkeys(wave))
    return np.array(sorted(members), dtype=np.int64)


def _neighbours(ties: pl.DataFrame) -> dict[int, list[int]]:
    social = ties.filter(pl.col("tie_type") != "media").sort("dst", "strength", "src", descending=[False, True, False])
    grouped = social.group_by("dst", maintain_order=True).agg(pl.col("src").unique(maintain_order=True))
    return dict(grouped.iter_rows())

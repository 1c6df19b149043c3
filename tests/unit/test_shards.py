"""Populations built shard by shard: complete, consistent with the plan, under a cap, and taken up again."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from assets.population.shards import plan_population
from assets.shard_margins import union_margins
from assets.shards import ShardError, build_shards
from assets.society.statistics import tie_faults
from validation.attributes import TIE_TYPES


@pytest.fixture(scope="module")
def plan(embedded):
    return plan_population(embedded.respondents.frame, embedded.calibration.frame, embedded.margins, 30_000, 5)


@pytest.fixture(scope="module")
def built(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return folder, list(build_shards(plan, folder, states=("VT", "RI", "DE"), memory_gb=8))


def test_shards_are_complete(plan, built):
    folder, shards = built
    agents = pl.read_delta(str(folder / "agents"))
    assert [shard.name for shard in shards] == [s.name for s in plan.shards if s.state in ("VT", "RI", "DE")]
    assert agents.height == sum(shard.num_agents for shard in shards)
    assert agents["agent_id"].n_unique() == agents.height
    assert all(0 < shard.peak_memory_gb < 8 for shard in shards)


def test_ties_of_all_shards_together_are_sound_and_join_states(plan, built):
    folder, shards = built
    ties = pl.read_delta(str(folder / "ties"))
    state = dict(pl.read_delta(str(folder / "agents")).select("agent_id", "state").iter_rows())
    code = ties["tie_type"].cast(pl.Enum(TIE_TYPES)).to_physical().to_numpy()
    assert ties.height == sum(shard.num_ties for shard in shards)
    assert sum(shard.imbalance for shard in shards) % 2**64 == 0
    assert all(shard.imbalance for shard in shards), "ties between shards are mutual in the union alone"
    faults = tie_faults(ties["src"].to_numpy(), ties["dst"].to_numpy(), code, plan.num_agents)
    assert faults == {"dangling": 0, "self": 0, "one_sided": 0}
    social = ties.filter(pl.col("tie_type") != "media").select("src", "dst")
    assert not social.is_duplicated().any()
    crosses = np.array([state[src] != state[dst] for src, dst in social.iter_rows()])
    assert 0.01 < crosses.mean() < 0.4


def test_union_holds_the_planned_agents(plan, embedded, built):
    found = union_margins(built[0], plan, embedded.margins, ("VT", "RI", "DE"))
    planned = found.filter(pl.col("planned").is_not_null())
    assert not planned.is_empty()
    assert (planned["num_agents"] == planned["planned"]).all()
    assert found["target"].null_count() == found.height


def test_a_build_goes_on_where_it_stopped(plan, built):
    before = pl.read_delta(str(built[0] / "ties"))
    again = list(build_shards(plan, built[0], states=("VT", "RI", "DE")))
    assert [shard.num_ties for shard in again] == [shard.num_ties for shard in built[1]]
    after = pl.read_delta(str(built[0] / "ties"))
    assert before.sort("dst", "src", "tie_type").equals(after.sort("dst", "src", "tie_type"))


def test_what_was_kept_between_passes_is_gone_at_the_end(built):
    kept = {path.suffix for path in (built[0] / "between").iterdir()}
    assert kept == {".json", ".across", ".ties"}


def test_the_folder_of_another_population_is_refused(plan, built):
    with pytest.raises(ShardError, match="holds another population"):
        next(build_shards(replace(plan, seed=6), built[0], states=("VT", "RI", "DE")))


def test_unknown_states_are_named(plan, tmp_path):
    with pytest.raises(ShardError, match="No shard of XX"):
        next(build_shards(plan, tmp_path, states=("XX",)))


@pytest.mark.slow
def test_a_cap_that_is_too_low_is_said(plan, tmp_path):
    with pytest.raises(ShardError, match=r"cap of 0\.3 GB"):
        list(build_shards(plan, tmp_path, states=("VT",), memory_gb=0.3))

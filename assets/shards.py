"""Builds a population of any size shard by shard: agents and ties of one state, or part of one, after another.

Three passes, each with one or two shards in memory: agents and the ties within a shard; ties between shards; then both
together as rows. Everything lies in one folder, agents and ties as Delta tables partitioned by state and block. A pass
that is done for a shard is not done again, so a build that was stopped goes on where it was.

    ShardError   the folder holds another population, or a shard does not fit under the memory cap

Legend: N agents of a shard, P pairs.
"""

import json
import resource
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
from deltalake import DeltaTable, write_deltalake

from assets.population.shards import PopulationPlan, Shard, synthesise_shard
from assets.society.areas import Lottery, People
from assets.society.media import form_media
from assets.society.pairs import Pairs, toward
from assets.society.tie_config import TieConfig, load_tie_config
from assets.society.tie_graph import to_area_ties
from assets.society.ties_across import MOST_PARTNERS, along_ring, form_across, plan_across
from assets.society.ties_within import form_area, lotteries_of
from validation.contracts import CONTRACTS

Result = TypeVar("Result")

PAIR = np.dtype([("own", "<i4"), ("other", "<i4"), ("type", "u1"), ("strength", "<f4")])

GB_FIXED, GB_PER_MILLION_AGENTS = 1.6, 1.2
"""Peak memory of the building process: of interpreter, libraries, plan and the people at hand in the second pass, and
per million agents of a shard. Measured on a build of 632 shards, rounded up."""

DISK_BYTES_PER_AGENT = 115
"""Of the agents and the files between passes, as measured there; the ties take less than the files they replace."""


class ShardError(RuntimeError):
    """A sharded build cannot go on; the message names folder or shard, what was found and the next step."""


@dataclass(frozen=True)
class BuiltShard:
    """What building a shard took: seconds of all passes, and the highest memory of the process so far, in GB.

    The imbalances of all shards add up to 0 modulo 2**64 where every social tie has its reverse (`AreaTies.imbalance`).
    """

    name: str
    num_agents: int
    num_households: int
    num_ties: int
    imbalance: int
    seconds: float
    peak_memory_gb: float


def expected_memory_gb(plan: PopulationPlan) -> float:
    """Peak memory that building the plan's largest shard takes, by the figures above."""
    return GB_FIXED + GB_PER_MILLION_AGENTS * max(shard.num_agents for shard in plan.shards) / 1e6


def build_shards(
    plan: PopulationPlan,
    folder: Path,
    *,
    states: Iterable[str] | None = None,
    memory_gb: float = 8.0,
    report: Callable[[int, int, int], None] | None = None,
) -> Iterator[BuiltShard]:
    """Builds shards one after another in a process of its own, whose address space is capped.

    Args:
        plan: of the whole population; ids of agents are those of the whole, whatever is built.
        folder: where everything is kept.
        states: of which shards are built, and tied with one another; all when left out.
        memory_gb: cap on the process, in units of 2**30 bytes.
        report: is told, after each shard of the passes 1 and 2, the pass, the shards it has done and their number.

    Yields:
        One entry per shard, in the order in which they were finished.

    Raises:
        ShardError: the folder holds another population, a state has no shard, or the cap is too low.
    """
    chosen = chosen_shards(plan, states)
    config = load_tie_config()
    _claim(plan, chosen, config, folder)
    context = get_context("spawn")
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=_prepare, initargs=(memory_gb, plan))
    seconds = dict.fromkeys(range(len(chosen)), 0.0)
    formed: list[dict[str, int]] = []
    try:
        with pool:
            for place, shard in enumerate(chosen):
                counts, took = pool.submit(_guarded, _make_planned, shard, place, len(chosen), folder, config).result()
                formed.append(counts)
                seconds[place] += took
                if report:
                    report(1, place + 1, len(chosen))
            sizes = np.array([shard.num_agents for shard in chosen])
            across = plan_across(formed, sizes, plan.seed, config)
            firsts = [shard.first_agent_id for shard in chosen]
            formed_by: list[list[int]] = [[] for _ in chosen]
            for done, (place, ahead) in enumerate(along_ring(across, len(chosen), plan.seed)):
                for first, second, _ in ahead:
                    formed_by[first].append(place)
                    formed_by[second].append(place)
                took = pool.submit(_guarded, _tie_across, ahead, place, firsts, folder, plan.seed, config).result()
                seconds[place] += took
                if report:
                    report(2, done + 1, len(chosen))
            for place, shard in enumerate(chosen):
                by = sorted(set(formed_by[place]))
                made, took, peak = pool.submit(_guarded, _finish, shard, place, by, folder).result()
                took += seconds[place]
                yield BuiltShard(shard.name, shard.num_agents, shard.num_households, made[0], made[1], took, peak)
    except (MemoryError, BrokenProcessPool) as error:
        raise ShardError(
            f"A shard did not fit under the cap of {memory_gb:g} GB; the largest has "
            f"{max(shard.num_agents for shard in chosen):,} agents and is expected to take "
            f"{expected_memory_gb(plan):.1f} GB. What is finished stays in {folder}. Raise --memory-gb and run again."
        ) from error


def chosen_shards(plan: PopulationPlan, states: Iterable[str] | None) -> list[Shard]:
    """Shards of the named states, or all.

    Raises:
        ShardError: a state has no shard.
    """
    known = {shard.state for shard in plan.shards}
    wanted = known if states is None else set(states)
    if not wanted or wanted - known:
        raise ShardError(
            f"No shard of {', '.join(sorted(wanted - known)) or 'any state'}. States: {', '.join(sorted(known))}. "
            "Choose among them with --states."
        )
    return [shard for shard in plan.shards if shard.state in wanted]


def _claim(plan: PopulationPlan, chosen: list[Shard], config: TieConfig, folder: Path) -> None:
    """Marks the folder as that of this population, refusing another's."""
    weights = sha256(plan.count_U.tobytes() + plan.donor_U.tobytes()).hexdigest()
    identity = {
        "num_agents": plan.num_agents,
        "seed": plan.seed,
        "shards": [shard.name for shard in chosen],
        "donors": weights,
        "is_distinct": plan.originals is not None,
        "tie_rules": sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest(),
    }
    mark = folder / "population.json"
    if mark.exists() and json.loads(mark.read_text(encoding="utf-8")) != identity:
        raise ShardError(
            f"{folder} holds another population: {mark.name} differs in number of agents, seed, states, donors, noise "
            "or tie rules. Nothing was changed. Choose another --name, or remove the folder."
        )
    (folder / "between").mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps(identity), encoding="utf-8")


MOST_AT_HAND = MOST_PARTNERS // 2 + 2
"""Shards whose people stay in memory during the second pass: one, and those ahead of it on the ring."""

_AT_HAND: OrderedDict[int, tuple[People, dict[str, Lottery]]] = OrderedDict()

_PLANS: list[PopulationPlan] = []
"""The plan that the building process works on, handed over once."""


def _prepare(memory_gb: float, plan: PopulationPlan) -> None:
    limit = int(memory_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    _PLANS[:] = [plan]


def _guarded(step: Callable[..., Result], *args: object) -> Result:
    """Calls a step; a library that panics because there is no memory for a thread counts as out of memory."""
    try:
        return step(*args)
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise MemoryError(str(error)) from None
        raise


def _make_planned(
    shard: Shard, place: int, num_shards: int, folder: Path, config: TieConfig
) -> tuple[dict[str, int], float]:
    return _make(_PLANS[0], shard, place, num_shards, folder, config)


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _make(
    plan: PopulationPlan, shard: Shard, place: int, num_shards: int, folder: Path, config: TieConfig
) -> tuple[dict[str, int], float]:
    """First pass: the agents, and the ties among them."""
    start, kept, done = time.perf_counter(), _kept(folder, place), _kept(folder, place).with_suffix(".json")
    if not done.exists():
        agents = synthesise_shard(plan, shard)
        first = pl.lit(shard.first_agent_id)
        CONTRACTS["agents"].validate(agents.with_columns(pl.col("agent_id") - first))
        _write(folder / "agents", agents, shard)
        people = People.of(agents)
        area = form_area(people, shard.first_agent_id, place, num_shards, plan.seed, config)
        _, media = form_media(agents, _media_seed(plan.seed, shard))
        pairs = area.pairs
        np.savez(
            kept,
            **{name: getattr(people, name) for name in ("code_N", "age_N", "household_N")},
            **{name: getattr(pairs, name) for name in ("own_P", "other_P", "type_P", "strength_P")},
            follower=media["dst"].to_numpy() - shard.first_agent_id,
            source=media["src"].to_numpy(),
        )
        done.write_text(json.dumps(dict(area.num_across)), encoding="utf-8")
    return json.loads(done.read_text(encoding="utf-8")), time.perf_counter() - start


def _tie_across(
    plans: list[tuple[int, int, dict[str, int]]],
    place: int,
    firsts: list[int],
    folder: Path,
    seed: int,
    config: TieConfig,
) -> float:
    """Second pass: ties of a shard with every one ahead of it on the ring that it is tied with."""
    start, done = time.perf_counter(), folder / "between" / f"{place}.across"
    if done.exists() or not plans:
        return 0.0
    kept = []
    for entry in plans:
        first, second, _ = entry
        sides = (_people_at_hand(folder, end, seed, config) for end in (first, second))
        pairs = form_across(next(sides), next(sides), entry, seed, config)
        other = second if first == place else first
        kept.append(toward(pairs, firsts[other], is_own=first == place))
        _keep(folder, other, place, toward(pairs, firsts[place], is_own=first != place))
    _keep(folder, place, place, Pairs(*(np.concatenate(columns) for columns in zip(*map(_columns, kept), strict=True))))
    done.touch()
    return time.perf_counter() - start


def _finish(shard: Shard, place: int, formed_by: list[int], folder: Path) -> tuple[list[int], float, float]:
    """Third pass: all ties that the shard's agents hear along, as rows; some were formed by passes of other shards.

    What was kept for it between the passes is removed, so that the disk holds either that or the rows.

    Returns:
        Number of ties and their imbalance, seconds, and peak memory in GB.
    """
    start, done = time.perf_counter(), folder / "between" / f"{place}.ties"
    _AT_HAND.clear()
    if done.exists():
        return json.loads(done.read_text(encoding="utf-8")), 0.0, _peak_gb()
    with np.load(_kept(folder, place)) as kept:
        pairs = Pairs(*(kept[name] for name in ("own_P", "other_P", "type_P", "strength_P")))
        followers = kept["follower"], kept["source"]
    incoming = [_read(_formed(folder, place, by)) for by in formed_by]
    incoming = incoming or [Pairs(*(np.empty(0, kind) for kind in (np.int32, np.int32, np.uint8, np.float32)))]
    area = to_area_ties(shard.first_agent_id, shard.num_agents, pairs, incoming, followers)
    made = [len(area.src_E), area.imbalance()]
    _write(folder / "ties", CONTRACTS["ties"].validate(area.rows()), shard)
    done.write_text(json.dumps(made), encoding="utf-8")
    for path in (_kept(folder, place), *(_formed(folder, place, by) for by in formed_by)):
        path.unlink()
    return made, time.perf_counter() - start, _peak_gb()


def _write(table: Path, rows: pl.DataFrame, shard: Shard) -> None:
    """Replaces the shard's partition of a Delta table by one commit."""
    is_there = DeltaTable.is_deltatable(str(table))
    partition = [pl.lit(shard.state).alias("shard_state"), pl.lit(shard.block, pl.Int32).alias("block")]
    write_deltalake(
        str(table),
        rows.with_columns(partition).to_arrow(),
        mode="overwrite",
        partition_by=["shard_state", "block"],
        predicate=f"shard_state = '{shard.state}' AND block = {shard.block}" if is_there else None,
    )


def _kept(folder: Path, place: int) -> Path:
    return folder / "between" / f"{place}.npz"


def _formed(folder: Path, of: int, by: int) -> Path:
    return folder / "between" / f"{of}-from-{by}.pairs"


def _people_at_hand(folder: Path, place: int, seed: int, config: TieConfig) -> tuple[People, dict[str, Lottery]]:
    """People and lotteries of a shard, of which the latest few stay in memory: about 16 MB each."""
    if place not in _AT_HAND:
        with np.load(_kept(folder, place)) as kept:
            people = People(*(kept[name] for name in ("code_N", "age_N", "household_N")))
        _AT_HAND[place] = people, lotteries_of(people, place, seed, config)
        if len(_AT_HAND) > MOST_AT_HAND:
            _AT_HAND.popitem(last=False)
    _AT_HAND.move_to_end(place)
    return _AT_HAND[place]


def _keep(folder: Path, of: int, by: int, pairs: Pairs) -> None:
    """Keeps the ties that shard `of` has with other shards, as the pass of shard `by` formed them."""
    rows = np.empty(len(pairs.own_P), PAIR)
    for name, column in zip(PAIR.names or (), _columns(pairs), strict=True):
        rows[name] = column
    rows.tofile(_formed(folder, of, by))


def _columns(pairs: Pairs) -> tuple[np.ndarray, ...]:
    return pairs.own_P, pairs.other_P, pairs.type_P, pairs.strength_P


def _read(path: Path) -> Pairs:
    rows = np.fromfile(path, PAIR)
    return Pairs(*(np.ascontiguousarray(rows[name]) for name in PAIR.names or ()))


def _media_seed(seed: int, shard: Shard) -> int:
    """A seed per shard for who follows which source."""
    return int(np.random.SeedSequence((seed, shard.first_agent_id)).generate_state(1)[0])

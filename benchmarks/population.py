"""Population: calibrating and making a million agents in households; cost grows with agents, memory is printed beside.

Each row runs in a process of its own, on the embedded survey. The calibrated weights are made before the clock starts.
"""

import tempfile
from pathlib import Path

from assets.population.calibration import calibrate_respondents
from assets.population.margins import load_margins
from assets.population.shards import PopulationPlan, make_shard, plan_population
from assets.population.surveys import load_respondents
from assets.sources.catalogue import DataCatalogue
from benchmarks.isolation import in_own_process
from benchmarks.timing import Row, median_seconds

NUM_AGENTS, SEED = 1_000_000, 1
TARGET_LINEAR = 12.0
PLANNED_AGENTS = 151_000_000


def measure() -> list[Row]:
    """Both rows, each in a process of its own."""
    return [in_own_process(linear), in_own_process(plan)]


def linear() -> Row:
    """Ten times the agents, with households, cost at most twelve times the time."""
    small, large = (_plan(num_agents) for num_agents in (NUM_AGENTS // 10, NUM_AGENTS))
    made: dict[str, int] = {}

    def make(which: str, plan: PopulationPlan) -> None:
        made[which] = sum(make_shard(plan, shard).agents.height for shard in plan.shards)

    seconds = median_seconds(
        {"small": lambda: make("small", small), "large": lambda: make("large", large)}, repeats=1, is_warmed=False
    )
    assert made == {"small": NUM_AGENTS // 10, "large": NUM_AGENTS}
    name = f"synthesis of {NUM_AGENTS:,} agents in households, shard by shard"
    other = f"synthesis of {NUM_AGENTS // 10:,} agents"
    note = f"linear would be 10; {NUM_AGENTS / seconds['large']:,.0f} agents a second"
    return Row(name, seconds["large"], seconds["small"], other, TARGET_LINEAR, False, note)


def plan() -> Row:
    """The plan of 151 million agents costs what the plan of a thousandth of them costs."""
    seconds = median_seconds(
        {"small": lambda: _plan(PLANNED_AGENTS // 1000), "large": lambda: _plan(PLANNED_AGENTS)}, repeats=2
    )
    name = f"plan of {PLANNED_AGENTS:,} agents"
    other = f"plan of {PLANNED_AGENTS // 1000:,} agents"
    return Row(name, seconds["large"], seconds["small"], other, 2.0, False, "a plan does not grow with the population")


_CALIBRATED: list = []


def _plan(num_agents: int) -> PopulationPlan:
    if not _CALIBRATED:
        with tempfile.TemporaryDirectory() as folder:
            catalogue = DataCatalogue(None, None, Path(folder))
            margins = load_margins(catalogue).frame
            calibration = calibrate_respondents(load_respondents(catalogue, ["cces_2016"]).frame, margins)
            _CALIBRATED.append((calibration.seed, calibration.frame, margins))
    return plan_population(*_CALIBRATED[0], num_agents, SEED)

"""Long rollouts: kept in a folder, killed and resumed, spread over processes; always the rows of a plain rollout."""

import os
import signal
import subprocess
import sys

import polars as pl
import pytest

from assets.simulation.long_rollouts import Keeping, KeptSimulation
from assets.simulation.rollout_folders import RolloutFolder
from assets.simulation.rollout_worker import main
from assets.simulation.trajectories import simulate_scenario
from orchestration.settings import PROJECT_ROOT

NUM_AGENTS, NUM_TIMESTEPS = 120, 12

KILL_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from assets.simulation.rollout_folders import RolloutFolder
from assets.simulation.rollout_worker import simulate_shard

put_there, seen = Path.replace, []

def replace(draft, target):
    if target.name.startswith("state-"):
        seen.append(target)
    if len(seen) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return put_there(draft, target)

Path.replace = replace
folder = RolloutFolder(Path(sys.argv[1]))
for _ in simulate_shard(folder, 0, after=None):
    pass
"""


@pytest.fixture
def simulate(student, make_agents, make_ties, media_sources, make_scenario_rows):
    rows = make_scenario_rows(where="age >= 30").with_columns(num_timesteps=pl.lit(NUM_TIMESTEPS, dtype=pl.Int32))

    def run(keeping: Keeping | None = None, *, seed: int = 5):
        return simulate_scenario(
            student,
            model_version=3,
            agents=make_agents(NUM_AGENTS),
            ties=make_ties(NUM_AGENTS),
            media_sources=media_sources,
            scenario_rows=rows,
            replicate=0,
            seed=seed,
            max_timesteps=52,
            keeping=keeping,
        )

    return run


@pytest.fixture
def plain(simulate):
    """Chunks and episodes of a rollout in one piece."""
    simulation = simulate()
    chunks = list(simulation.trajectory_chunks())
    return chunks, simulation.episodes()


def assert_same_rows(simulation, plain):
    chunks = list(simulation.trajectory_chunks())
    assert len(chunks) == len(plain[0])
    for mine, other in zip(chunks, plain[0], strict=True):
        assert mine.equals(other)
    assert simulation.episodes().equals(plain[1])


def test_a_kept_rollout_has_the_rows_of_a_plain_one_and_leaves_nothing(simulate, plain, tmp_path):
    simulation = simulate(Keeping(tmp_path, long_agent_timesteps=1))
    assert isinstance(simulation, KeptSimulation)
    assert_same_rows(simulation, plain)
    simulation.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_short_rollout_is_not_kept(simulate, tmp_path):
    assert not isinstance(simulate(Keeping(tmp_path)), KeptSimulation)


def test_an_interrupted_rollout_goes_on_after_its_last_state(simulate, plain, tmp_path, monkeypatch):
    keeping = Keeping(tmp_path, long_agent_timesteps=1)
    for number, _ in enumerate(simulate(keeping).trajectory_chunks()):
        if number == 8:
            break
    computed = []
    from assets.simulation import rollout_worker

    steps = rollout_worker.rollout_steps

    def counted(*arguments):
        for step in steps(*arguments):
            computed.append(step.timestep)
            yield step

    monkeypatch.setattr(rollout_worker, "rollout_steps", counted)
    assert_same_rows(simulate(keeping), plain)
    assert computed == list(range(6, NUM_TIMESTEPS + 1))


def test_a_process_killed_while_it_writes_a_state_leaves_the_last_good_one(simulate, plain, tmp_path):
    keeping = Keeping(tmp_path, long_agent_timesteps=1)
    folder = simulate(keeping).folder
    killed = subprocess.run(
        [sys.executable, "-c", KILL_WHILE_WRITING, str(folder.path)],
        cwd=PROJECT_ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert RolloutFolder(folder.path).last_snapshot() == 5
    assert any(path.name.startswith(".state-00010") for path in folder.path.iterdir()), "nothing was half-written"
    assert_same_rows(simulate(keeping), plain)


def test_other_inputs_never_meet_a_kept_rollout(simulate, tmp_path):
    keeping = Keeping(tmp_path, long_agent_timesteps=1)
    first = simulate(keeping).folder.path
    second = simulate(keeping, seed=6).folder.path
    assert first != second
    assert [path.name for path in tmp_path.iterdir()] == [second.name]


def test_two_processes_have_the_rows_of_one(simulate, plain, tmp_path):
    simulation = simulate(Keeping(tmp_path, num_processes=2))
    assert simulation.folder.job().num_shards == 2
    assert 0 < simulation.facts["cut_share"] < 1
    assert_same_rows(simulation, plain)


@pytest.mark.slow
def test_a_process_that_fails_is_quoted(simulate, tmp_path):
    simulation = simulate(Keeping(tmp_path, num_processes=2))
    (simulation.folder.path / "shard-1.safetensors").write_bytes(b"no tensors")
    with pytest.raises(RuntimeError, match=r"(?s)over 2 processes failed.*SafetensorError"):
        list(simulation.trajectory_chunks())


def test_the_worker_wants_as_many_processes_as_the_folder_was_prepared_for(simulate, tmp_path, monkeypatch, capsys):
    folder = simulate(Keeping(tmp_path, num_processes=2)).folder
    monkeypatch.setattr(sys, "argv", ["rollout_worker", str(folder.path)])
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert main() == 2
    assert "prepared for 2 processes, but 3 were started" in capsys.readouterr().err

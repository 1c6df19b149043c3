"""Rollouts that are too long to begin again, or spread over several processes: kept in a folder until they are stored.

A partition of a table is one atomic commit, so a short rollout that is killed leaves nothing and is cheap to repeat. A
long one leaves its folder; the next run of the same partition with the same inputs goes on after the last kept state
and comes to the same bits. The folder is removed once the partition is in the tables.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assets.simulation.questions import AskedQuestion
from assets.simulation.rollout_folders import Job, RolloutFolder, folder_name, older_folders
from assets.simulation.rollout_worker import simulate_shard
from assets.simulation.rollouts import RolloutInputs
from assets.simulation.trajectory_rows import PartitionKey
from model.lsm.lsm import LSM
from model.lsm.sharding import cut_share, make_shards, partition_agents

logger = logging.getLogger(__name__)

LONG_AGENT_TIMESTEPS = 2_000_000
"""Agents × timesteps from which a rollout is kept in a folder; shorter ones are sooner done again."""


class RolloutFailed(RuntimeError):
    """A process of a rollout over several processes ended with an error."""


@dataclass(frozen=True)
class Keeping:
    """Where long rollouts are kept, and over how many processes each is spread.

    `code` is a digest of the code that rows depend on: a rollout that other code began is begun again.
    """

    root: Path
    num_processes: int = 1
    long_agent_timesteps: int = LONG_AGENT_TIMESTEPS
    code: str = ""

    def applies_to(self, inputs: RolloutInputs) -> bool:
        """Whether a rollout is to be kept in a folder."""
        size = len(inputs.attributes_NA) * inputs.num_timesteps
        return self.num_processes > 1 or size >= self.long_agent_timesteps


class KeptSimulation:
    """A rollout in a folder; read `trajectory_chunks` to the end, then `episodes`, store both, then `discard`."""

    def __init__(
        self,
        model: LSM,
        model_version: int,
        inputs: RolloutInputs,
        key: PartitionKey,
        questions: list[AskedQuestion],
        keeping: Keeping,
    ) -> None:
        self.num_timesteps = inputs.num_timesteps
        num_shards = min(keeping.num_processes, len(inputs.attributes_NA))
        name = folder_name(key, model, inputs, model_version, num_shards, keeping.code)
        for path in older_folders(keeping.root, name):
            RolloutFolder(path).discard()
        self.folder = RolloutFolder(keeping.root / name)
        if self.folder.is_prepared:
            logger.warning("Going on with the rollout in %s, after timestep %s.", self.folder.path, self._kept())
            return
        shard_N = partition_agents(inputs.graph, num_shards)
        job = Job(
            key=key,
            questions=questions,
            event_names=inputs.event_names,
            num_timesteps=inputs.num_timesteps,
            seed=inputs.seed,
            model_version=model_version,
            num_shards=num_shards,
            num_agents=len(inputs.attributes_NA),
            cut_share=cut_share(inputs.graph, shard_N),
        )
        self.folder.prepare(job, model, inputs, make_shards(inputs.graph, shard_N))

    @property
    def facts(self) -> dict[str, int | float]:
        """How the rollout is spread, for metadata."""
        job = self.folder.job()
        return {"processes": job.num_shards, "cut_share": round(job.cut_share, 4)}

    def trajectory_chunks(self) -> Iterator[pl.DataFrame]:
        """Rows of the trajectories table, one frame per timestep from 0; what was kept is read and not computed again.

        Raises:
            RolloutFailed: one of several processes failed.
        """
        job = self.folder.job()
        if job.num_shards > 1:
            if not self.folder.is_done:
                self._start_processes(job.num_shards)
            yield from (self.folder.rows(timestep) for timestep in range(job.num_timesteps + 1))
            return
        after = job.num_timesteps if self.folder.is_done else self.folder.last_snapshot()
        yield from (self.folder.rows(timestep) for timestep in range(0 if after is None else after + 1))
        if not self.folder.is_done:
            yield from simulate_shard(self.folder, 0, after=after)

    def episodes(self) -> pl.DataFrame:
        """What agents of the scenario's population remember at the end: rows of the episodes table.

        Raises:
            RuntimeError: the rollout has not ended.
        """
        if not self.folder.is_done:
            raise RuntimeError(f"The rollout in {self.folder.path} has not ended. Read trajectory_chunks first.")
        return self.folder.episodes()

    def discard(self) -> None:
        """Removes the folder."""
        self.folder.discard()

    def _kept(self) -> int | None:
        return self.num_timesteps if self.folder.is_done else self.folder.last_snapshot()

    def _start_processes(self, num_processes: int) -> None:
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(num_processes),
        ]
        command += ["-m", "assets.simulation.rollout_worker", str(self.folder.path)]
        threads = max(1, (os.cpu_count() or 1) // num_processes)
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        if sys.platform == "linux":
            # The processes of one machine talk over loopback and open no port to others.
            environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
        environment["PYTHONPATH"] = os.pathsep.join([str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")])
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RolloutFailed(
                f"A rollout over {num_processes} processes failed with exit {result.returncode}. What is complete is "
                f"kept in {self.folder.path}; run it again to go on from there. The end of its output:\n"
                f"{(result.stderr or result.stdout).strip()[-4000:]}"
            )


PROJECT_ROOT = Path(__file__).resolve().parents[2]
"""Where the packages lie: an installation in place knows them, but a process that torchrun starts may not."""

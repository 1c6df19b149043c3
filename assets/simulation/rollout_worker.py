"""Simulates one shard of a rollout folder; several at a time, one per process, when `torchrun` starts it.

    torchrun --standalone --nproc-per-node 2 -m assets.simulation.rollout_worker FOLDER

The folder says how many processes it was prepared for. On graphics processors every process takes one and they talk by
NCCL, elsewhere by gloo; both on the machine alone unless torchrun is told of others.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import torch
import torch.distributed
from torch import Tensor
from torch.distributed.elastic.multiprocessing.errors import record

from assets.simulation.rollout_folders import RolloutFolder
from assets.simulation.rollouts import rollout_steps
from assets.simulation.simulated_rows import episode_rows, step_rows
from assets.simulation.trajectory_rows import LatentAxes
from model.lsm.rollout import Alone
from model.lsm.sharding import Processes

SNAPSHOT_EVERY = 5
"""Timesteps between two states that are kept; a killed rollout computes fewer than that again."""


def simulate_shard(folder: RolloutFolder, number: int, *, after: int | None) -> Iterator[pl.DataFrame]:
    """Rows of one shard, timestep by timestep, each kept in the folder before it is handed out.

    Args:
        folder: prepared.
        number: of the shard, from 0.
        after: timestep of a kept snapshot to go on from; None for the beginning.
    """
    job, model, shard = folder.job(), folder.model(), folder.shard(number)
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    inputs = shard.inputs.to(device)
    is_alone = job.num_shards == 1
    peers = Alone() if is_alone else Processes(tuple(rows.to(device) for rows in shard.sent_rows), shard.num_received_P)
    snapshot, axes = folder.read_snapshot(after, number) if after is not None else (None, None)
    last_state = None if snapshot is None else snapshot.state
    for step in rollout_steps(model.to(device), inputs, None if snapshot is None else snapshot.to(device), peers):
        assert step.record is not None
        if axes is None:
            latent_NU = step.record.latent_NU
            everybody = latent_NU if is_alone else _gather(latent_NU, inputs.agent_id_N.to(device), job.num_agents)
            axes = LatentAxes.of(everybody.cpu().numpy())
        rows = step_rows(job.key, inputs, job.questions, step.record, axes, job.model_version)
        folder.write_rows(step.timestep, number, rows)
        if step.timestep and step.timestep % SNAPSHOT_EVERY == 0 and step.timestep < job.num_timesteps:
            folder.write_snapshot(number, step.snapshot(), axes)
        last_state = step.state
        yield rows
    assert last_state is not None
    folder.write_episodes(number, episode_rows(last_state.episodes, inputs, job.key))


def _gather(values_NU: Tensor, agent_id_N: Tensor, num_agents: int) -> Tensor:
    """Everybody's rows, in the order of the agents' ids."""
    count = torch.tensor([len(agent_id_N)], device=values_NU.device)
    counts = [torch.zeros_like(count) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(counts, count)
    largest = max(int(item) for item in counts)
    padded = values_NU.new_zeros(largest, values_NU.shape[1] + 1, dtype=torch.float64)
    padded[: len(values_NU), 0], padded[: len(values_NU), 1:] = agent_id_N.double(), values_NU.double()
    parts = [torch.empty_like(padded) for _ in counts]
    torch.distributed.all_gather(parts, padded)
    everybody = torch.cat([part[: int(number)] for part, number in zip(parts, counts, strict=True)])
    assert len(everybody) == num_agents, "every agent is in one shard"
    return everybody[torch.argsort(everybody[:, 0])][:, 1:].to(values_NU.dtype)


@record
def main() -> int:
    """Simulates the shard of this process's rank."""
    folder = RolloutFolder(Path(sys.argv[1]))
    rank, num_processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    job = folder.job()
    if num_processes != job.num_shards:
        print(
            f"{folder.path} was prepared for {job.num_shards} processes, but {num_processes} were started. Start "
            f"{job.num_shards}: torchrun --nproc-per-node {job.num_shards} -m assets.simulation.rollout_worker FOLDER",
            file=sys.stderr,
        )
        return 2
    after = folder.last_snapshot()
    if num_processes > 1:
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        # Nobody may drop old snapshots before everybody has seen which is the last in common.
        torch.distributed.barrier()
    try:
        for _ in simulate_shard(folder, rank, after=after):
            pass
    finally:
        if num_processes > 1:
            torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())

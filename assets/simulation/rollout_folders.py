"""The folder of a long rollout: inputs by shard, rows by timestep, and the last states from which it can go on.

Every file is written beside its name and put there by one rename, so that whoever is killed while writing leaves the
last good file. A folder is named for a digest of everything the result depends on; rows of other inputs are never met.

    job.json                      what is simulated; written last, so that a folder without it was not finished
    model.safetensors             weights
    shard-<s>.safetensors         inputs of one shard
    rows-<timestep>-<s>.arrow     rows of the trajectories table
    state-<timestep>-<s>.safetensors   a snapshot after that timestep, with its facts as JSON in the header
    episodes-<s>.arrow            rows of the episodes table, at the end

Legend: N agents of a shard, V events, O options, D text dimensions.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from assets.simulation.questions import AskedQuestion
from assets.simulation.rollouts import RolloutInputs
from assets.simulation.trajectory_rows import LatentAxes, PartitionKey
from model.lsm.config import LSMConfig
from model.lsm.inputs import Question, SocialGraph, Timeline, Trigger
from model.lsm.lsm import LSM
from model.lsm.rollout import Snapshot
from model.lsm.sharding import Shard

FORMAT = 1
SNAPSHOTS_KEPT = 2
"""Shards save at the same timesteps but not at the same moment: the last but one is there for all of them."""


@dataclass(frozen=True)
class Job:
    """What a folder simulates, beside its tensors."""

    key: PartitionKey
    questions: list[AskedQuestion]
    event_names: tuple[str, ...]
    num_timesteps: int
    seed: int
    model_version: int
    num_shards: int
    num_agents: int
    cut_share: float


@dataclass(frozen=True, eq=False)
class ShardInputs:
    """A shard's part of a rollout, and what it exchanges with the others."""

    inputs: RolloutInputs
    sent_rows: tuple[Tensor, ...]
    num_received_P: Tensor


class RolloutFolder:
    """Reads and writes the files of one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def is_prepared(self) -> bool:
        """Whether all inputs are there."""
        return (self.path / "job.json").exists()

    def prepare(self, job: Job, model: LSM, inputs: RolloutInputs, shards: Sequence[Shard]) -> None:
        """Writes the inputs; the job's description last."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write("model.safetensors", lambda path: save_file(model.state_dict(), path))
        for number, shard in enumerate(shards):
            tensors = _shard_tensors(inputs, shard)
            self._write(f"shard-{number}.safetensors", lambda path, tensors=tensors: save_file(tensors, path))
        description = {
            "format": FORMAT,
            "job": asdict(job),
            "lsm": model.config.to_dict(),
            "ordinal": {question.question_id: question.is_ordinal for question in inputs.questions},
            "triggers": [asdict(trigger) for trigger in inputs.triggers],
        }
        text = json.dumps(description, ensure_ascii=False, indent=1)
        self._write("job.json", lambda path: path.write_text(text, encoding="utf-8"))

    def job(self) -> Job:
        """What is simulated."""
        values = self._description()["job"]
        return Job(
            **{
                **values,
                "key": PartitionKey(**values["key"]),
                "questions": [
                    AskedQuestion(item["question_id"], tuple(item["options"])) for item in values["questions"]
                ],
                "event_names": tuple(values["event_names"]),
            }
        )

    def model(self) -> LSM:
        """The student, from its config and weights."""
        model = LSM(LSMConfig.from_dict(self._description()["lsm"])).eval()
        model.load_state_dict(load_file(self.path / "model.safetensors"))
        return model

    def shard(self, number: int) -> ShardInputs:
        """One shard's inputs."""
        description, job = self._description(), self.job()
        tensors = load_file(self.path / f"shard-{number}.safetensors")
        timeline = {name.removeprefix("timeline."): value for name, value in tensors.items() if name[:9] == "timeline."}
        questions = [
            Question(
                question.question_id,
                tensors[f"question.{position}.embedding_D"],
                tensors[f"question.{position}.option_embeddings_OD"],
                tensors[f"question.{position}.option_scores_O"],
                description["ordinal"][question.question_id],
            )
            for position, question in enumerate(job.questions)
        ]
        graph = {name: tensors[f"graph.{name}"] for name in ("offsets_N1", "src_E", "tie_type_E", "strength_E")}
        sent_P, received_P = tensors["num_sent_P"], tensors["num_received_P"]
        num_own = len(tensors["attributes_NA"])
        return ShardInputs(
            inputs=RolloutInputs(
                attributes_NA=tensors["attributes_NA"],
                graph=SocialGraph(**graph, speakers=num_own + int(received_P.sum())),
                timeline=Timeline(**timeline),
                questions=questions,
                triggers=[Trigger(**trigger) for trigger in description["triggers"]],
                event_names=job.event_names,
                num_timesteps=job.num_timesteps,
                agent_id_N=tensors["agent_id_N"],
                counted_N=tensors["counted_N"],
                seed=job.seed,
            ),
            sent_rows=tuple(tensors["sent_rows"].split(sent_P.tolist())),
            num_received_P=received_P,
        )

    def write_rows(self, timestep: int, shard: int, rows: pl.DataFrame) -> None:
        """Keeps a shard's rows of one timestep."""
        self._write(f"rows-{timestep:05d}-{shard}.arrow", lambda path: rows.write_ipc(path, compression="zstd"))

    def rows(self, timestep: int) -> pl.DataFrame:
        """All rows of one timestep, question by question and agent by agent, as one process would have made them."""
        job = self.job()
        parts = [pl.read_ipc(self.path / f"rows-{timestep:05d}-{shard}.arrow") for shard in range(job.num_shards)]
        joined = pl.concat(parts)
        return pl.concat(
            [joined.filter(pl.col("question_id") == item.question_id).sort("agent_id") for item in job.questions]
        )

    def write_episodes(self, shard: int, rows: pl.DataFrame) -> None:
        """Keeps what a shard's agents remember at the end: the shard is done."""
        self._write(f"episodes-{shard}.arrow", lambda path: rows.write_ipc(path, compression="zstd"))

    def episodes(self) -> pl.DataFrame:
        """What all agents remember at the end."""
        parts = [pl.read_ipc(self.path / f"episodes-{shard}.arrow") for shard in range(self.job().num_shards)]
        return pl.concat(parts).sort("agent_id", "timestep", "kind")

    @property
    def is_done(self) -> bool:
        """Whether every shard has come to the end."""
        return self.is_prepared and all(
            (self.path / f"episodes-{shard}.arrow").exists() for shard in range(self.job().num_shards)
        )

    def write_snapshot(self, shard: int, snapshot: Snapshot, axes: LatentAxes) -> None:
        """Keeps a shard's state after a timestep, and drops older ones that nobody needs."""
        tensors = {name: tensor.cpu() for name, tensor in snapshot.to_tensors().items()}
        tensors |= {"axes.mean_U": torch.tensor(axes.mean_U), "axes.axes_UP": torch.tensor(axes.axes_UP)}
        name = f"state-{snapshot.timestep:05d}-{shard}.safetensors"
        facts = {"facts": json.dumps(snapshot.to_facts())}
        self._write(name, lambda path: save_file(tensors, path, metadata=facts))
        for timestep in self._snapshots(shard)[:-SNAPSHOTS_KEPT]:
            (self.path / f"state-{timestep:05d}-{shard}.safetensors").unlink()

    def last_snapshot(self) -> int | None:
        """The last timestep after which every shard's state was kept, with all rows up to it; None for none."""
        num_shards = self.job().num_shards
        common = set.intersection(*(set(self._snapshots(shard)) for shard in range(num_shards)))
        return max(common, default=None)

    def read_snapshot(self, timestep: int, shard: int) -> tuple[Snapshot, LatentAxes]:
        """A shard's state after a timestep, and the axes on which its rows summarise the latent."""
        path = self.path / f"state-{timestep:05d}-{shard}.safetensors"
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["facts"])
        tensors = load_file(path)
        axes = LatentAxes(tensors.pop("axes.mean_U").numpy(), tensors.pop("axes.axes_UP").numpy())
        return Snapshot.restore(tensors, facts), axes

    def discard(self) -> None:
        """Removes the folder, once its rows are in the tables."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _snapshots(self, shard: int) -> list[int]:
        names = (re.fullmatch(rf"state-(\d+)-{shard}\.safetensors", path.name) for path in self.path.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def _description(self) -> dict[str, Any]:
        description = json.loads((self.path / "job.json").read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ValueError(
                f"{self.path} was written in format {description['format']}; this code reads {FORMAT}. Remove it."
            )
        return description

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        draft = self.path / f".{name}.{os.getpid()}"
        write(draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(self.path / name)


def folder_name(
    key: PartitionKey, model: LSM, inputs: RolloutInputs, model_version: int, num_shards: int, code: str
) -> str:
    """A name that holds a digest of everything a rollout's rows and snapshots depend on."""
    digest = hashlib.sha256()
    facts = [asdict(key), model.config.to_dict(), model_version, num_shards, inputs.num_timesteps, inputs.seed, FORMAT]
    facts += [[asdict(trigger) for trigger in inputs.triggers], inputs.event_names, code]
    facts += [[question.question_id, question.is_ordinal] for question in inputs.questions]
    digest.update(json.dumps(facts, default=str).encode())
    for tensor in [*model.state_dict().values(), *_input_tensors(inputs).values()]:
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return f"{key.scenario_id}-{key.replicate}-{digest.hexdigest()[:16]}"


def older_folders(root: Path, name: str) -> Iterator[Path]:
    """Folders of the same scenario and replicate with other inputs: nobody will ask for them again."""
    stem = name.rpartition("-")[0]
    for path in root.iterdir() if root.exists() else ():
        if path.is_dir() and path.name != name and path.name.rpartition("-")[0] == stem:
            yield path


def _input_tensors(inputs: RolloutInputs) -> dict[str, Tensor]:
    """All tensors of a rollout's inputs by name."""
    tensors = {"attributes_NA": inputs.attributes_NA, "agent_id_N": inputs.agent_id_N, "counted_N": inputs.counted_N}
    tensors |= {f"graph.{name}": getattr(inputs.graph, name) for name in ("offsets_N1", "src_E", "tie_type_E")}
    tensors["graph.strength_E"] = inputs.graph.strength_E
    for field in fields(inputs.timeline):
        value = getattr(inputs.timeline, field.name)
        if value is not None:
            tensors[f"timeline.{field.name}"] = value
    for position, question in enumerate(inputs.questions):
        for name in ("embedding_D", "option_embeddings_OD", "option_scores_O"):
            tensors[f"question.{position}.{name}"] = getattr(question, name)
    return tensors


def _shard_tensors(inputs: RolloutInputs, shard: Shard) -> dict[str, Tensor]:
    agents_L = shard.agents_L
    tensors = _input_tensors(inputs)
    for name in ("attributes_NA", "agent_id_N", "counted_N"):
        tensors[name] = tensors[name][agents_L]
    tensors["timeline.exposure_VN"] = tensors["timeline.exposure_VN"][:, agents_L]
    tensors |= {f"graph.{name}": getattr(shard.graph, name) for name in ("offsets_N1", "src_E", "tie_type_E")}
    tensors["graph.strength_E"] = shard.graph.strength_E
    tensors["sent_rows"] = torch.cat(shard.sent_rows)
    tensors["num_sent_P"] = torch.tensor([len(rows) for rows in shard.sent_rows])
    tensors["num_received_P"] = shard.num_received_P
    return {name: tensor.contiguous() for name, tensor in tensors.items()}

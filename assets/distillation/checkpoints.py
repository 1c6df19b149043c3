"""Where a training stands after each epoch, in one file that is replaced at once: what lets a killed training go on.

A file belongs to one training: its name is a digest of the data, the sizes, the settings and the seed, so that nothing
else can resume from it. It holds safetensors and JSON, no pickle, and vanishes once the student is registered. They lie
in a folder per asset and version of the code: those of another version stay, since a checkout of it may yet go on.

    CheckpointError   a file cannot be read; the message names it and says what to do
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from assets.distillation.stacking import StackedPanel
from assets.distillation.static_traces import StaticTraces
from model.lsm.inputs import Question

MODEL, HEADS, BEST, OPTIMISER, NOISE = "model/", "heads/", "best/", "optimiser/", "noise"


class CheckpointError(ValueError):
    """A checkpoint cannot be used."""


@dataclass(frozen=True, eq=False)
class Progress:
    """Everything a training needs to go on after an epoch.

    `optimiser` holds the optimiser's tensors as `<number of parameter>/<name>`, `noise` the generator's state.
    `curves` has entries (epoch, metric, value); `best_error` and `best_epoch` describe `best`.
    """

    epoch: int
    model: Mapping[str, Tensor]
    heads: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    noise: Tensor
    best_error: float
    best_epoch: int
    curves: list[tuple[int, str, float]]


def training_key(parts: Mapping[str, object], tensors: Mapping[str, Tensor]) -> str:
    """Digest of what a training depends on, as the name of its file.

    Args:
        parts: sizes, settings and seed, as JSON can write them.
        tensors: the data, by name.
    """
    hasher = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    hasher.update(torch.__version__.encode())
    for name, tensor in sorted(tensors.items()):
        hasher.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        hasher.update(tensor.contiguous().numpy().tobytes())
    return hasher.hexdigest()[:24]


def data_tensors(stack: StackedPanel, static: StaticTraces | None) -> dict[str, Tensor]:
    """Every tensor of the teacher's rollouts and of recorded answers, by name: what `training_key` digests."""
    found: dict[str, Tensor] = {}
    for place, record in (("stack", stack), ("graph", stack.graph), ("timeline", stack.timeline)):
        for field in fields(record):
            value = getattr(record, field.name)
            if isinstance(value, Tensor):
                found[f"{place}.{field.name}"] = value
    if static is not None:
        for name, answers in (("fitted", static.fitted), ("validation", static.validation)):
            found |= {f"static.{name}.codes": answers.codes_PF, f"static.{name}.chosen": answers.chosen_PQ}
            for number, question in enumerate(answers.questions):
                found |= _question_tensors(f"static.{name}.question{number}", question)
    for number, asked in enumerate(stack.questions):
        found |= {f"question{number}.agents": asked.agents_M, f"question{number}.answers": asked.probability_TMO}
        found |= _question_tensors(f"question{number}", asked.question)
    return found


def _question_tensors(place: str, question: Question) -> dict[str, Tensor]:
    names = ("embedding_D", "option_embeddings_OD", "option_scores_O")
    return {f"{place}.{name}": getattr(question, name) for name in names}


def write_progress(path: Path, progress: Progress) -> None:
    """Writes the file and puts it into place at once; a kill leaves the old file or the new one."""
    tensors = {NOISE: progress.noise}
    groups = ((MODEL, progress.model), (HEADS, progress.heads), (BEST, progress.best), (OPTIMISER, progress.optimiser))
    for prefix, group in groups:
        tensors |= {f"{prefix}{name}": tensor.detach().clone().contiguous() for name, tensor in group.items()}
    facts = {name: getattr(progress, name) for name in ("epoch", "best_error", "best_epoch", "curves")}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    save_file(tensors, draft, metadata={"facts": json.dumps(facts)})
    draft.replace(path)


def read_progress(path: Path) -> Progress | None:
    """What was written last, or None where nothing was.

    Raises:
        CheckpointError: the file is not one of ours, or is damaged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts["curves"] = [(int(epoch), str(metric), float(value)) for epoch, metric, value in facts["curves"]]
        groups: dict[str, Any] = {
            name: {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
            for name, prefix in (("model", MODEL), ("heads", HEADS), ("best", BEST), ("optimiser", OPTIMISER))
        }
        return Progress(**facts, **groups, noise=tensors[NOISE])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"The training checkpoint {path} cannot be read ({error}). Delete it to train from the first epoch."
        ) from error

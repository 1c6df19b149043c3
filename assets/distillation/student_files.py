"""The files of a registered student: safetensors weights, JSON configs, the card, and what the served model takes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from safetensors.torch import save_file

from assets.distillation.distil import Distilled
from assets.distillation.training_set import TrainingSet
from assets.students import TEXT_ENCODER, vocabulary, weights_digest
from assets.tensors import MODEL_ATTRIBUTES

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


def write_artifacts(distilled: Distilled, card: str, folder: Path) -> dict[str, str]:
    """Writes weights, configs and card of a student; paths by artifact key."""
    paths = {
        "weights": folder / "student.safetensors",
        "config": folder / "student.json",
        "no_graph_weights": folder / "no_graph.safetensors",
        "no_graph_config": folder / "no_graph.json",
        "model_card": folder / "MODEL_CARD.md",
    }
    for prefix, trained in (("", distilled.student), ("no_graph_", distilled.no_graph)):
        state = {name: tensor.contiguous() for name, tensor in trained.model.state_dict().items()}
        save_file(state, paths[f"{prefix}weights"])
        encoder = {TEXT_ENCODER: distilled.training_set.text_encoder}
        digest = {"weights_sha256": weights_digest(paths[f"{prefix}weights"])}
        description = {"lsm": trained.model.config.to_dict(), **vocabulary(), **encoder, **digest}
        paths[f"{prefix}config"].write_text(json.dumps(description, indent=2), encoding="utf-8")
    paths["model_card"].write_text(card, encoding="utf-8")
    return {name: str(path) for name, path in paths.items()}


def serving_signature() -> "ModelSignature":
    """Columns that the served model takes and gives."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    numbers = Array(DataType.double)
    inputs = [ColSpec(DataType.string, attribute.name) for attribute in MODEL_ATTRIBUTES]
    inputs += [
        ColSpec(numbers, "question_embedding"),
        ColSpec(Array(numbers), "option_embeddings"),
        ColSpec(numbers, "option_scores"),
        ColSpec(DataType.boolean, "is_ordinal"),
    ]
    outputs = [ColSpec(numbers, "option_probabilities"), ColSpec(numbers, "channels")]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))  # pyright: ignore[reportArgumentType]


def serving_example(training_set: TrainingSet) -> pd.DataFrame:
    """Two people of the panel and the first question."""
    question = training_set.rollouts[0].targets[0].question
    people = training_set.agents.head(2).select(attribute.name for attribute in MODEL_ATTRIBUTES)
    rows = [
        {
            **person,
            "question_embedding": question.embedding_D.double().tolist(),
            "option_embeddings": question.option_embeddings_OD.double().tolist(),
            "option_scores": question.option_scores_O.double().tolist(),
            "is_ordinal": question.is_ordinal,
        }
        for person in people.iter_rows(named=True)
    ]
    return pd.DataFrame(rows)

"""The registered model's code: answers questions for people described by attributes, before any event reaches them.

MLflow stores this file beside the weights and runs it to load the model, so that no pickle is needed. It reads
safetensors and JSON only, and needs this project installed where the model is served. Whole scenarios are simulated
with `assets.simulation`, not here.
"""

import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import torch
from mlflow.models import set_model
from safetensors.torch import load_file

from model.lsm.config import LSMConfig
from model.lsm.inputs import Question
from model.lsm.lsm import LSM


class StudentModel(mlflow.pyfunc.PythonModel):  # pyright: ignore[reportPrivateImportUsage]
    """Rows of people and questions → option probabilities and channels."""

    def load_context(self, context: Any) -> None:
        """Builds the student from its config and weights."""
        description = json.loads(Path(context.artifacts["config"]).read_text(encoding="utf-8"))
        self.levels: dict[str, list[str]] = {item["name"]: item["levels"] for item in description["attributes"]}
        self.model = LSM(LSMConfig.from_dict(description["lsm"])).eval()
        self.model.load_state_dict(load_file(context.artifacts["weights"]))

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        context: Any,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Answers of typical people with the given attributes, before any event.

        Args:
            context: unused.
            model_input: one row per person and question: a column per attribute with its level, question_embedding,
                option_embeddings, option_scores and is_ordinal.
            params: unused.

        Raises:
            ValueError: a value is no level of its attribute.
        """
        answers = [self._answer(row) for _, row in model_input.iterrows()]
        return pd.DataFrame(answers, columns=pd.Index(["option_probabilities", "channels"]))

    def _answer(self, row: Any) -> tuple[list[float], list[float]]:
        question = Question(
            question_id="asked",
            embedding_D=torch.tensor(list(row["question_embedding"]), dtype=torch.float32),
            option_embeddings_OD=torch.tensor([list(item) for item in row["option_embeddings"]], dtype=torch.float32),
            option_scores_O=torch.tensor(list(row["option_scores"]), dtype=torch.float32),
            is_ordinal=bool(row["is_ordinal"]),
        )
        codes_1A = torch.tensor([[self._code(name, row[name]) for name in self.levels]])
        with torch.no_grad():
            state = self.model.initial_state(codes_1A, questions=[question])
            probability_O = self.model.readout(state, question)[0]
        return probability_O.double().tolist(), state.channels_NK[0].double().tolist()

    def _code(self, name: str, level: str) -> int:
        if level not in self.levels[name]:
            raise ValueError(f"{name} is {level!r}; levels: {', '.join(self.levels[name])}.")
        return self.levels[name].index(level)


set_model(StudentModel())

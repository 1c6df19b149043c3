"""The questions of recorded answers, with the embeddings by which a readout scores their options."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from assets.traces.encoders import LocalEncoder, TextEncoder
from assets.traces.recorded_answers.codebook import RecordedCodebookFile
from validation.contracts import CONTRACTS


def recorded_questions_table(
    codebooks: Sequence[RecordedCodebookFile], encoder: TextEncoder | None = None
) -> pl.DataFrame:
    """Rows of `recorded_questions`, in the codebooks' order; options are scored evenly from 1 to −1.

    Args:
        codebooks: descriptions of recorded answers.
        encoder: what encodes the wordings; the local encoder when left out.
    """
    encoder = encoder or LocalEncoder()
    rows: list[dict[str, Any]] = []
    for codebook in codebooks:
        for name, item in codebook.spec.items.items():
            options = list(item.options.values())
            rows.append(
                {
                    "scenario_id": codebook.spec.scenario_id,
                    "question_id": item.question_id,
                    "variable": name,
                    "text": item.question,
                    "options": options,
                    "option_scores": np.linspace(1.0, -1.0, len(options)).tolist(),
                    "scale": item.scale,
                    "item": item.item,
                    "note": item.note,
                    "text_encoder": encoder.name,
                }
            )
    texts = [row["text"] for row in rows]
    vectors = iter(encoder.encode([*texts, *(option for row in rows for option in row["options"])]).tolist())
    for row in rows:
        row["text_embedding"] = next(vectors)
    for row in rows:
        row["option_embeddings"] = [next(vectors) for _ in row["options"]]
    return pl.DataFrame(rows, schema=CONTRACTS["recorded_questions"].polars_schema())

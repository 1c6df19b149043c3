"""Prices of models: a dated table in a file, per million tokens; cached prompt tokens and batches have their own."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

PRICES_PATH = Path(__file__).with_name("prices.yaml")
OTHER = "other"
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens of one model; `batch_share` is what a batch costs as a share of that.

    `entry` names the line of the price file that was taken.
    """

    prompt_usd: float
    completion_usd: float
    cached_usd: float
    batch_share: float = 1.0
    entry: str = OTHER

    def cost_usd(
        self, prompt_tokens: float, completion_tokens: float, cached_tokens: float = 0, *, is_batch: bool = False
    ) -> float:
        """Cost of one request.

        Args:
            prompt_tokens: all tokens of the prompt, those from the cache among them.
            completion_tokens: tokens of the answer.
            cached_tokens: prompt tokens that the server took from its cache.
            is_batch: whether the request was part of a batch.
        """
        cached_tokens = min(cached_tokens, prompt_tokens)
        dollars = (
            (prompt_tokens - cached_tokens) * self.prompt_usd
            + cached_tokens * self.cached_usd
            + completion_tokens * self.completion_usd
        )
        return dollars / 1e6 * (self.batch_share if is_batch else 1.0)


@cache
def find_price(model: str, path: Path = PRICES_PATH) -> Price:
    """The price of a model; models that are not listed take the entry `other`, which is deliberately dear.

    A snapshot (`gpt-4o-2024-08-06`) takes the price of its model where it has none of its own.
    """
    table = _read(path)["models"]
    name = model.split("@")[0]
    entry = next((found for found in (name, _SNAPSHOT.sub("", name)) if found in table), OTHER)
    line = table[entry]
    return Price(
        prompt_usd=float(line["prompt_usd"]),
        completion_usd=float(line["completion_usd"]),
        cached_usd=float(line.get("cached_usd", line["prompt_usd"])),
        batch_share=float(line.get("batch_share", 1.0)),
        entry=entry,
    )


def prices_dated(path: Path = PRICES_PATH) -> str:
    """The day on which the price file was last compared with what the vendors publish."""
    return str(_read(path)["dated"])


@cache
def _read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))

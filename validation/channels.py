"""The anchored channels of an agent's state, read from `channels.yaml`."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Channel:
    """One anchored channel: its meaning and the wordings of its ends, on −1…1.

    `follows_scale`: whether the channel is about the options, so that it changes sign when their scale is turned round.
    """

    name: str
    definition: str
    low: str
    high: str
    follows_scale: bool = False


@cache
def load_channels() -> tuple[Channel, ...]:
    """The anchored channels in the order in which every table lists them."""
    entries = yaml.safe_load(Path(__file__).with_name("channels.yaml").read_text(encoding="utf-8"))
    return tuple(Channel(**entry) for entry in entries)


@cache
def channel_names() -> tuple[str, ...]:
    """Names of the anchored channels in file order."""
    return tuple(channel.name for channel in load_channels())

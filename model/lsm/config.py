"""The sizes and switches of an LSM: everything needed, beside its weights, to build it again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

CONFIG_VERSION = 6
"""Moves when weights of an older config would no longer mean the same."""
ALLOWED: dict[type, str] = {int: "a whole number", float: "a number", bool: "True or False"}


@dataclass(frozen=True)
class LSMConfig:
    """Sizes and switches of an LSM.

    Attributes:
        attribute_levels: number of levels per attribute, in the order of the attribute codes.
        num_source_types: kinds of speakers of events.
        num_tie_types: kinds of ties between agents.
        text_dim: length of the embeddings of events, questions and options.
        num_known_questions: questions that the student is trained on; others are read as far as they resemble one of
            them (see `model/lsm/known_texts.py`). With 0 every question is read as it is.
        num_known_events: the same for texts of events.
        num_episode_slots: episodes an agent can remember.
        salience_threshold: 0 … 1, salience above which a timestep is remembered.
        salience_half_life: timesteps after which a remembered episode counts half.
        expression_storage: float32 or bfloat16, the precision in which expressions travel along ties; sums are float32.
        state_storage: float32 or bfloat16, the precision in which the state of agents is kept between timesteps; a
            timestep is computed in the precision of the weights. Half of the memory, at the cost of rounding.
        use_graph: whether agents hear one another; False gives the baseline without a graph.
        use_exposure: whether events reach agents.
        use_memory: whether agents keep a running summary of what they took in.
        use_episodes: whether agents remember and recall single episodes.
        use_topic: whether an agent's state is about the scenario's questions rather than about everything at once.
        use_tie_types: whether household, friends, professional and weak ties are heard differently.
        use_latent: whether agents have a free latent beside their anchored channels.
        use_conviction: whether the firmness of a stance colours what is expressed; without it conviction is 0.
        use_trust: whether the trust in each tie changes with agreement as time passes (see `model/lsm/trust.py`).
        rests_when_unreached: whether agents whom neither events, peers nor memories reach keep their state; they are
            then skipped, at no cost.

    Raises:
        ValueError: a size is not positive, a fraction is out of range, or a value has another type.
    """

    attribute_levels: tuple[int, ...]
    num_source_types: int = 7
    num_tie_types: int = 4
    text_dim: int = 64
    num_known_questions: int = 0
    num_known_events: int = 0
    num_channels: int = 12
    attribute_dim: int = 8
    identity_dim: int = 32
    latent_dim: int = 32
    memory_dim: int = 32
    expression_dim: int = 16
    topic_dim: int = 16
    message_dim: int = 32
    num_heads: int = 4
    readout_dim: int = 32
    hidden_dim: int = 128
    num_episode_slots: int = 24
    salience_threshold: float = 0.2
    salience_half_life: float = 8.0
    expression_storage: str = "float32"
    state_storage: str = "float32"
    use_graph: bool = True
    use_exposure: bool = True
    use_memory: bool = True
    use_episodes: bool = True
    use_topic: bool = True
    use_tie_types: bool = True
    use_latent: bool = True
    use_conviction: bool = True
    use_trust: bool = False
    rests_when_unreached: bool = True

    def __post_init__(self) -> None:
        levels = self.attribute_levels
        is_list = isinstance(levels, (list, tuple)) and len(levels) > 0
        if not is_list or any(type(level) is not int or level < 1 for level in levels):
            raise ValueError(
                f"LSMConfig.attribute_levels is {levels!r}; allowed: a whole number of 1 or more for every attribute, "
                "and at least one attribute."
            )
        object.__setattr__(self, "attribute_levels", tuple(levels))
        for field in fields(self):
            value, kind = getattr(self, field.name), type(field.default)
            if kind in ALLOWED and type(value) not in ((int, float) if kind is float else (kind,)):
                raise ValueError(f"LSMConfig.{field.name} is {value!r}; allowed: {ALLOWED[kind]}.")
            least = 0 if field.name.startswith("num_known_") else 1
            if kind is int and value < least:
                raise ValueError(f"LSMConfig.{field.name} is {value}; allowed: {least} or more.")
        for name in ("expression_storage", "state_storage"):
            if getattr(self, name) not in ("float32", "bfloat16"):
                raise ValueError(f"LSMConfig.{name} is {getattr(self, name)!r}; allowed: float32 or bfloat16.")
        if not 0.0 <= self.salience_threshold < 1.0:
            raise ValueError(f"LSMConfig.salience_threshold is {self.salience_threshold}; allowed: 0 up to below 1.")
        if not self.salience_half_life > 0.0:
            raise ValueError(f"LSMConfig.salience_half_life is {self.salience_half_life}; allowed: above 0.")

    def to_dict(self) -> dict[str, Any]:
        """The config as JSON types, with its version."""
        return {"config_version": CONFIG_VERSION, **asdict(self), "attribute_levels": list(self.attribute_levels)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LSMConfig":
        """The config that `to_dict` wrote.

        Raises:
            ValueError: the version is not known, or a field is unknown or missing.
        """
        version = values.get("config_version")
        if version != CONFIG_VERSION:
            raise ValueError(
                f"LSMConfig has config_version {version!r}; this code reads {CONFIG_VERSION}. Train it again."
            )
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known - {"config_version"})
        if unknown or "attribute_levels" not in values:
            problem = f"unknown fields {', '.join(unknown)}" if unknown else "no attribute_levels"
            raise ValueError(f"LSMConfig has {problem}. Fields: {', '.join(sorted(known))}.")
        return cls(**{name: values[name] for name in known & set(values)})

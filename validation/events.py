"""The vocabulary of events: who may speak and by which channel an event travels."""

MEDIA_SOURCE_TYPES: tuple[str, ...] = (
    "network_television",
    "cable_news_left",
    "cable_news_right",
    "local_newspaper",
    "social_platform",
)
"""Kinds of media source; each is also a channel that reaches the followers of such sources."""

SOURCE_TYPES: tuple[str, ...] = ("government", "expert", "media", "activist", "company", "peer", "other")
"""Kinds of speaker of an event."""

EVENT_CHANNELS: tuple[str, ...] = ("broadcast", *MEDIA_SOURCE_TYPES)
"""How an event travels: broadcast reaches anybody, a media channel only the followers of its sources."""

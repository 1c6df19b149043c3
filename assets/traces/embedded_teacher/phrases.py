"""The sentences of the embedded teacher: several wordings for each thing it has to say, picked by the draw's number.

What another person says is read back by the same wordings, so they live in one place.
"""

import re

STATEMENTS = ("I say {option}", "For me it is {option}", "My answer is {option}", "I would go with {option}")
REASONS = (", because of {event}", ", after {event}", "")
STATED = re.compile(
    r"(?:" + "|".join(re.escape(each.removesuffix("{option}")) for each in STATEMENTS) + r")"
    r"(?P<option>.+?)(?:, (?:because of|after) [a-z0-9_-]+)?\.$",
    re.MULTILINE,
)

STANDS = (
    "On {subject} I lean to {option} and am {sureness}.",
    "If I had to answer on {subject} I would choose {option}, and I am {sureness}.",
    "My own view of {subject} is {option}; I am {sureness} about it.",
)
SURENESS = (("quite sure", 0.5), ("fairly sure", 0.2), ("not very sure", -1.0))
MOVED = (
    "What counts for me is {event}, which {push}.",
    "I keep thinking of {event}: it {push}.",
    "{Event} did something to me, it {push}.",
)
LONG_HELD = (
    "That is how I have long seen it.",
    "I have thought so for years.",
    "Nothing has happened lately that would change it.",
)
AGREES = ("I agree with most people around me.", "The people I talk to mostly see it my way.")
DIFFERS = ("I see it differently from most people around me.", "Those around me mostly think otherwise.")
UNSAID = ("nothing",)

RESTS = (
    "Before any event the answer follows {basis}.",
    "The starting point is {basis}.",
    "Where the person stood at first comes from {basis}.",
)
PUSHED = (
    '{Event} moved the person {strength} {way} "{favoured}".',
    '{Event} counted {strength} {way} "{favoured}".',
    'The person was moved {strength} {way} "{favoured}" by {event}.',
)
AROUND = ("People around {side}.", "Those whom the person hears {side}.")


def pick(variants: tuple[str, ...], tone: int) -> str:
    """One of several wordings; equal tones pick equally."""
    return variants[tone % len(variants)]


def sureness_of(conviction: float) -> str:
    """Conviction in words."""
    return next(words for words, above in SURENESS if conviction > above)

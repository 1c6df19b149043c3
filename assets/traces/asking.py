"""Asks a teacher through the ledger: known answers are read, missing ones are claimed, sent and committed before use.

ElicitationError
├── BudgetExceeded     the next request would pass the budget; what was bought is in the ledger
└── TeacherUnusable    nothing can be asked at all: wrong key, unknown model, no quota, no server
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from assets.traces.completions import DEFAULT_COMPLETION_TOKENS, Outcome, Request
from assets.traces.ledger import LedgerError, NoRoom, TooDear
from assets.traces.ledger_queue import LedgerQueue
from assets.traces.prices import find_price
from assets.traces.retrying import Trouble
from assets.traces.teachers import Teacher

BUSY_SECONDS = 0.25
"""How often a request that another process is asking, or that does not fit the budget yet, is looked at again."""
Mode = Literal["live", "batch"]


class ElicitationError(RuntimeError):
    """An elicitation cannot go on; the message says why and what to do."""


class BudgetExceeded(ElicitationError):
    """The next request would pass the budget."""


class TeacherUnusable(ElicitationError):
    """The teacher takes no request at all."""


@dataclass(frozen=True)
class AskingOptions:
    """How a teacher is asked.

    Attributes:
        mode: requests one by one (live) or in batches.
        budget_usd: most that the ledger may ever add up to.
        timeout_seconds: patience with one request.
        most_in_flight: requests under way at once, at most.
        requests_per_minute: limit to keep; None follows what the server says.
        tokens_per_minute: as above.
        most_completion_tokens: limit of every answer's length; the budget sets its price aside.
        poll_seconds: how often a batch is looked at.
    """

    mode: Mode = "live"
    budget_usd: float = 10.0
    timeout_seconds: float = 120.0
    most_in_flight: int = 512
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    most_completion_tokens: int = DEFAULT_COMPLETION_TOKENS
    poll_seconds: float = 30.0


class Transport(Protocol):
    """A way to get answers to requests that the ledger does not know."""

    async def answers(self, requests: Sequence[Request]) -> list[Outcome]:
        """One outcome per request, in their order."""
        ...


@dataclass
class Counts:
    """What an elicitation has done so far: requests by what came of them, and their cost."""

    num_asked: int = 0
    num_known: int = 0
    num_failed: int = 0
    cost_usd: float = 0.0
    waiting_for: str = ""

    @property
    def num_done(self) -> int:
        """Requests that have an answer or a reason why not."""
        return self.num_asked + self.num_known + self.num_failed


class Till:
    """What both transports share: prices, claims against the ledger, the first fatal error.

    After a fatal error nothing more is sent; requests under way are still answered and committed.
    """

    def __init__(self, teacher: Teacher, ledger: LedgerQueue, options: AskingOptions, counts: Counts) -> None:
        self.teacher = teacher
        self.ledger = ledger
        self.options = options
        self.counts = counts
        self.price = find_price(teacher.model)
        self.stopped_by: Exception | None = None

    def expected_usd(self, request: Request) -> float:
        """The price set aside for a request: that of the longest answer that it may get."""
        return self.price.cost_usd(
            request.prompt_tokens, self.options.most_completion_tokens, is_batch=self.options.mode == "batch"
        )

    def stop(self, error: Exception) -> None:
        """Lets nothing more be sent; the first error is the one that is told."""
        self.stopped_by = self.stopped_by or error

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Remembers the first fatal error of the block, and refuses to begin it after one."""
        if self.stopped_by is not None:
            raise self.stopped_by
        try:
            yield
        except (ElicitationError, LedgerError) as error:
            self.stop(error)
            raise

    def refuse(self, claim: TooDear | NoRoom) -> None:
        """Raises what a claim that cannot be had means; returns where waiting may help."""
        if isinstance(claim, NoRoom):
            raise LedgerError(claim.message)
        if claim.is_final:
            lost = f", and answers that never came may have cost up to {claim.unconfirmed_usd:.2f} USD"
            raise BudgetExceeded(
                f"The next request could pass the budget of {self.options.budget_usd:.2f} USD; {claim.spent_usd:.2f} "
                f"USD are spent{lost if claim.unconfirmed_usd else ''}. What was bought is kept. Raise "
                "POPULACE_TEACHER_BUDGET_USD and run again."
            )

    def give_up(self, trouble: Trouble) -> TeacherUnusable:
        """The error for trouble that concerns every request."""
        return TeacherUnusable(
            f"The teacher {self.teacher.label} cannot be asked for {self.teacher.model}: {trouble.reason}. "
            "What was bought is kept. Check POPULACE_TEACHER_BASE_URL, POPULACE_TEACHER_MODEL and OPENAI_API_KEY, "
            "then run again: only what is missing will be asked."
        )


class Asker:
    """Answers requests from the ledger, and gets the missing ones through a transport."""

    def __init__(self, ledger: LedgerQueue, transport: Transport, counts: Counts) -> None:
        self._ledger = ledger.ledger
        self._transport = transport
        self.counts = counts

    async def ask(self, requests: Sequence[Request]) -> list[Outcome]:
        """One outcome per request, in their order; every answer is bought at most once.

        Raises:
            BudgetExceeded: a request could pass the budget.
            TeacherUnusable: the teacher takes no request at all.
            LedgerError: the ledger cannot be written.
        """
        outcomes: list[Outcome | None] = [self._ledger.find(one.custom_id, one.digest) for one in requests]
        self.counts.num_known += sum(outcome is not None for outcome in outcomes)
        missing = [index for index, outcome in enumerate(outcomes) if outcome is None]
        bought = await self._transport.answers([requests[index] for index in missing]) if missing else []
        for index, outcome in zip(missing, bought, strict=True):
            outcomes[index] = outcome
        return [outcome for outcome in outcomes if outcome is not None]


async def tell_regularly(tell: Callable[[], None], seconds: float) -> None:
    """Calls `tell` again and again until cancelled."""
    while True:
        await asyncio.sleep(seconds)
        tell()

"""What a job's work is worth by the rates that sponsors publish. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from p2pinfer.documents.jobs.job import Job
from p2pinfer.owner.statement.rates import Rate

_PLACES = Decimal("0.000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one rate makes of a job."""

    name: str
    currency: str
    prefill: Decimal
    decode: Decimal
    is_payers: bool
    """True if the rate is for the key that signs the job's receipts."""

    @property
    def total(self) -> Decimal:
        """Of prompts and answers."""
        return self.prefill + self.decode


def costs(job: Job, rates: Iterable[Rate], at: float) -> list[Cost]:
    """What each rate that is valid at `at` (Unix seconds) makes of the job, that of its payer first."""
    valid: dict[str, Rate] = {}
    for rate in sorted(rates, key=lambda one: one.valid_from):
        if rate.is_valid(at):
            valid[rate.client] = rate  # of a client's rates the one that began last counts
    payer = job.settings.get("payer")
    found = [
        Cost(
            name=rate.name,
            currency=rate.currency,
            prefill=rate.credit(job.spent.prefill_tokens * job.layers, 0),
            decode=rate.credit(0, job.spent.decode_tokens * job.layers),
            is_payers=client == payer,
        )
        for client, rate in valid.items()
    ]
    return sorted(found, key=lambda cost: (not cost.is_payers, cost.name))


def cost_lines(found: Iterable[Cost]) -> Iterator[str]:
    """A line for each."""
    for cost in found:
        mark = " (this job's payer)" if cost.is_payers else ""
        yield (
            f"{cost.name}{mark}: {_amount(cost.prefill)} for prompts + {_amount(cost.decode)} for answers "
            f"= {_amount(cost.total)} {cost.currency}"
        )


def _amount(amount: Decimal) -> str:
    text = f"{amount.quantize(_PLACES):f}"
    whole, _, places = text.partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"

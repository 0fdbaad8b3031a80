"""What the market did for one URL, so that whoever waits can be told why nothing comes.

Fed with yapapi's events by ``manager``; read by ``cluster`` for error messages and statistics.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

__all__ = ["MarketRecord"]


class MarketRecord:
    """Counts and reasons since the last time an instance came up."""

    def __init__(self) -> None:
        self.offers = 0
        self.agreements = 0
        self.rejected: Counter[str] = Counter()
        self.refused = 0
        self.failures: Counter[str] = Counter()
        self.payment: str | None = None

    def settle(self) -> None:
        """Forget the troubles: an instance came up."""
        self.refused = 0
        self.failures.clear()

    def note(self, event: Any) -> str | None:
        """Take one event of yapapi; return a sentence if it is a trouble somebody should hear of."""
        match type(event).__name__:
            case "ProposalReceived":
                self.offers += 1
            case "ProposalRejected":
                reason = str(getattr(event, "reason", None) or "no reason given")
                self.rejected[reason] += 1
                return f"offer rejected: {reason}"
            case "AgreementConfirmed":
                self.agreements += 1
            case "AgreementRejected":
                self.refused += 1
                return "a provider refused or did not answer an agreement"
            case (
                "ActivityCreateFailed"
                | "SubscriptionFailed"
                | "CollectFailed"
                | "ProposalFailed" as kind
            ):
                sentence = f"{kind}: {_cause(event)}"
                self.failures[sentence] += 1
                return sentence
            case "PaymentFailed":
                self.payment = f"a payment failed: {_cause(event)}"
                return self.payment
        return None

    def explain(self) -> str | None:
        """Return why no instance may have come up yet, ``None`` when nothing speaks against it."""
        parts = []
        if not self.offers:
            parts.append(
                "no offer matched the demand (subnet, capabilities, memory, payment platform)"
            )
        elif not self.agreements and sum(self.rejected.values()) >= self.offers:
            reason, _ = self.rejected.most_common(1)[0]
            parts.append(f"all {self.offers} offers were rejected, mostly: {reason}")
        if self.refused:
            parts.append(f"{self.refused} agreements were refused or not answered")
        parts += [f"{text} ({count} times)" for text, count in self.failures.most_common(2)]
        if self.payment:
            parts.append(self.payment)
        return "; ".join(parts) or None


def _cause(event: Any) -> str:
    information = getattr(event, "exc_info", None)
    return (
        str(information[1])
        if information and information[1]
        else str(getattr(event, "reason", "unknown"))
    )

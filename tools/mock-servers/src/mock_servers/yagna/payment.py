"""Allocations, invoices and debit notes (``/payment-api/v1``).

Amounts are exact decimals, texts on the wire. Events of both kinds are kept for ever and read by timestamp, as the
daemon does. Source: Golem payment API.
"""

from __future__ import annotations

import dataclasses
import uuid
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from mock_servers.yagna.bell import Bell, stamp
from mock_servers.yagna.errors import ApiError

__all__ = ["Allocation", "Document", "Payments"]

PROTOCOL_VERSION = "3"


def amount(text: Any) -> Decimal:
    """Return an amount given on the wire.

    Raises:
        ApiError: 400, not a non-negative number.
    """
    try:
        value = Decimal(str(text))
    except InvalidOperation as error:
        raise ApiError(400, f"invalid amount: {text!r}") from error
    if not value.is_finite() or value < 0:
        raise ApiError(400, f"invalid amount: {text!r}")
    return value


def digits(value: Decimal) -> str:
    """Return an amount as the wire has it: plain digits, no exponent."""
    return format(value.normalize(), "f")


@dataclasses.dataclass(slots=True)
class Allocation:
    """Money set aside for one requestor session."""

    id: str
    owner: str
    address: str
    platform: str
    total: Decimal
    created: str
    timeout: str | None
    make_deposit: bool
    spent: Decimal = Decimal(0)
    released: bool = False
    updated: str = ""

    def view(self) -> dict[str, Any]:
        """Return the allocation as the API shows it."""
        return {
            "allocationId": self.id,
            "address": self.address,
            "paymentPlatform": self.platform,
            "totalAmount": digits(self.total),
            "spentAmount": digits(self.spent),
            "remainingAmount": digits(self.total - self.spent),
            "timestamp": self.created,
            "timeout": self.timeout,
            "createdTs": self.created,
            "updatedTs": self.updated or self.created,
            "makeDeposit": self.make_deposit,
        }


@dataclasses.dataclass(slots=True)
class Document:
    """An invoice or a debit note: ``kind`` is ``"invoice"`` or ``"debitNote"``."""

    kind: str
    id: str
    issuer: str
    recipient: str
    agreement: str
    body: dict[str, Any]
    status: str = "ISSUED"

    @property
    def due(self) -> Decimal:
        """Amount asked for."""
        return Decimal(self.body["amount" if self.kind == "invoice" else "totalAmountDue"])

    def view(self) -> dict[str, Any]:
        """Return the document as the API shows it."""
        return {f"{self.kind}Id": self.id, **self.body, "status": self.status}


class InsufficientFunds(ApiError):
    """An allocation the account cannot cover.

    Attributes:
        figures: Members of the problem document: amounts as text, platform, address.
    """

    def __init__(self, **figures: str) -> None:
        super().__init__(
            400,
            "Insufficient funds to create the allocation. "
            f"Requested {figures['requestedFunds']}, available {figures['availableFunds']} "
            f"on {figures['paymentPlatform']}.",
        )
        self.figures = figures


class Payments:
    """All allocations and documents of one local Golem."""

    def __init__(self, funds: Decimal, platform: str) -> None:
        self.funds = funds
        self.platform = platform
        self.allocations: dict[str, Allocation] = {}
        self.documents: dict[tuple[str, str], Document] = {}
        self.events: dict[str, list[tuple[str, dict[str, Any]]]] = {"invoice": [], "debitNote": []}
        self.accepted: dict[str, Decimal] = {}
        self.bell = Bell()

    # allocations -------------------------------------------------------------------------------------------------

    def allocate(self, owner: str, body: dict[str, Any]) -> Allocation:
        """Set money aside.

        Raises:
            InsufficientFunds: The account does not hold the amount.
            ApiError: 400, the amount is missing or not a number.
        """
        total = amount(body.get("totalAmount"))
        reserved = sum(
            (a.total - a.spent for a in self.allocations.values() if not a.released), Decimal(0)
        )
        paid = sum(self.accepted.values(), Decimal(0))
        if total > self.funds - paid - reserved:
            raise InsufficientFunds(
                requestedFunds=digits(total),
                availableFunds=digits(max(Decimal(0), self.funds - paid - reserved)),
                reservedFunds=digits(reserved),
                paymentPlatform=body.get("paymentPlatform") or self.platform,
                address=body.get("address") or owner,
            )
        allocation = Allocation(
            str(uuid.uuid4()),
            owner,
            body.get("address") or owner,
            body.get("paymentPlatform") or self.platform,
            total,
            stamp(),
            body.get("timeout"),
            bool(body.get("makeDeposit")),
        )
        self.allocations[allocation.id] = allocation
        return allocation

    def allocation(self, identifier: str, owner: str) -> Allocation:
        """Return an allocation that can still be used.

        Raises:
            ApiError: 404 unknown; 410 released.
        """
        found = self.allocations.get(identifier)
        if found is None or found.owner != owner:
            raise ApiError(404, None)
        if found.released:
            raise ApiError(410, f"Allocation {identifier} has been released")
        return found

    def amend(self, identifier: str, owner: str, body: dict[str, Any]) -> Allocation:
        """Change the total or the timeout of an allocation.

        Raises:
            ApiError: 404, 410; 400 when the new total is below what is spent.
        """
        found = self.allocation(identifier, owner)
        if "totalAmount" in body:
            total = amount(body["totalAmount"])
            if total < found.spent:
                raise ApiError(
                    400, f"totalAmount {digits(total)} is below the spent {digits(found.spent)}"
                )
            found.total = total
        found.timeout = body.get("timeout", found.timeout)
        found.updated = stamp()
        return found

    def release(self, identifier: str, owner: str) -> None:
        """Give an allocation's rest back.

        Raises:
            ApiError: 404 unknown; 410 released before.
        """
        self.allocation(identifier, owner).released = True

    def decorations(self, identifiers: list[str], owner: str) -> dict[str, Any]:
        """Return the properties and constraints a demand needs to be paid from these allocations."""
        properties, constraints = [], []
        for identifier in identifiers:
            found = self.allocation(identifier, owner)
            key = f"golem.com.payment.platform.{found.platform}.address"
            properties.append({"key": key, "value": found.address})
            constraints.append(f"({key}=*)")
        properties.append({"key": "golem.com.payment.protocol.version", "value": PROTOCOL_VERSION})
        constraints.append("(golem.com.payment.protocol.version>1)")
        return {"properties": properties, "constraints": constraints}

    # documents ---------------------------------------------------------------------------------------------------

    def issue(
        self, kind: str, issuer: str, recipient: str, agreement: str, body: dict[str, Any]
    ) -> Document:
        """Make an invoice or debit note; it reaches the requestor with :meth:`send`."""
        common = {
            "issuerId": issuer,
            "recipientId": recipient,
            "payeeAddr": issuer,
            "payerAddr": recipient,
            "paymentPlatform": self.platform,
            "timestamp": stamp(),
            "agreementId": agreement,
        }
        document = Document(
            kind, str(uuid.uuid4()), issuer, recipient, agreement, {**common, **body}
        )
        self.documents[kind, document.id] = document
        return document

    def send(self, document: Document) -> None:
        """Deliver a document to the requestor; a second time changes nothing."""
        if document.status == "ISSUED":
            document.status = "RECEIVED"
            self._event(document, document.recipient, "Received")

    def _event(self, document: Document, to: str, what: str, **more: Any) -> None:
        name = "Invoice" if document.kind == "invoice" else "DebitNote"
        event = {
            "eventType": f"{name}{what}Event",
            "eventDate": stamp(),
            f"{document.kind}Id": document.id,
            **more,
        }
        self.events[document.kind].append((to, event))
        self.bell.ring()

    def document(self, kind: str, identifier: str, party: str) -> Document:
        """Return an invoice or debit note of which ``party`` is one side.

        Raises:
            ApiError: 404.
        """
        found = self.documents.get((kind, identifier))
        if found is None or party not in (found.issuer, found.recipient):
            raise ApiError(404, f"{kind} {identifier} not found")
        return found

    def accept(self, kind: str, identifier: str, owner: str, body: dict[str, Any]) -> None:
        """Accept a document and pay from an allocation what is not yet accepted for its agreement.

        Raises:
            ApiError: 400 wrong amount, no allocation, or not enough left in it; 404; 410 released allocation.
        """
        document = self.document(kind, identifier, owner)
        wanted = amount(body.get("totalAmountAccepted"))
        if wanted != document.due:
            raise ApiError(
                400,
                f"Invalid amount accepted. Expected: {digits(document.due)} Actual: {digits(wanted)}",
            )
        if document.status in ("ACCEPTED", "SETTLED"):
            return
        allocation = self.allocation(str(body.get("allocationId")), owner)
        more = max(Decimal(0), wanted - self.accepted.get(document.agreement, Decimal(0)))
        remaining = allocation.total - allocation.spent
        if more > remaining:
            raise ApiError(
                400, f"Not enough funds. Allocated: {digits(remaining)} Needed: {digits(more)}"
            )
        allocation.spent += more
        allocation.updated = stamp()
        self.accepted[document.agreement] = self.accepted.get(document.agreement, Decimal(0)) + more
        document.status = "ACCEPTED"
        self._event(document, document.issuer, "Accepted")

    def reject(self, kind: str, identifier: str, owner: str, body: dict[str, Any]) -> None:
        """Reject a document.

        Raises:
            ApiError: 404.
        """
        document = self.document(kind, identifier, owner)
        document.status = "REJECTED"
        self._event(document, document.issuer, "Rejected", rejection=body)

    async def events_after(
        self, kind: str, party: str, after: datetime | None, timeout_s: float, limit: int | None
    ) -> list[dict[str, Any]]:
        """Return a party's events strictly later than ``after``, waiting up to ``timeout_s`` for one."""

        def found() -> list[dict[str, Any]]:
            return [
                event
                for to, event in self.events[kind]
                if to == party
                and (
                    after is None
                    or datetime.fromisoformat(event["eventDate"].replace("Z", "+00:00")) > after
                )
            ]

        await self.bell.until(lambda: bool(found()), timeout_s)
        return found()[:limit]

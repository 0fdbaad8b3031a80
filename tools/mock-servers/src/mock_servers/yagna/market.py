"""The market: subscriptions, matching, negotiation and agreements (``/market-api/v1``).

Both sides use it through the same methods: requestors and outside providers by the REST routes in ``app``, the built-in
providers by direct calls. Source: Golem market API, requestor and provider parts.
"""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from datetime import datetime, timedelta
from typing import Any

from mock_servers.yagna.bell import Bell, now, stamp
from mock_servers.yagna.constraints import ConstraintError, matches
from mock_servers.yagna.errors import ApiError

__all__ = ["Agreement", "Market", "Proposal", "Subscription"]

SUBSCRIPTION_LIFE = timedelta(hours=1)


def _hex_id() -> str:
    return uuid.uuid4().hex + uuid.uuid4().hex


@dataclasses.dataclass(slots=True)
class Subscription:
    """An offer or a demand that is on the market."""

    id: str
    kind: str  # "offer" or "demand"
    owner: str
    properties: dict[str, Any]
    constraints: str
    created: datetime
    events: list[dict[str, Any]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Proposal:
    """One step of a negotiation. ``answer`` is the id of the proposal that countered it."""

    id: str
    author: str
    recipient: str
    demand: Subscription
    offer: Subscription
    properties: dict[str, Any]
    constraints: str
    state: str
    previous: Proposal | None = None
    answer: str | None = None
    agreement: str | None = None

    def view(self) -> dict[str, Any]:
        """Return the proposal as the API shows it."""
        shown: dict[str, Any] = {
            "properties": self.properties,
            "constraints": self.constraints,
            "proposalId": self.id,
            "issuerId": self.author,
            "state": self.state,
            "timestamp": stamp(),
        }
        if self.previous is not None:
            shown["prevProposalId"] = self.previous.id
        return shown


@dataclasses.dataclass(slots=True)
class Agreement:
    """A contract between one demand and one offer."""

    id: str
    requestor: str
    provider: str
    demand: dict[str, Any]
    offer: dict[str, Any]
    offer_id: str
    valid_to: str
    created: datetime
    state: str = "Proposal"
    approved: datetime | None = None
    app_session: str | None = None
    reason: dict[str, Any] | None = None

    def view(self) -> dict[str, Any]:
        """Return the agreement as the API shows it."""
        shown: dict[str, Any] = {
            "agreementId": self.id,
            "demand": self.demand,
            "offer": self.offer,
            "validTo": self.valid_to,
            "state": self.state,
            "timestamp": stamp(self.created),
        }
        if self.approved is not None:
            shown["approvedDate"] = stamp(self.approved)
        if self.app_session is not None:
            shown["appSessionId"] = self.app_session
        return shown


class Market:
    """All subscriptions, proposals and agreements of one local Golem."""

    def __init__(self) -> None:
        self.subscriptions: dict[str, Subscription] = {}
        self.proposals: dict[str, Proposal] = {}
        self.agreements: dict[str, Agreement] = {}
        self.agreement_events: list[dict[str, Any]] = []
        self.bell = Bell()

    # subscriptions -----------------------------------------------------------------------------------------------

    def subscribe(self, kind: str, owner: str, properties: dict[str, Any], constraints: str) -> str:
        """Put an offer or a demand on the market, match it, and return its id.

        Constraints that do not parse are accepted, as by the daemon, and match nothing.
        """
        identifier = f"{uuid.uuid4().hex}-{_hex_id()}"
        mine = Subscription(identifier, kind, owner, properties, constraints, now())
        self.subscriptions[identifier] = mine
        for other in list(self.subscriptions.values()):
            if other.kind != kind:
                self._match(*((mine, other) if kind == "demand" else (other, mine)))
        return identifier

    def _match(self, demand: Subscription, offer: Subscription) -> None:
        if demand.owner == offer.owner or self._expired(demand) or self._expired(offer):
            return
        try:
            suited = matches(demand.constraints, offer.properties) and matches(
                offer.constraints, demand.properties
            )
        except ConstraintError:
            return
        if suited:
            proposal = Proposal(
                f"R-{_hex_id()}",
                offer.owner,
                demand.owner,
                demand,
                offer,
                offer.properties,
                offer.constraints,
                "Initial",
            )
            self._announce(proposal, demand)

    @staticmethod
    def _expired(subscription: Subscription) -> bool:
        expiration = subscription.properties.get("golem.srv.comp.expiration")
        too_old = now() - subscription.created > SUBSCRIPTION_LIFE
        return too_old or bool(expiration and float(expiration) / 1000 < now().timestamp())

    def _announce(self, proposal: Proposal, to: Subscription) -> None:
        self.proposals[proposal.id] = proposal
        self._push(to, {"eventType": "ProposalEvent", "proposal": proposal.view()})

    def _push(self, to: Subscription, event: dict[str, Any]) -> None:
        to.events.append({**event, "eventDate": stamp()})
        self.bell.ring()

    def subscription(self, kind: str, identifier: str, owner: str) -> Subscription:
        """Return a live subscription of ``owner``.

        Raises:
            ApiError: 404, it does not exist, is not theirs, or has expired.
        """
        found = self.subscriptions.get(identifier)
        if found is None or found.kind != kind or found.owner != owner or self._expired(found):
            raise ApiError(404, f"Subscription [{identifier}] not found.")
        return found

    def unsubscribe(self, kind: str, identifier: str, owner: str) -> None:
        """Take a subscription off the market.

        Raises:
            ApiError: 404, as :meth:`subscription`.
        """
        self.subscription(kind, identifier, owner)
        del self.subscriptions[identifier]
        self.bell.ring()

    async def collect(
        self, kind: str, identifier: str, owner: str, timeout_s: float, limit: int
    ) -> list[dict[str, Any]]:
        """Wait for events of a subscription and take at most ``limit`` of them; empty after ``timeout_s``.

        Raises:
            ApiError: 400 for a limit below 1; 404 as :meth:`subscription`, also while waiting.
        """
        if limit < 1:
            raise ApiError(400, "maxEvents should be greater than 0")
        mine = self.subscription(kind, identifier, owner)
        await self.bell.until(
            lambda: bool(mine.events) or identifier not in self.subscriptions, timeout_s
        )
        self.subscription(kind, identifier, owner)
        taken, mine.events = mine.events[:limit], mine.events[limit:]
        return taken

    # negotiation -------------------------------------------------------------------------------------------------

    def _received(self, kind: str, subscription: str, proposal: str, owner: str) -> Proposal:
        mine = self.subscription(kind, subscription, owner)
        found = self.proposals.get(proposal)
        if found is None or found.recipient != owner or mine not in (found.demand, found.offer):
            raise ApiError(
                404, f"Proposal [{proposal}] not found for subscription [{subscription}]."
            )
        return found

    def counter(
        self,
        kind: str,
        subscription: str,
        proposal: str,
        owner: str,
        properties: dict[str, Any],
        constraints: str,
    ) -> str:
        """Answer a received proposal with one's own terms; return the new proposal's id.

        Raises:
            ApiError: 404, not a proposal received here; 410, it was answered or rejected already.
        """
        received = self._received(kind, subscription, proposal, owner)
        if received.answer is not None:
            raise ApiError(410, f"Proposal [{proposal}] was already countered")
        if received.state == "Rejected":
            raise ApiError(410, f"Proposal [{proposal}] was rejected")
        answer = Proposal(
            f"R-{_hex_id()}",
            owner,
            received.author,
            received.demand,
            received.offer,
            properties,
            constraints,
            "Draft",
            previous=received,
        )
        received.answer = answer.id
        other = received.offer if kind == "demand" else received.demand
        if other.id in self.subscriptions:
            self._announce(answer, other)
        else:
            self.proposals[answer.id] = answer
        return answer.id

    def reject(
        self, kind: str, subscription: str, proposal: str, owner: str, reason: dict[str, Any] | None
    ) -> None:
        """Turn a received proposal down and tell its author.

        Raises:
            ApiError: 404 or 410 as :meth:`counter`.
        """
        received = self._received(kind, subscription, proposal, owner)
        if received.answer is not None:
            raise ApiError(410, f"Proposal [{proposal}] was already countered")
        if received.state == "Rejected":
            raise ApiError(410, f"Proposal [{proposal}] was rejected")
        initial = received.state == "Initial"
        received.state = "Rejected"
        other = received.offer if kind == "demand" else received.demand
        if not initial and other.id in self.subscriptions:
            self._push(
                other,
                {"eventType": "ProposalRejectedEvent", "proposalId": proposal, "reason": reason},
            )

    # agreements --------------------------------------------------------------------------------------------------

    def agree(self, owner: str, proposal: str, valid_to: str) -> str:
        """Make an agreement from the provider's last counter-proposal; return its id.

        Raises:
            ApiError: 404 unknown proposal; 400 not a countered one; 409 one exists already; 410 the offer is gone.
        """
        basis = self.proposals.get(proposal)
        if basis is None or basis.recipient != owner:
            raise ApiError(404, f"Proposal [{proposal}] not found.")
        if basis.state == "Initial" or basis.previous is None:
            raise ApiError(400, f"Proposal [{proposal}] has no counter proposal yet")
        if basis.answer is not None:
            raise ApiError(410, f"Proposal [{proposal}] was already countered")
        if basis.agreement is not None:
            raise ApiError(409, f"Agreement [{basis.agreement}] exists for proposal [{proposal}]")
        ours = basis.previous
        agreement = Agreement(
            _hex_id(),
            owner,
            basis.author,
            {
                "properties": ours.properties,
                "constraints": ours.constraints,
                "demandId": basis.demand.id,
                "requestorId": owner,
                "timestamp": stamp(basis.demand.created),
            },
            {
                "properties": basis.properties,
                "constraints": basis.constraints,
                "offerId": basis.offer.id,
                "providerId": basis.author,
                "timestamp": stamp(basis.offer.created),
            },
            basis.offer.id,
            valid_to,
            now(),
        )
        basis.agreement = agreement.id
        self.agreements[agreement.id] = agreement
        return agreement.id

    def agreement(self, identifier: str, party: str) -> Agreement:
        """Return an agreement of which ``party`` is one side.

        Raises:
            ApiError: 404.
        """
        found = self.agreements.get(identifier)
        if found is None or party not in (found.requestor, found.provider):
            raise ApiError(404, f"Agreement [{identifier}] not found.")
        return found

    def confirm(self, identifier: str, owner: str, app_session: str | None) -> None:
        """Sign as requestor and send it to the provider.

        Raises:
            ApiError: 404; 410 when it is past that state.
        """
        agreement = self.agreement(identifier, owner)
        if agreement.requestor != owner:
            raise ApiError(404, f"Agreement [{identifier}] not found.")
        if agreement.state != "Proposal":
            raise ApiError(410, f"Agreement [{identifier}] is in state {agreement.state}")
        agreement.app_session = app_session
        agreement.state = "Pending"
        offer = self.subscriptions.get(agreement.offer_id)
        if offer is None:
            self.close(agreement, "Rejected", {"message": "The offer was withdrawn."})
        else:
            self._push(offer, {"eventType": "AgreementEvent", "agreement": agreement.view()})

    async def wait(self, identifier: str, owner: str, timeout_s: float) -> None:
        """Wait until the provider has approved.

        Raises:
            ApiError: 410 rejected, cancelled or terminated; 408 nothing happened in ``timeout_s``.
        """
        agreement = self.agreement(identifier, owner)
        if agreement.state == "Proposal":
            raise ApiError(410, f"Agreement [{identifier}] is not confirmed")
        await self.bell.until(lambda: agreement.state != "Pending", timeout_s)
        if agreement.state == "Pending":
            raise ApiError(408, f"Timeout while waiting for approval of agreement [{identifier}]")
        if agreement.state != "Approved":
            raise ApiError(410, f"Agreement [{identifier}] is in state {agreement.state}")

    def approve(self, identifier: str, provider: str, app_session: str | None = None) -> None:
        """Sign as provider.

        Raises:
            ApiError: 404; 410 when it is not pending any more.
        """
        agreement = self.agreement(identifier, provider)
        if agreement.state != "Pending":
            raise ApiError(410, f"Agreement [{identifier}] is in state {agreement.state}")
        agreement.approved = now()
        agreement.state = "Approved"
        self._record(agreement, "AgreementApprovedEvent", None)

    def decline(self, identifier: str, provider: str, reason: dict[str, Any] | None) -> None:
        """Refuse as provider.

        Raises:
            ApiError: 404; 410 when it is not pending any more.
        """
        agreement = self.agreement(identifier, provider)
        if agreement.state != "Pending":
            raise ApiError(410, f"Agreement [{identifier}] is in state {agreement.state}")
        self.close(agreement, "Rejected", reason)

    def cancel(self, identifier: str, owner: str, reason: dict[str, Any] | None) -> None:
        """Withdraw as requestor before the provider approved.

        Raises:
            ApiError: 404; 410 when it is past that.
        """
        agreement = self.agreement(identifier, owner)
        if agreement.state not in ("Proposal", "Pending"):
            raise ApiError(410, f"Agreement [{identifier}] is in state {agreement.state}")
        self.close(agreement, "Cancelled", reason)

    def terminate(self, identifier: str, party: str, reason: dict[str, Any] | None) -> None:
        """End an approved agreement, from either side.

        Raises:
            ApiError: 404; 409 when it was not signed yet, 410 when it has ended.
        """
        agreement = self.agreement(identifier, party)
        if agreement.state in ("Proposal", "Pending"):
            raise ApiError(409, f"Agreement [{identifier}] is in state {agreement.state}")
        if agreement.state != "Approved":
            raise ApiError(410, f"Agreement [{identifier}] is in state {agreement.state}")
        self.close(agreement, "Terminated", reason)

    def close(self, agreement: Agreement, state: str, reason: dict[str, Any] | None) -> None:
        """Move an agreement into one of its final states and tell everybody."""
        agreement.state = state
        agreement.reason = reason
        self._record(agreement, f"Agreement{state}Event", reason)

    def _record(self, agreement: Agreement, kind: str, reason: dict[str, Any] | None) -> None:
        event: dict[str, Any] = {
            "eventType": kind,
            "eventDate": stamp(),
            "agreementId": agreement.id,
        }
        if reason is not None:
            event["reason"] = reason
        self.agreement_events.append(event)
        self.bell.ring()

    async def events_after(
        self, party: str, after: datetime | None, timeout_s: float, limit: int
    ) -> list[dict[str, Any]]:
        """Return events of ``party``'s agreements strictly later than ``after``, waiting up to ``timeout_s``."""

        def found() -> list[dict[str, Any]]:
            return [
                event
                for event in self.agreement_events
                if party
                in (
                    self.agreements[event["agreementId"]].requestor,
                    self.agreements[event["agreementId"]].provider,
                )
                and (
                    after is None
                    or datetime.fromisoformat(event["eventDate"].replace("Z", "+00:00")) > after
                )
            ]

        await self.bell.until(lambda: bool(found()), timeout_s)
        return found()[:limit]

    async def ended(self, agreement: Agreement) -> None:
        """Return once an agreement is no longer in force."""
        while agreement.state in ("Proposal", "Pending", "Approved"):
            await self.bell.until(lambda: agreement.state not in ("Pending", "Approved"), 3600.0)
            await asyncio.sleep(0)

"""A made-up Salesforce and Marketo with planted secrets and people, which note the tokens that they hand out.

Each says which connectors are to be made to it and how their syncs end, and then goes wrong in the ways in which a
message could tell what is secret or personal: pages and refusals that repeat what was sent, and answers that are cut.
"""

import json
import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from casetrail_testkit import Clock, Fault, MarketoServer, SalesforceServer
from casetrail_testkit.marketo.catalog import LeadField
from casetrail_testkit.messages import Request, Response
from casetrail_testkit.server import VendorServer
from tests.e2e import canaries
from tests.e2e.canaries import Canary

NOON = datetime(2024, 2, 5, 12, tzinfo=UTC)
"""In the month that the other connectors are about."""

SIGN_IN_FAILED = "<html><h1>Internal error</h1><pre>{client_secret}\n{body}</pre></html>"
BAD_GATEWAY = "<html>Bad gateway: {authorization}</html>"


@dataclass(frozen=True)
class Planned:
    """A connector to be made.

    Attributes:
        is_let_in: Its check succeeds.
        comes_through: Its sync does.
    """

    type: str
    config: dict[str, Any]
    secrets: dict[str, str]
    is_let_in: bool = True
    comes_through: bool = True


class PlantedVendor(VendorServer):
    """What both have in common."""

    secret: Canary
    wrong: Canary
    people: tuple[canaries.Person, ...]
    others: tuple[Canary, ...] = ()

    def __init__(self) -> None:
        super().__init__(clock=Clock(NOON))
        self._handed_out: dict[str, Canary] = {}
        self.plant()

    @abstractmethod
    def plant(self) -> None:
        """Put secrets and people in their place."""

    @abstractmethod
    def connectors(self) -> dict[str, Planned]:
        """By name, those that are to be made."""

    @abstractmethod
    def mishaps(self) -> Iterator[Fault]:
        """What goes wrong in the sync of a connector that was let in; each of them once."""

    def respond(self, request: Request, faults: list[Fault]) -> Response:
        """Note what was signed with a key, and the access tokens."""
        response = super().respond(request, faults)
        if "assertion" in request.form:
            self._note("assertion", request.form["assertion"])
        if isinstance(response.body, bytes) and response.body.startswith(b'{"access_token"'):
            self._note("access token", json.loads(response.body)["access_token"])
        return response

    def _note(self, name: str, text: str) -> None:
        # A signature has hundreds of characters: to look for all pieces of all would take seconds.
        random_part = max(re.split("[!:.]", text), key=len)[:48]
        self._handed_out[text] = Canary(name, text, random_part)

    def go_wrong(self) -> None:
        """Let the mishaps come."""
        for fault in self.mishaps():
            self.faults.add(fault)

    def planted(self) -> list[Canary]:
        """All that is to be nowhere else."""
        of_people = (canary for person in self.people for canary in person.canaries())
        return [self.secret, self.wrong, *self.others, *self._handed_out.values(), *of_people]


class Org(PlantedVendor, SalesforceServer):
    """A lead, a contact and a user, and connectors with a secret, a private key and a wrong secret."""

    def plant(self) -> None:
        self.secret, self.wrong = canaries.secret("consumer secret"), canaries.secret("wrong consumer secret")
        self.sessions.consumer_secret = self.secret.value
        pem = self.sessions.private_key
        self.others = (Canary("private key", pem, pem.splitlines()[5]),)
        lead, contact, user = map(canaries.person, ("the lead", "the contact", "the user"))
        self.people = lead, contact, user
        for name, person in (("Lead", lead), ("Contact", contact)):
            values = {"LastName": person.name.value, "Name": person.name.value}
            values |= {"Email": person.address.value, "Phone": person.phone.value}
            record = self.store.create(name, values)
            if name == "Lead":
                change = {"LeadId": record, "Field": "LastName", "NewValue": person.name.value}
                self.store.create("LeadHistory", change)
        self.store.create("User", {"Name": user.name.value, "Email": user.address.value})
        self.store.create("Account", {"Name": "Acme"})
        self.clock.advance(3_600)
        refusal = {"error": "invalid_client", "error_description": "{client_secret} in {body} is none"}
        self.faults.add(path="/token", body=self.wrong.part, times=0, status=400, json=refusal)

    def connectors(self) -> dict[str, Planned]:
        known = {"url": self.url, "client_id": self.sessions.consumer_key, "lag_seconds": 0}
        fields = {"LastName": "drop", "Name": "pseudonym", "Phone": "pseudonym"}
        read = {
            "streams": ["Lead", "LeadHistory", "Contact", "User"], "personal": {"Lead": fields, "Contact": fields},
        }  # fmt: skip
        signed = {"streams": ["Account"], "username": self.sessions.username}
        key = {"private_key": self.sessions.private_key}
        return {
            "org": Planned("salesforce", known | read, {"client_secret": self.secret.value}),
            "org-by-key": Planned("salesforce", known | signed, key, comes_through=False),
            "org-wrong": Planned(
                "salesforce", known | read, {"client_secret": self.wrong.value}, is_let_in=False, comes_through=False
            ),
        }  # fmt: skip

    def mishaps(self) -> Iterator[Fault]:
        yield Fault("/token", body=self.secret.part, status=500, text=SIGN_IN_FAILED)
        # The session ends in mid-pull, and the answer with the next token is cut behind it.
        yield Fault("/LeadHistory/describe", effects=("expire_tokens",))
        yield Fault("/token", body=self.secret.part, nth=3, truncate_after=150)
        yield Fault("/Contact/describe", status=502, text=BAD_GATEWAY)
        yield Fault("SELECT .*Email.* FROM User", truncate_after=280)
        refusal = [{"errorCode": "MALFORMED_QUERY", "message": "nothing for {authorization}"}]
        yield Fault("FROM Account", status=400, json=refusal)
        yield Fault("/token", body="assertion=", status=503, text="<html>Not now, {assertion}</html>")


class Subscription(PlantedVendor, MarketoServer):
    """A lead who filled out a form, and connectors with a secret and a wrong one."""

    def plant(self) -> None:
        self.secret, self.wrong = canaries.secret("client secret"), canaries.secret("wrong client secret")
        self.identity.client_secret = self.secret.value
        # The clock stands, so the window of 20 seconds never ends.
        self.limits.calls_in_window = 1_000_000
        self.people = (canaries.person("Marketo's lead"),)
        name, address, phone = (canary.value for canary in self.people[0].canaries())
        self.store.add_field(LeadField("phone"))
        lead = self.store.create_lead({"lastName": name, "email": address, "phone": phone})
        typed = {
            "Form Fields": f"{name}, {phone}",
            "Query Parameters": f"?e={address}",
            "Referrer URL": f"/{phone}",
        }
        self.store.log_activity("Fill Out Form", lead, typed)
        self.store.log_activity("Change Data Value", lead, {"New Value": phone, "Old Value": name})
        self.store.log_activity("Email Bounced", lead, {"Email": address, "Details": f"no {address}"})
        self.clock.advance(3_600)
        refusal = {"error": "unauthorized", "error_description": "{client_secret} in {body} is none"}
        self.faults.add(path="oauth", body=self.wrong.part, times=0, status=401, json=refusal)

    def connectors(self) -> dict[str, Planned]:
        config = {
            "url": self.url, "client_id": self.identity.client_id, "start": "2024-02-01T00:00:00Z",
            "streams": ["activities", "leads"], "lead_fields": ["email", "lastName", "phone"],
            "personal": {"leads": {"phone": "pseudonym"}}, "lag_seconds": 0, "poll_seconds": 0,
            "calls_in_20_seconds": 10_000,
        }  # fmt: skip
        return {
            "subscription": Planned("marketo", config, {"client_secret": self.secret.value}),
            "subscription-wrong": Planned(
                "marketo", config, {"client_secret": self.wrong.value}, is_let_in=False, comes_through=False
            ),
        }  # fmt: skip

    def mishaps(self) -> Iterator[Fault]:
        yield Fault("oauth", body=self.secret.part, status=500, text=SIGN_IN_FAILED)
        error = {"code": "611", "message": "System error for {authorization}"}
        yield Fault("leads/.*/status", status=200, json={"success": False, "errors": [error]})
        yield Fault("activities/.*/status", effects=("expire_tokens",))
        yield Fault("oauth", body=self.secret.part, nth=4, truncate_after=60)
        yield Fault("/file", status=502, text=BAD_GATEWAY)

"""What the records mean: which are events, whose they are, and what of them is personal."""

from orchestration.connectors.mapping import Mapping as EventMapping
from orchestration.sources.protocol import Identity, Personal, Same
from orchestration.sources.types.marketo.activity_types import LEAD_NAME, OTHERS, TYPE_NAME
from orchestration.sources.types.marketo.config import LINKS, Config

SYSTEM, CRM = "marketo", "salesforce"

_LEAD_FIELDS: dict[str, Personal] = {
    "email": "email",
    **dict.fromkeys(
        (
            *("firstName", "middleName", "lastName", "salutation", "dateOfBirth", "personName"),
            *("phone", "mobilePhone", "fax", "mainPhone"),
            *("address", "city", "postalCode"),
            *("anonymousIP", "cookies", "facebookId", "linkedInId", "twitterId"),
            *("facebookDisplayName", "linkedInDisplayName", "twitterDisplayName"),
            *("facebookPhotoURL", "linkedInPhotoURL", "twitterPhotoURL"),
            *("facebookProfileURL", "linkedInProfileURL", "twitterProfileURL"),
            *("originalReferrer", "originalSearchPhrase"),
        ),
        "drop",
    ),
}

_ACTIVITY_COLUMNS: dict[str, Personal] = {
    "Email": "email",
    **dict.fromkeys(
        (
            LEAD_NAME,
            OTHERS,
            # What a person has typed, or what a page's address says of them.
            *("Form Fields", "Query Parameters", "Referrer URL", "Client IP Address", "User Agent"),
            # Of any field of the lead, and what a server says of an address.
            *("New Value", "Old Value", "Details"),
        ),
        "drop",
    ),
}


def mappings(config: Config) -> dict[str, EventMapping]:
    """Activities are events of their lead."""
    if "activities" not in config.streams:
        return {}
    return {
        "activities": EventMapping(
            system=SYSTEM,
            case_id="leadId",
            activity=TYPE_NAME,
            timestamp="activityDate",
            record_key=("marketoGUID",),
            order="marketoGUID",
        )
    }


def personal(config: Config) -> dict[str, dict[str, Personal]]:
    """The personal columns of what is pulled; of activities, those that Marketo's own types have."""
    leads = {name: what for name, what in _LEAD_FIELDS.items() if name in config.fields}
    declared = {"activities": _ACTIVITY_COLUMNS, "leads": leads}
    return {stream: dict(columns) for stream, columns in declared.items() if stream in config.streams}


def identity(config: Config) -> dict[str, Identity]:
    """A lead is the lead and contact of Salesforce that it is synced with, and the leads that were merged into it."""
    declared = {
        "leads": Identity(
            system=SYSTEM,
            record="id",
            key=("id",),
            same=tuple(Same(column=name, system=CRM) for name in LINKS if name in config.fields),
            keys=("email",) if "email" in config.fields else (),
        ),
        "merges": Identity(
            system=SYSTEM,
            record="winner",
            key=("winner", "loser"),
            same=(Same(column="loser", system=SYSTEM),),
        ),
    }
    return {stream: what for stream, what in declared.items() if stream in config.streams}

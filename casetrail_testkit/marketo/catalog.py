"""What a subscription knows at first: fields of leads and types of activities.

Ids of types differ from one subscription to the next (Delete Lead has 37 in the documentation and 29 elsewhere), which
is why a client must go by the names.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class LeadField:
    """A field of leads as ``describe`` tells it; ``name`` is the one that REST and Bulk Extract use."""

    name: str
    type: str = "string"
    display_name: str = ""
    length: int | None = None
    read_only: bool = False
    searchable: bool = False
    """Whether ``leads.json`` takes it as a filter type."""


@dataclass(frozen=True)
class ActivityType:
    """A type of activities: its primary attribute, if it has one, and the names of the others."""

    id: int
    name: str
    primary: str | None = None
    attributes: tuple[str, ...] = ()


NEW_LEAD, CHANGE_DATA_VALUE = "New Lead", "Change Data Value"
DELETE_LEAD, MERGE_LEADS = "Delete Lead", "Merge Leads"

_CHANGE = ("New Value", "Old Value", "Reason", "Source", "API Method Name", "Modifying User", "Request Id")
_MAIL = ("Campaign Run ID", "Choice Number", "Step ID")
_BROWSER = ("Device", "Is Mobile Device", "Platform", "User Agent")


def standard_types() -> list[ActivityType]:
    """The types that come with every subscription, those of them that tell a lead's story."""
    page = ("Client IP Address", "Query Parameters", "Referrer URL", "User Agent")
    return [
        ActivityType(1, "Visit Webpage", "Webpage ID", page),
        ActivityType(2, "Fill Out Form", "Webform ID", ("Form Fields", *page)),
        ActivityType(3, "Click Link", "Link ID", page),
        ActivityType(6, "Send Email", "Mailing ID", _MAIL),
        ActivityType(7, "Email Delivered", "Mailing ID", _MAIL),
        ActivityType(
            8, "Email Bounced", "Mailing ID", ("Category", "Details", "Email", "Subcategory", *_MAIL)
        ),
        ActivityType(9, "Unsubscribe Email", "Mailing ID", ("Form Fields", "Webform ID", *page)),
        ActivityType(10, "Open Email", "Mailing ID", (*_BROWSER, *_MAIL)),
        ActivityType(11, "Click Email", "Mailing ID", ("Link", *_BROWSER, *_MAIL)),
        ActivityType(12, NEW_LEAD, None, ("Source Type", "Form Name", "List Name", "SFDC Type")),
        ActivityType(13, CHANGE_DATA_VALUE, "Attribute Name", _CHANGE),
        ActivityType(22, "Change Score", "Score Name", ("Change Value", "New Value", "Old Value", "Reason")),
        ActivityType(24, "Add to List", "Static List ID", ("Source",)),
        ActivityType(
            32, MERGE_LEADS, "Lead ID", ("Master Updated", "Merge IDs", "Merge Source", "Merged in Sales")
        ),
        ActivityType(37, DELETE_LEAD, "Lead ID", ("Campaign",)),
        ActivityType(46, "Interesting Moment", "Milestone", ("Date", "Description", "Source")),
        ActivityType(
            104, "Change Status in Progression", "Program ID", ("New Status", "Old Status", "Reason")
        ),
    ]


def standard_fields() -> list[LeadField]:
    """The fields of leads that matter for a trail, and those that link to Salesforce."""
    stamps = [LeadField(name, "datetime", read_only=True) for name in ("createdAt", "updatedAt")]
    links = ("sfdcId", "sfdcLeadId", "sfdcContactId", "sfdcAccountId", "sfdcOpptyId")
    return [
        LeadField("id", "integer", read_only=True, searchable=True),
        LeadField("email", "email", length=255, searchable=True),
        *stamps,
        *(LeadField(name, length=255) for name in ("firstName", "lastName", "company", "title", "industry")),
        *(LeadField(name, length=255) for name in ("leadSource", "leadStatus", "country")),
        LeadField("leadScore", "integer"),
        LeadField("unsubscribed", "boolean"),
        LeadField("sfdcType", length=255, read_only=True),
        *(LeadField(name, length=255, read_only=True, searchable=True) for name in links),
        LeadField("sfdcLeadOwnerId", length=255, read_only=True, searchable=True),
    ]

"""The standard objects that are pulled by themselves: which they are, and what of them is personal."""

from collections.abc import Iterable

from orchestration.sources.protocol import Personal

STANDARD = (
    "User",
    "Account",
    "Contact",
    "Lead",
    "LeadHistory",
    "Opportunity",
    "OpportunityHistory",
    "OpportunityFieldHistory",
    "OpportunityContactRole",
    "Case",
    "CaseHistory",
    "Task",
    "Event",
    "Campaign",
    "CampaignMember",
)

NEVER = {"EmailMessage": frozenset({"TextBody", "HtmlBody", "Headers"})}
"""What no configuration can have read."""

OTHER = ".other"
"""Ends the name of the stream of an object's records that are no events."""

_NAMES = ("Salutation", "FirstName", "MiddleName", "LastName", "Suffix", "Name", "PhotoUrl")
_PHONES = ("Phone", "MobilePhone", "HomePhone", "OtherPhone", "AssistantPhone", "Fax", "AssistantName")
_PLACE = ("Street", "PostalCode", "Latitude", "Longitude")


def _dropped(*names: Iterable[str]) -> dict[str, Personal]:
    return {name: "drop" for group in names for name in group}


def _places(*prefixes: str) -> list[str]:
    return [prefix + part for prefix in prefixes for part in _PLACE]


_VALUES: dict[str, Personal] = {"OldValue": "drop", "NewValue": "drop"}
"""Of changes that are no events: of whatever field, such as a name."""

PERSONAL: dict[str, dict[str, Personal]] = {
    "User": _dropped(
        ("Username", "Alias", "CommunityNickname", "FederationIdentifier", "EmployeeNumber", "Extension"),
        ("FirstName", "MiddleName", "LastName", "Suffix", "SenderName", "SenderEmail", "Signature"),
        ("FullPhotoUrl", "SmallPhotoUrl", "MediumPhotoUrl", "BannerPhotoUrl", "MediumBannerPhotoUrl"),
        ("SmallBannerPhotoUrl", "AboutMe", "StayInTouchSubject", "StayInTouchSignature", "StayInTouchNote"),
        _PHONES,
        _places(""),
    )
    | {"Name": "pseudonym", "Email": "pseudonym"},
    "Account": _dropped(
        ("Phone", "Fax", "PhotoUrl", "Salutation", "FirstName", "MiddleName", "LastName", "Suffix"),
        [f"Person{name}" for name in (*_PHONES, "Birthdate")],
        _places("Billing", "Shipping", "PersonMailing", "PersonOther"),
    )
    | {"PersonEmail": "email"},
    "Contact": _dropped(_NAMES, _PHONES, ("Birthdate",), _places("Mailing", "Other")) | {"Email": "email"},
    "Lead": _dropped(_NAMES, _PHONES, _places("")) | {"Email": "email"},
    "Case": _dropped(
        ("Subject", "SuppliedName", "SuppliedPhone", "ContactPhone", "ContactMobile", "ContactFax")
    )
    | {"SuppliedEmail": "email", "ContactEmail": "email"},
    "CampaignMember": _dropped(_NAMES, _PHONES, _places("")) | {"Email": "email"},
    "Task": _dropped(("Subject", "CallObject")),
    "Event": _dropped(("Subject", "Location")),
    "EmailMessage": _dropped(
        ("Subject", "FromName", "FromAddress", "ToAddress", "CcAddress", "BccAddress"),
        ("MessageIdentifier", "ThreadIdentifier", "ValidatedFromAddress"),
    ),
    **{
        f"{name}History{suffix}": _VALUES
        for name, suffix in (
            ("Lead", OTHER),
            ("Case", OTHER),
            ("OpportunityField", OTHER),
            ("Contact", ""),
            ("Account", ""),
        )
    },
}
"""By stream what becomes of personal columns. The names of accounts and opportunities are those of companies."""

"""The objects of an org and their fields: a small set of the standard ones, and whatever a test defines.

The set is what an event log of sales and support is read from. Fields are those that matter for that; a real org
has more, and an object takes any further field with ``add_field``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

UNFILTERABLE = ("anyType", "textarea", "address", "base64")


@dataclass(frozen=True)
class Field:
    """One field as ``describe`` tells it.

    Attributes:
        name: API name in its own spelling.
        type: ``id``, ``reference``, ``string``, ``picklist``, ``email``, ``boolean``, ``int``, ``double``,
            ``currency``, ``percent``, ``date``, ``datetime``, ``textarea``, ``anyType``, ``address`` or ``base64``.
        references: The object that a reference points to.
        filterable: Whether a WHERE may name it.
        calculated: A formula or roll-up; its changes touch no stamp.
        compound: The compound field that it is a part of.
    """

    name: str
    type: str = "string"
    references: str | None = None
    filterable: bool = True
    calculated: bool = False
    compound: str | None = None


@dataclass
class SObject:
    """One object: its fields by lower-case name, and what it does not support."""

    name: str
    key_prefix: str
    fields: dict[str, Field] = field(default_factory=dict)
    bulk: bool = True
    recycles: bool = True
    """False: a delete is a hard one, and leaves no trace."""

    def field(self, name: str) -> Field | None:
        """The field of that name, whatever its case."""
        return self.fields.get(name.lower())

    def has(self, name: str) -> bool:
        """Whether there is such a field."""
        return name.lower() in self.fields


def fields_of(text: str) -> list[Field]:
    """Fields from words such as ``Company``, ``Amount:currency``, ``OwnerId:User`` (a reference)."""
    fields = []
    for word in text.split():
        name, _, kind = word.partition(":")
        if kind[:1].isupper():
            fields.append(Field(name, "reference", references=kind))
        else:
            fields.append(Field(name, kind or "string", filterable=kind not in UNFILTERABLE))
    return fields


def sobject(
    name: str, key_prefix: str, fields: Iterable[Field], *, bulk: bool = True, recycles: bool = True
) -> SObject:
    """An object with its Id in front of its fields."""
    own = [Field("Id", "id"), *fields]
    return SObject(name, key_prefix, {one.name.lower(): one for one in own}, bulk, recycles)


STAMPS = "CreatedDate:datetime CreatedById:User LastModifiedDate:datetime LastModifiedById:User SystemModstamp:datetime"
SOFT = f"IsDeleted:boolean {STAMPS}"
CHANGE = (
    "CreatedDate:datetime CreatedById:User Field:picklist DataType:picklist OldValue:anyType NewValue:anyType"
)
ADDRESS = ("Street", "City", "State", "PostalCode", "Country")


def _address(name: str, prefix: str = "") -> list[Field]:
    return [
        Field(name, "address", filterable=False),
        *(Field(prefix + part, compound=name) for part in ADDRESS),
    ]


def _history(name: str, parent: str, parent_field: str) -> SObject:
    """A field history: it has no stamp but its creation, and its values cannot be filtered by."""
    return sobject(name, "017", fields_of(f"IsDeleted:boolean {parent_field}:{parent} {CHANGE}"))


def _activity_field_history() -> SObject:
    """Its SystemModstamp is there but cannot be filtered by, unlike everybody else's."""
    fields = fields_of(f"IsDeleted:boolean ActivityId:Task {CHANGE} SystemModstamp:datetime")
    return sobject(
        "ActivityFieldHistory",
        "0Ad",
        (replace(one, filterable=one.filterable and one.name != "SystemModstamp") for one in fields),
    )


def standard_objects() -> list[SObject]:
    """New definitions of the standard objects, which tests may change."""
    person = "LastName FirstName Name Salutation Title Email:email Phone:phone"
    return [
        sobject(
            "User",
            "005",
            fields_of(f"Username Name Email:email IsActive:boolean UserRoleId:UserRole {STAMPS}"),
        ),
        sobject(
            "UserRole",
            "00E",
            fields_of(
                "Name DeveloperName ParentRoleId:UserRole LastModifiedDate:datetime SystemModstamp:datetime"
            ),
        ),
        sobject("RecordType", "012", fields_of(f"Name DeveloperName SobjectType IsActive:boolean {STAMPS}")),
        sobject(
            "Account",
            "001",
            [
                *fields_of(
                    f"{SOFT} MasterRecordId:Account Name Type:picklist ParentId:Account Industry:picklist"
                ),
                *fields_of(
                    "OwnerId:User Website AnnualRevenue:currency NumberOfEmployees:int Description:textarea"
                ),
                *_address("BillingAddress", "Billing"),
            ],
        ),
        sobject(
            "Contact",
            "003",
            [*fields_of(f"{SOFT} MasterRecordId:Contact AccountId:Account OwnerId:User {person}")],
        ),
        sobject(
            "Lead",
            "00Q",
            [
                *fields_of(
                    f"{SOFT} MasterRecordId:Lead {person} Company Status:picklist LeadSource:picklist"
                ),
                *fields_of("OwnerId:User Industry:picklist AnnualRevenue:currency IsConverted:boolean"),
                *fields_of("ConvertedDate:date ConvertedAccountId:Account ConvertedContactId:Contact"),
                *fields_of("ConvertedOpportunityId:Opportunity"),
                *_address("Address"),
            ],
        ),
        sobject(
            "Opportunity",
            "006",
            [
                *fields_of(
                    f"{SOFT} AccountId:Account Name StageName:picklist Amount:currency Probability:percent"
                ),
                *fields_of("CloseDate:date Type:picklist LeadSource:picklist IsClosed:boolean IsWon:boolean"),
                *fields_of("ForecastCategory:picklist OwnerId:User CampaignId:Campaign ContactId:Contact"),
                *fields_of("Description:textarea"),
                Field("ExpectedRevenue", "currency", calculated=True),
            ],
        ),
        sobject(
            "OpportunityHistory",
            "008",
            [
                *fields_of(
                    "IsDeleted:boolean OpportunityId:Opportunity CreatedById:User CreatedDate:datetime"
                ),
                *fields_of("StageName:picklist Amount:currency ExpectedRevenue:currency CloseDate:date"),
                *fields_of("Probability:percent ForecastCategory:picklist SystemModstamp:datetime"),
            ],
        ),
        _history("OpportunityFieldHistory", "Opportunity", "OpportunityId"),
        _history("LeadHistory", "Lead", "LeadId"),
        _history("ContactHistory", "Contact", "ContactId"),
        _history("AccountHistory", "Account", "AccountId"),
        _history("CaseHistory", "Case", "CaseId"),
        _activity_field_history(),
        sobject(
            "OpportunityContactRole",
            "00K",
            fields_of(f"{SOFT} OpportunityId:Opportunity ContactId:Contact Role:picklist IsPrimary:boolean"),
        ),
        sobject(
            "Case",
            "500",
            [
                *fields_of(
                    f"{SOFT} MasterRecordId:Case CaseNumber ContactId:Contact AccountId:Account Subject"
                ),
                *fields_of("Status:picklist Priority:picklist Origin:picklist Type:picklist Reason:picklist"),
                *fields_of("OwnerId:User IsClosed:boolean IsEscalated:boolean ClosedDate:datetime"),
            ],
        ),
        sobject(
            "Task",
            "00T",
            [
                *fields_of(f"{SOFT} WhoId:Contact WhatId:Opportunity AccountId:Account OwnerId:User Subject"),
                *fields_of(
                    "ActivityDate:date Status:picklist Priority:picklist TaskSubtype:picklist Type:picklist"
                ),
                *fields_of(
                    "IsClosed:boolean CompletedDateTime:datetime IsArchived:boolean Description:textarea"
                ),
            ],
        ),
        sobject(
            "Event",
            "00U",
            [
                *fields_of(f"{SOFT} WhoId:Contact WhatId:Opportunity AccountId:Account OwnerId:User Subject"),
                *fields_of(
                    "ActivityDate:date ActivityDateTime:datetime StartDateTime:datetime EndDateTime:datetime"
                ),
                *fields_of("EventSubtype:picklist Type:picklist IsArchived:boolean"),
            ],
        ),
        sobject(
            "EmailMessage",
            "02s",
            [
                *fields_of(
                    f"{SOFT} ParentId:Case RelatedToId:Opportunity Status:picklist Incoming:boolean Subject"
                ),
                *fields_of("MessageDate:datetime FromAddress:email ToAddress TextBody:textarea"),
            ],
        ),
        sobject(
            "Campaign",
            "701",
            fields_of(
                f"{SOFT} Name Type:picklist Status:picklist StartDate:date EndDate:date IsActive:boolean OwnerId:User"
            ),
        ),
        sobject(
            "CampaignMember",
            "00v",
            [
                *fields_of(f"{SOFT} CampaignId:Campaign LeadId:Lead ContactId:Contact Status:picklist"),
                *fields_of("HasResponded:boolean FirstRespondedDate:date"),
            ],
            recycles=False,
        ),
        sobject("Product2", "01t", fields_of(f"{SOFT} Name ProductCode Family:picklist IsActive:boolean")),
        sobject(
            "Order",
            "801",
            fields_of(
                f"{SOFT} AccountId:Account OrderNumber Status:picklist EffectiveDate:date TotalAmount:currency"
            ),
        ),
        sobject(
            "OpportunityLineItem",
            "00k",
            [
                *fields_of(f"{SOFT} OpportunityId:Opportunity Product2Id:Product2 Name Quantity:double"),
                *fields_of("UnitPrice:currency TotalPrice:currency ListPrice:currency ServiceDate:date"),
            ],
        ),
        *_stages(),
    ]


def _stages() -> list[SObject]:
    """The dimensions that Bulk does not serve."""
    status = f"MasterLabel ApiName SortOrder:int IsDefault:boolean {STAMPS}"
    return [
        sobject("OpportunityStage", "01J", fields_of(f"{status} IsClosed:boolean IsWon:boolean"), bulk=False),
        sobject("LeadStatus", "01J", fields_of(f"{status} IsConverted:boolean"), bulk=False),
        sobject("CaseStatus", "01J", fields_of(f"{status} IsClosed:boolean"), bulk=False),
    ]

"""Who is who: merges, conversions, roles, and the addresses that records of one person share."""

from orchestration.sources.protocol import Identity, ObjectTimes, PersonOf, Same
from orchestration.sources.types.salesforce.config import Config
from orchestration.sources.types.salesforce.events import CLOSED
from orchestration.sources.types.salesforce.standard import STANDARD


def identities(config: Config) -> dict[str, Identity]:
    """By stream what its records say, with the links of the configuration."""
    said = _standard(config.system)
    read = config.streams or STANDARD
    for name in {link.partition(".")[0] for link in config.links}:
        own = said.get(name) or Identity(system=config.system, record="Id", key=("Id",))
        links = tuple(Same(column=field, system=system) for field, system in config.linked(name))
        said[name] = own.model_copy(update={"same": (*own.same, *links)})
    return {name: identity for name, identity in said.items() if name in read}


def _standard(system: str) -> dict[str, Identity]:
    def same(*columns: str) -> tuple[Same, ...]:
        return tuple(Same(column=column, system=system) for column in columns)

    def persons(object_id: str, person_id: str) -> tuple[PersonOf, ...]:
        return (PersonOf(object=object_id, person=person_id),)

    def identity(**said: object) -> Identity:
        return Identity.model_validate({"system": system, "record": "Id", "key": ("Id",), **said})

    return {
        "Lead": identity(
            same=same("MasterRecordId", "ConvertedContactId"),
            keys=("Email",),
            persons=persons("ConvertedOpportunityId", "Id"),
        ),
        "Contact": identity(same=same("MasterRecordId"), keys=("Email",)),
        "Opportunity": identity(object=ObjectTimes(opened="CreatedDate", closed=CLOSED)),
        "OpportunityContactRole": identity(persons=persons("OpportunityId", "ContactId")),
        "Case": identity(
            same=same("MasterRecordId"),
            persons=persons("Id", "ContactId"),
            object=ObjectTimes(opened="CreatedDate", closed="ClosedDate"),
        ),
    }

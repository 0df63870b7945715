"""What a connector to an org is told."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from orchestration.sources.protocol import SourceConfig

ApiName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,79}$")]


class Config(SourceConfig):
    """An org and what is read of it.

    Attributes:
        url: The org's own address (My Domain), such as ``https://acme.my.salesforce.com``.
        client_id: Consumer key of the app.
        client_secret: For the flow of client credentials, as the user that the app names.
        private_key: PEM, for the JWT bearer flow; then ``username`` is needed.
        username: Whom the app acts for with a JWT.
        audience: Who is to accept the JWT: the second for sandboxes.
        api_version: Of REST and Bulk.
        system: The system that the events are of.
        streams: Objects by API name; none: those of ``STANDARD`` that the org has.
        fields: By object, fields that are left out by themselves: formulas and long texts.
        changes: By object with a field history, fields whose changes are events too.
        links: ``Object.Field`` to the system whose native id it holds, such as ``Opportunity.Order_Key__c`` to ``erp``.
        user_names: Who did it is a name instead of an id.
        lag_seconds: Records younger than that wait for the next sync.
        overlap_seconds: How far behind the newest record each sync reads again, for transactions that commit late.
        quota_percent: A sync stops when so much of the org's calls of 24 hours is used, by whomever.
    """

    secrets_go_to: ClassVar[tuple[str, ...]] = ("url",)

    url: str = Field(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$")
    client_id: str = Field(min_length=1)
    client_secret: SecretStr | None = None
    private_key: SecretStr | None = None
    username: str | None = None
    audience: Literal["https://login.salesforce.com", "https://test.salesforce.com"] = (
        "https://login.salesforce.com"
    )
    api_version: str = Field(default="62.0", pattern=r"^[0-9]{2,3}\.0$")
    system: str = "salesforce"
    streams: tuple[ApiName, ...] = ()
    fields: dict[ApiName, tuple[ApiName, ...]] = Field(default={})
    changes: dict[ApiName, tuple[ApiName, ...]] = Field(default={})
    links: dict[str, str] = Field(default={})
    user_names: bool = False
    lag_seconds: int = Field(default=60, ge=0)
    overlap_seconds: int = Field(default=600, ge=0)
    quota_percent: int = Field(default=80, ge=1, le=100)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.client_secret is None) == (self.private_key is None):
            raise ValueError("give either client_secret or private_key")
        if self.private_key is not None and not self.username:
            raise ValueError("with private_key, username says whom the app acts for")
        return self

    @model_validator(mode="after")
    def _names_are_names(self) -> Self:
        if len(set(self.streams)) < len(self.streams):
            raise ValueError("two streams have one name")
        for link in self.links:
            name, _, field = link.partition(".")
            if not name.isidentifier() or not field.isidentifier():
                raise ValueError(f"a link is Object.Field, not {link}")
        return self

    def linked(self, stream: str) -> Iterable[tuple[str, str]]:
        """(field, system) of the configured links of a stream."""
        for link, system in self.links.items():
            name, _, field = link.partition(".")
            if name == stream:
                yield field, system

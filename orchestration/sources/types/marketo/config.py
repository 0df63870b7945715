"""What a connector to Marketo is told: which subscription, what of it, and how much of its quotas."""

from typing import ClassVar, Literal, Self, get_args

from pydantic import AwareDatetime, Field, PositiveInt, SecretStr, field_validator, model_validator

from orchestration.sources.protocol import SourceConfig

StreamName = Literal["activities", "leads", "merges", "activity_types", "programs", "campaigns"]
STREAMS: tuple[StreamName, ...] = get_args(StreamName)

ALWAYS_PULLED = ("id", "createdAt", "updatedAt")
LINKS = ("sfdcLeadId", "sfdcContactId")
"""Fields of a lead with the ids of the same person in Salesforce."""

LEAD_FIELDS = (
    *ALWAYS_PULLED,
    *LINKS,
    *("sfdcType", "sfdcAccountId", "email", "company", "industry", "country"),
    *("leadSource", "leadStatus", "leadScore", "unsubscribed"),
)
"""What tells a trail apart and whom it belongs to. Names and numbers of people are for those who ask for them."""


class Config(SourceConfig):
    """A subscription and what is read of it.

    Attributes:
        url: Its REST endpoint, ``https://123-ABC-456.mktorest.com``.
        start: What happened or changed before is not pulled. It must be given: nobody can ask Marketo for everything.
        streams: Which are pulled.
        activity_types: Names of the types of activities; none: all that the subscription has.
        lead_fields: Fields of leads, by their REST names.
        window_days: How much one export spans at most; Marketo refuses more than 31.
        lag_seconds: What is younger waits for the next sync.
        overlap_seconds: How far behind the last sync each begins again, for what Marketo has logged late.
        daily_calls: The subscription's quota of calls.
        daily_share: At which part of it a sync stops, so that others have something left.
        calls_in_20_seconds: Marketo lets 100 pass, of all applications together, and advises to stay below 50.
        poll_seconds: How often an export is asked whether it is complete.
    """

    secrets_go_to: ClassVar[tuple[str, ...]] = ("url",)

    url: str = Field(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]+)?$")
    client_id: str
    client_secret: SecretStr
    start: AwareDatetime
    streams: tuple[StreamName, ...] = STREAMS
    activity_types: tuple[str, ...] = ()
    lead_fields: tuple[str, ...] = LEAD_FIELDS
    window_days: int = Field(default=31, ge=1, le=31)
    lag_seconds: int = Field(default=300, ge=0)
    overlap_seconds: int = Field(default=3_600, ge=0, lt=86_400)
    daily_calls: PositiveInt = 50_000
    daily_share: float = Field(default=0.8, gt=0, le=1)
    calls_in_20_seconds: PositiveInt = 45
    poll_seconds: float = Field(default=60, ge=0)

    @field_validator("url", mode="before")
    @classmethod
    def _without_path(cls, url: object) -> object:
        """Marketo shows the endpoints of REST and identity; both begin with what is meant."""
        if not isinstance(url, str):
            return url
        return url.strip().rstrip("/").removesuffix("/rest").removesuffix("/identity")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for names in (self.streams, self.activity_types, self.lead_fields):
            if len({name.lower() for name in names}) < len(names):
                raise ValueError("a stream, type of activities or field is named twice")
        return self

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of leads that are pulled."""
        return tuple(dict.fromkeys((*ALWAYS_PULLED, *self.lead_fields)))

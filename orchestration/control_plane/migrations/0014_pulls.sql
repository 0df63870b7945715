-- Pulls: what each reading of a source brought, and how far the connector has come with it.

create table connector_pulls (
    workspace_id uuid not null,
    id uuid not null,
    connector_id uuid not null,
    -- The pulls of a connector follow each other without a gap: of two that go on from the same one, one is entered.
    number bigint not null check (number > 0),
    started_at timestamptz not null,
    committed_at timestamptz not null default now(),
    -- What the next read goes on from.
    state jsonb not null,
    -- By stream, each column with the source's type.
    schemas jsonb not null,
    schema_changes jsonb not null,
    parts jsonb not null,
    records bigint not null,
    landed bigint not null,
    non_event bigint not null,
    duplicate bigint not null,
    quarantined bigint not null,
    run_id text,
    primary key (workspace_id, id),
    unique (workspace_id, connector_id, number),
    foreign key (workspace_id, connector_id) references connectors (workspace_id, id),
    constraint nothing_is_lost check (records = landed + non_event + duplicate + quarantined)
);

alter table connector_pulls enable row level security;
alter table connector_pulls force row level security;

grant select on connector_pulls to casetrail_app;
grant select, insert (
    workspace_id, id, connector_id, number, started_at, state, schemas, schema_changes, parts, records, landed,
    non_event, duplicate, quarantined, run_id
) on connector_pulls to casetrail_system;

create policy connector_pulls_read on connector_pulls for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy connector_pulls_system on connector_pulls to casetrail_system
using (workspace_id = (select system_workspace()));

-- Before then no schedule syncs the connector: its cadence, a pause after a failure, or a quota of its source.
alter table connectors add column next_sync_at timestamptz;
grant update (next_sync_at) on connectors to casetrail_system;

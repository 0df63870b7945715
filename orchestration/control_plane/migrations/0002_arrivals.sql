-- What comes in: connectors, the ledger of arrivals with their files, and the files that wait in an inbox.
--
-- Keys start with the workspace and references carry it, so that no row can point into another workspace, and a
-- violated key tells nothing about one.

create table connectors (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    type text not null check (type ~ '^[a-z][a-z0-9_]*$'),
    name text not null check (name <> ''),
    status text not null default 'connected' check (status in ('connected', 'error', 'disabled')),
    config jsonb not null default '{}',
    last_sync_at timestamptz,
    created_at timestamptz not null default now(),
    primary key (workspace_id, id),
    unique (workspace_id, type, name)
);

create table arrivals (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    connector_id uuid not null,
    sha256 sha256_hex not null,
    file_name text not null,
    format text not null,
    bytes bigint not null check (bytes >= 0),
    status text not null check (status in ('landed', 'retracted', 'failed')),
    -- The order of arrival in the workspace: it breaks ties between events of different files.
    rank bigint not null check (rank > 0),
    mapping jsonb not null default '{}',
    schema_fingerprint text,
    columns jsonb not null default '[]',
    records bigint,
    landed bigint,
    non_event bigint,
    quarantined bigint,
    message text,
    created_by uuid references users (id),
    created_at timestamptz not null default now(),
    primary key (workspace_id, id),
    unique (workspace_id, rank),
    foreign key (workspace_id, connector_id) references connectors (workspace_id, id),
    constraint nothing_is_lost check (records = landed + non_event + quarantined),
    constraint landed_is_counted check (
        status = 'failed' or num_nulls(records, landed, non_event, quarantined) = 0
    )
);

-- A file lands once. One that was retracted, or failed, may come again: as a new arrival.
create unique index arrivals_landed_once on arrivals (workspace_id, connector_id, sha256)
where status = 'landed';

create table arrival_files (
    workspace_id uuid not null,
    arrival_id uuid not null,
    kind text not null check (kind in ('raw', 'quarantine')),
    month calendar_month,
    object_key text not null,
    rows bigint not null check (rows >= 0),
    bytes bigint not null check (bytes >= 0),
    content_sha256 sha256_hex not null,
    stats jsonb not null default '{}',
    primary key (workspace_id, arrival_id, kind, object_key),
    foreign key (workspace_id, arrival_id) references arrivals (workspace_id, id),
    constraint raw_has_a_month check ((kind = 'raw') = (month is not null))
);

create table inbox_files (
    workspace_id uuid not null,
    connector_id uuid not null,
    object_key text not null,
    etag text not null,
    bytes bigint not null check (bytes >= 0),
    status text not null default 'seen' check (status in ('seen', 'landed', 'failed')),
    message text,
    arrival_id uuid,
    seen_at timestamptz not null default now(),
    primary key (workspace_id, object_key, etag),
    foreign key (workspace_id, connector_id) references connectors (workspace_id, id),
    foreign key (workspace_id, arrival_id) references arrivals (workspace_id, id)
);


alter table connectors enable row level security;
alter table connectors force row level security;
alter table arrivals enable row level security;
alter table arrivals force row level security;
alter table arrival_files enable row level security;
alter table arrival_files force row level security;
alter table inbox_files enable row level security;
alter table inbox_files force row level security;

grant select, insert (workspace_id, type, name, config), update (name, status, config, last_sync_at), delete
on connectors to casetrail_app;
grant select, update (status, last_sync_at) on connectors to casetrail_system;

grant select, insert (
    workspace_id, id, connector_id, sha256, file_name, format, bytes, status, rank, mapping, schema_fingerprint,
    columns, records, landed, non_event, quarantined, message, created_by
), update (status, message) on arrivals to casetrail_app, casetrail_system;

grant select, insert on arrival_files to casetrail_app, casetrail_system;

grant select on inbox_files to casetrail_app;
grant select, insert (workspace_id, connector_id, object_key, etag, bytes), update (status, message, arrival_id)
on inbox_files to casetrail_system;

-- Analysts bring files; a connector that logs in somewhere is for admins.
create policy connectors_read on connectors for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy connectors_add on connectors for insert to casetrail_app
with check (workspace_id = any(array(select my_workspaces('admin'))));
create policy connectors_add_upload on connectors for insert to casetrail_app
with check (type = 'csv_upload' and workspace_id = any(array(select my_workspaces('analyst'))));
create policy connectors_change on connectors for update to casetrail_app
using (workspace_id = any(array(select my_workspaces('admin'))));
create policy connectors_change_upload on connectors for update to casetrail_app
using (type = 'csv_upload' and workspace_id = any(array(select my_workspaces('analyst'))));
create policy connectors_remove on connectors for delete to casetrail_app
using (workspace_id = any(array(select my_workspaces('admin'))));

create policy arrivals_read on arrivals for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy arrivals_add on arrivals for insert to casetrail_app
with check (
    created_by = (select current_user_id()) and workspace_id = any(array(select my_workspaces('analyst')))
);
create policy arrivals_change on arrivals for update to casetrail_app
using (workspace_id = any(array(select my_workspaces('analyst'))));

create policy arrival_files_read on arrival_files for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy arrival_files_add on arrival_files for insert to casetrail_app
with check (workspace_id = any(array(select my_workspaces('analyst'))));

create policy inbox_files_read on inbox_files for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));

-- What the pipeline may do at all is in the grants; where, is here.
create policy connectors_system on connectors to casetrail_system
using (workspace_id = (select system_workspace()));
create policy connectors_system_plans on connectors for select to casetrail_system
using ((select system_plans()));
create policy arrivals_system on arrivals to casetrail_system
using (workspace_id = (select system_workspace()));
create policy arrivals_system_plans on arrivals for select to casetrail_system
using ((select system_plans()));
create policy arrival_files_system on arrival_files to casetrail_system
using (workspace_id = (select system_workspace()));
create policy arrival_files_system_plans on arrival_files for select to casetrail_system
using ((select system_plans()));
create policy inbox_files_system on inbox_files to casetrail_system
using (workspace_id = (select system_workspace()));
create policy inbox_files_system_plans on inbox_files for select to casetrail_system
using ((select system_plans()));

-- Connectors that log in somewhere: their secrets, and what is wrong with one.

-- Why the connector is as its status says, in words for the workspace; null while there is nothing to say.
alter table connectors add column message text;
grant update (message) on connectors to casetrail_app, casetrail_system;

-- Encrypted by the caller; people may put secrets here and see which are set, and never read one.
create table connector_secrets (
    workspace_id uuid not null,
    connector_id uuid not null,
    name text not null check (name ~ '^[a-z][a-z0-9_]*$'),
    sealed bytea not null,
    set_at timestamptz not null default now(),
    primary key (workspace_id, connector_id, name),
    foreign key (workspace_id, connector_id) references connectors (workspace_id, id) on delete cascade
);

alter table connector_secrets enable row level security;
alter table connector_secrets force row level security;

grant select (workspace_id, connector_id, name, set_at), insert (workspace_id, connector_id, name, sealed), delete
on connector_secrets to casetrail_app;
grant select on connector_secrets to casetrail_system;

create policy connector_secrets_read on connector_secrets for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy connector_secrets_add on connector_secrets for insert to casetrail_app
with check (workspace_id = any(array(select my_workspaces('admin'))));
create policy connector_secrets_remove on connector_secrets for delete to casetrail_app
using (workspace_id = any(array(select my_workspaces('admin'))));
create policy connector_secrets_system on connector_secrets for select to casetrail_system
using (workspace_id = (select system_workspace()));

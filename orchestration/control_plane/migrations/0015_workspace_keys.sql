-- The key of each workspace that personal values are hashed with; and what lets the pipeline seal stored secrets anew.

-- Made when it is first needed, encrypted by the caller, and never exchanged: hashes made with it would no longer be equal.
create table workspace_keys (
    workspace_id uuid primary key references workspaces (id),
    sealed bytea not null,
    made_at timestamptz not null default now()
);

alter table workspace_keys enable row level security;
alter table workspace_keys force row level security;

-- Nothing of it is for people.
grant select, insert (workspace_id, sealed), update (sealed) on workspace_keys to casetrail_system;
grant update (sealed) on connector_secrets, notification_secrets to casetrail_system;

create policy workspace_keys_system on workspace_keys to casetrail_system
using (workspace_id = (select system_workspace()));
create policy connector_secrets_system_seals on connector_secrets for update to casetrail_system
using (workspace_id = (select system_workspace()));
create policy notification_secrets_system_seals on notification_secrets for update to casetrail_system
using (workspace_id = (select system_workspace()));

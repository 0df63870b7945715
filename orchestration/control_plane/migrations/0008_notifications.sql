-- Who is told when a workspace needs attention: channels, what it takes to reach them, and the outbox.

create table notification_channels (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    name text not null check (name ~ '^[a-z0-9][a-z0-9-]{0,40}$'),
    kind text not null check (kind in ('webhook', 'email')),
    -- What people may see of it: an address, or a URL without its path, which can be a secret.
    target text not null check (target <> ''),
    events text[] not null check (
        events <> '{}' and events <@ array['failure', 'stale', 'connector_error', 'recovered']
    ),
    stale_after_seconds integer not null default 3600 check (stale_after_seconds > 0),
    enabled boolean not null default true,
    created_by uuid references users (id),
    created_at timestamptz not null default now(),
    primary key (workspace_id, id),
    unique (workspace_id, name)
);

-- A webhook's whole URL and its signing key, encrypted by the caller; people may put it here and never read it.
create table notification_secrets (
    workspace_id uuid not null,
    channel_id uuid not null,
    sealed bytea not null,
    primary key (workspace_id, channel_id),
    foreign key (workspace_id, channel_id) references notification_channels (workspace_id, id) on delete cascade
);

create table notifications (
    workspace_id uuid not null,
    id uuid not null default uuidv7(),
    channel_id uuid not null,
    event text not null check (event in ('failure', 'stale', 'connector_error', 'recovered', 'test')),
    -- What the incident is about, such as analysis/ID.
    subject text not null,
    since timestamptz not null,
    payload jsonb not null,
    status text not null default 'queued' check (status in ('queued', 'sent', 'failed')),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default now(),
    last_error text,
    created_at timestamptz not null default now(),
    sent_at timestamptz,
    -- When the incident was over; null while it goes on.
    ended_at timestamptz,
    primary key (workspace_id, id),
    foreign key (workspace_id, channel_id) references notification_channels (workspace_id, id) on delete cascade,
    constraint sent_has_a_time check ((status = 'sent') = (sent_at is not null))
);

-- A channel hears of an incident once, however often it is seen.
create unique index notifications_once_per_incident on notifications (workspace_id, channel_id, event, subject)
where ended_at is null and event in ('failure', 'stale', 'connector_error');
create index notifications_queued on notifications (workspace_id, channel_id, created_at)
where status = 'queued';
create index notifications_by_channel on notifications (workspace_id, channel_id, created_at);


alter table notification_channels enable row level security;
alter table notification_channels force row level security;
alter table notification_secrets enable row level security;
alter table notification_secrets force row level security;
alter table notifications enable row level security;
alter table notifications force row level security;

grant select, insert (
    workspace_id, id, name, kind, target, events, stale_after_seconds, created_by
), update (enabled), delete on notification_channels to casetrail_app;
grant select on notification_channels to casetrail_system;

grant insert on notification_secrets to casetrail_app;
grant select on notification_secrets to casetrail_system;

grant select, insert (workspace_id, channel_id, event, subject, since, payload) on notifications to casetrail_app;
grant select, insert (workspace_id, channel_id, event, subject, since, payload),
update (status, attempts, next_attempt_at, last_error, sent_at, ended_at) on notifications to casetrail_system;

create policy notification_channels_read on notification_channels for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy notification_channels_add on notification_channels for insert to casetrail_app
with check (
    created_by = (select current_user_id()) and workspace_id = any(array(select my_workspaces('admin')))
);
create policy notification_channels_change on notification_channels for update to casetrail_app
using (workspace_id = any(array(select my_workspaces('admin'))));
create policy notification_channels_remove on notification_channels for delete to casetrail_app
using (workspace_id = any(array(select my_workspaces('admin'))));

create policy notification_secrets_add on notification_secrets for insert to casetrail_app
with check (workspace_id = any(array(select my_workspaces('admin'))));

create policy notifications_read on notifications for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
-- What happened is the pipeline's to say; an admin may ask for a test.
create policy notifications_test on notifications for insert to casetrail_app
with check (event = 'test' and workspace_id = any(array(select my_workspaces('admin'))));

create policy notification_channels_system on notification_channels for select to casetrail_system
using (workspace_id = (select system_workspace()));
create policy notification_channels_system_plans on notification_channels for select to casetrail_system
using ((select system_plans()));
create policy notification_secrets_system on notification_secrets for select to casetrail_system
using (workspace_id = (select system_workspace()));
create policy notifications_system on notifications to casetrail_system
using (workspace_id = (select system_workspace()));
create policy notifications_system_plans on notifications for select to casetrail_system
using ((select system_plans()));

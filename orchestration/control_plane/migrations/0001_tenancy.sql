-- Who there is and who may see what: users, workspaces, members, and the identity that every policy asks for.
--
-- Three roles exist before this file runs, none of them superuser or BYPASSRLS:
--   casetrail_owner   owns these objects; migrates and installs, sees no tenant's rows
--   casetrail_app     acts for a person:   set_config('casetrail.user_id', <users.id>, true)
--   casetrail_system  acts for a pipeline: set_config('casetrail.workspace_id', <workspaces.id>, true), or '*' to
--                     plan over all workspaces, reading only
-- Without either setting there are no rows. Row security says which rows, column grants say which columns: whatever
-- is not granted stays as it was inserted.

do $$
begin
    execute format('revoke all on database %I from public', current_database());
    execute format('grant connect on database %I to casetrail_app, casetrail_system', current_database());
end
$$;

revoke all on schema public from public;
grant usage on schema public to casetrail_app, casetrail_system;

-- A function is private until it is granted.
alter default privileges revoke execute on functions from public;

create domain sha256_hex as text check (value ~ '^[0-9a-f]{64}$');
create domain calendar_month as text check (value ~ '^[0-9]{4}-(0[1-9]|1[0-2])$');


create table users (
    id uuid primary key default uuidv7(),
    email text not null unique check (email = lower(email) and email ~ '^[^@\s]+@[^@\s]+$'),
    name text not null,
    role text not null default 'member' check (role in ('platform_admin', 'member')),
    created_at timestamptz not null default now()
);

create table workspaces (
    id uuid primary key default uuidv7(),
    slug text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{1,40}$'),
    name text not null check (name <> ''),
    owner_user_id uuid not null references users (id),
    region text not null check (region in ('EU', 'UK', 'US')),
    plan text not null check (plan in ('free', 'pro', 'business', 'enterprise')),
    created_at timestamptz not null default now()
);

create table workspace_members (
    workspace_id uuid not null references workspaces (id),
    user_id uuid not null references users (id),
    role text not null check (role in ('admin', 'analyst', 'viewer')),
    primary key (workspace_id, user_id)
);

create index workspace_members_by_user on workspace_members (user_id);


-- The person that this transaction acts for.
create function current_user_id() returns uuid language sql stable
    return nullif(current_setting('casetrail.user_id', true), '')::uuid;

-- The one workspace that this transaction of the pipeline is confined to.
create function system_workspace() returns uuid language sql stable
    return nullif(nullif(current_setting('casetrail.workspace_id', true), ''), '*')::uuid;

-- Whether this transaction of the pipeline plans over all workspaces (and so may only read).
create function system_plans() returns boolean language sql stable
    return coalesce(current_setting('casetrail.workspace_id', true) = '*', false);

-- The functions below run as their owner, else the policy on workspace_members would ask itself. Their bodies are
-- bound to these tables now, so no caller's search_path can put others in their place.
create function is_platform_admin() returns boolean language sql stable security definer set search_path = ''
begin atomic
    select exists (select from users where id = current_user_id() and role = 'platform_admin');
end;

-- The workspaces where the person has at least this role: one row each.
create function my_workspaces(at_least text) returns setof uuid language sql stable security definer
set search_path = ''
begin atomic
    select workspace_id
    from workspace_members
    where
        user_id = current_user_id()
        and array_position(array['viewer', 'analyst', 'admin'], role)
        >= array_position(array['viewer', 'analyst', 'admin'], at_least)
    union
    select id from workspaces where is_platform_admin();
end;

-- Signing in and inviting start from an e-mail address, before the person can see that user.
create function user_id_of(address text) returns uuid language sql stable security definer set search_path = ''
begin atomic
    select id from users where email = lower(address);
end;

grant execute on function current_user_id, is_platform_admin, my_workspaces, user_id_of to casetrail_app;
grant execute on function system_workspace, system_plans to casetrail_system;


alter table users enable row level security;
alter table users force row level security;
alter table workspaces enable row level security;
alter table workspaces force row level security;
alter table workspace_members enable row level security;
alter table workspace_members force row level security;

grant select, insert (email, name), update (name) on users to casetrail_app;
grant select, insert (slug, name, owner_user_id, region, plan), update (name) on workspaces to casetrail_app;
grant select, insert, update (role), delete on workspace_members to casetrail_app;
grant select on workspaces to casetrail_system;

-- FORCE binds the owner too. It gets what the functions above need, and the installation's operator.
create policy users_owner_reads on users for select to casetrail_owner using (true);
create policy users_owner_installs on users for insert to casetrail_owner with check (role = 'platform_admin');
create policy users_owner_promotes on users for update to casetrail_owner
using (true) with check (role = 'platform_admin');
create policy workspaces_owner_reads on workspaces for select to casetrail_owner
using ((select is_platform_admin()));
create policy members_owner_reads on workspace_members for select to casetrail_owner
using (user_id = (select current_user_id()));

create policy users_read on users for select to casetrail_app
using (
    id = (select current_user_id())
    or (select is_platform_admin())
    or id = any(array(select user_id from workspace_members))
);
create policy users_create on users for insert to casetrail_app with check ((select is_platform_admin()));
create policy users_rename on users for update to casetrail_app
using (id = (select current_user_id()) or (select is_platform_admin()));

-- The first half lets RETURNING show a platform admin the workspace that the statement is just making.
create policy workspaces_read on workspaces for select to casetrail_app
using ((select is_platform_admin()) or id = any(array(select my_workspaces('viewer'))));
create policy workspaces_create on workspaces for insert to casetrail_app
with check ((select is_platform_admin()));
create policy workspaces_rename on workspaces for update to casetrail_app
using (id = any(array(select my_workspaces('admin'))));

create policy members_read on workspace_members for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy members_add on workspace_members for insert to casetrail_app
with check (workspace_id = any(array(select my_workspaces('admin'))));
create policy members_change on workspace_members for update to casetrail_app
using (workspace_id = any(array(select my_workspaces('admin'))));
create policy members_remove on workspace_members for delete to casetrail_app
using (workspace_id = any(array(select my_workspaces('admin'))));

create policy workspaces_system_reads on workspaces for select to casetrail_system
using (id = (select system_workspace()) or (select system_plans()));

-- Which global_case_id means whom: every id that was ever given, who is under it now, what people say of two records,
-- and what was not joined. An input of every rebuild.

create table case_ids (
    workspace_id uuid not null references workspaces (id),
    global_case_id uuid not null,
    -- The record that it was born with, and of how many ids of that record it is the last.
    system text not null,
    native_case_id text not null,
    generation integer not null default 0 check (generation >= 0),
    -- The rank of the arrival that brought the record; null if only a link has named it.
    first_seen bigint,
    minted_at timestamptz not null default now(),
    merged_into uuid,
    -- The links that lead from the survivor's record to this one's.
    evidence jsonb,
    merged_at timestamptz,
    primary key (workspace_id, global_case_id),
    unique (workspace_id, system, native_case_id, generation),
    foreign key (workspace_id, merged_into) references case_ids (workspace_id, global_case_id),
    constraint no_alias_of_itself check (merged_into <> global_case_id),
    constraint a_merge_has_evidence check (num_nulls(merged_into, evidence, merged_at) in (0, 3))
);

create index case_ids_by_survivor on case_ids (workspace_id, merged_into) where merged_into is not null;

create table case_members (
    workspace_id uuid not null,
    system text not null,
    native_case_id text not null,
    global_case_id uuid not null,
    primary key (workspace_id, system, native_case_id),
    foreign key (workspace_id, global_case_id) references case_ids (workspace_id, global_case_id)
);

create index case_members_by_id on case_members (workspace_id, global_case_id);

-- What people say of two records; the last word on a pair counts.
create table manual_links (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    left_system text not null,
    left_id text not null,
    right_system text not null,
    right_id text not null,
    verdict text not null check (verdict in ('allow', 'deny', 'withdrawn')),
    reason text not null check (reason <> ''),
    created_by uuid not null references users (id),
    created_at timestamptz not null default now(),
    primary key (workspace_id, id),
    constraint a_pair_is_named_one_way check ((left_system, left_id) < (right_system, right_id))
);

create index manual_links_by_pair on manual_links (workspace_id, left_system, left_id, right_system, right_id, id);

-- What the last stitching did not join.
create table refused_joins (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    reason text not null check (reason in ('key_shared', 'too_large', 'denied')),
    tier text not null check (tier in ('strong', 'weak')),
    rule text,
    key text,
    persons bigint not null,
    records bigint not null,
    examples jsonb not null,
    found_at timestamptz not null default now(),
    primary key (workspace_id, id)
);


alter table case_ids enable row level security;
alter table case_ids force row level security;
alter table case_members enable row level security;
alter table case_members force row level security;
alter table manual_links enable row level security;
alter table manual_links force row level security;
alter table refused_joins enable row level security;
alter table refused_joins force row level security;

-- What an id was born with is never changed, and no id is ever taken back.
grant select on case_ids, case_members, refused_joins to casetrail_app, casetrail_system;
grant insert (workspace_id, global_case_id, system, native_case_id, generation, first_seen),
update (merged_into, evidence, merged_at) on case_ids to casetrail_system;
grant insert, update (global_case_id) on case_members to casetrail_system;
grant insert (workspace_id, reason, tier, rule, key, persons, records, examples), delete
on refused_joins to casetrail_system;

-- A trail: who takes a word back adds a row.
grant select, insert (
    workspace_id, left_system, left_id, right_system, right_id, verdict, reason, created_by
) on manual_links to casetrail_app;
grant select on manual_links to casetrail_system;

create policy case_ids_read on case_ids for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy case_members_read on case_members for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy refused_joins_read on refused_joins for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy manual_links_read on manual_links for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy manual_links_add on manual_links for insert to casetrail_app
with check (
    created_by = (select current_user_id()) and workspace_id = any(array(select my_workspaces('analyst')))
);

create policy case_ids_system_reads on case_ids for select to casetrail_system
using (workspace_id = (select system_workspace()));
create policy case_ids_system_mints on case_ids for insert to casetrail_system
with check (workspace_id = (select system_workspace()));
-- An alias stays what it is: readers have followed it. (A row's workspace is not granted, so it cannot change.)
create policy case_ids_system_merges on case_ids for update to casetrail_system
using (workspace_id = (select system_workspace()) and merged_into is null)
with check (true);
create policy case_members_system on case_members to casetrail_system
using (workspace_id = (select system_workspace()));
create policy manual_links_system on manual_links for select to casetrail_system
using (workspace_id = (select system_workspace()));
create policy refused_joins_system on refused_joins to casetrail_system
using (workspace_id = (select system_workspace()));

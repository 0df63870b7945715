-- What the planner knows of each workspace: whether anything changed since it last looked, and how its plan is doing.
--
-- Triggers raise the counters in the transaction that changes a ledger, so no change can be missed, and a tick finds
-- the workspaces that need a look with one query over one small row each. A workspace at rest costs nothing.

create table planner_marks (
    workspace_id uuid primary key references workspaces (id),
    -- Raised by whatever a plan depends on: arrivals, parameters, staged files, releases, dropped files.
    changed bigint not null default 1,
    -- Raised by what no run changes itself: arrivals and parameters. A run that sees it move was overtaken.
    ledger bigint not null default 0,
    -- The value of `changed` at the last look.
    planned bigint not null default 0,
    code_version text,
    looked_at timestamptz,
    -- When the clock alone makes something stale: silence ends a case.
    look_at timestamptz,
    -- The plan that is under way or waits for its next attempt; null at rest.
    plan_subject text,
    attempts integer not null default 0,
    -- Null while an attempt is under way.
    not_before timestamptz,
    stale_since timestamptz,
    -- Counts the runs that were ever requested: part of their run keys, which are never used twice.
    requested bigint not null default 0,
    constraint no_attempt_without_a_plan check (plan_subject is not null or (attempts = 0 and not_before is null))
);

alter table planner_marks enable row level security;
alter table planner_marks force row level security;

grant select on planner_marks to casetrail_app;
grant select, update (
    planned, code_version, looked_at, look_at, plan_subject, attempts, not_before, stale_since, requested
) on planner_marks to casetrail_system;

create policy planner_marks_read on planner_marks for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy planner_marks_system on planner_marks for select to casetrail_system
using (workspace_id = (select system_workspace()));
-- The one table that a planner writes; a run confined to a workspace does not.
create policy planner_marks_system_plans on planner_marks to casetrail_system using ((select system_plans()));
-- The triggers below run as the owner, whoever caused them.
create policy planner_marks_owner_reads on planner_marks for select to casetrail_owner using (true);
create policy planner_marks_owner_adds on planner_marks for insert to casetrail_owner with check (true);
create policy planner_marks_owner_raises on planner_marks for update to casetrail_owner using (true);


create function mark_new_workspace() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    insert into public.planner_marks (workspace_id) values (new.id);
    return null;
end
$$;

create function mark_changed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    update public.planner_marks set changed = changed + 1
    where workspace_id in (select touched.workspace_id from touched);
    return null;
end
$$;

create function mark_ledger_changed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    update public.planner_marks set changed = changed + 1, ledger = ledger + 1
    where workspace_id in (select touched.workspace_id from touched);
    return null;
end
$$;

create function mark_analysis_changed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    update public.planner_marks
    set changed = changed + 1, ledger = ledger + (new.parameters is distinct from old.parameters)::int
    where workspace_id = new.workspace_id;
    return null;
end
$$;

create trigger workspaces_are_marked after insert on workspaces
for each row execute function mark_new_workspace();

create trigger arrivals_added after insert on arrivals
referencing new table as touched for each statement execute function mark_ledger_changed();
create trigger arrivals_changed after update on arrivals
referencing new table as touched for each statement execute function mark_ledger_changed();

create trigger inbox_files_added after insert on inbox_files
referencing new table as touched for each statement execute function mark_changed();

create trigger staged_files_added after insert on staged_files
referencing new table as touched for each statement execute function mark_changed();
create trigger staged_files_changed after update on staged_files
referencing new table as touched for each statement execute function mark_changed();
create trigger staged_files_removed after delete on staged_files
referencing old table as touched for each statement execute function mark_changed();

-- A run that starts the job and finds nothing to do changes nothing else; its end must be looked at all the same.
create trigger analysis_jobs_changed after update on analysis_jobs
for each row when (
    new.kind = 'standing' and (
        new.parameters is distinct from old.parameters
        or new.provenance_id is distinct from old.provenance_id
        or (new.status = 'running' and old.status <> 'running')
    )
) execute function mark_analysis_changed();

-- Workspaces of before this migration: the owner sees them as a platform admin does.
select set_config('casetrail.user_id', (select id::text from users where role = 'platform_admin' limit 1), true);
insert into planner_marks (workspace_id) select id from workspaces;
select set_config('casetrail.user_id', '', true);

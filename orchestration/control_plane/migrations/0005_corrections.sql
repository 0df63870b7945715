-- Corrections of what arrived: an arrival is retracted, or replaced by a newer version of itself; who did it and why
-- is kept.

alter table arrivals
add column replaces uuid,
add column landing_rules text,
add column review_at timestamptz,
add foreign key (workspace_id, replaces) references arrivals (workspace_id, id),
drop constraint arrivals_status_check,
add constraint arrivals_status_check check (status in ('landed', 'replaced', 'retracted', 'failed')),
drop constraint arrivals_workspace_id_rank_key;

-- A version takes the place of the one that it replaces, so a rank is one landed arrival's at a time.
create unique index arrivals_one_landed_at_a_rank on arrivals (workspace_id, rank) where status = 'landed';
create unique index arrivals_replaced_once on arrivals (workspace_id, replaces);
-- What may be read again: the planner asks for all workspaces at once.
create index arrivals_by_landing_rules on arrivals (landing_rules) where status = 'landed';
create index arrivals_by_review on arrivals (review_at) where status = 'landed' and review_at is not null;

grant insert (replaces, landing_rules, review_at), update (landing_rules, review_at)
on arrivals to casetrail_app, casetrail_system;

-- A remapping also sets what the next files are read with.
grant update (config) on connectors to casetrail_system;

-- Somebody asked for a refresh: the sensor answers.
alter table analysis_jobs add column refresh_asked_at timestamptz;
grant update (refresh_asked_at) on analysis_jobs to casetrail_app, casetrail_system;


create table arrival_changes (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    arrival_id uuid not null,
    successor_id uuid,
    kind text not null check (kind in ('retracted', 'replaced', 'remapped', 'readmitted')),
    reason text not null,
    before jsonb not null,
    after jsonb not null default '{}',
    changed_by uuid references users (id),
    changed_at timestamptz not null default now(),
    primary key (workspace_id, id),
    foreign key (workspace_id, arrival_id) references arrivals (workspace_id, id),
    foreign key (workspace_id, successor_id) references arrivals (workspace_id, id),
    constraint only_the_retracted_have_no_successor check ((kind = 'retracted') = (successor_id is null))
);

create index arrival_changes_by_arrival on arrival_changes (workspace_id, arrival_id);

alter table arrival_changes enable row level security;
alter table arrival_changes force row level security;

-- A trail: nobody changes it.
grant select, insert (workspace_id, arrival_id, successor_id, kind, reason, before, after, changed_by)
on arrival_changes to casetrail_app, casetrail_system;

create policy arrival_changes_read on arrival_changes for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy arrival_changes_add on arrival_changes for insert to casetrail_app
with check (
    changed_by = (select current_user_id()) and workspace_id = any(array(select my_workspaces('analyst')))
);
create policy arrival_changes_system on arrival_changes to casetrail_system
using (workspace_id = (select system_workspace()));
create policy arrival_changes_system_plans on arrival_changes for select to casetrail_system
using ((select system_plans()));

-- Questions: the release that an analysis on demand is asked of, who asked, and who wants it ended.

alter table analysis_jobs add column base_provenance_id uuid;
alter table analysis_jobs add column created_by uuid references users (id);
alter table analysis_jobs add foreign key (workspace_id, base_provenance_id) references provenance (workspace_id, id);

-- A cancellation is a wish of somebody who may ask: the run sees it and ends, and the job is failed with the reason.
create table analysis_cancellations (
    workspace_id uuid not null,
    analysis_id uuid not null,
    requested_by uuid references users (id),
    requested_at timestamptz not null default now(),
    primary key (workspace_id, analysis_id),
    foreign key (workspace_id, analysis_id) references analysis_jobs (workspace_id, id)
);

alter table analysis_cancellations enable row level security;
alter table analysis_cancellations force row level security;

grant insert (base_provenance_id, created_by) on analysis_jobs to casetrail_app, casetrail_system;
grant select, insert (workspace_id, analysis_id, requested_by) on analysis_cancellations to casetrail_app;
grant select on analysis_cancellations to casetrail_system;

-- Nobody asks in another's name.
alter policy analysis_jobs_add on analysis_jobs with check (
    coalesce(created_by = (select current_user_id()), true)
    and workspace_id = any(array(select my_workspaces('analyst')))
);

create policy analysis_cancellations_read on analysis_cancellations for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy analysis_cancellations_add on analysis_cancellations for insert to casetrail_app
with check (
    requested_by = (select current_user_id()) and workspace_id = any(array(select my_workspaces('analyst')))
);
create policy analysis_cancellations_system on analysis_cancellations for select to casetrail_system
using (workspace_id = (select system_workspace()));
create policy analysis_cancellations_system_plans on analysis_cancellations for select to casetrail_system
using ((select system_plans()));

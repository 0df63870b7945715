-- What is made of it: jobs, the working tree of staged files, and releases (provenance, their files and explanations).

create table analysis_jobs (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    kind text not null check (kind in ('standing', 'on_demand')),
    status text not null default 'queued' check (status in ('queued', 'running', 'succeeded', 'failed')),
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    parameters jsonb not null default '{}',
    error_message text,
    provenance_id uuid,
    -- Counts the starts: who holds an older number was overtaken and may not report a result.
    attempt integer not null default 0,
    primary key (workspace_id, id),
    constraint only_failures_have_errors check (error_message is null or status = 'failed')
);

create unique index analysis_jobs_one_standing on analysis_jobs (workspace_id) where kind = 'standing';
create index analysis_jobs_by_status on analysis_jobs (status, created_at);

create table staged_files (
    workspace_id uuid not null,
    analysis_id uuid not null,
    dataset text not null,
    -- A calendar month, or 'all' for a file that covers the whole analysis.
    month text not null check (month = 'all' or month ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    object_key text not null,
    rows bigint not null check (rows >= 0),
    bytes bigint not null check (bytes >= 0),
    content_sha256 sha256_hex not null,
    fingerprint text not null,
    inputs jsonb not null default '[]',
    code_version text not null,
    audits jsonb not null default '[]',
    stats jsonb not null default '{}',
    seconds double precision,
    run_id text,
    staged_at timestamptz not null default now(),
    primary key (workspace_id, analysis_id, dataset, month),
    foreign key (workspace_id, analysis_id) references analysis_jobs (workspace_id, id)
);

create table provenance (
    workspace_id uuid not null,
    id uuid not null default uuidv7(),
    analysis_id uuid not null,
    parent_id uuid,
    etl_steps jsonb not null,
    schemas jsonb not null,
    mining_config jsonb not null,
    explainability_config jsonb not null,
    created_at timestamptz not null default now(),
    as_of timestamptz not null,
    run_id text,
    content_sha256 sha256_hex not null,
    audits jsonb not null default '[]',
    primary key (workspace_id, id),
    unique (workspace_id, analysis_id, id),
    foreign key (workspace_id, analysis_id) references analysis_jobs (workspace_id, id),
    foreign key (workspace_id, analysis_id, parent_id) references provenance (workspace_id, analysis_id, id)
);

-- A job points at a release of its own. Deferrable: the release and the swap are written in one transaction.
alter table analysis_jobs add foreign key (workspace_id, id, provenance_id)
references provenance (workspace_id, analysis_id, id) deferrable;

create table release_files (
    workspace_id uuid not null,
    provenance_id uuid not null,
    dataset text not null,
    month text not null check (month = 'all' or month ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    object_key text not null,
    rows bigint not null check (rows >= 0),
    bytes bigint not null check (bytes >= 0),
    content_sha256 sha256_hex not null,
    fingerprint text not null,
    inputs jsonb not null default '[]',
    code_version text not null,
    stats jsonb not null default '{}',
    staged_at timestamptz not null,
    primary key (workspace_id, provenance_id, dataset, month),
    foreign key (workspace_id, provenance_id) references provenance (workspace_id, id)
);

create table explainability (
    workspace_id uuid not null,
    id uuid not null default uuidv7(),
    analysis_id uuid not null,
    provenance_id uuid not null,
    -- Null: the whole analysis.
    month calendar_month,
    scope text not null check (scope in ('global', 'bottleneck', 'case')),
    target text not null,
    features jsonb not null,
    summary text not null,
    global_case_id uuid,
    primary key (workspace_id, id),
    foreign key (workspace_id, analysis_id, provenance_id) references provenance (workspace_id, analysis_id, id),
    constraint a_case_is_named check ((scope = 'case') = (global_case_id is not null))
);

create index explainability_by_release on explainability (workspace_id, provenance_id, month, scope);


alter table analysis_jobs enable row level security;
alter table analysis_jobs force row level security;
alter table staged_files enable row level security;
alter table staged_files force row level security;
alter table provenance enable row level security;
alter table provenance force row level security;
alter table release_files enable row level security;
alter table release_files force row level security;
alter table explainability enable row level security;
alter table explainability force row level security;

grant select, insert (workspace_id, kind, parameters), update (parameters) on analysis_jobs to casetrail_app;
grant select on staged_files, provenance, release_files, explainability to casetrail_app;

grant select, insert (workspace_id, kind, parameters),
update (status, started_at, finished_at, error_message, provenance_id, attempt) on analysis_jobs to casetrail_system;
grant select, insert, update, delete on staged_files to casetrail_system;
-- Released is released: nobody changes it.
grant select, insert on provenance, release_files, explainability to casetrail_system;

create policy analysis_jobs_read on analysis_jobs for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy analysis_jobs_add on analysis_jobs for insert to casetrail_app
with check (workspace_id = any(array(select my_workspaces('analyst'))));
-- An on-demand analysis keeps the parameters that it was asked for with.
create policy analysis_jobs_set_parameters on analysis_jobs for update to casetrail_app
using (kind = 'standing' and workspace_id = any(array(select my_workspaces('analyst'))));

create policy staged_files_read on staged_files for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy provenance_read on provenance for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy release_files_read on release_files for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));
create policy explainability_read on explainability for select to casetrail_app
using (workspace_id = any(array(select my_workspaces('viewer'))));

create policy analysis_jobs_system on analysis_jobs to casetrail_system
using (workspace_id = (select system_workspace()));
create policy analysis_jobs_system_plans on analysis_jobs for select to casetrail_system
using ((select system_plans()));
create policy staged_files_system on staged_files to casetrail_system
using (workspace_id = (select system_workspace()));
create policy staged_files_system_plans on staged_files for select to casetrail_system
using ((select system_plans()));
create policy provenance_system on provenance to casetrail_system
using (workspace_id = (select system_workspace()));
create policy provenance_system_plans on provenance for select to casetrail_system
using ((select system_plans()));
create policy release_files_system on release_files to casetrail_system
using (workspace_id = (select system_workspace()));
create policy release_files_system_plans on release_files for select to casetrail_system
using ((select system_plans()));
create policy explainability_system on explainability to casetrail_system
using (workspace_id = (select system_workspace()));
create policy explainability_system_plans on explainability for select to casetrail_system
using ((select system_plans()));

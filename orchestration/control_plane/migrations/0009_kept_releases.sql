-- How long a release can be read: when it stopped being the current one, and when its files were given up.

alter table provenance
add column superseded_at timestamptz,
add column collected_at timestamptz,
add constraint only_superseded_is_collected check (collected_at is null or superseded_at is not null);

-- The owner sees no tenant's rows; for this one statement it has to.
alter table provenance no force row level security;
update provenance set superseded_at = (
    select min(successor.created_at)
    from provenance as successor
    where successor.workspace_id = provenance.workspace_id and successor.parent_id = provenance.id
);
alter table provenance force row level security;

create index provenance_with_files on provenance (workspace_id, analysis_id) where collected_at is null;
-- Whether any release that can still be read names an object.
create index release_files_by_object on release_files (workspace_id, object_key);

grant update (superseded_at, collected_at) on provenance to casetrail_system;

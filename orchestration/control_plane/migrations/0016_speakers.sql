-- Which pulls brought records that say who is who, and that a workspace needs a look when one does, or when people say so.

alter table connector_pulls add column speaks boolean not null default false;
grant insert (speaks) on connector_pulls to casetrail_system;

create index connector_pulls_speaking on connector_pulls (workspace_id, connector_id, number) where speaks;

create trigger pulls_added after insert on connector_pulls
referencing new table as touched for each statement execute function mark_ledger_changed();
create trigger manual_links_added after insert on manual_links
referencing new table as touched for each statement execute function mark_ledger_changed();

-- What a connector's records say is in its configuration.
create function mark_connector_changed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    update public.planner_marks set changed = changed + 1, ledger = ledger + 1 where workspace_id = new.workspace_id;
    return null;
end
$$;
create trigger connectors_reconfigured after update on connectors
for each row when (new.config is distinct from old.config) execute function mark_connector_changed();

-- A planner reads both, of all workspaces.
create policy connector_pulls_system_plans on connector_pulls for select to casetrail_system
using ((select system_plans()));
create policy manual_links_system_plans on manual_links for select to casetrail_system
using ((select system_plans()));

-- A refresh that is asked for does not wait for the time of the next attempt.

create function mark_refresh_asked() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    update public.planner_marks
    set changed = changed + 1, not_before = case when plan_subject is not null then now() end
    where workspace_id = new.workspace_id;
    return null;
end
$$;

create trigger analysis_jobs_asked_to_refresh after update of refresh_asked_at on analysis_jobs
for each row when (new.kind = 'standing') execute function mark_refresh_asked();

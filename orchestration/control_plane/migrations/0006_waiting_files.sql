-- Every tick of the sensor asks what waits in the inboxes of all workspaces; the answer is mostly nothing.

create index inbox_files_waiting on inbox_files (workspace_id, seen_at) where status = 'seen';

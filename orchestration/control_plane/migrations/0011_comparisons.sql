-- A comparison tells what changed between two sets of the cases of an analysis.
alter table explainability drop constraint explainability_scope_check;
alter table explainability add constraint explainability_scope_check
check (scope in ('global', 'bottleneck', 'case', 'comparison'));

"""The lake: where event data lies on S3 and how one workspace, and no other, reaches it.

Holds the key layout, credentials scoped to a workspace, locked DuckDB sessions, content hashes and the query
child. What the files mean (stages) and who may see them (control_plane) belong elsewhere.
"""

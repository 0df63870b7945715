"""The services of an installation: PostgreSQL, S3 (SeaweedFS), Dagster's webserver and daemon.

Here they are started, inspected and stopped. What is stored in them belongs to `control_plane` and `lake`.
"""

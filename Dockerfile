# One image for the webserver, the daemon, the code location and the runs that a run launcher starts.
# It holds no secret: endpoints and keys come from the environment (docs/operations.md).
#
# The base image is pinned to a patch release, not to a digest: where this file is maintained no registry of images can
# be reached to look one up. Whoever builds for production can add it: FROM python:3.11.14-slim-bookworm@sha256:...

FROM python:3.11.14-slim-bookworm AS builder

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/venv/bin:$PATH
WORKDIR /app

# Dependencies first: they change less often than the code, and this layer is kept.
COPY requirements/run.lock requirements/build.lock requirements/
RUN python -m venv /opt/venv \
 && pip install --quiet --require-hashes -r requirements/run.lock \
 && pip install --quiet --require-hashes -r requirements/build.lock

# Installed editable: dbt_project/ and the Dagster files beside the package are found from it.
COPY . .
RUN pip install --quiet --no-deps --no-build-isolation --editable . \
 && pip uninstall --quiet --yes setuptools pip \
 && python -m orchestration.mining.dbt_build freeze \
 && python -m compileall -q /app/orchestration /app/casetrail_testkit


FROM python:3.11.14-slim-bookworm

# libgomp1: LightGBM. Debian removes old versions from its mirror, so a pinned one would soon fail to build.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home --uid 10001 casetrail \
 && install -d -o casetrail -g casetrail /var/lib/casetrail /var/lib/casetrail/dagster

COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /app /app
COPY --from=builder --chown=casetrail:casetrail /app/dagster.yaml /var/lib/casetrail/dagster/dagster.yaml

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CASETRAIL_HOME=/var/lib/casetrail \
    CASETRAIL_WORKSPACE_FILE=/app/workspace.yaml \
    CASETRAIL_MAX_CONCURRENT_RUNS=2 \
    DAGSTER_HOME=/var/lib/casetrail/dagster
WORKDIR /app
# By number: a cluster that demands a non-root user can check it.
USER 10001
EXPOSE 3000 4000

HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["/app/docker/healthcheck"]
ENTRYPOINT ["/app/docker/entrypoint"]
CMD ["webserver"]

# Ray head, Ray workers and training jobs: the whole of metalearn with torch, simulators and the cluster's Ray.
# Build from the repository root: docker build -f docker/train.Dockerfile .
# For GPUs: --build-arg TORCH_BACKEND=cu130 (any backend that `uv pip install --torch-backend` knows).

FROM debian:bookworm-slim AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1
# learn2learn is built from its .pyx files.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev python3 python3-dev python3-venv
WORKDIR /src
COPY LICENSE README.md pyproject.toml requirements.lock .ci/torch-is-apart ./
ARG TORCH_BACKEND=cpu
# Instead of the locked versions, where a backend has no build of them: TORCH="torch==2.13.0+cpu".
ARG TORCH=""
# torch and its CUDA libraries come from the backend's index and not from the lock. Behind a proxy or a mirror the
# secrets hold pip's configuration and the certificates to trust; both may be absent.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/ca.crt \
    if [ -f /run/ca.crt ]; then export SSL_CERT_FILE=/run/ca.crt; fi \
    && python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/venv \
    && export PATH="/opt/tools/bin:$PATH" VIRTUAL_ENV=/opt/venv \
    && awk '/^[^ ]/ {uv = /^uv==/} uv' requirements.lock > /tmp/uv.lock \
    && pip install --no-deps --require-hashes -r /tmp/uv.lock \
    && if index="$(pip config get global.index-url 2>/dev/null)"; then export UV_DEFAULT_INDEX="$index"; fi \
    && hashed() { uv pip install --require-hashes --constraint requirements.lock "$@"; } \
    && hashed --python /opt/tools/bin/python --group images \
    && hashed --excludes torch-is-apart -r pyproject.toml --extra train --extra mil --extra words \
    && LOCKED="$(grep -oE '^(torch|torchvision)==[0-9.]+' requirements.lock | tr '\n' ' ')" \
    && awk '/^[^ ]/ {torch = /^(torch|torchvision|triton)==/} !torch' requirements.lock > /tmp/apart.lock \
    && echo "${TORCH:-$LOCKED}" \
       | xargs uv pip install --constraint /tmp/apart.lock ${TORCH_BACKEND:+--torch-backend "$TORCH_BACKEND"}
COPY metalearn metalearn
COPY service service
COPY wtl wtl
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheels . \
    && VIRTUAL_ENV=/opt/venv /opt/tools/bin/uv pip install --no-deps --no-index /tmp/wheels/*.whl \
    && /opt/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
       --output-file /tmp/sbom.cdx.json /opt/venv

FROM debian:bookworm-slim
ARG CREATED=""
ARG REVISION=""
ARG VERSION="0"
LABEL org.opencontainers.image.title="watch-try-learn train" \
      org.opencontainers.image.description="Ray head, Ray workers and meta-training jobs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates procps python3 wget \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/* /var/cache/ldconfig \
    && groupadd --gid 10001 wtl \
    && useradd --uid 10001 --gid wtl --no-log-init --home-dir /data --shell /bin/bash wtl \
    && install --directory --owner wtl --group wtl --mode 0750 /data /runs
COPY --from=build /opt/venv /opt/venv
COPY --from=build /tmp/sbom.cdx.json /usr/share/doc/watch-try-learn/sbom.cdx.json
COPY models /opt/models
# Runs and bundles go to HOME; Ray's sessions to /tmp.
ENV PATH=/opt/venv/bin:/usr/bin:/bin \
    HOME=/data \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0 \
    RAY_AUTH_MODE=token \
    RAY_USAGE_STATS_ENABLED=0 \
    WTL_MODELS=/opt/models
WORKDIR /data
USER 10001:10001
VOLUME ["/data"]
EXPOSE 6379 8265 10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:52365/api/local_raylet_healthz', timeout=5)"]
CMD ["ray", "start", "--head", "--block", "--dashboard-host=0.0.0.0"]

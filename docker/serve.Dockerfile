# The service on ONNX Runtime: no torch, no Ray, no simulator, no compiler.
# Build from the repository root: docker build -f docker/serve.Dockerfile .

FROM debian:bookworm-slim AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv
WORKDIR /src
COPY LICENSE README.md pyproject.toml requirements.lock ./
# Behind a proxy or a mirror the secrets hold pip's configuration and the certificates to trust; both may be absent.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/ca.crt \
    if [ -f /run/ca.crt ]; then export SSL_CERT_FILE=/run/ca.crt; fi \
    && python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/venv \
    && export PATH="/opt/tools/bin:$PATH" \
    && awk '/^[^ ]/ {uv = /^uv==/} uv' requirements.lock > /tmp/uv.lock \
    && pip install --no-deps --require-hashes -r /tmp/uv.lock \
    && if index="$(pip config get global.index-url 2>/dev/null)"; then export UV_DEFAULT_INDEX="$index"; fi \
    && export UV_REQUIRE_HASHES=1 UV_CONSTRAINT=/src/requirements.lock \
    && uv pip install --python /opt/tools/bin/python --group images \
    && uv pip install --python /opt/venv/bin/python -r pyproject.toml --extra words
# Of metalearn only what serving needs.
COPY metalearn/__init__.py metalearn/adapter.py metalearn/confidence.py metalearn/config.py \
    metalearn/bundle_upgrade.py metalearn/experiments.py metalearn/proxies.py metalearn/quality.py \
    metalearn/settings.py metalearn/
COPY metalearn/bundle metalearn/bundle
COPY metalearn/data metalearn/data
COPY metalearn/recognition metalearn/recognition
COPY metalearn/words metalearn/words
COPY service service
COPY wtl wtl
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheels . \
    && /opt/tools/bin/uv pip install --python /opt/venv/bin/python --no-deps --no-index /tmp/wheels/*.whl \
    && /opt/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
       --output-file /tmp/sbom.cdx.json /opt/venv

FROM debian:bookworm-slim
ARG CREATED=""
ARG REVISION=""
ARG VERSION="0"
LABEL org.opencontainers.image.title="watch-try-learn serve" \
      org.opencontainers.image.description="Adapts policies from demonstrations and scored trials over REST" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/* /var/cache/ldconfig \
    && groupadd --gid 10001 wtl \
    && useradd --uid 10001 --gid wtl --no-log-init --home-dir /data --shell /usr/sbin/nologin wtl \
    && install --directory --owner wtl --group wtl --mode 0750 /data /runs /var/lib/wtl
COPY --from=build /opt/venv /opt/venv
COPY --from=build /tmp/sbom.cdx.json /usr/share/doc/watch-try-learn/sbom.cdx.json
COPY models /opt/models
ENV PATH=/opt/venv/bin:/usr/bin:/bin \
    HOME=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    WTL_DATA=/data \
    WTL_HOST=0.0.0.0 \
    WTL_LOG_FORMAT=json \
    WTL_MODELS=/opt/models \
    WTL_PORT=8000 \
    WTL_RUNTIME=onnx
WORKDIR /data
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['WTL_PORT'] + '/livez', timeout=2)"]
ENTRYPOINT ["wtl"]
CMD ["serve"]

# syntax=docker/dockerfile:1
# Conductor for linux/amd64 and linux/arm64: docker buildx build --platform linux/amd64,linux/arm64 -t conductor .
# Every compiled library comes as a wheel for both, so nothing is compiled and no compiler is installed.
#
# The base is pinned by tag. To pin it by content too, append the digest that
# `docker buildx imagetools inspect python:3.11-slim-bookworm` prints, as python:3.11-slim-bookworm@sha256:…
FROM python:3.11-slim-bookworm AS build

# Which extras the image has, separated by commas: postgres, gguf (llama.cpp), hf (torch and Transformers, 5 GB) …
ARG EXTRAS=postgres

WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m venv /opt/conductor \
 && /opt/conductor/bin/python -m pip install --no-cache-dir --disable-pip-version-check --only-binary :all: ".[${EXTRAS}]" \
 && /opt/conductor/bin/python -m pip uninstall --yes --quiet pip

FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="Conductor" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

RUN groupadd --gid 10001 conductor \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/conductor --shell /usr/sbin/nologin conductor \
 && install -d -o conductor -g conductor -m 0700 /var/lib/conductor /var/cache/conductor
COPY --from=build /opt/conductor /opt/conductor

# Beyond loopback, because the port is published from outside; every call needs the key.
ENV PATH=/opt/conductor/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CONDUCTOR_DATA_DIR=/var/lib/conductor \
    CONDUCTOR_SERVER__HOST=0.0.0.0 \
    HF_HOME=/var/cache/conductor/huggingface

USER 10001:10001
WORKDIR /var/lib/conductor
VOLUME ["/var/lib/conductor", "/var/cache/conductor"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["conductor", "status", "--json"]
ENTRYPOINT ["conductor"]
CMD ["serve"]

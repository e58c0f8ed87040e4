# Muybridge in a container: docker build -t muybridge .
#   --build-arg ENGINE=cuda        for an NVIDIA GPU (run with --gpus all); the default is cpu
# The installer needs PyPI alone, and takes the CPU build of torch where it can be had (docs/installing.md).
FROM python:3.11-slim-bookworm AS build
ARG ENGINE=cpu
RUN apt-get update && apt-get install --yes --no-install-recommends libnuma1 gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && python -m venv /opt/muybridge
WORKDIR /build
COPY pyproject.toml README.md LICENSE muybridge.pth ./
COPY server server
COPY adapters adapters
COPY compat compat
COPY starter starter
COPY examples examples
COPY docs/example-configuration.yaml docs/example-configuration.yaml
# pip's downloads stay with the builder, so that a change of the code does not fetch them again.
RUN --mount=type=cache,target=/var/cache/pip \
    PIP_CACHE_DIR=/var/cache/pip /opt/muybridge/bin/python -I server/commands/install.py --engine "${ENGINE}"

FROM python:3.11-slim-bookworm
# libnuma1: vLLM's CPU kernels. gcc: torch and Triton compile small pieces at run time; Python's headers are there.
RUN apt-get update && apt-get install --yes --no-install-recommends libnuma1 gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 muybridge \
    && install -d -o muybridge -g muybridge /models /data
COPY --from=build /opt/muybridge /opt/muybridge
ENV PATH=/opt/muybridge/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MUYBRIDGE_HOST=0.0.0.0 \
    MUYBRIDGE_PORT=8000 \
    MUYBRIDGE_CACHE_DIR=/models \
    MUYBRIDGE_DATA_DIR=/data \
    MUYBRIDGE_LOG_FORMAT=json
USER muybridge
WORKDIR /home/muybridge
VOLUME ["/models", "/data"]
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
# Listening beyond loopback needs a key: docker run -e MUYBRIDGE_API_KEYS=... -p 8000:8000 muybridge
CMD ["muybridge", "serve"]

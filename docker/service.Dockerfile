# The service: model/ and service/, what they need, and the shipped student with its export beside it.
#
#   docker build -f docker/service.Dockerfile -t depth-service .                              with CUDA
#   docker build -f docker/service.Dockerfile -t depth-service:cpu --build-arg VARIANT=cpu .  OpenVINO alone, no torch
#
# VARIANT        gpu or cpu
# TORCH_INDEX    an index of torch's CPU builds, as pytorch.org shows it; for torch without CUDA in the gpu variant
# BASE           the base image; give it with its digest to pin it
# PIP_...        pip's own variables, for a mirror
# VERSION, REVISION, CREATED   for the labels
#
# Nothing here needs BuildKit. Up to the stage "torch" this file and training.Dockerfile are the same, so that
# the two images share those layers.

ARG BASE=debian:trixie-slim
ARG VARIANT=gpu

# What both images run on.
FROM ${BASE} AS python
ENV LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The release is Debian's stable: its security updates are what a rebuild is for.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
    && groupadd --gid 10001 depth \
    && useradd --uid 10001 --gid depth --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin depth

# What installs; nothing of it stays, nor do the addresses that it was given.
FROM python AS pip
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_TRUSTED_HOST
ARG PIP_DEFAULT_TIMEOUT
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_DEPS=1 PIP_ONLY_BINARY=:all:
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/*

# torch and timm; nothing in the service's variant cpu. CPU builds are pinned by version alone: their hashes are not
# PyPI's.
FROM pip AS torch
ARG TORCH_INDEX
ARG VARIANT=gpu
COPY docker/locks/torch.txt docker/locks/torch-cpu.txt /locks/
RUN if [ "$VARIANT" = cpu ]; then \
        mkdir /opt/torch; \
    elif [ -z "$TORCH_INDEX" ]; then \
        pip install --require-hashes --target /opt/torch --requirement /locks/torch.txt; \
    else \
        grep -oE '^(torch|torchvision)==[^ ]+' /locks/torch.txt >/locks/from-torch-index.txt \
        && pip install --target /opt/torch --index-url "$TORCH_INDEX" --requirement /locks/from-torch-index.txt \
        && pip install --require-hashes --target /opt/torch --requirement /locks/torch-cpu.txt; \
    fi

# Everything else that serving needs. OpenVINO's plugins for Intel's GPUs and NPUs are of no use to the service.
FROM pip AS serving
COPY docker/locks/serving.txt /locks/
RUN pip install --require-hashes --target /opt/serving --requirement /locks/serving.txt \
    && rm /opt/serving/openvino/libs/libopenvino_intel_[gn]pu_plugin.so /opt/serving/openvino/libs/cache.json

# Our own packages, built into a wheel and installed.
FROM pip AS depth
COPY docker/locks/build.txt /locks/
RUN pip install --require-hashes --target /opt/build --requirement /locks/build.txt
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY model model
COPY service service
# A teacher cannot be served without its foundation model; what belongs to training/ is not here.
RUN rm model/pretrained/teacher.safetensors \
    && PYTHONPATH=/opt/build pip wheel --no-build-isolation --wheel-dir /wheels . \
    && pip install --target /opt/depth /wheels/*.whl \
    && find /opt/depth/bin -type f -exec grep --quiet "from training" {} \; -delete
COPY docker/healthcheck.py /opt/depth/

# What a variant adds: the driver's libraries, or nothing.
FROM python AS gpu-base
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
FROM python AS cpu-base

# The image: what changes seldom first.
# hadolint ignore=DL3006
FROM ${VARIANT}-base
COPY --from=torch /opt/torch /opt/torch
COPY --from=serving /opt/serving /opt/serving
COPY --from=depth /opt/depth /opt/depth
RUN install --directory --owner=depth --group=depth --mode=0700 /var/cache/depth
ENV PATH=/opt/depth/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/depth:/opt/serving:/opt/torch \
    DEPTH_CACHE_DIR=/var/cache/depth \
    DEPTH_READY_FILE=/dev/shm/depth-ready.json
# The only places that are written to are these and /dev/shm: the root file system may be read-only.
VOLUME /var/cache/depth
WORKDIR /var/cache/depth
USER 10001:10001
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "/opt/depth/healthcheck.py"]
ENTRYPOINT ["tini", "--"]
CMD ["depth-serve"]
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="vfm-depth service" \
      org.opencontainers.image.description="Monocular depth over HTTP and gRPC" \
      org.opencontainers.image.licenses="Apache-2.0 AND CC-BY-NC-SA-3.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"

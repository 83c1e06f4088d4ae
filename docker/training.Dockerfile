# Training: model/ and training/, and what they need; `depth-train`, `depth-evaluate`, `depth-export`, torchrun.
#
#   docker build -f docker/training.Dockerfile -t depth-training .
#   docker build -f docker/training.Dockerfile -t depth-training:cpu --build-arg TORCH_INDEX=... .    without CUDA
#
# TORCH_INDEX    an index of torch's CPU builds, as pytorch.org shows it; without it, torch is the CUDA build, which
#                runs on a CPU too and is 5 GB larger
# BASE           the base image; give it with its digest to pin it
# PIP_...        pip's own variables, for a mirror
# VERSION, REVISION, CREATED   for the labels
#
# Nothing here needs BuildKit. Up to the stage "torch" this file and service.Dockerfile are the same, so that the
# two images share those layers.

ARG BASE=debian:trixie-slim

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

# Everything else that training and export need.
FROM pip AS training
COPY docker/locks/training.txt /locks/
RUN pip install --require-hashes --target /opt/training --requirement /locks/training.txt

# Our own packages, built into a wheel and installed.
FROM pip AS depth
COPY docker/locks/build.txt /locks/
RUN pip install --require-hashes --target /opt/build --requirement /locks/build.txt
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY model model
COPY training training
# What belongs to service/ is not here.
RUN PYTHONPATH=/opt/build pip wheel --no-build-isolation --wheel-dir /wheels . \
    && pip install --target /opt/depth /wheels/*.whl \
    && find /opt/depth/bin -type f -exec grep --quiet "from service" {} \; -delete

# The image: what changes seldom first.
FROM python
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=torch /opt/torch /opt/torch
COPY --from=training /opt/training /opt/training
COPY --from=depth /opt/depth /opt/depth
RUN install --directory --owner=depth --group=depth --mode=0700 /runs /var/cache/depth
ENV PATH=/opt/depth/bin:/opt/torch/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/depth:/opt/training:/opt/torch \
    XDG_CACHE_HOME=/var/cache/depth \
    HF_HOME=/var/cache/depth/hub
# Runs, weights from the hub, and prepared data go here; else only /tmp is written to.
VOLUME /runs /var/cache/depth
WORKDIR /runs
USER 10001:10001
ENTRYPOINT ["tini", "--"]
CMD ["depth-train", "--help"]
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="vfm-depth training" \
      org.opencontainers.image.description="Trains, judges and exports monocular depth networks" \
      org.opencontainers.image.licenses="Apache-2.0 AND CC-BY-NC-SA-3.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"

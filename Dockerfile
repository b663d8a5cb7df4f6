# One image, every process: `radmeter serve --role all|gateway|worker|portal`. docs/image.md tells how to build, sign and run it.
#
#   docker build -t radmeter .                               models on the CPU
#   docker build -t radmeter:gpu --build-arg PROFILE=gpu .   models on an NVIDIA GPU (run with --gpus all)
#   docker build --target sbom --output . .                  its bill of materials, radmeter.cdx.json
#
#   docker run -p 11112:11112 -p 127.0.0.1:8080:8080 -v radmeter:/var/lib/radmeter \
#       --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges radmeter

# A release names the digest too: --build-arg PYTHON_IMAGE=python:3.12.12-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
# Pango and a font with Chinese glyphs, for the PDF report and the statement: the same list as scripts/system_packages.sh.
# tini is process 1: it passes signals on and reaps what children leave behind.
# Their versions are those of the release of Debian that the digest of the base image belongs to.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        fonts-wqy-microhei \
        libharfbuzz-subset0 \
        libpango-1.0-0 \
        libpangoft2-1.0-0 \
        tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 radmeter \
    && useradd --system --no-log-init --uid 10001 --gid radmeter --home-dir /var/lib/radmeter --shell /usr/sbin/nologin radmeter \
    && install -d -o radmeter -g radmeter -m 0700 /var/lib/radmeter \
    && fc-cache --force \
    && python -m pip uninstall --yes --root-user-action ignore pip \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +

FROM ${PYTHON_IMAGE} AS build
ARG PROFILE=cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements/ requirements/
RUN python -m venv /opt/radmeter \
    && /opt/radmeter/bin/pip install --require-hashes --only-binary :all: --no-compile -r "requirements/${PROFILE}.txt" \
    && python -m venv /opt/tools \
    && /opt/tools/bin/pip install --require-hashes --only-binary :all: -r requirements/build.txt -r requirements/sbom.txt
COPY pyproject.toml README.md LICENSE ./
COPY scripts/image/ scripts/image/
COPY study/ study/
COPY models/ models/
COPY inference/ inference/
COPY dicom_gateway/ dicom_gateway/
COPY billing/ billing/
COPY pipeline/ pipeline/
COPY portal/ portal/
COPY storage/ storage/
COPY server/ server/
# Byte code is written here because the running container's file system may be read-only. pip stays behind.
RUN /opt/tools/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /build/dist . \
    && /opt/radmeter/bin/pip install --no-deps --no-index --no-compile /build/dist/radmeter-*.whl \
    && python scripts/image/trim.py /opt/radmeter \
    && /opt/radmeter/bin/pip uninstall --yes pip \
    && /opt/radmeter/bin/python -m compileall -q -j 0 /opt/radmeter/lib
# What lies in the final image is what this list is made from: the environment after trimming, and base's own packages.
COPY --from=base /var/lib/dpkg/status /build/dpkg-status
RUN /opt/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file /build/python.cdx.json /opt/radmeter/bin/python \
    && /opt/tools/bin/python scripts/image/sbom.py --environment /opt/radmeter --dpkg-status /build/dpkg-status --output /build/radmeter.cdx.json /build/python.cdx.json

FROM scratch AS sbom
COPY --from=build /build/radmeter.cdx.json /

FROM base
ARG PROFILE=cpu
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="radmeter" \
    org.opencontainers.image.description="Imaging-AI inference server with a meter: studies in, DICOM results back, statements out." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    radmeter.profile="${PROFILE}"
COPY --from=build /opt/radmeter /opt/radmeter
COPY --from=build /build/radmeter.cdx.json /usr/share/doc/radmeter/radmeter.cdx.json
# Inside the container the listeners are open; what of them reaches a network is decided by the published ports.
ENV PATH=/opt/radmeter/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/tmp \
    RADMETER_DATA=/var/lib/radmeter \
    RADMETER_DICOM_HOST=0.0.0.0 \
    RADMETER_HTTP_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/radmeter
VOLUME ["/var/lib/radmeter"]
EXPOSE 11112 2762 8080
STOPSIGNAL SIGTERM
# The portal answers on its own port; a gateway or worker alone where RADMETER_HEALTH_PORT says. Kubernetes has its own probes.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + (os.environ.get('RADMETER_HEALTH_PORT') or os.environ.get('RADMETER_HTTP_PORT') or '8080') + '/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--", "radmeter"]
CMD ["serve"]

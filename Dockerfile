# One image, every process: `radmeter serve --role all|gateway|worker|portal`.
#
#   docker build -t radmeter .                            models on the CPU
#   docker build -t radmeter:gpu --build-arg PROFILE=gpu .   models on an NVIDIA GPU (run with --gpus all)
#
#   docker run -p 11112:11112 -p 127.0.0.1:8080:8080 -v radmeter:/var/lib/radmeter \
#       --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges radmeter

FROM python:3.12.12-slim-bookworm AS build
ARG PROFILE=cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements/ requirements/
RUN python -m venv /opt/radmeter \
    && /opt/radmeter/bin/pip install --require-hashes --only-binary :all: -r "requirements/${PROFILE}.txt" \
    && python -m venv /opt/hatch \
    && /opt/hatch/bin/pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
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
RUN /opt/hatch/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /build/dist . \
    && /opt/radmeter/bin/pip install --no-deps --no-index --compile /build/dist/radmeter-*.whl \
    && /opt/radmeter/bin/pip uninstall --yes pip

FROM python:3.12.12-slim-bookworm
# Pango and a font with Chinese glyphs, for the PDF report and the statement: the same list as scripts/system_packages.sh.
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        fonts-wqy-microhei \
        libharfbuzz-subset0 \
        libpango-1.0-0 \
        libpangoft2-1.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 radmeter \
    && useradd --system --uid 10001 --gid radmeter --home-dir /var/lib/radmeter --shell /usr/sbin/nologin radmeter \
    && install -d -o radmeter -g radmeter -m 0700 /var/lib/radmeter \
    && fc-cache --force
COPY --from=build /opt/radmeter /opt/radmeter
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
# For the roles with a portal; the gateway and worker roles are watched by their orchestrator's own probes.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('RADMETER_HTTP_PORT', '8080') + '/healthz', timeout=4)"]
ENTRYPOINT ["radmeter"]
CMD ["serve"]

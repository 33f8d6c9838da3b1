# One image for every role of a line: ROLE says which part of it a container plays, LINE which line it is.
#
#   docker build -t metroline .
#   docker run -e BROKER_URL=kafka://kafka:9092 -e ROLE=router metroline
#   docker run -e BROKER_URL=kafka://kafka:9092 metroline push --records 1000
#
# A line of one's own is mounted as a folder, which user 10001 must be able to read. The folder's name is how the line's
# topics and groups begin, so each line needs its own, or a PREFIX:
#
#   docker run -v ./lines/orders:/lines/orders:ro -e LINE=/lines/orders -e ROLE=service:log ... metroline
#   docker run -v ./lines/orders:/line:ro -e LINE=/line -e PREFIX=orders -e ROLE=service:log ... metroline
#
# A line that needs other packages has an image of its own: FROM metroline, with their files added to the path.
# Nothing is written but below /tmp: `docker run --read-only --tmpfs /tmp` works. With --init a container also ends at once
# when it is stopped before its worker has started.

# Debian with Python 3.11 or newer; one's own where no registry is reached
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
# On Linux faust-streaming has wheels for amd64 only: elsewhere it is compiled. Without a compiler it would still be
# installed, and run slower
RUN if [ "$(dpkg --print-architecture)" != amd64 ]; then \
      apt-get update && apt-get install --yes --no-install-recommends build-essential && rm -rf /var/lib/apt/lists/*; \
    fi
# The editor of the page /rules/ is bundled with npm. `--build-arg METROLINE_EDITOR=off` leaves it out, and npm with it
ARG METROLINE_EDITOR=required
RUN if [ "$METROLINE_EDITOR" != off ]; then \
      apt-get update && apt-get install --yes --no-install-recommends nodejs npm && rm -rf /var/lib/apt/lists/*; \
    fi
# Without pip of its own: the one outside installs into it
RUN python -m venv --without-pip /opt/metroline
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements.txt ./
RUN pip --python /opt/metroline/bin/python install --require-hashes -r requirements.txt
COPY . ./
RUN pip --python /opt/metroline/bin/python install --no-deps --no-build-isolation .

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="Metroline" \
      org.opencontainers.image.description="Smart routing on a dumb bus: a worker of a line, and the command metroline" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin metroline
COPY --from=build /opt/metroline /opt/metroline
# A container's loopback is its own: its pages are served on all of its addresses, and what is published of them is said
# where it is run
ENV PATH=/opt/metroline/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    WEB_BIND=0.0.0.0
USER 10001:10001
# Where a command writes its report, unless told otherwise
WORKDIR /tmp
EXPOSE 6066
STOPSIGNAL SIGTERM
# Unhealthy means that a restart helps: Swarm and others replace such a container. docker-compose.yml asks /health/ready
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-I", "-c", "import os, sys; from http.client import HTTPConnection; worker = HTTPConnection('127.0.0.1', int(os.environ.get('WEB_PORT') or 6066), timeout=4); worker.request('GET', '/health/live'); sys.exit(worker.getresponse().status != 200)"]
ENTRYPOINT ["metroline"]
CMD ["worker"]

#!/usr/bin/env bash
# Builds the image and runs it for real, a container for each role, against an Apache Kafka on this machine.
# Needed: Docker on Linux (containers use this machine's network), Java 17 and Maven for Kafka.
#
#   make image-test
#   BASE_IMAGE=my-python:3.11 make image-test    on another base image
#   RECORDS=100000 make image-test               with more records
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v docker >/dev/null; then
  echo "image test: docker is not installed; the image is built and run with it" >&2
  exit 1
fi
if ! reason=$(timeout 20 docker info --format '{{.ServerVersion}}' 2>&1); then
  echo "image test: no Docker engine answers: ${reason##*$'\n'}" >&2
  exit 1
fi

make --silent install-dev
exec .venv/bin/python -m scripts.image_test

#!/bin/bash
# base.sh - make the base image where none can be pulled.
#
# Does nothing when the image is there.  Otherwise a minimal Debian 12 is put
# together from Debian's packages (mmdebstrap) and imported under the name that
# docker/Dockerfile begins from.
set -euo pipefail
IMAGE=${IMAGE:-debian:bookworm-slim}

if docker image inspect "$IMAGE" >/dev/null 2>&1; then
    exit 0
fi
command -v mmdebstrap >/dev/null || {
    echo "base.sh: mmdebstrap is missing: apt-get install mmdebstrap" >&2
    exit 1
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "base.sh: making $IMAGE from Debian's packages" >&2
mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Retries "3"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    bookworm "$folder/base.tar"
docker import "$folder/base.tar" "$IMAGE" >/dev/null

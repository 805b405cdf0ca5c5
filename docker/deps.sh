#!/bin/sh
# deps.sh - name and install the Debian packages that are missing: GROUP...
#
# The one list of what Ferro needs, for the Makefile and the Dockerfile.  As root
# it installs directly, otherwise through sudo, which asks for its own password.
# DEPS=no only names what is missing, and fails.  Silent when nothing is.
set -eu

# group, package and, where another package can provide the same, its command
list='
build  gcc                gcc
build  make               make
build  libc6-dev
build  libzmq3-dev
build  libczmq-dev
build  libmsgpack-dev
build  libsodium-dev
build  libxxhash-dev
build  liblz4-dev
build  libsqlite3-dev
build  libjansson-dev
run    libczmq4
run    libsodium23
run    libmsgpackc2
run    libxxhash0
run    liblz4-1
run    libsqlite3-0
run    libjansson4
test   libcriterion-dev
test   iproute2           ss
test   g++                g++
docker mmdebstrap         mmdebstrap
docker docker-compose     docker-compose
lint   clang-format       clang-format
lint   cppcheck           cppcheck
'

command -v dpkg-query >/dev/null || exit 0 # not Debian: the compiler will say what is missing

# wanted GROUP...: "package command" lines.  Containers are only tested where an engine runs.
wanted() {
    for group; do
        [ "$group" != docker ] || [ -w /var/run/docker.sock ] || continue
        echo "$list" | while read -r g package cmd; do
            [ "$g" = "$group" ] || continue
            [ -z "$cmd" ] || ! command -v "$cmd" >/dev/null || continue
            [ "$package" != docker-compose ] || ! docker compose version >/dev/null 2>&1 || continue
            echo "$package"
        done
    done
}

# missing PACKAGE...: those that dpkg does not call installed.
missing() {
    have=$(dpkg-query -W -f '${Package}/${db:Status-Status}\n' "$@" 2>/dev/null || true)
    for package; do
        case "
$have
" in
        *"
$package/installed
"*) ;;
        *) echo "$package" ;;
        esac
    done
}

packages=$(wanted "$@")
[ -n "$packages" ] || exit 0
# shellcheck disable=SC2086 # package names hold no spaces
packages=$(missing $packages | tr '\n' ' ')
[ -n "$packages" ] || exit 0

count=$(echo "$packages" | wc -w)
noun=packages
[ "$count" -ne 1 ] || noun=package
command="apt-get install -y --no-install-recommends ${packages% }"
as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
    command="sudo $command"
fi

if [ "${DEPS:-yes}" = no ]; then
    echo "missing $count Debian $noun: $command" >&2
    exit 1
fi
echo "installing $count Debian $noun: $command (DEPS=no only names them)" >&2
if [ -n "$as_root" ] && ! command -v sudo >/dev/null; then
    echo "sudo is not installed: run that command as root, then try again" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
install() {
    # shellcheck disable=SC2086
    $as_root apt-get install -qq -y --no-install-recommends $packages >&2
}
update() { $as_root apt-get update -qq >&2; }

if ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then
    update
    install
else
    install || { update && install; }
fi

#!/bin/sh
# cli.sh - ferro in a container: reads the user's key as root, then runs as the
# owner of the mounted folder, so that what it writes there is theirs.
set -eu
uid=$(stat -c %u .)
gid=$(stat -c %g .)
install -m 600 -o "$uid" -g "$gid" /keys/users/user.key /tmp/user.key
export FERRO_KEY=/tmp/user.key HOME=/tmp
exec setpriv --reuid "$uid" --regid "$gid" --clear-groups ferro "$@"

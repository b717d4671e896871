#!/bin/sh
# Runs a command in a kernel of its own (Debian's package user-mode-linux; no privileges needed) with control groups of version 2,
# in one that is delegated to it. For machines whose own are of version 1, or nobody's to give. Root inside sees this
# machine's files; /tmp is empty. As the user of an id: IN_USER=1000.
#
#   tests/worker/evaluate/in_cgroup_v2.sh build/release/bin/evaluate_sandbox_test --gtest_filter='SandboxGroups*'
set -eu

if [ $$ -ne 1 ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  {
    printf 'cd "%s"\n' "$PWD"
    printf "export QUENCH_REQUIRE_CGROUP=1\nexec"
    [ -z "${IN_USER:-}" ] || printf ' setpriv --reuid %s --regid %s --clear-groups' "$IN_USER" "$IN_USER"
    for word in "$@"; do printf " '%s'" "$(printf %s "$word" | sed "s/'/'\\\\''/g")"; done
    echo
  } > "$folder/command"
  linux.uml rootfstype=hostfs rw init="$(realpath "$0")" mem=2G quiet con=null con0=null,fd:1 FOLDER="$folder" IN_USER="${IN_USER:-0}" < /dev/null
  exit "$(cat "$folder/status")"
fi

export PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec 9> "$FOLDER/status"
mount -t proc none /proc
mount -t sysfs none /sys
mount -t cgroup2 none /sys/fs/cgroup
command=$(cat "$FOLDER/command")
mount -t tmpfs none /tmp
group=/sys/fs/cgroup/given
mkdir $group
echo '+memory +pids' > /sys/fs/cgroup/cgroup.subtree_control
if [ "$IN_USER" = 0 ]; then
  python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.delegate", b"1")' $group
else
  chown "$IN_USER" $group $group/cgroup.procs $group/cgroup.subtree_control
fi
status=0
sh -c "echo \$\$ > $group/cgroup.procs; $command" || status=$?
echo $status >&9
poweroff -f

#!/bin/sh
# vm: --gpu vfs=4,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# /dev/gim: every ioctl and its errors, and streams of VFs that nobody uses.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load guard=0
t "/dev/gim is root's" sh -c 'test "$(stat -c %a%u /dev/gim)" = 6000'
t "VFs are enabled" numvfs 4
group ioctls
group "a GPU that is lost"
t "VFs are disabled" numvfs 0
t "module unloads" rmmod gim
plan

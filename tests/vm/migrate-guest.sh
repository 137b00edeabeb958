#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=128,dirty_tracking=on,rate=100
# SPDX-License-Identifier: GPL-2.0
# VFs with guests move in every phase of their lives.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load guard=0
t "VFs are enabled" numvfs 4
group phases
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 10 numvfs 0
t "module unloads" rmmod gim
plan

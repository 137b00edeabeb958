#!/bin/sh
# vm: --steady --smp 1 --gpu vfs=4,vram_mb=256,dirty_tracking=on
# SPDX-License-Identifier: GPL-2.0
# Brownouts: holds, what ends them, and what is written meanwhile, with every source of changes.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load guard=0
t "VFs are enabled" numvfs 4
group holds
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" numvfs 0
t "module unloads" rmmod gim
plan

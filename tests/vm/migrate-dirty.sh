#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=128,dirty_tracking=on
# SPDX-License-Identifier: GPL-2.0
# Dirty pages of each source against the referee's truth, while a guest writes at random.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load guard=0
t "VFs are enabled" numvfs 4
group truth
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 10 numvfs 0
t "module unloads" rmmod gim
plan

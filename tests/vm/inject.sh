#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=128
# needs: debug kernel
# SPDX-License-Identifier: GPL-2.0
# Allocations that fail, each in turn, from insmod to rmmod.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

[ -d /sys/kernel/debug/failslab ] || skip "the kernel has no fault injection"
inject --module "$GIM" --gpu "$PF" --vfs 2 --most 8 --storms 2 > /tmp/inject.out 2>&1
told /tmp/inject.out
plan

#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=128 --allow 'WARNING: .* at remove_proc_entry\+|Call Trace'
# needs: debug kernel
# SPDX-License-Identifier: GPL-2.0
# Allocations that fail, one after the other, from insmod to rmmod.  The kernel makes the files of an
# interrupt in /proc without looking, and warns when they are missing at the end.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

[ -d /sys/kernel/debug/failslab ] || skip "the kernel has no fault injection"
# Shown at once, too: should the kernel die of it, that is all there is.
inject --module "$GIM" --gpu "$PF" --vfs 2 --most 8 --storms 2 2>&1 | tee /tmp/inject.out | sed 's/^/# /'
told /tmp/inject.out
plan

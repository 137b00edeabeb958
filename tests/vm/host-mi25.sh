#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=256,chip=vega10 --says 'gim [0-9a-f:.]*: the host goes down: no VF runs'
# SPDX-License-Identifier: GPL-2.0
# host.sh on the second chip.
# shellcheck source=tests/vm/host.sh
. tests/vm/host.sh

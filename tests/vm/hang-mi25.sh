#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=256,chip=vega10
# SPDX-License-Identifier: GPL-2.0
# hang.sh on the second chip, which tells of hangs by an interrupt.
# shellcheck source=tests/vm/hang.sh
. tests/vm/hang.sh

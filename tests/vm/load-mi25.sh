#!/bin/sh
# vm: --gpu vfs=16,vram_mb=512,chip=vega10
# SPDX-License-Identifier: GPL-2.0
# load.sh on the second chip.
# shellcheck source=tests/vm/load.sh
. tests/vm/load.sh

#!/bin/sh
# vm: --steady --gpu chip=vega10,vfs=4,vram_mb=768
# SPDX-License-Identifier: GPL-2.0
# The same on the MI25; VF1 lies where the CPU cannot reach, so the copy engine has to.
# shellcheck source=tests/vm/migrate.sh
. tests/vm/migrate.sh

#!/bin/sh
# vm: --steady --gpu vfs=16,vram_mb=256,chip=vega10
# SPDX-License-Identifier: GPL-2.0
# share.sh on the second chip. It tells when VFs have no work, and their time goes to others then:
# equal shares are those of strict mode.
# shellcheck disable=SC2034
GIM_LOAD=strict=1
# shellcheck source=tests/vm/share.sh
. tests/vm/share.sh

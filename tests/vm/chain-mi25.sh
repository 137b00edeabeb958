#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=512,chip=vega10,truth=on
# SPDX-License-Identifier: GPL-2.0
# chain.sh on the second chip, without a dirty plane.
# shellcheck source=tests/vm/chain.sh
. tests/vm/chain.sh

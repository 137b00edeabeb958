# SPDX-License-Identifier: GPL-2.0
#
# make demo    the main job: four tenants share one (emulated) GPU      [VFS=1|2|4|8|16]
# make check   all tests; the last line is "N passed, N failed"  [CHIP=vega10: those of the other chip]
# make         gim.ko, for the running kernel if its build tree can build Rust
#              modules, else for the stock kernel in the build root      [KDIR=build tree]
# make help    the rest

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := modules
VFS ?= 4
release := $(shell . scripts/versions.env && echo $$KERNEL_RELEASE)

# A build tree can build Rust modules if it holds the kernel crate's metadata.
running := /lib/modules/$(shell uname -r)/build
KDIR ?= $(if $(wildcard $(running)/rust/libkernel.rmeta),$(running))

in_root := scripts/in-root
export GIM_GOAL = $(firstword $(MAKECMDGOALS) modules)

.PHONY: modules modules_install clean setup build demo demo-migrate demo-vm demo-upgrade check check-debug check-iommufd bench fmt help

modules:
ifneq ($(KDIR),)
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules
else
	@scripts/setup
	@$(in_root) scripts/build modules
endif

modules_install:
	$(MAKE) -C $(or $(KDIR),$(running)) M=$(CURDIR) modules_install

setup:
	@scripts/setup

# Everything: module, emulated GPU, client, demo, gimctl.
build: setup
	@$(in_root) scripts/build all

demo: build
	@$(in_root) scripts/demo --vfs $(VFS) $(DEMO_ARGS)

# A VF whose client works moves from one host VM to another.
demo-migrate: build
	@$(in_root) scripts/demo-migrate

# A guest VM moves with its VF from one host VM to another, by a stock QEMU.
demo-vm: build
	@$(in_root) scripts/demo-vm

# gim and QEMU are replaced under a guest VM that works.
demo-upgrade: build
	@$(in_root) scripts/demo-upgrade

check: build
	@GIM_CHECK_CHIP=$(CHIP) scripts/check

check-debug: build
	@GIM_CHECK_CHIP=$(CHIP) scripts/check-on debug

check-iommufd: build
	@scripts/check-on iommufd

bench: build
	@! $(in_root) scripts/bench --iommufd '$(or $(BENCH),.)' || scripts/check-on iommufd --build
	@$(in_root) scripts/bench '$(or $(BENCH),.)'

fmt: setup
	@$(in_root) scripts/lint fmt

clean:
	@rm -rf build
	@find . -path ./.git -prune -o \( -name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' \
		-o -name '.*.cmd' -o -name '*.order' -o -name Module.symvers -o -name '*.rmeta' \) -type f -print | xargs -r rm -f

help:
	@sed -n 's/^# \?//; 2,9p' $(firstword $(MAKEFILE_LIST))
	@echo "make setup        only the build root (cache: \$$GIM_CACHE, default ~/.cache/gim)"
	@echo "make build        everything that demo and check run"
	@echo "make demo-migrate a running VF moves to another host"
	@echo "make demo-vm      a guest VM moves with its VF to another host, by a stock QEMU"
	@echo "make demo-upgrade gim and QEMU are replaced under a guest VM that works"
	@echo "make check-debug  the tests on a kernel with KASAN, lockdep and kmemleak (slow)"
	@echo "make check-iommufd  those that tell more on a kernel with iommufd than on the stock one"
	@echo "make bench        figures, as ratios against a baseline in the same run"
	@echo "make fmt          formats every Rust file"
	@echo "make clean        removes what was built here; the cache stays"

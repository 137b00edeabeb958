/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How the device gets into an unmodified QEMU: loaded by LD_PRELOAD, its constructor queues the
 * types on QEMU's own list of modules.
 */
#include "gim-gpu.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-control.h"

static void register_types(void)
{
	/* Structures differ even within a stable series: take no other version than built for. */
	VersionInfo *v = qmp_query_version(&error_abort);

	if (v->qemu->major != QEMU_BUILT_MAJOR || v->qemu->minor != QEMU_BUILT_MINOR ||
	    v->qemu->micro != QEMU_BUILT_MICRO) {
		fprintf(stderr, "gim-gpu: built for QEMU %d.%d.%d, loaded into %d.%d.%d; "
			"run tests/gpu/build again\n", QEMU_BUILT_MAJOR, QEMU_BUILT_MINOR,
			QEMU_BUILT_MICRO, (int)v->qemu->major, (int)v->qemu->minor,
			(int)v->qemu->micro);
		exit(1);
	}
	qapi_free_VersionInfo(v);
	gim_gpu_register_types();
	gim_referee_register_types();
}

/* Weak: other programs that inherit LD_PRELOAD are left alone. */
extern void register_module_init(void (*fn)(void), module_init_type type) __attribute__((weak));

static void __attribute__((constructor)) gim_gpu_load(void)
{
	if (register_module_init)
		register_module_init(register_types, MODULE_INIT_QOM);
}

/* SPDX-License-Identifier: GPL-2.0 */
/* QOM types of the emulated GPU. */
#ifndef GIM_GPU_H
#define GIM_GPU_H

#include "qemu/osdep.h"
#include "hw/pci/pci_device.h"
#include "model.h"

#define TYPE_GIM_GPU "gim-gpu"
#define TYPE_GIM_GPU_VF "gim-gpu-vf"
#define TYPE_GIM_REFEREE "gim-referee"
OBJECT_DECLARE_SIMPLE_TYPE(GimGpu, GIM_GPU)
OBJECT_DECLARE_SIMPLE_TYPE(GimGpuVf, GIM_GPU_VF)
OBJECT_DECLARE_SIMPLE_TYPE(GimReferee, GIM_REFEREE)

#define GIM_MAX_VFS 16

/* Data of QEMU's that tables here point to.  Weak, so that another program which inherits
 * LD_PRELOAD (timeout, a shell) can load the object and ignore it. */
#pragma weak qdev_prop_uint32
#pragma weak qdev_prop_bool
#pragma weak qdev_prop_string
#pragma weak qdev_prop_link
#pragma weak error_abort

/* BARs of a function: framebuffer (with what of it is seen laid over), doorbells, registers. */
typedef struct GimBars {
	MemoryRegion fb, fb_window, doorbell, mmio;
} GimBars;

struct GimGpuVf {
	PCIDevice parent_obj;
	GimBars bars;
};

struct GimGpu {
	PCIDevice parent_obj;
	GimBars bars;
	/* The framebuffer, and the same as VFs see it if their writes are to be noted. */
	MemoryRegion vram, noted;
	GimConfig cfg;
	char *chip_name;
	GimChip chip;
	uint32_t vf_bar_mb;
	uint32_t enabled;
	GimModel *model;
	QEMUTimer *tick;
	GimGpuVf *vf[GIM_MAX_VFS];
};

/* Faults may have been armed or forgotten. */
void gim_gpu_faults_changed(GimGpu *s);
void gim_gpu_register_types(void);
void gim_referee_register_types(void);

#endif

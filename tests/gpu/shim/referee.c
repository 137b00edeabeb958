/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The debug device: counters and fault knobs of an emulated GPU, out of its driver's reach.  The
 * register map is tests/gpu/regs/src/referee.rs.
 */
#include "gim-gpu.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/qdev-properties.h"

#define REFEREE_VENDOR 0x1b36
#define REFEREE_DEVICE 0x0f0f
#define REFEREE_BYTES (64 * KiB)

struct GimReferee {
	PCIDevice parent_obj;
	MemoryRegion regs;
	GimGpu *gpu;
};

static uint64_t referee_read(void *opaque, hwaddr addr, unsigned size)
{
	return gim_gpu_referee_read(((GimReferee *)opaque)->gpu->model, addr, size);
}

static void referee_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
	GimGpu *s = ((GimReferee *)opaque)->gpu;

	gim_gpu_referee_write(s->model, addr, value);
	if (size == 8)
		gim_gpu_referee_write(s->model, addr + 4, value >> 32);
	gim_gpu_faults_changed(s);
}

static const MemoryRegionOps referee_ops = {
	.read = referee_read,
	.write = referee_write,
	.endianness = DEVICE_LITTLE_ENDIAN,
	.valid = { .min_access_size = 4, .max_access_size = 8 },
	.impl = { .min_access_size = 4, .max_access_size = 8 },
};

static void referee_realize(PCIDevice *d, Error **errp)
{
	GimReferee *r = GIM_REFEREE(d);

	if (!r->gpu || !r->gpu->model) {
		error_setg(errp, "gim-referee: gpu= names no gim-gpu device before this one");
		return;
	}
	memory_region_init_io(&r->regs, OBJECT(d), &referee_ops, r, "gim-referee", REFEREE_BYTES);
	pci_register_bar(d, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &r->regs);
}

static const Property referee_properties[] = {
	DEFINE_PROP_LINK("gpu", GimReferee, gpu, TYPE_GIM_GPU, GimGpu *),
};

static void referee_class_init(ObjectClass *klass, void *data)
{
	DeviceClass *dc = DEVICE_CLASS(klass);
	PCIDeviceClass *pc = PCI_DEVICE_CLASS(klass);

	pc->realize = referee_realize;
	pc->vendor_id = REFEREE_VENDOR;
	pc->device_id = REFEREE_DEVICE;
	pc->class_id = PCI_CLASS_OTHERS;
	device_class_set_props(dc, referee_properties);
	/* It goes with its GPU. */
	dc->hotpluggable = false;
	dc->desc = "Counters and fault knobs of a gim-gpu";
	set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static InterfaceInfo interfaces[] = {
	{ INTERFACE_CONVENTIONAL_PCI_DEVICE },
	{}
};

static const TypeInfo type = {
	.name = TYPE_GIM_REFEREE,
	.parent = TYPE_PCI_DEVICE,
	.instance_size = sizeof(GimReferee),
	.class_init = referee_class_init,
	.interfaces = interfaces,
};

void gim_referee_register_types(void)
{
	type_register_static(&type);
}

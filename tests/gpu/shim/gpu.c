/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The emulated GPU as a PCI Express device: configuration space, BARs, interrupts and DMA.  What
 * the registers mean is in the model (tests/gpu/model).
 */
#include "gim-gpu.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/pci/msi.h"
#include "hw/pci/pcie.h"
#include "hw/pci/pcie_sriov.h"
#include "hw/qdev-properties.h"

#define GIM_VENDOR 0x1002

#define CAP_MSI 0xa0
#define ECAP_VENDOR 0x100
#define ECAP_AER 0x150
#define ECAP_ARI 0x328
#define ECAP_SRIOV 0x330
#define ECAP_GPUIOV 0x400
#define GPUIOV_ID 0x0002
/* What lies behind the two headers belongs to the model. */
#define GPUIOV_REGS (ECAP_GPUIOV + 8)

#define DOORBELL_BYTES (2 * MiB)
#define PF_APERTURE (256 * MiB)
#define PREFETCH64 (PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH)

static GimGpu *gpu_of(PCIDevice *d)
{
	return GIM_GPU(pci_is_vf(d) ? pcie_sriov_get_pf(d) : d);
}

static uint32_t slot_of(PCIDevice *d)
{
	return pci_is_vf(d) ? pcie_sriov_vf_number(d) + 1 : 0;
}

static PCIDevice *function_at(GimGpu *s, uint32_t slot)
{
	if (slot == 0)
		return PCI_DEVICE(s);
	if (slot > GIM_MAX_VFS || slot > s->enabled || !s->vf[slot - 1])
		return NULL;
	return PCI_DEVICE(s->vf[slot - 1]);
}

/* What the model asks for. */

static bool host_dma(void *opaque, uint32_t slot, uint64_t bus, uint8_t *buf, size_t len, bool write)
{
	PCIDevice *d = function_at(opaque, slot);

	/* As this function: its bus master bit and its requester id decide. */
	return d && pci_dma_rw(d, bus, buf, len,
			       write ? DMA_DIRECTION_FROM_DEVICE : DMA_DIRECTION_TO_DEVICE,
			       MEMTXATTRS_UNSPECIFIED) == MEMTX_OK;
}

static void host_interrupt(void *opaque, uint32_t slot)
{
	PCIDevice *d = function_at(opaque, slot);

	if (d && msi_enabled(d))
		msi_notify(d, 0);
}

static uint64_t host_now(void *opaque)
{
	return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

static void host_arm(void *opaque, uint64_t at)
{
	GimGpu *s = opaque;

	if (at > INT64_MAX)
		timer_del(s->tick);
	else
		timer_mod_ns(s->tick, at);
}

/* Shows `bytes` of the framebuffer from `offset` at the start of a BAR0. */
static void show(GimBars *b, uint64_t offset, uint64_t bytes)
{
	bytes = MIN(bytes, memory_region_size(&b->fb));
	memory_region_transaction_begin();
	memory_region_set_enabled(&b->fb_window, bytes > 0);
	if (bytes > 0) {
		memory_region_set_alias_offset(&b->fb_window, offset);
		memory_region_set_size(&b->fb_window, bytes);
	}
	memory_region_transaction_commit();
}

static void host_window(void *opaque, uint32_t vf, uint64_t offset, uint64_t bytes)
{
	GimGpu *s = opaque;

	if (vf < GIM_MAX_VFS && s->vf[vf])
		show(&s->vf[vf]->bars, offset, bytes);
}

static uint64_t host_shared_now(void *opaque)
{
	return qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
}

static void tick(void *opaque)
{
	gim_gpu_tick(((GimGpu *)opaque)->model);
}

/* BARs. */

static uint64_t mmio_read(void *opaque, hwaddr addr, unsigned size)
{
	return gim_gpu_bar_read(gpu_of(opaque)->model, slot_of(opaque), addr, size);
}

static void mmio_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
	gim_gpu_bar_write(gpu_of(opaque)->model, slot_of(opaque), addr, size, value);
}

static const MemoryRegionOps mmio_ops = {
	.read = mmio_read,
	.write = mmio_write,
	.endianness = DEVICE_LITTLE_ENDIAN,
	.valid = { .min_access_size = 1, .max_access_size = 4 },
	.impl = { .min_access_size = 1, .max_access_size = 4 },
};

static uint64_t all_ones(void *opaque, hwaddr addr, unsigned size)
{
	return UINT64_MAX;
}

static void doorbell_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
	gim_gpu_doorbell(gpu_of(opaque)->model, slot_of(opaque), addr / 4, value);
}

static const MemoryRegionOps doorbell_ops = {
	.read = all_ones,
	.write = doorbell_write,
	.endianness = DEVICE_LITTLE_ENDIAN,
	.valid = { .min_access_size = 4, .max_access_size = 8 },
	.impl = { .min_access_size = 4, .max_access_size = 4 },
};

static void dropped(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
}

/* Where BAR0 shows no framebuffer. */
static const MemoryRegionOps hole_ops = {
	.read = all_ones,
	.write = dropped,
	.endianness = DEVICE_LITTLE_ENDIAN,
	.valid = { .min_access_size = 1, .max_access_size = 8 },
};

static bool notes_writes(GimGpu *s)
{
	return s->cfg.dirty_tracking || s->cfg.truth;
}

/* A write through a VF's BAR0; reads go to the memory directly. */
static void noted_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
	GimGpu *s = opaque;

	stn_le_p((uint8_t *)memory_region_get_ram_ptr(&s->vram) + addr, size, value);
	gim_gpu_written(s->model, addr, size);
}

static uint64_t noted_read(void *opaque, hwaddr addr, unsigned size)
{
	GimGpu *s = opaque;

	return ldn_le_p((uint8_t *)memory_region_get_ram_ptr(&s->vram) + addr, size);
}

static const MemoryRegionOps noted_ops = {
	.read = noted_read,
	.write = noted_write,
	.endianness = DEVICE_LITTLE_ENDIAN,
	.valid = { .min_access_size = 1, .max_access_size = 8 },
	.impl = { .min_access_size = 1, .max_access_size = 8 },
};

/*
 * The framebuffer a second time, as QEMU's flash devices are: read as memory, written by calls.
 * (QEMU's own function for that would allocate other memory.)  Not QEMU's dirty log: with several
 * vCPU threads it can miss a write that is under way while the log is cleared, and it cannot tell
 * VFs' writes from the PF's.
 */
static void noted_init(GimGpu *s)
{
	MemoryRegion *mr = &s->noted;

	memory_region_init_ram_ptr(mr, OBJECT(s), "gim-gpu-noted", memory_region_size(&s->vram),
				   memory_region_get_ram_ptr(&s->vram));
	mr->ram = false;
	mr->rom_device = true;
	mr->ops = &noted_ops;
	mr->opaque = s;
	/* The GPU's engine may write there too. */
	mr->disable_reentrancy_guard = true;
}

static void bars_init(PCIDevice *d, GimBars *b, GimGpu *s, uint64_t fb_bytes)
{
	bool noted = pci_is_vf(d) && notes_writes(s);

	memory_region_init_io(&b->fb, OBJECT(d), &hole_ops, d, "gim-gpu-fb", fb_bytes);
	memory_region_init_alias(&b->fb_window, OBJECT(d), "gim-gpu-fb-window",
				 noted ? &s->noted : &s->vram, 0, 4 * KiB);
	memory_region_set_enabled(&b->fb_window, false);
	memory_region_add_subregion_overlap(&b->fb, 0, &b->fb_window, 1);
	pci_register_bar(d, 0, PREFETCH64, &b->fb);
	memory_region_init_io(&b->doorbell, OBJECT(d), &doorbell_ops, d, "gim-gpu-doorbell",
			      DOORBELL_BYTES);
	pci_register_bar(d, 2, PREFETCH64, &b->doorbell);
	memory_region_init_io(&b->mmio, OBJECT(d), &mmio_ops, d, "gim-gpu-mmio",
			      s->chip.mmio_bytes);
	pci_register_bar(d, 5, PCI_BASE_ADDRESS_SPACE_MEMORY, &b->mmio);
}

/* Configuration space. */

static bool caps_init(PCIDevice *d, Error **errp)
{
	if (pcie_endpoint_cap_init(d, gpu_of(d)->chip.cap_pcie) < 0) {
		error_setg(errp, "gim-gpu: no room for the PCI Express capability");
		return false;
	}
	pcie_cap_flr_init(d);
	if (msi_init(d, CAP_MSI, 1, true, false, errp) < 0)
		return false;
	/* As on AMD's cards: a vendor-specific capability that is not the one to look for. */
	pcie_add_capability(d, PCI_EXT_CAP_ID_VNDR, 1, ECAP_VENDOR, 0x10);
	pci_set_long(d->config + ECAP_VENDOR + 4, 0x0001 | 1 << 16 | 0x10 << 20);
	if (pcie_aer_init(d, PCI_ERR_VER, ECAP_AER, PCI_ERR_SIZEOF, errp) < 0)
		return false;
	pcie_ari_init(d, ECAP_ARI);
	return true;
}

static void function_exit(PCIDevice *d)
{
	pcie_aer_exit(d);
	msi_uninit(d);
	pcie_cap_exit(d);
}

/* Whether an address is behind the headers of the GPU-IOV capability. */
static bool is_gpuiov(PCIDevice *d, uint32_t addr)
{
	return addr >= GPUIOV_REGS && addr < ECAP_GPUIOV + gpu_of(d)->chip.gpuiov_length;
}

/* The number of enabled VFs may have changed. */
static void sriov_changed(GimGpu *s)
{
	uint32_t n = pcie_sriov_num_vfs(PCI_DEVICE(s));

	if (n != s->enabled) {
		s->enabled = n;
		gim_gpu_set_enabled(s->model, n);
	}
}

static uint32_t pf_config_read(PCIDevice *d, uint32_t addr, int len)
{
	if (is_gpuiov(d, addr))
		return gim_gpu_cfg_read(gpu_of(d)->model, addr - ECAP_GPUIOV, len);
	return pci_default_read_config(d, addr, len);
}

static void config_write(PCIDevice *d, uint32_t addr, uint32_t value, int len)
{
	pci_default_write_config(d, addr, value, len);
	pcie_aer_write_config(d, addr, value, len);
	/* May reset the function: see reset_hold. */
	pcie_cap_flr_write_config(d, addr, value, len);
}

static void pf_config_write(PCIDevice *d, uint32_t addr, uint32_t value, int len)
{
	if (is_gpuiov(d, addr)) {
		gim_gpu_cfg_write(gpu_of(d)->model, addr - ECAP_GPUIOV, len, value);
		return;
	}
	config_write(d, addr, value, len);
	sriov_changed(gpu_of(d));
}

static void reset_hold(Object *o, ResetType type)
{
	PCIDevice *d = PCI_DEVICE(o);
	GimGpu *s = gpu_of(d);

	if (s->model)
		gim_gpu_flr(s->model, slot_of(d));
}

static void pf_reset_exit(Object *o, ResetType type)
{
	/* SR-IOV may have been switched off by the reset. */
	GimGpu *s = GIM_GPU(o);

	if (s->model) {
		s->enabled = 0;
		sriov_changed(s);
	}
}

/* VF. */

static void vf_realize(PCIDevice *d, Error **errp)
{
	GimGpuVf *v = GIM_GPU_VF(d);
	GimGpu *s = gpu_of(d);

	pci_config_set_device_id(d->config, s->chip.vf_device);
	bars_init(d, &v->bars, s, s->vf_bar_mb * MiB);
	d->config_write = config_write;
	if (caps_init(d, errp))
		s->vf[pcie_sriov_vf_number(d)] = v;
}

static void vf_exit(PCIDevice *d)
{
	gpu_of(d)->vf[pcie_sriov_vf_number(d)] = NULL;
	function_exit(d);
}

static void vf_class_init(ObjectClass *klass, void *data)
{
	DeviceClass *dc = DEVICE_CLASS(klass);
	PCIDeviceClass *pc = PCI_DEVICE_CLASS(klass);

	pc->realize = vf_realize;
	pc->exit = vf_exit;
	pc->vendor_id = GIM_VENDOR;
	pc->class_id = PCI_CLASS_DISPLAY_OTHER;
	RESETTABLE_CLASS(klass)->phases.hold = reset_hold;
	dc->user_creatable = false;
	dc->desc = "Virtual function of gim-gpu";
}

/* PF. */

static bool properties_are_sound(GimGpu *s, Error **errp)
{
	GimConfig *c = &s->cfg;

	if (!gim_gpu_chip(s->chip_name ? s->chip_name : "tonga", &s->chip)) {
		error_setg(errp, "gim-gpu: chip=%s is neither tonga nor vega10", s->chip_name);
	} else if (c->vfs < 1 || c->vfs > GIM_MAX_VFS) {
		error_setg(errp, "gim-gpu: vfs=%u is not in 1..%d", c->vfs, GIM_MAX_VFS);
	} else if (c->vram_mb < 32 || c->vram_mb > 0xfff0 || c->vram_mb % 16) {
		error_setg(errp, "gim-gpu: vram_mb=%u is not a multiple of 16 in 32..65520", c->vram_mb);
	} else if (s->vf_bar_mb && !is_power_of_2(s->vf_bar_mb)) {
		error_setg(errp, "gim-gpu: vf_bar_mb=%u is not a power of two", s->vf_bar_mb);
	} else if (c->rate == 0 || c->packet_ns < 10) {
		error_setg(errp, "gim-gpu: rate is at least 1, packet_ns at least 10");
	} else {
		return true;
	}
	return false;
}

static void pf_model_init(GimGpu *s)
{
	GimHostOps ops = {
		.dma = host_dma,
		.interrupt = host_interrupt,
		.now = host_now,
		.arm = host_arm,
		.window = host_window,
		.shared_now = host_shared_now,
		.vram = memory_region_get_ram_ptr(&s->vram),
		.vram_bytes = memory_region_size(&s->vram),
	};

	s->tick = timer_new_ns(QEMU_CLOCK_VIRTUAL, tick, s);
	s->model = gim_gpu_new(s, &s->cfg, &ops);
}

static void pf_realize(PCIDevice *d, Error **errp)
{
	GimGpu *s = GIM_GPU(d);
	uint64_t vram, aperture;

	if (!properties_are_sound(s, errp))
		return;
	s->cfg.chip = s->chip.chip;
	pci_config_set_device_id(d->config, s->chip.pf_device);
	vram = s->cfg.vram_mb * MiB;
	if (!s->vf_bar_mb)
		s->vf_bar_mb = MIN(256, pow2ceil(DIV_ROUND_UP(s->cfg.vram_mb, 4)));
	if (!memory_region_init_ram(&s->vram, OBJECT(d), "gim-gpu-vram", vram, errp))
		return;
	if (notes_writes(s))
		noted_init(s);
	aperture = s->cfg.large_bar ? pow2ceil(vram) : MIN(PF_APERTURE, pow2ceil(vram));
	bars_init(d, &s->bars, s, aperture);
	show(&s->bars, 0, vram);
	d->config_read = pf_config_read;
	d->config_write = pf_config_write;
	if (!caps_init(d, errp))
		return;
	pcie_add_capability(d, PCI_EXT_CAP_ID_VNDR, 1, ECAP_GPUIOV, s->chip.gpuiov_length);
	pci_set_long(d->config + ECAP_GPUIOV + 4,
		     GPUIOV_ID | s->chip.gpuiov_revision << 16 | s->chip.gpuiov_length << 20);
	pf_model_init(s);
	/* Realizes the VFs, which lay windows over the framebuffer. */
	if (!pcie_sriov_pf_init(d, ECAP_SRIOV, TYPE_GIM_GPU_VF, s->chip.vf_device, s->cfg.vfs,
				s->cfg.vfs, 1, 1, errp))
		return;
	pcie_sriov_pf_init_vf_bar(d, 0, PREFETCH64, s->vf_bar_mb * MiB);
	pcie_sriov_pf_init_vf_bar(d, 2, PREFETCH64, DOORBELL_BYTES);
	pcie_sriov_pf_init_vf_bar(d, 5, PCI_BASE_ADDRESS_SPACE_MEMORY, s->chip.mmio_bytes);
}

static void pf_exit(PCIDevice *d)
{
	GimGpu *s = GIM_GPU(d);

	pcie_sriov_pf_exit(d);
	timer_free(s->tick);
	gim_gpu_free(s->model);
	s->model = NULL;
	function_exit(d);
}

void gim_gpu_faults_changed(GimGpu *s)
{
	/* Of a PF that has left the bus, the framebuffer too reads all ones. */
	memory_region_set_enabled(&s->bars.fb_window, !gim_gpu_pf_is_lost(s->model));
}

static char *get_referee(Object *o, Error **errp)
{
	char *json = gim_gpu_referee_json(GIM_GPU(o)->model);
	char *copy = g_strdup(json ? json : "{}");

	gim_gpu_free_string(json);
	return copy;
}

static void set_fault(Object *o, const char *text, Error **errp)
{
	if (!gim_gpu_fault(GIM_GPU(o)->model, text))
		error_setg(errp, "gim-gpu: cannot read the fault '%s'; it is "
			   "KIND[,fn=pf|vfN|any][,cmd=N][,us=N][,count=N|any] or clear", text);
	gim_gpu_faults_changed(GIM_GPU(o));
}

static const Property pf_properties[] = {
	DEFINE_PROP_STRING("chip", GimGpu, chip_name),
	DEFINE_PROP_UINT32("vfs", GimGpu, cfg.vfs, 16),
	DEFINE_PROP_UINT32("vram_mb", GimGpu, cfg.vram_mb, 1024),
	DEFINE_PROP_UINT32("vf_bar_mb", GimGpu, vf_bar_mb, 0),
	DEFINE_PROP_UINT32("idle_us", GimGpu, cfg.idle_us, 50),
	DEFINE_PROP_UINT32("save_us", GimGpu, cfg.save_us, 100),
	DEFINE_PROP_UINT32("load_us", GimGpu, cfg.load_us, 100),
	DEFINE_PROP_UINT32("run_us", GimGpu, cfg.run_us, 20),
	DEFINE_PROP_UINT32("init_us", GimGpu, cfg.init_us, 200),
	DEFINE_PROP_UINT32("rlcv_us", GimGpu, cfg.rlcv_us, 20),
	DEFINE_PROP_UINT32("hang_us", GimGpu, cfg.hang_us, 10000),
	DEFINE_PROP_UINT32("rate", GimGpu, cfg.rate, 1000),
	DEFINE_PROP_UINT32("packet_ns", GimGpu, cfg.packet_ns, 500),
	DEFINE_PROP_UINT32("tick_ns", GimGpu, cfg.tick_ns, 10000),
	DEFINE_PROP_BOOL("completion_irq", GimGpu, cfg.completion_irq, true),
	DEFINE_PROP_BOOL("dirty_tracking", GimGpu, cfg.dirty_tracking, false),
	DEFINE_PROP_BOOL("large_bar", GimGpu, cfg.large_bar, false),
	DEFINE_PROP_BOOL("poll_blocks_idle", GimGpu, cfg.poll_blocks_idle, false),
	DEFINE_PROP_BOOL("truth", GimGpu, cfg.truth, false),
	DEFINE_PROP_BOOL("dma_log", GimGpu, cfg.dma_log, false),
};

static void pf_class_init(ObjectClass *klass, void *data)
{
	DeviceClass *dc = DEVICE_CLASS(klass);
	PCIDeviceClass *pc = PCI_DEVICE_CLASS(klass);

	pc->realize = pf_realize;
	pc->exit = pf_exit;
	pc->vendor_id = GIM_VENDOR;
	pc->class_id = PCI_CLASS_DISPLAY_OTHER;
	RESETTABLE_CLASS(klass)->phases.hold = reset_hold;
	RESETTABLE_CLASS(klass)->phases.exit = pf_reset_exit;
	device_class_set_props(dc, pf_properties);
	object_class_property_add_str(klass, "referee", get_referee, NULL);
	object_class_property_add_str(klass, "fault", NULL, set_fault);
	dc->desc = "Emulated FirePro S7150 or Radeon Instinct MI25 with GPU-IOV";
	set_bit(DEVICE_CATEGORY_DISPLAY, dc->categories);
}

static InterfaceInfo interfaces[] = {
	{ INTERFACE_PCIE_DEVICE },
	{}
};

static const TypeInfo types[] = {
	{
		.name = TYPE_GIM_GPU,
		.parent = TYPE_PCI_DEVICE,
		.instance_size = sizeof(GimGpu),
		.class_init = pf_class_init,
		.interfaces = interfaces,
	},
	{
		.name = TYPE_GIM_GPU_VF,
		.parent = TYPE_PCI_DEVICE,
		.instance_size = sizeof(GimGpuVf),
		.class_init = vf_class_init,
		.interfaces = interfaces,
	},
};

void gim_gpu_register_types(void)
{
	for (int i = 0; i < ARRAY_SIZE(types); i++)
		type_register_static(&types[i]);
}

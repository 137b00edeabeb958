/* SPDX-License-Identifier: GPL-2.0 */
/* The model (tests/gpu/model/src/ffi.rs) as C sees it.  Functions are numbered by slot: 0 is the
 * PF, n + 1 is VFn. */
#ifndef GIM_GPU_MODEL_H
#define GIM_GPU_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct GimModel GimModel;

/* As ChipFacts in ffi.rs. */
typedef struct GimChip {
	uint32_t chip;
	uint32_t mmio_bytes;
	uint16_t pf_device, vf_device;
	uint16_t gpuiov_length;
	uint8_t gpuiov_revision;
	uint8_t cap_pcie;
} GimChip;

/* As Config in lib.rs. */
typedef struct GimConfig {
	uint32_t chip;
	uint32_t vfs;
	uint32_t vram_mb;
	uint32_t idle_us, save_us, load_us, run_us, init_us, rlcv_us;
	uint32_t hang_us;
	uint32_t rate;
	uint32_t packet_ns;
	uint32_t tick_ns;
	bool completion_irq;
	bool dirty_tracking;
	bool large_bar;
	bool poll_blocks_idle;
	bool truth;
	bool dma_log;
} GimConfig;

/* As HostOps in ffi.rs. */
typedef struct GimHostOps {
	bool (*dma)(void *opaque, uint32_t slot, uint64_t bus, uint8_t *buf, size_t len, bool write);
	void (*interrupt)(void *opaque, uint32_t slot);
	uint64_t (*now)(void *opaque);
	void (*arm)(void *opaque, uint64_t at);
	void (*window)(void *opaque, uint32_t vf, uint64_t offset, uint64_t bytes);
	uint64_t (*shared_now)(void *opaque);
	uint8_t *vram;
	size_t vram_bytes;
} GimHostOps;

GimModel *gim_gpu_new(void *opaque, const GimConfig *cfg, const GimHostOps *ops);
void gim_gpu_free(GimModel *m);
void gim_gpu_written(GimModel *m, uint64_t at, uint64_t len);
bool gim_gpu_chip(const char *name, GimChip *facts);
uint32_t gim_gpu_bar_read(GimModel *m, uint32_t slot, uint32_t addr, uint8_t len);
void gim_gpu_bar_write(GimModel *m, uint32_t slot, uint32_t addr, uint8_t len, uint32_t value);
void gim_gpu_doorbell(GimModel *m, uint32_t slot, uint32_t index, uint32_t value);
uint32_t gim_gpu_cfg_read(GimModel *m, uint16_t off, uint8_t len);
void gim_gpu_cfg_write(GimModel *m, uint16_t off, uint8_t len, uint32_t value);
void gim_gpu_flr(GimModel *m, uint32_t slot);
void gim_gpu_set_enabled(GimModel *m, uint32_t vfs);
void gim_gpu_tick(GimModel *m);
uint64_t gim_gpu_referee_read(GimModel *m, uint32_t off, uint8_t len);
void gim_gpu_referee_write(GimModel *m, uint32_t off, uint32_t value);
bool gim_gpu_fault(GimModel *m, const char *text);
bool gim_gpu_pf_is_lost(GimModel *m);
char *gim_gpu_referee_json(GimModel *m);
void gim_gpu_free_string(char *s);

#endif

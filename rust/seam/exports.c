// SPDX-License-Identifier: GPL-2.0
/* Exports what exports.rs defines: only C has EXPORT_SYMBOL. */
#include <linux/export.h>
#include <linux/module.h>
#include <linux/types.h>

s64 gim_seam_register(u32 domain, u32 id, const void *ops, void *ctx);
void gim_seam_unregister(u64 serial);
int gim_seam_enter(u32 domain, u32 id, bool patient, void *out);
void gim_seam_leave(const void *visit);
int gim_seam_keep(u32 domain, u32 id, u64 serial, const u64 *words, size_t count);
s64 gim_seam_kept(u32 domain, u32 id, u64 *words, size_t room);
void gim_seam_forget(u32 domain, u32 id);
void gim_seam_pin(bool on);

EXPORT_SYMBOL_GPL(gim_seam_register);
EXPORT_SYMBOL_GPL(gim_seam_unregister);
EXPORT_SYMBOL_GPL(gim_seam_enter);
EXPORT_SYMBOL_GPL(gim_seam_leave);
EXPORT_SYMBOL_GPL(gim_seam_keep);
EXPORT_SYMBOL_GPL(gim_seam_kept);
EXPORT_SYMBOL_GPL(gim_seam_forget);

/**
 * gim_seam_pin() - keep this module from being unloaded, or no longer
 * @on: whether
 *
 * Only while somebody who uses it is inside anyway.
 */
void gim_seam_pin(bool on)
{
	if (on)
		__module_get(THIS_MODULE);
	else
		module_put(THIS_MODULE);
}

MODULE_VERSION(GIM_VERSION);

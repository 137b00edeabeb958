// SPDX-License-Identifier: GPL-2.0
/* Exports what exports.rs defines: only C has EXPORT_SYMBOL. */
#include <linux/export.h>
#include <linux/module.h>
#include <linux/types.h>

s64 gim_seam_register(u32 domain, u32 id, const void *ops, void *ctx);
void gim_seam_unregister(u64 serial);
int gim_seam_enter(u32 domain, u32 id, void *out);
void gim_seam_leave(const void *visit);

EXPORT_SYMBOL_GPL(gim_seam_register);
EXPORT_SYMBOL_GPL(gim_seam_unregister);
EXPORT_SYMBOL_GPL(gim_seam_enter);
EXPORT_SYMBOL_GPL(gim_seam_leave);

MODULE_VERSION(GIM_VERSION);

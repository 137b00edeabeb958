/* SPDX-License-Identifier: GPL-2.0 */
#ifndef GIM_HELPERS_H
#define GIM_HELPERS_H

#include <linux/types.h>

struct pci_dev;

bool gim_may_log(void);
bool gim_may_log_stream(void);
void gim_pci_disable_sriov_unbind(struct pci_dev *pf);
void gim_pci_save_vfs(struct pci_dev *pf);
void gim_pci_restore_vfs(struct pci_dev *pf);
int gim_pci_try_reset_with_vfs(struct pci_dev *pf);
void gim_pci_link_vfs(struct pci_dev *pf);
void gim_pci_silence(struct pci_dev *pf);
bool gim_pci_gone(struct pci_dev *dev);
bool gim_pci_is_enabled(struct pci_dev *dev);
struct pci_dev *gim_pci_get_vf(struct pci_dev *pf, unsigned int n);
int gim_pci_domain(struct pci_dev *dev);
bool gim_capable(void);
u32 gim_crc32c(u32 rest, const void *bytes, size_t len);
void gim_read_wc(void *to, const void *from, size_t len);
size_t gim_read_wc_user(unsigned long user, const void *from, size_t len);
bool gim_can_read_wc(void);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
#ifndef GIM_VFIO_IDS_H
#define GIM_VFIO_IDS_H

#include <linux/types.h>

struct pci_dev;
struct pci_device_id;

extern const struct pci_device_id gim_vfio_ids[];
u32 gim_vfio_pf(struct pci_dev *vf, u32 *domain);

#endif

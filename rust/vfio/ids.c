// SPDX-License-Identifier: GPL-2.0
/* Which VFs: only C has MODULE_DEVICE_TABLE for devices that a driver gets by override alone. */
#include <linux/module.h>
#include <linux/pci.h>

#include "ids.h"

const struct pci_device_id gim_vfio_ids[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_VENDOR_ID_ATI, 0x692f) },	/* FirePro S7150 */
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_VENDOR_ID_ATI, 0x686c) },	/* Radeon Instinct MI25 */
	{ }
};
MODULE_DEVICE_TABLE(pci, gim_vfio_ids);
MODULE_VERSION(GIM_VERSION);
#if IS_ENABLED(CONFIG_IOMMUFD_DRIVER)
MODULE_IMPORT_NS("IOMMUFD");	/* iova_bitmap_set() */
#endif

/**
 * gim_vfio_pf() - where the physical function of a VF is
 * @vf: a virtual function
 * @domain: out: PCI domain
 *
 * Return: bus << 8 | devfn.
 */
u32 gim_vfio_pf(struct pci_dev *vf, u32 *domain)
{
	struct pci_dev *pf = pci_physfn(vf);

	*domain = pci_domain_nr(pf->bus);
	return pci_dev_id(pf);
}

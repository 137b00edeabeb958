// SPDX-License-Identifier: GPL-2.0
/* What Rust cannot reach: inline functions and macros of the kernel's headers. */
#include <linux/capability.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/ratelimit.h>

#include "helpers.h"

/* /sys/module/gim/version, which other tools read; module! has no key for it. */
MODULE_VERSION(GIM_VERSION);

/**
 * gim_may_log() - rate limit for messages that a guest can cause
 *
 * Return: true if the message may be printed: at most 10 in 5 seconds.
 */
bool gim_may_log(void)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL, DEFAULT_RATELIMIT_BURST);

	return __ratelimit(&limit);
}

/* drivers/pci/pci.h: set while the PCI core has the device and is not removing it. */
#define GIM_PCI_DEV_ADDED 0

/**
 * gim_pci_disable_sriov_unbind() - disable VFs while the PF's driver is unbound
 * @pf: physical function, its device lock held
 *
 * Removing VFs needs the rescan lock.  The PCI core holds it when it removes the PF, but not when
 * only the driver goes; then it is taken here, in the order that sriov_numvfs_store() takes it.
 */
void gim_pci_disable_sriov_unbind(struct pci_dev *pf)
{
	bool ours = test_bit(GIM_PCI_DEV_ADDED, &pf->priv_flags);

	if (!pci_num_vf(pf))
		return;
	if (ours)
		pci_lock_rescan_remove();
	pci_disable_sriov(pf);
	if (ours)
		pci_unlock_rescan_remove();
}

/**
 * gim_pci_get_vf() - find a virtual function
 * @pf: physical function
 * @n: number of the VF, from 0
 *
 * Return: the VF with a reference held, or NULL if it is not there (any more).
 */
struct pci_dev *gim_pci_get_vf(struct pci_dev *pf, unsigned int n)
{
	struct pci_dev *vf = NULL;

	while ((vf = pci_get_device(pf->vendor, PCI_ANY_ID, vf))) {
		if (vf->is_virtfn && pci_physfn(vf) == pf && pci_iov_vf_id(vf) == n)
			return vf;
	}
	return NULL;
}

/**
 * gim_pci_try_reset_with_vfs() - reset the PF and restore it with its VFs
 * @pf: physical function
 *
 * The PCI core restores the PF, SR-IOV included, but not the VFs, whose configuration is lost too.
 *
 * Return: 0, -EAGAIN while somebody else holds the PF's lock, or another errno.
 */
int gim_pci_try_reset_with_vfs(struct pci_dev *pf)
{
	unsigned int n, count = pci_num_vf(pf);
	struct pci_dev *vf;
	int err;

	for (n = 0; n < count; n++) {
		vf = gim_pci_get_vf(pf, n);
		if (vf)
			pci_save_state(vf);
		pci_dev_put(vf);
	}
	err = pci_try_reset_function(pf);
	for (n = 0; n < count && err != -EAGAIN; n++) {
		vf = gim_pci_get_vf(pf, n);
		if (vf)
			pci_restore_state(vf);
		pci_dev_put(vf);
	}
	return err;
}

/**
 * gim_pci_domain() - PCI domain of a device
 * @dev: device
 *
 * Return: its number.
 */
int gim_pci_domain(struct pci_dev *dev)
{
	return pci_domain_nr(dev->bus);
}

/**
 * gim_capable() - whether the caller may do what the administrator may
 *
 * Return: true with CAP_SYS_ADMIN.
 */
bool gim_capable(void)
{
	return capable(CAP_SYS_ADMIN);
}

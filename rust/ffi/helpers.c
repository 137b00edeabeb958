// SPDX-License-Identifier: GPL-2.0
/* What Rust cannot reach: inline functions and macros of the kernel's headers. */
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

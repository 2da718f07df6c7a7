// SPDX-License-Identifier: GPL-2.0-only
/*
 * fcmaxnpiv - lower or raise an FC host's limit of NPIV ports, for tests
 *
 * The software FCoE host allows more virtual ports than a test wants to make
 * before it sees the error of a full host. Writing "HOST MAX" to
 * /sys/module/fcmaxnpiv/parameters/set sets max_npiv_vports of scsi_host HOST.
 */

#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/string.h>
#include <scsi/scsi_host.h>
#include <scsi/scsi_transport.h>
#include <scsi/scsi_transport_fc.h>

/* The FC transport does not export a test for its hosts; the class name is the one thing that tells them. */
static bool is_fc_host(struct Scsi_Host *shost)
{
	const struct class *class;

	if (!shost->shost_data || !shost->transportt)
		return false;

	class = shost->transportt->host_attrs.ac.class;
	return class && !strcmp(class->name, "fc_host");
}

static int fcmaxnpiv_set(const char *val, const struct kernel_param *kp)
{
	unsigned int host_no, max;
	struct Scsi_Host *shost;
	int ret = 0;

	if (sscanf(val, "%u %u", &host_no, &max) != 2 || max > U16_MAX)
		return -EINVAL;

	shost = scsi_host_lookup(host_no);
	if (!shost)
		return -ENODEV;

	if (is_fc_host(shost))
		fc_host_max_npiv_vports(shost) = max;
	else
		ret = -ENOTTY;

	scsi_host_put(shost);
	return ret;
}

static const struct kernel_param_ops fcmaxnpiv_ops = {
	.set = fcmaxnpiv_set,
};
module_param_cb(set, &fcmaxnpiv_ops, NULL, 0200);
MODULE_PARM_DESC(set, "write \"HOST MAX\" to set max_npiv_vports of a Fibre Channel host");

/* Nothing to do, but a module needs both to be removable. */
static int __init fcmaxnpiv_init(void)
{
	return 0;
}

static void __exit fcmaxnpiv_exit(void)
{
}

module_init(fcmaxnpiv_init);
module_exit(fcmaxnpiv_exit);

MODULE_DESCRIPTION("Set the NPIV limit of a Fibre Channel host, for tests");
MODULE_LICENSE("GPL");

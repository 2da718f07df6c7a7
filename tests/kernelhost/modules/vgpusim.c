// SPDX-License-Identifier: GPL-2.0-only
/*
 * vgpusim - a PCI driver for tests that looks like a vGPU host driver in sysfs
 *
 * It binds to any PCI function, physical or virtual, whose driver_override says
 * "vgpusim", and registers it as a parent of mediated devices. The three types
 * of a parent share one capacity, so making an instance of one type takes
 * instances from the others, as the framebuffer of a GPU does.
 *
 * Each mediated device has vendor/params (read and write), which stands for
 * what vendor drivers call vgpu_params, and vendor/plugin (read only). A device
 * can be opened through VFIO, but has no regions: it only serves tests of what
 * is in sysfs and of who holds a device.
 */

#include <linux/kernel.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/version.h>
#include <linux/vfio.h>

/* What one parent has to give, in units of the smallest type. */
#define VGPUSIM_CAPACITY	8
#define VGPUSIM_PARAMS_SIZE	256

static const struct vgpusim_type_info {
	const char *sysfs_name;
	const char *pretty_name;
	const char *description;
	unsigned int units;
} vgpusim_type_infos[] = {
	{
		.sysfs_name = "11",
		.pretty_name = "SIM V100-1Q",
		.description = "num_heads=4, frl_config=60, framebuffer=1024M, max_resolution=5120x2880, max_instance=8",
		.units = 1,
	},
	{
		.sysfs_name = "12",
		.pretty_name = "SIM V100-4Q",
		.description = "num_heads=4, frl_config=60, framebuffer=4096M, max_resolution=7680x4320, max_instance=2",
		.units = 4,
	},
	{
		.sysfs_name = "13",
		.pretty_name = "SIM V100-8Q",
		.description = "num_heads=4, frl_config=60, framebuffer=8192M, max_resolution=7680x4320, max_instance=1",
		.units = 8,
	},
};

#define VGPUSIM_NR_TYPES	ARRAY_SIZE(vgpusim_type_infos)

/* The mdev core keeps a kobject in each type, so every parent needs its own. */
struct vgpusim_type {
	struct mdev_type type;
	const struct vgpusim_type_info *info;
};

struct vgpusim_parent {
	struct mdev_parent parent;
	struct vgpusim_type types[VGPUSIM_NR_TYPES];
	struct mdev_type *type_list[VGPUSIM_NR_TYPES];
	struct mutex lock;		/* protects used_units */
	unsigned int used_units;	/* never above VGPUSIM_CAPACITY */
};

struct vgpusim_device {
	struct vfio_device vdev;
	struct vgpusim_parent *parent;
	unsigned int units;
	struct mutex lock;		/* protects params */
	char params[VGPUSIM_PARAMS_SIZE];
};

static struct vgpusim_type *to_vgpusim_type(struct mdev_type *mtype)
{
	return container_of(mtype, struct vgpusim_type, type);
}

static struct vgpusim_parent *to_vgpusim_parent(struct mdev_type *mtype)
{
	return container_of(mtype->parent, struct vgpusim_parent, parent);
}

static struct vgpusim_device *to_vgpusim_device(struct vfio_device *vdev)
{
	return container_of(vdev, struct vgpusim_device, vdev);
}

static unsigned int vgpusim_get_available(struct mdev_type *mtype)
{
	struct vgpusim_parent *parent = to_vgpusim_parent(mtype);
	unsigned int free_units;

	mutex_lock(&parent->lock);
	free_units = VGPUSIM_CAPACITY - parent->used_units;
	mutex_unlock(&parent->lock);

	return free_units / to_vgpusim_type(mtype)->info->units;
}

static ssize_t vgpusim_show_description(struct mdev_type *mtype, char *buf)
{
	return sysfs_emit(buf, "%s\n", to_vgpusim_type(mtype)->info->description);
}

static int vgpusim_init_device(struct vfio_device *vdev)
{
	struct vgpusim_device *device = to_vgpusim_device(vdev);
	struct mdev_type *mtype = to_mdev_device(vdev->dev)->type;
	struct vgpusim_parent *parent = to_vgpusim_parent(mtype);
	unsigned int units = to_vgpusim_type(mtype)->info->units;
	int ret = 0;

	/*
	 * The check and the taking are one step under the lock, so creations at
	 * the same time can neither both take the last units nor, for a moment,
	 * make the number of free units wrap around.
	 */
	mutex_lock(&parent->lock);
	if (units > VGPUSIM_CAPACITY - parent->used_units)
		ret = -ENOSPC;
	else
		parent->used_units += units;
	mutex_unlock(&parent->lock);
	if (ret)
		return ret;

	device->parent = parent;
	device->units = units;
	mutex_init(&device->lock);
	return 0;
}

static void vgpusim_release_device(struct vfio_device *vdev)
{
	struct vgpusim_device *device = to_vgpusim_device(vdev);
	struct vgpusim_parent *parent = device->parent;

	mutex_lock(&parent->lock);
	parent->used_units -= device->units;
	mutex_unlock(&parent->lock);

	mutex_destroy(&device->lock);
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
	/* Later kernels do it themselves. */
	vfio_free_device(vdev);
#endif
}

static ssize_t vgpusim_read(struct vfio_device *vdev, char __user *buf, size_t count, loff_t *ppos)
{
	return -EIO;
}

static ssize_t vgpusim_write(struct vfio_device *vdev, const char __user *buf, size_t count, loff_t *ppos)
{
	return -EIO;
}

static long vgpusim_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
	return -ENOTTY;
}

static const struct vfio_device_ops vgpusim_vfio_ops = {
	.name = "vgpusim",
	.init = vgpusim_init_device,
	.release = vgpusim_release_device,
	.read = vgpusim_read,
	.write = vgpusim_write,
	.ioctl = vgpusim_ioctl,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	/* Without these, a kernel that has iommufd registers no device. */
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
#endif
};

static int vgpusim_mdev_probe(struct mdev_device *mdev)
{
	struct vgpusim_device *device;
	int ret;

	device = vfio_alloc_device(vgpusim_device, vdev, &mdev->dev, &vgpusim_vfio_ops);
	if (IS_ERR(device))
		return PTR_ERR(device);

	ret = vfio_register_emulated_iommu_dev(&device->vdev);
	if (ret) {
		vfio_put_device(&device->vdev);
		return ret;
	}

	/* The vendor attributes appear after this function, so they always find the device. */
	dev_set_drvdata(&mdev->dev, device);
	return 0;
}

static void vgpusim_mdev_remove(struct mdev_device *mdev)
{
	struct vgpusim_device *device = dev_get_drvdata(&mdev->dev);

	vfio_unregister_group_dev(&device->vdev);
	vfio_put_device(&device->vdev);
}

static ssize_t plugin_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "vgpusim\n");
}
static DEVICE_ATTR_RO(plugin);

static ssize_t params_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vgpusim_device *device = dev_get_drvdata(dev);
	ssize_t len;

	mutex_lock(&device->lock);
	len = sysfs_emit(buf, "%s\n", device->params);
	mutex_unlock(&device->lock);

	return len;
}

static ssize_t params_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)
{
	struct vgpusim_device *device = dev_get_drvdata(dev);

	if (count >= VGPUSIM_PARAMS_SIZE)
		return -EINVAL;

	mutex_lock(&device->lock);
	strscpy(device->params, skip_spaces(buf), sizeof(device->params));
	strim(device->params);
	mutex_unlock(&device->lock);

	return count;
}
static DEVICE_ATTR_RW(params);

static struct attribute *vgpusim_vendor_attrs[] = {
	&dev_attr_plugin.attr,
	&dev_attr_params.attr,
	NULL,
};

static const struct attribute_group vgpusim_vendor_group = {
	.name = "vendor",
	.attrs = vgpusim_vendor_attrs,
};

static const struct attribute_group *vgpusim_mdev_groups[] = {
	&vgpusim_vendor_group,
	NULL,
};

static struct mdev_driver vgpusim_mdev_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.probe = vgpusim_mdev_probe,
	.remove = vgpusim_mdev_remove,
	.get_available = vgpusim_get_available,
	.show_description = vgpusim_show_description,
	.driver = {
		.name = "vgpusim_mdev",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
		.dev_groups = vgpusim_mdev_groups,
	},
};

static int vgpusim_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct vgpusim_parent *parent;
	unsigned int i;
	int ret;

	parent = kzalloc(sizeof(*parent), GFP_KERNEL);
	if (!parent)
		return -ENOMEM;

	mutex_init(&parent->lock);
	for (i = 0; i < VGPUSIM_NR_TYPES; i++) {
		struct vgpusim_type *type = &parent->types[i];

		type->info = &vgpusim_type_infos[i];
		type->type.sysfs_name = type->info->sysfs_name;
		type->type.pretty_name = type->info->pretty_name;
		parent->type_list[i] = &type->type;
	}

	ret = mdev_register_parent(&parent->parent, &pdev->dev, &vgpusim_mdev_driver,
				   parent->type_list, VGPUSIM_NR_TYPES);
	if (ret) {
		kfree(parent);
		return ret;
	}

	pci_set_drvdata(pdev, parent);
	return 0;
}

static void vgpusim_pci_remove(struct pci_dev *pdev)
{
	struct vgpusim_parent *parent = pci_get_drvdata(pdev);

	/* Removes all mediated devices first, so nothing refers to the parent afterwards. */
	mdev_unregister_parent(&parent->parent);
	mutex_destroy(&parent->lock);
	kfree(parent);
}

/* Matches every function, but only when its driver_override names this driver. */
static const struct pci_device_id vgpusim_pci_ids[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_ANY_ID, PCI_ANY_ID) },
	{ }
};

static struct pci_driver vgpusim_pci_driver = {
	.name = "vgpusim",
	.id_table = vgpusim_pci_ids,
	.probe = vgpusim_pci_probe,
	.remove = vgpusim_pci_remove,
	.sriov_configure = pci_sriov_configure_simple,
};

static int __init vgpusim_init(void)
{
	int ret;

	ret = mdev_register_driver(&vgpusim_mdev_driver);
	if (ret)
		return ret;

	ret = pci_register_driver(&vgpusim_pci_driver);
	if (ret)
		mdev_unregister_driver(&vgpusim_mdev_driver);
	return ret;
}

static void __exit vgpusim_exit(void)
{
	pci_unregister_driver(&vgpusim_pci_driver);
	mdev_unregister_driver(&vgpusim_mdev_driver);
}

module_init(vgpusim_init);
module_exit(vgpusim_exit);

MODULE_DESCRIPTION("Mediated devices like a vGPU's on any PCI function, for tests");
MODULE_LICENSE("GPL");

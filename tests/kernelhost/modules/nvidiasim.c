// SPDX-License-Identifier: GPL-2.0-only
/*
 * nvidiasim - a PCI driver for tests whose virtual functions are vGPUs by themselves
 *
 * Its driver is called "nvidia", and it imitates in sysfs what NVIDIA's driver
 * shows of cards with the vendor-specific VFIO framework: below a virtual
 * function the folder nvidia/ appears some time after the driver has bound it.
 * Writing the id of a type to current_vgpu_type makes the function a VFIO device
 * for a guest, 0 ends that. The functions of a card share its framebuffer, or
 * with MIG each of its GPU instances is shared by those that are on it.
 *
 * The parameter "card" is the address of one physical function, which the module
 * gives the ids of an NVIDIA card, and so its virtual functions: in the kernel's
 * memory, where sysfs reads them, not in the config space. By driver_override
 * the driver takes any other.
 *
 * The folder nvidiasim/ of a physical function has what no real card has there:
 * what the tests' nvidia-smi asks and sets. The kernel's log tells what came
 * after what.
 */

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/device.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/version.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include <linux/workqueue.h>

/* What a card has to give, in units of the smallest type, and MiB of one unit. */
#define NVIDIASIM_CAPACITY	8
#define NVIDIASIM_UNIT_MIB	1024
#define NVIDIASIM_PARAMS_SIZE	256
#define NVIDIASIM_NUMBER_SIZE	16
#define NVIDIASIM_NO_PLACEMENT	65535
#define NVIDIASIM_NO_INSTANCE	U32_MAX
/* With MIG: slices of memory and of compute of a card, and the most instances that it can have. */
#define NVIDIASIM_MEMORY	8
#define NVIDIASIM_COMPUTE	7
#define NVIDIASIM_INSTANCES	7
#define NVIDIASIM_INSTANCE_IDS	16
/* Of the disguise: the device id of an L40S, and its class, 3D controller. */
#define NVIDIASIM_DEVICE_ID	0x26b9
#define NVIDIASIM_CLASS		(PCI_CLASS_DISPLAY_3D << 8)

static char *card_address = "";
module_param_named(card, card_address, charp, 0444);
MODULE_PARM_DESC(card, "address of the physical function that gets the ids of an NVIDIA card");

static unsigned int delay = 2000;
module_param(delay, uint, 0644);
MODULE_PARM_DESC(delay, "milliseconds from the binding of a virtual function to its folder nvidia/");

/* The names are vgpusim's, so that one wish fits both; below are those that only MIG has, on GPU instances. */
static const struct nvidiasim_type {
	u32 id;
	const char *name;
	unsigned int units;
	unsigned int most;		/* on a card */
	u32 profile;			/* of the GPU instances that it is on, 0 for none */
	unsigned int per_instance;
} nvidiasim_types[] = {
	{ .id = 11, .name = "SIM V100-1Q", .units = 1, .most = 8 },
	{ .id = 12, .name = "SIM V100-4Q", .units = 4, .most = 2 },
	{ .id = 13, .name = "SIM V100-8Q", .units = 8, .most = 1 },
	{ .id = 31, .name = "SIM V100-1-1Q", .units = 1, .most = 7, .profile = 19, .per_instance = 1 },
	{ .id = 32, .name = "SIM V100-3-2Q", .units = 2, .most = 4, .profile = 9, .per_instance = 2 },
	{ .id = 33, .name = "SIM V100-3-4Q", .units = 4, .most = 2, .profile = 9, .per_instance = 1 },
};

/*
 * Whether MIG divides the cards. It outlasts a card's unbinding, not the module
 * or a reboot, as of a Hopper. Written with the lock of a card, of which a
 * machine has one.
 */
static bool nvidiasim_mig;

/* A GPU instance. Its slices of memory lie where the tool had it; "computes" counts its compute instances. */
struct nvidiasim_instance {
	u32 id;
	u32 profile;
	unsigned int start;
	unsigned int memory;
	unsigned int compute;
	unsigned int computes;
};

/* A physical function. */
struct nvidiasim_card {
	struct mutex lock;		/* protects all here, and what its functions have */
	struct list_head functions;
	bool heterogeneous;		/* types of several sizes at the same time */
	unsigned int count;		/* of the instances */
	struct nvidiasim_instance instances[NVIDIASIM_INSTANCES];
};

/* What a virtual function with a type is for VFIO; vfio_alloc_device() wants "core" first. */
struct nvidiasim_vfio {
	struct vfio_pci_core_device core;
	atomic_t users;			/* -1 once it is being taken away */
};

/* A virtual function. */
struct nvidiasim_function {
	struct kobject kobj;		/* the folder nvidia/ */
	struct list_head node;
	struct nvidiasim_card *card;
	struct pci_dev *pdev;
	struct delayed_work appearance;
	const struct nvidiasim_type *type;
	struct nvidiasim_vfio *vfio;	/* there if type is */
	unsigned int start;		/* the first unit that the type takes */
	u32 wanted;			/* what was written to placement_id */
	u32 instance;			/* what was written to gpu_instance_id, or where the type is */
	char params[NVIDIASIM_PARAMS_SIZE];
};

/* What is left of a card */

static const struct nvidiasim_type *nvidiasim_find_type(u32 id)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nvidiasim_types); i++) {
		if (nvidiasim_types[i].id == id)
			return &nvidiasim_types[i];
	}
	return NULL;
}

static unsigned long nvidiasim_units(const struct nvidiasim_type *type, unsigned int start)
{
	return GENMASK(start + type->units - 1, start);
}

/*
 * The first unit of a place for one more of this type, or -EIO. A type lies at
 * multiples of its size, in a homogeneous card beside types of its size only.
 */
static int nvidiasim_place(struct nvidiasim_card *card, const struct nvidiasim_type *type, u32 wanted)
{
	struct nvidiasim_function *function;
	unsigned long taken = 0;
	unsigned int start;

	list_for_each_entry(function, &card->functions, node) {
		if (!function->type)
			continue;
		if (!card->heterogeneous && function->type->units != type->units)
			return -EIO;
		taken |= nvidiasim_units(function->type, function->start);
	}
	for (start = 0; start + type->units <= NVIDIASIM_CAPACITY; start += type->units) {
		if (wanted != NVIDIASIM_NO_PLACEMENT && wanted != start)
			continue;
		if (!(taken & nvidiasim_units(type, start)))
			return start;
	}
	return -EIO;
}

/*
 * The id of a GPU instance with room for one more of this type, or -EIO. An
 * instance has types of one size, and as many as the type says.
 */
static int nvidiasim_find_instance(struct nvidiasim_card *card, const struct nvidiasim_type *type, u32 wanted)
{
	unsigned int i;

	for (i = 0; i < card->count; i++) {
		const struct nvidiasim_instance *instance = &card->instances[i];
		struct nvidiasim_function *function;
		unsigned int there = 0;
		bool alike = true;

		if (instance->profile != type->profile || (wanted != NVIDIASIM_NO_INSTANCE && wanted != instance->id))
			continue;
		list_for_each_entry(function, &card->functions, node) {
			if (!function->type || function->instance != instance->id)
				continue;
			there++;
			if (function->type->units != type->units)
				alike = false;
		}
		if (alike && there < type->per_instance)
			return instance->id;
	}
	return -EIO;
}

/* Whether the card has this type in its present mode, whatever it carries. */
static bool nvidiasim_has_type(const struct nvidiasim_type *type)
{
	return (type->profile != 0) == nvidiasim_mig;
}

/* Whether one more of this type fits now. */
static bool nvidiasim_fits(struct nvidiasim_card *card, const struct nvidiasim_type *type)
{
	if (!nvidiasim_has_type(type))
		return false;
	if (type->profile)
		return nvidiasim_find_instance(card, type, NVIDIASIM_NO_INSTANCE) >= 0;
	return nvidiasim_place(card, type, NVIDIASIM_NO_PLACEMENT) >= 0;
}

/* VFIO */

static struct nvidiasim_vfio *to_nvidiasim_vfio(struct vfio_device *vdev)
{
	return container_of(vdev, struct nvidiasim_vfio, core.vdev);
}

static int nvidiasim_open_device(struct vfio_device *vdev)
{
	struct nvidiasim_vfio *vfio = to_nvidiasim_vfio(vdev);
	int ret;

	/* No lock of the card's: whoever takes the device away holds it, and waits for this function. */
	if (!atomic_inc_unless_negative(&vfio->users))
		return -EBUSY;
	ret = vfio_pci_core_enable(&vfio->core);
	if (ret) {
		atomic_dec(&vfio->users);
		return ret;
	}
	vfio_pci_core_finish_enable(&vfio->core);
	return 0;
}

static void nvidiasim_close_device(struct vfio_device *vdev)
{
	vfio_pci_core_close_device(vdev);
	atomic_dec(&to_nvidiasim_vfio(vdev)->users);
}

static const struct vfio_device_ops nvidiasim_vfio_ops = {
	.name = "nvidiasim",
	.init = vfio_pci_core_init_dev,
	.release = vfio_pci_core_release_dev,
	.open_device = nvidiasim_open_device,
	.close_device = nvidiasim_close_device,
	.ioctl = vfio_pci_core_ioctl,
	.device_feature = vfio_pci_core_ioctl_feature,
	.read = vfio_pci_core_read,
	.write = vfio_pci_core_write,
	.mmap = vfio_pci_core_mmap,
	.request = vfio_pci_core_request,
	.match = vfio_pci_core_match,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	/* Without these, a kernel that has iommufd registers no device. */
	.bind_iommufd = vfio_iommufd_physical_bind,
	.unbind_iommufd = vfio_iommufd_physical_unbind,
	.attach_ioas = vfio_iommufd_physical_attach_ioas,
	.detach_ioas = vfio_iommufd_physical_detach_ioas,
#endif
};

static int nvidiasim_register(struct nvidiasim_function *function)
{
	struct device *dev = &function->pdev->dev;
	struct nvidiasim_vfio *vfio;
	int ret;

	/* A new one each time: a struct device is never registered twice. */
	vfio = vfio_alloc_device(nvidiasim_vfio, core.vdev, dev, &nvidiasim_vfio_ops);
	if (IS_ERR(vfio))
		return PTR_ERR(vfio);
	dev_set_drvdata(dev, &vfio->core);
	ret = vfio_pci_core_register_device(&vfio->core);
	if (ret) {
		dev_set_drvdata(dev, NULL);
		vfio_put_device(&vfio->core.vdev);
		return ret;
	}
	function->vfio = vfio;
	return 0;
}

static void nvidiasim_unregister(struct nvidiasim_function *function)
{
	vfio_pci_core_unregister_device(&function->vfio->core);
	dev_set_drvdata(&function->pdev->dev, NULL);
	vfio_put_device(&function->vfio->core.vdev);
	function->vfio = NULL;
}

/* The folder nvidia/ of a virtual function */

static struct nvidiasim_function *to_nvidiasim_function(struct kobject *kobj)
{
	return container_of(kobj, struct nvidiasim_function, kobj);
}

static bool nvidiasim_in_use(struct nvidiasim_function *function)
{
	return function->vfio && atomic_read(&function->vfio->users) > 0;
}

/* A number with space around it, or -EINVAL. */
static int nvidiasim_number(const char *buf, u32 *number)
{
	char text[NVIDIASIM_NUMBER_SIZE];

	if (strscpy(text, skip_spaces(buf), sizeof(text)) < 0)
		return -EINVAL;
	return kstrtou32(strim(text), 0, number) ? -EINVAL : 0;
}

static ssize_t creatable_vgpu_types_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct nvidiasim_function *function = to_nvidiasim_function(kobj);
	unsigned int i;
	int len;

	len = sysfs_emit(buf, "%-5s : %s\n", "ID", "vGPU Name");
	mutex_lock(&function->card->lock);
	for (i = 0; i < ARRAY_SIZE(nvidiasim_types) && !function->type; i++) {
		const struct nvidiasim_type *type = &nvidiasim_types[i];

		if (nvidiasim_fits(function->card, type))
			len += sysfs_emit_at(buf, len, "%-5u : %s\n", type->id, type->name);
	}
	mutex_unlock(&function->card->lock);
	return len;
}

static ssize_t current_vgpu_type_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct nvidiasim_function *function = to_nvidiasim_function(kobj);
	u32 id;

	mutex_lock(&function->card->lock);
	id = function->type ? function->type->id : 0;
	mutex_unlock(&function->card->lock);
	return sysfs_emit(buf, "%u\n", id);
}

static int nvidiasim_set_type(struct nvidiasim_function *function, u32 id)
{
	const struct nvidiasim_type *type = nvidiasim_find_type(id);
	int place, ret;

	if (!type || function->type || !nvidiasim_has_type(type))
		return -EIO;
	if (type->profile)
		place = nvidiasim_find_instance(function->card, type, function->instance);
	else
		place = nvidiasim_place(function->card, type, function->wanted);
	if (place < 0)
		return place;
	ret = nvidiasim_register(function);
	if (ret)
		return ret;
	function->type = type;
	pci_info(function->pdev, "type %u\n", id);
	if (type->profile)
		function->instance = place;
	else
		function->start = place;
	return 0;
}

static int nvidiasim_clear_type(struct nvidiasim_function *function)
{
	if (function->vfio) {
		/* From here on nobody can open it, so taking it away waits for nobody. */
		if (atomic_cmpxchg(&function->vfio->users, 0, -1))
			return -EPERM;
		nvidiasim_unregister(function);
	}
	function->type = NULL;
	function->wanted = NVIDIASIM_NO_PLACEMENT;
	function->instance = NVIDIASIM_NO_INSTANCE;
	function->params[0] = '\0';
	return 0;
}

static ssize_t current_vgpu_type_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
				       size_t count)
{
	struct nvidiasim_function *function = to_nvidiasim_function(kobj);
	u32 id;
	int ret;

	ret = nvidiasim_number(buf, &id);
	if (ret)
		return ret;
	mutex_lock(&function->card->lock);
	if (nvidiasim_in_use(function))
		ret = -EPERM;
	else
		ret = id ? nvidiasim_set_type(function, id) : nvidiasim_clear_type(function);
	mutex_unlock(&function->card->lock);
	return ret ?: count;
}

static ssize_t vgpu_params_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct nvidiasim_function *function = to_nvidiasim_function(kobj);
	int len;

	mutex_lock(&function->card->lock);
	len = sysfs_emit(buf, "%s\n", function->params);
	mutex_unlock(&function->card->lock);
	return len;
}

static ssize_t vgpu_params_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf, size_t count)
{
	struct nvidiasim_function *function = to_nvidiasim_function(kobj);
	ssize_t ret = count;

	if (!count || count > NVIDIASIM_PARAMS_SIZE)
		return -EINVAL;
	mutex_lock(&function->card->lock);
	if (!function->type || nvidiasim_in_use(function))
		ret = -EPERM;
	else
		/* The last character is lost, whatever it is. */
		strscpy(function->params, buf, count);
	mutex_unlock(&function->card->lock);
	return ret;
}

static ssize_t placement_id_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct nvidiasim_function *function = to_nvidiasim_function(kobj);
	u32 id;

	mutex_lock(&function->card->lock);
	id = function->type && function->card->heterogeneous ? function->start : function->wanted;
	mutex_unlock(&function->card->lock);
	return sysfs_emit(buf, "%u\n", id);
}

static ssize_t placement_id_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf, size_t count)
{
	struct nvidiasim_function *function = to_nvidiasim_function(kobj);
	u32 id;
	int ret;

	ret = nvidiasim_number(buf, &id);
	if (ret)
		return ret;
	mutex_lock(&function->card->lock);
	if (nvidiasim_in_use(function))
		ret = -EPERM;
	else if (function->type)
		ret = -EIO;
	else if (id != NVIDIASIM_NO_PLACEMENT && (!function->card->heterogeneous || id >= NVIDIASIM_CAPACITY))
		ret = -EINVAL;
	else
		function->wanted = id;
	mutex_unlock(&function->card->lock);
	return ret ?: count;
}

static ssize_t gpu_instance_id_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct nvidiasim_function *function = to_nvidiasim_function(kobj);
	u32 id;

	mutex_lock(&function->card->lock);
	id = function->instance;
	mutex_unlock(&function->card->lock);
	return sysfs_emit(buf, "%u\n", id);
}

static const struct nvidiasim_instance *nvidiasim_instance_of(const struct nvidiasim_instance *instances,
							      unsigned int count, u32 id)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (instances[i].id == id)
			return &instances[i];
	}
	return NULL;
}

static ssize_t gpu_instance_id_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf, size_t count)
{
	struct nvidiasim_function *function = to_nvidiasim_function(kobj);
	struct nvidiasim_card *card = function->card;
	u32 id;
	int ret;

	ret = nvidiasim_number(buf, &id);
	if (ret)
		return ret;
	mutex_lock(&card->lock);
	if (nvidiasim_in_use(function))
		ret = -EPERM;
	else if (function->type ||
		 (id != NVIDIASIM_NO_INSTANCE && !nvidiasim_instance_of(card->instances, card->count, id)))
		ret = -EIO;
	else
		function->instance = id;
	mutex_unlock(&card->lock);
	return ret ?: count;
}

static ssize_t warm_update_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "0\n");
}

static ssize_t warm_update_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf, size_t count)
{
	/* It is for who updates the driver; that this came is a fault, which is kept here. */
	pci_err(to_nvidiasim_function(kobj)->pdev, "warm_update was written\n");
	return -EIO;
}

static struct kobj_attribute creatable_vgpu_types_attr = __ATTR_RO(creatable_vgpu_types);
static struct kobj_attribute current_vgpu_type_attr = __ATTR_RW(current_vgpu_type);
static struct kobj_attribute vgpu_params_attr = __ATTR_RW(vgpu_params);
static struct kobj_attribute placement_id_attr = __ATTR_RW(placement_id);
static struct kobj_attribute gpu_instance_id_attr = __ATTR_RW(gpu_instance_id);
static struct kobj_attribute warm_update_attr = __ATTR_RW(warm_update);

static struct attribute *nvidiasim_function_attrs[] = {
	&creatable_vgpu_types_attr.attr,
	&current_vgpu_type_attr.attr,
	&vgpu_params_attr.attr,
	&placement_id_attr.attr,
	&gpu_instance_id_attr.attr,
	&warm_update_attr.attr,
	NULL,
};
ATTRIBUTE_GROUPS(nvidiasim_function);

static void nvidiasim_function_free(struct kobject *kobj)
{
	kfree(to_nvidiasim_function(kobj));
}

static struct kobj_type nvidiasim_function_ktype = {
	.release = nvidiasim_function_free,
	.sysfs_ops = &kobj_sysfs_ops,
	.default_groups = nvidiasim_function_groups,
};

static void nvidiasim_appear(struct work_struct *work)
{
	struct nvidiasim_function *function =
		container_of(to_delayed_work(work), struct nvidiasim_function, appearance);

	if (kobject_add(&function->kobj, &function->pdev->dev.kobj, "nvidia"))
		pci_err(function->pdev, "no folder nvidia\n");
}

/* The folder nvidiasim/ of a physical function */

static ssize_t heterogeneous_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct nvidiasim_card *card = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%d\n", READ_ONCE(card->heterogeneous));
}

static ssize_t heterogeneous_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)
{
	struct nvidiasim_card *card = dev_get_drvdata(dev);
	struct nvidiasim_function *function;
	bool heterogeneous;
	int ret;

	ret = kstrtobool(buf, &heterogeneous);
	if (ret)
		return ret;
	mutex_lock(&card->lock);
	list_for_each_entry(function, &card->functions, node) {
		if (function->type)
			ret = -EBUSY;
	}
	if (nvidiasim_mig && heterogeneous)
		ret = -EBUSY;
	if (!ret)
		WRITE_ONCE(card->heterogeneous, heterogeneous);
	mutex_unlock(&card->lock);
	return ret ?: count;
}
static DEVICE_ATTR_RW(heterogeneous);

/*
 * A line for each type that the mode has: id, MiB, the most that a card takes, whether one more
 * fits now, the profile of its GPU instances or 0, the most on one instance, name.
 */
static ssize_t types_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct nvidiasim_card *card = dev_get_drvdata(dev);
	unsigned int i;
	int len = 0;

	mutex_lock(&card->lock);
	for (i = 0; i < ARRAY_SIZE(nvidiasim_types); i++) {
		const struct nvidiasim_type *type = &nvidiasim_types[i];

		if (!nvidiasim_has_type(type))
			continue;
		len += sysfs_emit_at(buf, len, "%u %u %u %d %u %u %s\n", type->id,
				     type->units * NVIDIASIM_UNIT_MIB, type->most, nvidiasim_fits(card, type),
				     type->profile, type->per_instance, type->name);
	}
	mutex_unlock(&card->lock);
	return len;
}
static DEVICE_ATTR_RO(types);

/* A line for each virtual function that a guest has: its address, and the id of its type. */
static ssize_t active_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct nvidiasim_card *card = dev_get_drvdata(dev);
	struct nvidiasim_function *function;
	int len = 0;

	mutex_lock(&card->lock);
	list_for_each_entry(function, &card->functions, node) {
		if (nvidiasim_in_use(function))
			len += sysfs_emit_at(buf, len, "%s %u\n", pci_name(function->pdev), function->type->id);
	}
	mutex_unlock(&card->lock);
	return len;
}
static DEVICE_ATTR_RO(active);

/* A line for the mode, 0 or 1, then one for each GPU instance: id, profile, start, memory, compute, computes. */
static ssize_t mig_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct nvidiasim_card *card = dev_get_drvdata(dev);
	unsigned int i;
	int len;

	mutex_lock(&card->lock);
	len = sysfs_emit(buf, "%d\n", nvidiasim_mig);
	for (i = 0; i < card->count; i++) {
		const struct nvidiasim_instance *each = &card->instances[i];

		len += sysfs_emit_at(buf, len, "%u %u %u %u %u %u\n", each->id, each->profile, each->start,
				     each->memory, each->compute, each->computes);
	}
	mutex_unlock(&card->lock);
	return len;
}

/* The GPU instances that these lines say, how many; -EINVAL where no card could have them. */
static int nvidiasim_parse_instances(char *lines, struct nvidiasim_instance *instances)
{
	unsigned int count = 0, compute = 0;
	unsigned long taken = 0;
	char *line;

	while ((line = strsep(&lines, "\n"))) {
		struct nvidiasim_instance each;
		unsigned long slices;
		int end = 0;

		if (!*line)
			continue;
		if (count == NVIDIASIM_INSTANCES)
			return -EINVAL;
		if (sscanf(line, "%u %u %u %u %u %u%n", &each.id, &each.profile, &each.start, &each.memory,
			   &each.compute, &each.computes, &end) != 6 || line[end])
			return -EINVAL;
		if (!each.profile || each.id >= NVIDIASIM_INSTANCE_IDS || !each.memory ||
		    each.memory > NVIDIASIM_MEMORY || each.start > NVIDIASIM_MEMORY - each.memory ||
		    each.compute > NVIDIASIM_COMPUTE - compute)
			return -EINVAL;
		slices = GENMASK(each.start + each.memory - 1, each.start);
		if ((taken & slices) || nvidiasim_instance_of(instances, count, each.id))
			return -EINVAL;
		taken |= slices;
		compute += each.compute;
		instances[count++] = each;
	}
	return count;
}

/* Whether a vGPU is on an instance that would not be there any more, or would not be if the mode changed. */
static bool nvidiasim_mig_in_use(struct nvidiasim_card *card, bool mig, const struct nvidiasim_instance *instances,
				 unsigned int count)
{
	struct nvidiasim_function *function;

	list_for_each_entry(function, &card->functions, node) {
		const struct nvidiasim_instance *instance;

		if (!function->type)
			continue;
		if (mig != nvidiasim_mig)
			return true;
		if (!function->type->profile)
			continue;
		instance = nvidiasim_instance_of(instances, count, function->instance);
		if (!instance || instance->profile != function->type->profile)
			return true;
	}
	return false;
}

/* All of what the file shows at once, in one write. */
static ssize_t mig_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)
{
	struct nvidiasim_instance instances[NVIDIASIM_INSTANCES];
	struct nvidiasim_card *card = dev_get_drvdata(dev);
	char *text, *lines;
	bool mig;
	int found;

	text = kstrndup(buf, count, GFP_KERNEL);
	if (!text)
		return -ENOMEM;
	lines = text;
	found = kstrtobool(strsep(&lines, "\n"), &mig);
	if (!found)
		found = nvidiasim_parse_instances(lines, instances);
	kfree(text);
	if (found < 0)
		return found;
	if (found && !mig)
		return -EINVAL;
	mutex_lock(&card->lock);
	if (nvidiasim_mig_in_use(card, mig, instances, found)) {
		mutex_unlock(&card->lock);
		return -EBUSY;
	}
	nvidiasim_mig = mig;
	/* A divided card is not heterogeneous. */
	if (mig)
		WRITE_ONCE(card->heterogeneous, false);
	memcpy(card->instances, instances, found * sizeof(*instances));
	card->count = found;
	pci_info(to_pci_dev(dev), "MIG is %s, GPU instances: %d\n", mig ? "on" : "off", found);
	mutex_unlock(&card->lock);
	return count;
}
static DEVICE_ATTR_RW(mig);

static struct attribute *nvidiasim_card_attrs[] = {
	&dev_attr_heterogeneous.attr,
	&dev_attr_types.attr,
	&dev_attr_active.attr,
	&dev_attr_mig.attr,
	NULL,
};

static const struct attribute_group nvidiasim_card_group = {
	.name = "nvidiasim",
	.attrs = nvidiasim_card_attrs,
};

/* The driver */

static struct pci_driver nvidiasim_driver;

static int nvidiasim_probe_card(struct pci_dev *pdev)
{
	struct nvidiasim_card *card;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	card = devm_kzalloc(&pdev->dev, sizeof(*card), GFP_KERNEL);
	if (!card)
		return -ENOMEM;
	mutex_init(&card->lock);
	INIT_LIST_HEAD(&card->functions);
	pci_set_drvdata(pdev, card);
	pci_info(pdev, "virtual functions: %d\n", pci_num_vf(pdev));
	return sysfs_create_group(&pdev->dev.kobj, &nvidiasim_card_group);
}

static int nvidiasim_probe_function(struct pci_dev *pdev)
{
	struct nvidiasim_card *card = pci_iov_get_pf_drvdata(pdev, &nvidiasim_driver);
	struct nvidiasim_function *function;

	if (IS_ERR(card))
		return -ENODEV;
	function = kzalloc(sizeof(*function), GFP_KERNEL);
	if (!function)
		return -ENOMEM;
	kobject_init(&function->kobj, &nvidiasim_function_ktype);
	function->card = card;
	function->pdev = pdev;
	function->wanted = NVIDIASIM_NO_PLACEMENT;
	function->instance = NVIDIASIM_NO_INSTANCE;
	INIT_DELAYED_WORK(&function->appearance, nvidiasim_appear);
	mutex_lock(&card->lock);
	list_add_tail(&function->node, &card->functions);
	mutex_unlock(&card->lock);
	schedule_delayed_work(&function->appearance, msecs_to_jiffies(delay));
	return 0;
}

static int nvidiasim_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return pdev->is_virtfn ? nvidiasim_probe_function(pdev) : nvidiasim_probe_card(pdev);
}

static struct nvidiasim_function *nvidiasim_find_function(struct nvidiasim_card *card, struct pci_dev *pdev)
{
	struct nvidiasim_function *function, *found = NULL;

	mutex_lock(&card->lock);
	list_for_each_entry(function, &card->functions, node) {
		if (function->pdev == pdev)
			found = function;
	}
	mutex_unlock(&card->lock);
	return found;
}

static void nvidiasim_remove_function(struct pci_dev *pdev)
{
	struct nvidiasim_card *card = pci_iov_get_pf_drvdata(pdev, &nvidiasim_driver);
	struct nvidiasim_function *function;

	/* A card's functions go before its driver lets it go. */
	if (WARN_ON(IS_ERR(card)))
		return;
	function = nvidiasim_find_function(card, pdev);
	cancel_delayed_work_sync(&function->appearance);
	if (function->kobj.state_in_sysfs)
		kobject_del(&function->kobj);
	/* Nobody writes any more. As long as a guest has the device, this waits, without the card's lock. */
	if (function->vfio)
		nvidiasim_unregister(function);
	mutex_lock(&card->lock);
	list_del(&function->node);
	mutex_unlock(&card->lock);
	kobject_put(&function->kobj);
}

static void nvidiasim_remove_card(struct pci_dev *pdev)
{
	sysfs_remove_group(&pdev->dev.kobj, &nvidiasim_card_group);
	/* They use what is freed after this. */
	pci_disable_sriov(pdev);
}

static void nvidiasim_remove(struct pci_dev *pdev)
{
	if (pdev->is_virtfn)
		nvidiasim_remove_function(pdev);
	else
		nvidiasim_remove_card(pdev);
}

static const struct pci_device_id nvidiasim_ids[] = {
	{
		PCI_DEVICE(PCI_VENDOR_ID_NVIDIA, PCI_ANY_ID),
		.class = NVIDIASIM_CLASS,
		.class_mask = ~0,
	},
	{ }
};
MODULE_DEVICE_TABLE(pci, nvidiasim_ids);

static struct pci_driver nvidiasim_driver = {
	.name = "nvidia",
	.id_table = nvidiasim_ids,
	.probe = nvidiasim_probe,
	.remove = nvidiasim_remove,
	.sriov_configure = pci_sriov_configure_simple,
	/* Their memory is a guest's to reach while one has them, not the driver's. */
	.driver_managed_dma = true,
};

/* The disguise of the card that "card" names, and of its functions as they come. */
static bool nvidiasim_disguise(struct pci_dev *pdev)
{
	if (strcmp(pci_name(pci_physfn(pdev)), card_address))
		return false;
	pdev->vendor = PCI_VENDOR_ID_NVIDIA;
	pdev->device = NVIDIASIM_DEVICE_ID;
	pdev->class = NVIDIASIM_CLASS;
	return true;
}

/* Comes before a device's uevent, and before a driver is looked for. */
static int nvidiasim_notify(struct notifier_block *block, unsigned long action, void *data)
{
	if (action == BUS_NOTIFY_ADD_DEVICE)
		nvidiasim_disguise(to_pci_dev(data));
	return NOTIFY_DONE;
}

static struct notifier_block nvidiasim_notifier = {
	.notifier_call = nvidiasim_notify,
};

static int __init nvidiasim_init(void)
{
	struct pci_dev *pdev = NULL;
	int ret;

	ret = bus_register_notifier(&pci_bus_type, &nvidiasim_notifier);
	if (ret)
		return ret;
	for_each_pci_dev(pdev) {
		/* The driver of what it was before may have been quicker. */
		if (nvidiasim_disguise(pdev))
			device_release_driver(&pdev->dev);
	}
	ret = pci_register_driver(&nvidiasim_driver);
	if (ret)
		bus_unregister_notifier(&pci_bus_type, &nvidiasim_notifier);
	return ret;
}

static void __exit nvidiasim_exit(void)
{
	pci_unregister_driver(&nvidiasim_driver);
	bus_unregister_notifier(&pci_bus_type, &nvidiasim_notifier);
}

module_init(nvidiasim_init);
module_exit(nvidiasim_exit);

MODULE_DESCRIPTION("Virtual functions that are vGPUs, as NVIDIA's driver shows them, for tests");
MODULE_LICENSE("GPL");

// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A stand-in for libnvidia-ml.so.1 on a simulated host: the functions that tell of places, with the structures of
 * nvml.h. The host's server does their work: nvml.py has the answers. /usr/lib/simhost-nvml is a link to its folder.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FOLDER "/usr/lib/simhost-nvml"
#define UNINITIALIZED 1
#define INVALID_ARGUMENT 2
#define INSUFFICIENT_SIZE 7
#define VERSION_MISMATCH 25
#define UNKNOWN 999
#define CRASH 134

struct placements {
	unsigned int version;
	unsigned int size;
	unsigned int count;
	unsigned int *ids;
	unsigned int mode;
};

static int is_initialised;
static char addresses[16][32];

/* What the server says: the return code, and the numbers after it. */
static int ask(const char *function, const char *address, unsigned int type, char *numbers, size_t room)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	static char text[1 << 20];
	size_t got = 0;
	ssize_t part;
	char *found;
	int folder = open(FOLDER, O_PATH), server = socket(AF_UNIX, SOCK_STREAM, 0), code;

	snprintf(name.sun_path, sizeof(name.sun_path), "/proc/self/fd/%d/socket", folder);
	if (folder < 0 || server < 0 || connect(server, (struct sockaddr *)&name, sizeof(name)))
		return UNKNOWN;
	dprintf(server, "{\"operation\": \"program\", \"name\": \"nvml\", \"arguments\": [\"%s\", \"%s\", \"%u\"]}\n",
		function, address, type);
	while (got < sizeof(text) - 1 && (part = read(server, text + got, sizeof(text) - 1 - got)) > 0)
		got += part;
	text[got] = 0;
	close(server);
	close(folder);
	found = strstr(text, "\"status\": ");
	if (!found)
		return UNKNOWN;
	code = atoi(found + strlen("\"status\": "));
	if (code == CRASH)
		abort();
	found = strstr(text, "\"out\": \"");
	if (found)
		snprintf(numbers, room, "%s", found + strlen("\"out\": \""));
	return code;
}

int nvmlInit_v2(void)
{
	static char none[64];
	int code = ask("nvmlInit_v2", "", 0, none, sizeof(none));

	/* As a library may that has something to say. */
	puts("NVML stand-in");
	is_initialised = code == 0;
	return code;
}

const char *nvmlErrorString(int code)
{
	switch (code) {
	case 3: return "Not Supported";
	case 9: return "Driver Not Loaded";
	case 15: return "GPU is lost";
	}
	return "Unknown Error";
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device)
{
	static unsigned int number;
	char none[64];
	int code;

	if (!is_initialised)
		return UNINITIALIZED;
	code = ask("nvmlDeviceGetHandleByPciBusId_v2", address, 0, none, sizeof(none));
	if (code == 0) {
		*device = addresses[number % 16];
		snprintf(addresses[number++ % 16], sizeof(addresses[0]), "%s", address);
	}
	return code;
}

int nvmlVgpuTypeGetMaxInstances(void *device, unsigned int type, unsigned int *count)
{
	char numbers[64] = "";
	int code = ask("nvmlVgpuTypeGetMaxInstances", device, type, numbers, sizeof(numbers));

	*count = strtoul(numbers, NULL, 10);
	return code;
}

static int list(const char *function, void *device, unsigned int type, struct placements *places)
{
	static char numbers[1 << 20];
	unsigned int room = places->count, at;
	char *rest = numbers;
	int code;

	if (places->version != (sizeof(*places) | 2u << 24))
		return VERSION_MISMATCH;
	if (!places->ids || places->mode)
		return INVALID_ARGUMENT;
	code = ask(function, device, type, numbers, sizeof(numbers));
	places->size = strtoul(rest, &rest, 10);
	places->count = strtoul(rest, &rest, 10);
	if (code == 0 && places->count > room)
		return INSUFFICIENT_SIZE;
	for (at = 0; code == 0 && at < places->count; at++)
		places->ids[at] = strtoul(rest, &rest, 10);
	return code;
}

int nvmlDeviceGetVgpuTypeSupportedPlacements(void *device, unsigned int type, struct placements *places)
{
	return list("nvmlDeviceGetVgpuTypeSupportedPlacements", device, type, places);
}

int nvmlDeviceGetVgpuTypeCreatablePlacements(void *device, unsigned int type, struct placements *places)
{
	return list("nvmlDeviceGetVgpuTypeCreatablePlacements", device, type, places);
}

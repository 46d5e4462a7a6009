/* A small libnvidia-ml.so.1 for tests: the functions that mfu_profiler asks for, with NVML's signatures
 * and return codes (NVML API reference), for made-up machines.
 *
 * MFU_PROFILER_STUB_MACHINE  one of the names in `machines`; the default is "a100"
 * MFU_PROFILER_STUB_LOG      a file that gets a line for each nvmlInit and nvmlShutdown
 *
 * Built with -DWITHOUT_EVENT_REASONS, -DWITHOUT_UUID_LOOKUP or -DBARE the library lacks functions, as
 * old drivers do. Every call before nvmlInit or after the last nvmlShutdown answers "uninitialized".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
       DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, UNKNOWN = 999 };

typedef struct Device {
    const char *name, *uuid;
    unsigned limit_mw, enforced_mw, default_mw;
    unsigned max_mhz, now_mhz, power_mw, celsius, percent;
    unsigned long long reasons;
    int gpu_instance, compute_instance;    /* of a MIG device */
    struct Device *parent;                 /* of a MIG device: its GPU */
    struct Device *slices[7];              /* of a GPU in MIG mode; gaps are allowed, as in NVML */
    int mig_mode, no_access;
} Device;

typedef struct {
    const char *name;
    int init_error;                        /* what nvmlInit answers */
    int error;                             /* what every reading answers */
    Device *devices[4];
} Machine;

/* Limits in mW: set, in force, default. Clocks in MHz: highest, now. */
static Device a100 = {"NVIDIA A100-SXM4-80GB", "GPU-a1000000-0000-4000-8000-000000000001",
                      400000, 400000, 400000, 1410, 1395, 312500, 61, 97, 0x0};
/* Set to 700 W by its owner, held at 500 W by the server's board controller. */
static Device h100 = {"NVIDIA H100 80GB HBM3", "GPU-b1000000-0000-4000-8000-000000000002",
                      700000, 500000, 700000, 1980, 1305, 499900, 74, 100, 0x4};
static Device l4 = {"NVIDIA L4", "GPU-c4000000-0000-4000-8000-000000000003",
                    72000, 72000, 72000, 2040, 900, 71000, 83, 99, 0x24};
static Device h100_twin = {"NVIDIA H100 80GB HBM3", "GPU-b1000000-0000-4000-8000-000000000004",
                           700000, 700000, 700000, 1980, 1755, 650000, 66, 98, 0x0};

static Device split, slice_3g, slice_1g;
static Device split = {"NVIDIA A100-SXM4-80GB", "GPU-d1000000-0000-4000-8000-000000000005",
                       400000, 300000, 400000, 1410, 1155, 280000, 58, 0, 0x4,
                       .mig_mode = 1, .slices = {&slice_3g, NULL, &slice_1g}};
static Device slice_3g = {"NVIDIA A100-SXM4-80GB MIG 3g.40gb", "MIG-e3000000-0000-5000-8000-000000000006",
                          .gpu_instance = 2, .compute_instance = 0, .parent = &split};
static Device slice_1g = {"NVIDIA A100-SXM4-80GB MIG 1g.10gb", "MIG-e1000000-0000-5000-8000-000000000007",
                          .gpu_instance = 9, .compute_instance = 0, .parent = &split};
static Device hidden = {"NVIDIA A100-SXM4-80GB", "GPU-f1000000-0000-4000-8000-000000000008", .no_access = 1};

static Machine machines[] = {
    {"a100", OK, OK, {&a100}},
    {"h100-power-cap", OK, OK, {&h100}},
    {"mig", OK, OK, {&split}},
    {"mig-beside-h100", OK, OK, {&h100, &split}},
    {"two-kinds", OK, OK, {&l4, &h100}},
    {"two-alike", OK, OK, {&h100, &h100_twin}},
    {"hidden", OK, OK, {&hidden, &a100}},
    {"refuses", OK, NO_PERMISSION, {&a100}},
    {"lost", OK, GPU_IS_LOST, {&a100}},
    {"unknown-error", OK, UNKNOWN, {&a100}},
    {"unheard-of-error", OK, 4711, {&a100}},
    {"no-driver", DRIVER_NOT_LOADED, OK, {NULL}},
    {"no-gpu", OK, OK, {NULL}},
};

static int opened = 0;

static Machine *machine(void)
{
    const char *wanted = getenv("MFU_PROFILER_STUB_MACHINE");
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
        if (!strcmp(machines[i].name, wanted ? wanted : "a100"))
            return &machines[i];
    fprintf(stderr, "no such machine: %s\n", wanted);
    abort();
}

static void note(const char *line)
{
    const char *path = getenv("MFU_PROFILER_STUB_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    if (log) {
        fprintf(log, "%s\n", line);
        fclose(log);
    }
}

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    if (machine()->init_error)
        return machine()->init_error;
    opened++;
    note("init");
    return OK;
}

int nvmlShutdown(void)
{
    if (!opened)
        return UNINITIALIZED;
    opened--;
    note("shutdown");
    return OK;
}

const char *nvmlErrorString(int code)
{
    (void)code;
    return "an error that the bindings do not know";
}

static int text(const char *value, char *buffer, unsigned length)
{
    snprintf(buffer, length, "%s", value);
    return OK;
}

static int count(void)
{
    int devices = 0;
    while (devices < 4 && machine()->devices[devices])
        devices++;
    return devices;
}

/* A number of a GPU; MIG devices have none of their own. */
static __attribute__((unused)) int number(Device *device, unsigned value, unsigned *answer)
{
    if (!opened)
        return UNINITIALIZED;
    if (machine()->error)
        return machine()->error;
    if (device->parent)
        return NOT_SUPPORTED;
    *answer = value;
    return OK;
}

int nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    return opened ? text("535.104.05", version, length) : UNINITIALIZED;
}

int nvmlDeviceGetCount_v2(unsigned *devices)
{
    if (!opened)
        return UNINITIALIZED;
    *devices = (unsigned)count();
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device)
{
    if (!opened)
        return UNINITIALIZED;
    if ((int)index >= count())
        return INVALID;
    if (machine()->devices[index]->no_access)
        return NO_PERMISSION;
    *device = machine()->devices[index];
    return OK;
}

int nvmlDeviceGetUUID(Device *device, char *uuid, unsigned length)
{
    return opened ? text(device->uuid, uuid, length) : UNINITIALIZED;
}

int nvmlDeviceGetName(Device *device, char *name, unsigned length)
{
    if (!opened || machine()->error)
        return opened ? machine()->error : UNINITIALIZED;
    return text(device->name, name, length);
}

#ifndef BARE
#ifndef WITHOUT_UUID_LOOKUP
int nvmlDeviceGetHandleByUUID(const char *uuid, Device **found)
{
    if (!opened)
        return UNINITIALIZED;
    for (int i = 0; i < count(); i++) {
        Device *device = machine()->devices[i];
        if (!device->no_access && !strcmp(device->uuid, uuid)) {
            *found = device;
            return OK;
        }
        for (int slice = 0; slice < 7; slice++)
            if (device->slices[slice] && !strcmp(device->slices[slice]->uuid, uuid)) {
                *found = device->slices[slice];
                return OK;
            }
    }
    return NOT_FOUND;
}
#endif

int nvmlDeviceGetPowerManagementLimit(Device *device, unsigned *mw)
{
    return number(device, device->limit_mw, mw);
}

int nvmlDeviceGetEnforcedPowerLimit(Device *device, unsigned *mw)
{
    return number(device, device->enforced_mw, mw);
}

int nvmlDeviceGetPowerManagementDefaultLimit(Device *device, unsigned *mw)
{
    return number(device, device->default_mw, mw);
}

int nvmlDeviceGetMaxClockInfo(Device *device, int type, unsigned *mhz)
{
    return type == 1 ? number(device, device->max_mhz, mhz) : INVALID; /* 1: the SMs' clock */
}

int nvmlDeviceGetClockInfo(Device *device, int type, unsigned *mhz)
{
    return type == 1 ? number(device, device->now_mhz, mhz) : INVALID;
}

int nvmlDeviceGetPowerUsage(Device *device, unsigned *mw)
{
    return number(device, device->power_mw, mw);
}

int nvmlDeviceGetTemperature(Device *device, int sensor, unsigned *celsius)
{
    return sensor == 0 ? number(device, device->celsius, celsius) : INVALID; /* 0: the die */
}

int nvmlDeviceGetUtilizationRates(Device *device, unsigned rates[2])
{
    rates[1] = 0;
    return device->mig_mode ? NOT_SUPPORTED : number(device, device->percent, &rates[0]);
}

static int reasons(Device *device, unsigned long long *bits)
{
    unsigned unused;
    *bits = device->reasons;
    return number(device, 0, &unused);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, unsigned long long *bits)
{
    return reasons(device, bits);
}

#ifndef WITHOUT_EVENT_REASONS /* the new name, since driver 535 */
int nvmlDeviceGetCurrentClocksEventReasons(Device *device, unsigned long long *bits)
{
    return reasons(device, bits);
}
#endif

int nvmlDeviceGetMigMode(Device *device, unsigned *current, unsigned *pending)
{
    *current = *pending = (unsigned)device->mig_mode;
    return opened ? OK : UNINITIALIZED;
}

int nvmlDeviceGetMaxMigDeviceCount(Device *device, unsigned *most)
{
    *most = device->mig_mode ? 7 : 0;
    return opened ? OK : UNINITIALIZED;
}

int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned index, Device **slice)
{
    if (!opened)
        return UNINITIALIZED;
    if (index >= 7 || !device->slices[index])
        return NOT_FOUND;
    *slice = device->slices[index];
    return OK;
}

int nvmlDeviceGetGpuInstanceId(Device *device, unsigned *id)
{
    *id = (unsigned)device->gpu_instance;
    return opened ? OK : UNINITIALIZED;
}

int nvmlDeviceGetComputeInstanceId(Device *device, unsigned *id)
{
    *id = (unsigned)device->compute_instance;
    return opened ? OK : UNINITIALIZED;
}

int nvmlDeviceIsMigDeviceHandle(Device *device, unsigned *is_mig)
{
    *is_mig = device->parent != NULL;
    return opened ? OK : UNINITIALIZED;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *device, Device **parent)
{
    if (!opened || !device->parent)
        return opened ? INVALID : UNINITIALIZED;
    *parent = device->parent;
    return OK;
}
#endif

/*
 * What libxlutil makes of domain configurations, in a form that no value can blur.
 *
 * build: cc -std=c11 -Wall -Wextra -Werror -o xlread xlread.c -lxlutil -lxenlight -lxentoollog   (Debian: libxen-dev)
 * usage: xlread CFG...
 *
 * For each file: "file NAME", then one line for each thing asked of the parser, strings in hexadecimal:
 *
 *     string KEY HEX          a key with a string or a number (as the text of the number)
 *     long KEY NUMBER         the same key as xl reads a number
 *     list KEY COUNT          a key with a list
 *     item KEY INDEX HEX
 *     disk INDEX HEX(pdev_path) HEX(vdev) FORMAT BACKEND rw|ro HEX(script) REMOVABLE CDROM HEX(backend domain)
 *     error WHAT              the parser refuses
 *
 * The parser does not list its keys, so they are asked for by name: those of xl.cfg(5), of today and of old. A key
 * that is none of these means nothing to xl either.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libxl.h>
#include <libxl_utils.h>
#include <libxlutil.h>

static const char *const keys[] = {
    "acpi", "acpi_firmware", "acpi_laptop_slate", "acpi_s3", "acpi_s4", "altp2m", "altp2mhvm", "apic", "arm_dtb",
    "bios", "bios_path_override", "blkdev_start", "boot", "bootloader", "bootloader_args", "bootloader_output",
    "builder", "channel", "claim_mode", "cmdline", "console", "cpu_weight", "cpuid", "cpus", "cpus_soft", "device_model",
    "device_model_args", "device_model_args_hvm", "device_model_args_pv", "device_model_override",
    "device_model_stubdomain_override", "device_model_stubdomain_seclabel", "device_model_user",
    "device_model_version", "device_tree", "disable_migrate", "disk", "dm_restrict", "driver_domain", "dtdev",
    "e820_host", "event_channels", "exec_ssidref", "extra", "firmware", "firmware_override", "gfx_passthru", "gic_version",
    "hap", "hdtype", "hpet", "hvm", "init_seclabel", "init_ssidref", "iomem", "ioports", "irqs", "kernel", "keymap",
    "llc_colors", "localtime", "max_event_channels", "max_grant_frames", "max_grant_version", "max_maptrack_frames",
    "maxmem", "maxvcpus", "mca_caps", "memory", "mmio_hole", "ms_vm_genid", "msr_relaxed", "name", "nestedhvm",
    "nographic", "nomigrate", "nx", "on_crash", "on_poweroff", "on_reboot", "on_soft_reset", "on_watchdog",
    "opengl", "p9", "pae", "passthrough", "pci", "pci_msitranslate", "pci_permissive", "pci_power_mgmt", "pci_seize",
    "pool", "pvcalls", "pvh", "pvshim", "pvshim_cmdline", "pvshim_extra", "pvshim_path", "ramdisk", "rdm",
    "rdm_mem_boundary", "root", "rtc_timeoffset", "run_hotplug_scripts", "scheduler", "sched", "sdl", "seclabel",
    "serial", "shadow_memory", "smbios", "smbios_firmware", "soundhw", "spice", "spiceport", "stdvga",
    "stubdomain_cmdline", "stubdomain_kernel", "stubdomain_memory", "stubdomain_ramdisk", "suppress_spurious_page_faults",
    "swiotlb", "system_firmware", "tee", "timer_mode", "tpm", "tsc_mode", "type", "uefi", "usb", "usbctrl", "usbdev",
    "usbdevice", "usbversion", "uuid", "vcpus", "vendor_device", "vfb", "vga", "vif", "vif2", "videoram", "viridian",
    "virtio", "vkb", "vm_watchdog", "vmtrace_buf_kb", "vnc", "vncdisplay", "vnclisten", "vncpasswd", "vncunused",
    "vnuma", "vpl011", "vpmu", "vpt_align", "vsnd", "vtpm", "vuart", "x", "xen_platform_pci", "xend_suspend_evtchn_compat",
};
#define COUNT(array) (sizeof (array) / sizeof (array)[0])

static void hex(const char *text)
{
    putchar(' ');
    if (!text) {
        putchar('-');
        return;
    }
    putchar('x');
    for (const unsigned char *byte = (const unsigned char *)text; *byte; byte++)
        printf("%02x", *byte);
}

static void print_disk(XLU_Config *cfg, int index, const char *spec)
{
    libxl_device_disk disk;
    libxl_device_disk_init(&disk);
    if (xlu_disk_parse(cfg, 1, &spec, &disk) != 0) {
        printf("error disk %d\n", index);
    } else {
        printf("disk %d", index);
        hex(disk.pdev_path);
        hex(disk.vdev);
        printf(" %s %s %s", libxl_disk_format_to_string(disk.format), libxl_disk_backend_to_string(disk.backend),
               disk.readwrite ? "rw" : "ro");
        hex(disk.script);
        printf(" %d %d", disk.removable, disk.is_cdrom);
        hex(disk.backend_domname);
        putchar('\n');
    }
    libxl_device_disk_dispose(&disk);
}

static void print_list(XLU_Config *cfg, const char *key)
{
    XLU_ConfigList *list;
    int count = 0;
    int error = xlu_cfg_get_list(cfg, key, &list, &count, 1);
    if (error != 0) {
        printf("error list %s %d\n", key, error);
        return;
    }
    printf("list %s %d\n", key, count);
    for (int i = 0; i < count; i++) {
        const char *item = xlu_cfg_get_listitem(list, i);
        if (!item) {
            printf("error item %s %d\n", key, i);
            continue;
        }
        printf("item %s %d", key, i);
        hex(item);
        putchar('\n');
        if (strcmp(key, "disk") == 0)
            print_disk(cfg, i, item);
    }
}

static void print_file(const char *name)
{
    printf("file %s\n", name);
    XLU_Config *cfg = xlu_cfg_init(stderr, name);
    if (!cfg) {
        perror("xlread");
        exit(1);
    }
    int error = xlu_cfg_readfile(cfg, name);
    if (error != 0) {
        printf("error read %d\n", error);
        xlu_cfg_destroy(cfg);
        return;
    }
    for (size_t i = 0; i < COUNT(keys); i++) {
        const char *text;
        error = xlu_cfg_get_string(cfg, keys[i], &text, 1);
        if (error == ESRCH)
            continue;
        if (error == 0) {
            long number;
            printf("string %s", keys[i]);
            hex(text);
            putchar('\n');
            if (xlu_cfg_get_long(cfg, keys[i], &number, 1) == 0)
                printf("long %s %ld\n", keys[i], number);
        } else {
            print_list(cfg, keys[i]);
        }
    }
    xlu_cfg_destroy(cfg);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        print_file(argv[i]);
    return 0;
}

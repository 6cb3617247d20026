/*
 * What getmntent(3) of the C library makes of a file system table, each field in hexadecimal.
 *
 * build: cc -std=c11 -Wall -Wextra -Werror -o getmntent getmntent.c
 * usage: getmntent FILE
 *
 * One line an entry: source target type options freq passno.
 */
#define _DEFAULT_SOURCE
#include <mntent.h>
#include <stdio.h>

static void hex(const char *text)
{
    putchar('x');
    for (const unsigned char *byte = (const unsigned char *)text; *byte; byte++)
        printf("%02x", *byte);
    putchar(' ');
}

int main(int argc, char **argv)
{
    FILE *table = argc == 2 ? setmntent(argv[1], "r") : NULL;
    if (!table) {
        perror("getmntent");
        return 1;
    }
    for (struct mntent *entry; (entry = getmntent(table)) != NULL;) {
        hex(entry->mnt_fsname);
        hex(entry->mnt_dir);
        hex(entry->mnt_type);
        hex(entry->mnt_opts);
        printf("%d %d\n", entry->mnt_freq, entry->mnt_passno);
    }
    endmntent(table);
    return 0;
}

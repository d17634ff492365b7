// What a test does with raw flash, and busybox cannot: attaches UBI, and makes a volume; notes what is on
// the flash after each system call of a program that may have changed it; puts such a state back.
//
//     flash attach | detach | volume
//     flash trace LOG PROGRAM ARGUMENT...   exits as the program does
//     flash states LOG MOST                 prints the numbers of some states that differ, and of the last
//     flash load LOG NUMBER                 what was on the flash in that state
//
// The log is a list of records: a place, how many bytes, and these. After those of a state comes one without
// bytes whose place is END. The first state is all of the flash. A byte that was never written is 0xff.
#include <fcntl.h>
#include <mtd/mtd-user.h>
#include <mtd/ubi-user.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define END UINT64_MAX

struct record {
    uint64_t place, length;
};

static const int WRITERS[] = {SYS_write, SYS_writev, SYS_pwrite64, SYS_openat, SYS_openat2, SYS_close, SYS_renameat,
                              SYS_renameat2, SYS_linkat, SYS_symlinkat, SYS_mkdirat, SYS_unlinkat, SYS_fchmod,
                              SYS_fchown, SYS_utimensat, SYS_ftruncate, SYS_fsync, SYS_fdatasync, SYS_syncfs};

static mtd_info_t info;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int must(int done, const char *what) {
    if (done < 0)
        fail(what);
    return done;
}

static int open_flash(void) {
    int flash = must(open("/dev/mtd0", O_RDWR), "mtd0");
    must(ioctl(flash, MEMGETINFO, &info), "MEMGETINFO");
    return flash;
}

static void ubi(const char *device, unsigned long request, void *argument) {
    must(ioctl(must(open(device, O_RDWR), device), request, argument), device);
}

static void attach(void) {
    struct ubi_attach_req request = {.ubi_num = 0, .mtd_num = 0};
    ubi("/dev/ubi_ctrl", UBI_IOCATT, &request);
}

static void detach(void) {
    int32_t number = 0;
    ubi("/dev/ubi_ctrl", UBI_IOCDET, &number);
}

static long long fact(const char *name) {
    char path[64];
    long long number;
    snprintf(path, sizeof path, "/sys/class/ubi/ubi0/%s", name);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%lld", &number) != 1)
        fail(path);
    return number;
}

static void volume(void) {
    struct ubi_mkvol_req request = {.vol_id = 0, .alignment = 1, .vol_type = UBI_DYNAMIC_VOLUME, .name_len = 4,
                                    .bytes = fact("avail_eraseblocks") * fact("eraseblock_size"), .name = "root"};
    ubi("/dev/ubi0", UBI_IOCMKVOL, &request);
}

// Adds what has changed on the flash to the log.
static void note(int flash, FILE *log, uint8_t *before) {
    uint8_t *now = malloc(info.size);
    if (pread(flash, now, info.size, 0) != (ssize_t)info.size)
        fail("read");
    for (uint64_t at = 0; at < info.size; at += info.writesize)
        if (memcmp(before + at, now + at, info.writesize)) {
            struct record record = {at, info.writesize};
            fwrite(&record, sizeof record, 1, log);
            fwrite(now + at, info.writesize, 1, log);
        }
    struct record end = {END, 0};
    fwrite(&end, sizeof end, 1, log);
    memcpy(before, now, info.size);
    free(now);
}

static int is_writer(long number) {
    for (unsigned at = 0; at < sizeof WRITERS / sizeof *WRITERS; at++)
        if (WRITERS[at] == number)
            return 1;
    return 0;
}

static int trace(const char *path, char **program) {
    int flash = open_flash(), status = 0, is_inside = 0;
    // As it is on the flash: to correct it would take longer.
    must(ioctl(flash, MTDFILEMODE, MTD_FILE_MODE_RAW), "MTDFILEMODE");
    FILE *log = fopen(path, "w");
    uint8_t *before = memset(malloc(info.size), 0xff, info.size);
    note(flash, log, before);
    pid_t child = must(fork(), "fork");
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execv(program[0], program);
        fail(program[0]);
    }
    must(waitpid(child, &status, 0), "waitpid");
    must(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD), "ptrace");
    ptrace(PTRACE_SYSCALL, child, 0, 0);
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        struct user_regs_struct registers;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80) && !ptrace(PTRACE_GETREGS, child, 0, &registers)) {
            // Of the two stops of a system call, the second.
            if (is_inside && is_writer(registers.orig_rax))
                note(flash, log, before);
            is_inside = !is_inside;
        }
        ptrace(PTRACE_SYSCALL, child, 0, 0);
    }
    note(flash, log, before);
    if (fclose(log))
        fail(path);
    return WEXITSTATUS(status);
}

static void states(const char *path, long most) {
    FILE *log = fopen(path, "r");
    struct record record;
    long number = 0, count = 0, differs = 0, *found = malloc(sizeof *found);
    if (!log)
        fail(path);
    while (fread(&record, sizeof record, 1, log) == 1)
        if (record.place == END) {
            if (differs) {
                found = realloc(found, (count + 2) * sizeof *found);
                found[count++] = number;
            }
            number++;
            differs = 0;
        } else {
            fseek(log, record.length, SEEK_CUR);
            differs = 1;
        }
    // Nothing may have come since the state before the last.
    if (found[count - 1] != number - 1)
        found[count++] = number - 1;
    for (long at = 0; at < most && at < count; at++)
        printf("%ld\n", found[count <= most ? at : at * (count - 1) / (most - 1)]);
}

static void load(const char *path, long number) {
    int flash = open_flash();
    FILE *log = fopen(path, "r");
    uint8_t *all = memset(malloc(info.size), 0xff, info.size);
    struct record record;
    while (number >= 0) {
        if (fread(&record, sizeof record, 1, log) != 1)
            fail(path);
        if (record.place == END)
            number--;
        else if (fread(all + record.place, record.length, 1, log) != 1)
            fail(path);
    }
    for (uint64_t at = 0; at < info.size; at += info.erasesize) {
        erase_info_t block = {at, info.erasesize};
        must(ioctl(flash, MEMERASE, &block), "MEMERASE");
    }
    for (uint64_t at = 0; at < info.size; at += info.writesize)
        for (uint64_t byte = 0; byte < info.writesize; byte++)
            // A page that was never written has to stay so.
            if (all[at + byte] != 0xff) {
                if (pwrite(flash, all + at, info.writesize, at) != (ssize_t)info.writesize)
                    fail("write");
                break;
            }
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "attach"))
        attach();
    else if (!strcmp(what, "detach"))
        detach();
    else if (!strcmp(what, "volume"))
        volume();
    else if (!strcmp(what, "trace") && argc > 3)
        return trace(argv[2], argv + 3);
    else if (!strcmp(what, "states") && argc == 4)
        states(argv[2], atol(argv[3]));
    else if (!strcmp(what, "load") && argc == 4)
        load(argv[2], atol(argv[3]));
    else
        return 2;
    return 0;
}

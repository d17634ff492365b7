/* The least that a listing can cost: scan ROOT VERSION
 *
 * Reads ROOT/proc/modules, maps ROOT/lib/modules/VERSION/modules.dep, looks the name of each of its
 * lines up among the loaded ones, and prints the line's path where it is one of them. Nothing is
 * sorted, no dependency followed, no other file opened. For bench_list.py, which compares.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOTS = 1024, MOST = 512, NAME = 64 };

static char modules[1 << 17], out[1 << 17];
static struct { const char *name; size_t length; } slots[SLOTS];

static unsigned at(const char *name, size_t length)
{
    unsigned hash = 5381;
    for (size_t i = 0; i < length; i++)
        hash = hash * 33 + (unsigned char)name[i];
    while (slots[hash % SLOTS].name &&
           (slots[hash % SLOTS].length != length || memcmp(slots[hash % SLOTS].name, name, length)))
        hash++;
    return hash % SLOTS;
}

static int opened(const char *root, const char *below, const char *version, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s%s%s", root, below, version, name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        perror(path), _exit(1);
    return file;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int file = opened(argv[1], "proc/modules", "", "");
    size_t end = 0, loaded = 0;
    for (ssize_t got; (got = read(file, modules + end, sizeof modules - end)) > 0; end += got)
        ;
    for (char *line = modules, *after; line < modules + end && loaded < MOST; line = after + 1) {
        after = memchr(line, '\n', modules + end - line);
        if (!after)
            break;
        size_t length = strcspn(line, " \n");
        unsigned slot = at(line, length);
        slots[slot].name = line, slots[slot].length = length;
        loaded++;
    }

    struct stat about;
    file = opened(argv[1], "lib/modules/", argv[2], "/modules.dep");
    if (fstat(file, &about))
        return 1;
    const char *dep = mmap(NULL, about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (dep == MAP_FAILED)
        return 1;
    size_t filled = 0;
    for (const char *line = dep, *last = dep + about.st_size, *after; line < last; line = after + 1) {
        after = memchr(line, '\n', last - line);
        const char *colon = after ? memchr(line, ':', after - line) : NULL;
        if (!colon)
            break;
        char name[NAME];
        size_t length = 0;
        const char *base = memrchr(line, '/', colon - line);
        for (base = base ? base + 1 : line; base < colon && *base != '.' && length < NAME; base++)
            name[length++] = *base == '-' ? '_' : *base;
        if (!slots[at(name, length)].name || filled + (colon - line) + 1 > sizeof out)
            continue;
        memcpy(out + filled, line, colon - line);
        filled += colon - line;
        out[filled++] = '\n';
    }
    return write(1, out, filled) != (ssize_t)filled;
}

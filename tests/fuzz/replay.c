/* replay.c - the main() of a fuzz target without a fuzzer: feeds every file of the corpus folders to it, so
 * that what a fuzzer once found stays found, with any compiler. A missing or empty folder fails: replaying
 * nothing proves nothing. Inputs are copied into a block of exactly their size, so that the address sanitizer
 * sees one byte too far. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { MAX_FED_BYTES = 64 << 20 };

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st) < 0 || st.st_size > MAX_FED_BYTES) {
        fprintf(stderr, "%s: cannot be read or is above %d bytes\n", path, MAX_FED_BYTES);
        if (f)
            fclose(f);
        return -1;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    int r = data && fread(data, 1, size, f) == size ? 0 : -1;
    fclose(f);
    if (r == 0)
        LLVMFuzzerTestOneInput(data, size);
    else
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    free(data);
    return r;
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

/* How many files were fed; -1: the folder cannot be read. */
static long replay_folder(const char *path)
{
    struct dirent **list;
    struct stat st;
    int n = scandir(path, &list, visible, alphasort);
    long fed = 0;
    if (n < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    for (int i = 0; i < n; i++) {
        char full[PATH_MAX];
        int len = snprintf(full, sizeof(full), "%s/%s", path, list[i]->d_name);
        free(list[i]);
        if (fed < 0 || len < 0 || len >= (int)sizeof(full) || stat(full, &st) < 0)
            continue;
        long r = S_ISDIR(st.st_mode) ? replay_folder(full) : (replay_file(full) < 0 ? -1 : 1);
        fed = r < 0 ? -1 : fed + r;
    }
    free(list);
    return fed;
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    if (argc < 2) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER…\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        long fed = replay_folder(argv[i]);
        if (fed <= 0) {
            fprintf(stderr, "%s: %s\n", argv[i],
                    fed < 0 ? "not replayed" : "no inputs, so nothing was tested");
            return 1;
        }
        printf("%s: %ld inputs replayed\n", argv[i], fed);
    }
    return 0;
}

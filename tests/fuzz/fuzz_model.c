/* fuzz_model - every reader of lib/model on outside bytes. The first byte chooses the name that the rest is
 * given. */
#include <fcntl.h>
#include <portolan/model.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"m.onnx", "saved_model.pb", "m.tflite",   "m.h5",          "m.keras",
                                    "m.pt",   "m.pkl",          "model.json", "m.safetensors", "m.pb",
                                    "m.ort",  "m.pth",          "m.bin"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char dir[64];
    if (!dir[0]) {
        snprintf(dir, sizeof(dir), "/dev/shm/ptl-fuzz-model-%d", (int)getpid());
        if (mkdir(dir, 0700) < 0)
            return 0;
    }
    if (size < 1)
        return 0;
    char path[160];
    struct ptl_error err = PTL_ERROR_INIT;
    json_t *facts = NULL;
    snprintf(path, sizeof(path), "%s/%s", dir, names[data[0] % PTL_ARRAY_LEN(names)]);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data + 1, size - 1) != (ssize_t)(size - 1))
        abort();
    close(fd);
    if (ptl_model_read(dir, strrchr(path, '/') + 1, &facts, &err) == 0) {
        char *text = json_dumps(facts, JSON_COMPACT); /* whatever was read is text */
        if (!text || !json_object_get(facts, "format"))
            abort();
        free(text);
        json_decref(facts);
    }
    unlink(path);
    rmdir(dir);
    dir[0] = 0;
    return 0;
}

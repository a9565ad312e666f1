/* mobile.h - the driver of the host kind "mobile" (driver.h), and what its parts share.
 * Recipe keys under `driver:` (paths are relative to the recipe's folder):
 *   kind: mobile
 *   runtime: NAME              goes into the result
 *   runner: FILE  backend: FILE   python run on the device: runner job.json backend.py
 *   model_suffix: [.tflite]    which file of inputs/model is the model
 *   model_data: true           push the other files of inputs/model too (ONNX external data)
 * Parameters (with): device, serial, adb_server, memory, threads, repeats, warmup, model. */
#ifndef PTL_MOBILE_MOBILE_H
#define PTL_MOBILE_MOBILE_H
#include "../driver.h"
#include "adb.h"
#include "device.h"

/* What the attempt runs on: an embedded device of our own, or a device somebody else's adb server knows. */
struct ptl_phone {
    struct ptl_adb *adb; /* borrowed from `embedded`, or own_adb */
    struct ptl_adb *own_adb;
    struct ptl_device *embedded; /* NULL: a real device */
    char serial[PTL_ADB_SERIAL_MAX + 1];
    char description[300];      /* for the result: model of the phone, or profile */
    bool indicative;            /* latency is not that of real hardware */
    char *python, *site, *work; /* directories on the device */
    bool opened;                /* the work directory may exist */
};

/* Gets a device ready: starts the embedded one or finds the real one, proves that it is arm64 and speaks
 * shell_v2, and sees to it that python and site are on it. Failures as ptl_device_start() and adb.h. */
PTL_NODISCARD int ptl_phone_open(const struct ptl_driver_job *job, const struct ptl_adb_wait *wait,
                                 struct ptl_phone *ret, struct ptl_error *err);
/* Brings a lost connection back (disconnect, connect, until it answers). */
PTL_NODISCARD int ptl_phone_reconnect(struct ptl_phone *phone, const struct ptl_adb_wait *wait,
                                      struct ptl_error *err);
void ptl_phone_done(
    struct ptl_phone *phone); /* removes the work directory of a real device, ends an embedded one */

/* Writes one whole line to the attempt's log. */
void ptl_mobile_log(int fd, const char *fmt, ...) PTL_PRINTF(2, 3);
/* The installed toolchain phone-arm64: TOOLCHAIN/phone, else $PORTOLAN_PHONE, else the newest in the root of
 * installed toolchains. Caller frees; NULL when there is none. toolchain_dir may be NULL. */
char *ptl_phone_dir_find(const char *toolchain_dir);
#endif

/* clock.c - time and quantities as text. */
#include <portolan/clock.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

int64_t ptl_mono_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t ptl_mono_ms(void)
{
    return ptl_mono_us() / 1000;
}

int64_t ptl_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void ptl_wall_rfc3339(int64_t wall_ms, char ret[32])
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    char date[24];
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret, 32, "%s.%03dZ", date, (int)(wall_ms % 1000));
}

struct unit {
    const char *name;
    double factor;
};

/* number unit [number unit …]; a bare number takes `bare`. */
static int parse_units(const char *text, const struct unit *units, size_t n, double bare, bool many,
                       double max, double *ret)
{
    double sum = 0;
    int parts = 0;
    const char *p = text;
    while (*p == ' ')
        p++;
    while (*p) {
        if (!isdigit((unsigned char)*p))
            return -EINVAL;
        double v = 0;
        double scale = 1;
        int digits = 0;
        for (; isdigit((unsigned char)*p); p++, digits++)
            v = v * 10 + (*p - '0');
        if (*p == '.')
            for (p++; isdigit((unsigned char)*p); p++, digits++)
                v += (*p - '0') * (scale /= 10);
        if (digits > 18)
            return -EINVAL;
        while (*p == ' ')
            p++;
        const char *start = p;
        while (isalpha((unsigned char)*p))
            p++;
        size_t len = (size_t)(p - start);
        double factor = -1;
        if (len == 0) {
            if (parts > 0)
                return -EINVAL;
            factor = bare;
        }
        for (size_t i = 0; i < n && len; i++)
            if (strlen(units[i].name) == len && strncasecmp(units[i].name, start, len) == 0)
                factor = units[i].factor;
        if (factor < 0)
            return -EINVAL;
        sum += v * factor;
        parts++;
        while (*p == ' ')
            p++;
        if (!many && *p)
            return -EINVAL;
    }
    if (parts == 0 || sum > max)
        return -EINVAL;
    *ret = sum;
    return 0;
}

int ptl_duration_parse(const char *text, int64_t *ret_ms)
{
    static const struct unit units[] = {
        {"ms",  1       },
        {"s",   1000    },
        {"sec", 1000    },
        {"m",   60000   },
        {"min", 60000   },
        {"h",   3600000 },
        {"d",   86400000}
    };
    double v;
    int r = parse_units(text, units, PTL_ARRAY_LEN(units), 1000, true, 366.0 * 86400000, &v);
    if (r == 0)
        *ret_ms = (int64_t)(v + 0.5);
    return r;
}

void ptl_duration_format(int64_t ms, char ret[32])
{
    if (ms < 1000)
        snprintf(ret, 32, "%lld ms", (long long)ms);
    else if (ms < 60000)
        snprintf(ret, 32, "%.1f s", (double)ms / 1000);
    else if (ms < 3600000)
        snprintf(ret, 32, "%lldm %02llds", (long long)(ms / 60000), (long long)(ms / 1000 % 60));
    else
        snprintf(ret, 32, "%lldh %02lldm", (long long)(ms / 3600000), (long long)(ms / 60000 % 60));
}

int ptl_size_parse(const char *text, int64_t *ret_bytes)
{
    static const struct unit units[] = {
        {"B",   1              },
        {"k",   1000           },
        {"kB",  1000           },
        {"KiB", 1024           },
        {"M",   1e6            },
        {"MB",  1e6            },
        {"MiB", 1048576        },
        {"G",   1e9            },
        {"GB",  1e9            },
        {"GiB", 1073741824     },
        {"T",   1e12           },
        {"TB",  1e12           },
        {"TiB", 1099511627776.0}
    };
    double v;
    int r = parse_units(text, units, PTL_ARRAY_LEN(units), 1, false, 4611686018427387904.0, &v);
    if (r == 0)
        *ret_bytes = (int64_t)(v + 0.5);
    return r;
}

void ptl_size_format(int64_t bytes, char ret[32])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)bytes;
    size_t i = 0;
    while (fabs(v) >= 1024 && i + 1 < PTL_ARRAY_LEN(names)) {
        v /= 1024;
        i++;
    }
    snprintf(ret, 32, i ? "%.1f %s" : "%.0f %s", v, names[i]);
}

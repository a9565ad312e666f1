/* drivers.c - the drivers of this build, by name. */
#include "attempt-private.h"

static const struct ptl_driver *const drivers[] = {
    &ptl_driver_server,
#ifdef PTL_HAVE_DRIVER_MOBILE
    &ptl_driver_mobile,
#endif
#ifdef PTL_HAVE_DRIVER_BROWSER
    &ptl_driver_browser,
#endif
    &ptl_driver_fake,    NULL,
};

const struct ptl_driver *const *ptl_driver_all(void)
{
    return drivers;
}

const struct ptl_driver *ptl_driver_find(const char *name)
{
    for (size_t i = 0; drivers[i]; i++)
        if (strcmp(drivers[i]->name, name) == 0)
            return drivers[i];
    return NULL;
}

/* browser-private.h - what the browser driver's own files share: the embedded page files. */
#ifndef PTL_BROWSER_PRIVATE_H
#define PTL_BROWSER_PRIVATE_H
#include "pageserver.h"

extern const struct ptl_pageserver_asset ptl_browser_assets[]; /* early.js, harness.mjs; generated */
#endif

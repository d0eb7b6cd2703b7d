/* SPDX-License-Identifier: MIT
 * The one place that says which version this is.
 */
#ifndef SPILL_VERSION_H
#define SPILL_VERSION_H

#define SPILLFS_VERSION "0.1.0"
/* Of the control protocol (ctl.h); spillctl and the daemon may be of different versions for a
 * while. */
#define SPILLFS_CTL_PROTOCOL 1

#endif

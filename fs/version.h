/* SPDX-License-Identifier: MIT */
#ifndef URINGFS_VERSION_H
#define URINGFS_VERSION_H

/** version_print() - uringfs and the libraries it runs with, to stdout. */
void version_print(void);

#endif

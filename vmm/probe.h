/* SPDX-License-Identifier: Apache-2.0 */
/* vmm --probe: what this host's KVM is good for, in less than a second. */
#pragma once

/*
 * Prints lines "NAME: VALUE" for people and scripts; the first is "kind: hardware", "kind:
 * emulated" (ring 0 of a guest is; see x86/pvm.h) or "kind: none". Returns the program's exit
 * status: 0 where guests can run.
 */
int vmm_probe(void);

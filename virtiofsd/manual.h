/* SPDX-License-Identifier: Apache-2.0 */
/* Sections of virtiofsd(1) beside its options, as roff. */
#pragma once

extern const char fs_manual_description[]; /* before the options */
extern const char fs_manual_sections[];    /* behind them */

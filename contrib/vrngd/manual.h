/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of vrngd(1) that no table has: roff. */
#pragma once

extern const char rng_manual_description[]; /* before OPTIONS */
extern const char rng_manual_sections[];    /* behind them */

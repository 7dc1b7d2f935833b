/* SPDX-License-Identifier: Apache-2.0 */
/* The only program of compare-vmm's Linux guest: says that it runs, and goes on. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    printf("\n!\n");
    fflush(stdout);
    for (;;)
        pause();
}

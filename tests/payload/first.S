/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A payload by itself that says, with its first instructions, that they have run: "!" on COM1. Then it
 * waits to be ended.
 */
    .section .note.pvh, "a", @note
    .align 4
    .long 4f - 3f
    .long 6f - 5f
    .long 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
3:  .asciz "Xen"
4:  .align 4
5:  .long payload_start
6:  .align 4

    .text
    .code32
    .global payload_start
payload_start:
    mov $0x3f8, %edx
    mov $'!', %al
    out %al, %dx
    mov $'\n', %al
    out %al, %dx
1:  hlt
    jmp 1b
    .section .note.GNU-stack, "", @progbits

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of a payload. The first CPU comes by PVH, in protected mode without paging, ebx pointing to
 * hvm_start_info. The others come by a startup message, in real mode, into a copy of payload_ap_start
 * that lies in a page below 1 MiB. All of them go on in long mode, with the first 4 GiB mapped to
 * themselves.
 */
#define CODE_64   0x08
#define CODE_32   0x18
#define DATA      0x10
#define USER_DATA 0x23
#define USER_CODE 0x2b
#define TSS       0x30
#define CODE_16   0x40

#define LOW_PAGE  0x6000 /* of nobody else's, below 64 KiB */

#define USER_FLAGS 0x202 /* the bit that is always set, and interrupts */
#define IRQ_UD     6

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
    cld
    mov $payload_stacks + 16384, %esp
    mov %ebx, payload_info
    /* Page tables: two levels that point on, then 2048 pages of 2 MiB. */
    movl $tables_pdpt + 7, tables_pml4
    mov $tables_directories + 7, %eax
    mov $tables_pdpt, %edi
    mov $4, %ecx
1:  mov %eax, (%edi)
    add $0x1000, %eax
    add $8, %edi
    loop 1b
    mov $0x87, %eax
    mov $tables_directories, %edi
    mov $2048, %ecx
2:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    loop 2b
    call enter_long_mode
    .code64
    mov payload_info, %edi
    call payload_main
    jmp payload_power_off

    /* Turns paging and long mode on; returns to the same address, in 64-bit code. */
    .code32
enter_long_mode:
    pop %ebx
    lgdt payload_gdt_pointer
    mov $tables_pml4, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x620, %eax /* PAE, SSE */
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x100, %eax /* LME */
    wrmsr
    mov %cr0, %eax
    and $0xfffffffb, %eax
    or $0x80000003, %eax
    mov %eax, %cr0
    ljmp $CODE_64, $1f
    .code64
1:  mov $DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    jmp *%rbx

    /* Copied to a page of its own, so nothing in it may be relative to here. */
    .code16
    .global payload_ap_start, payload_ap_end
payload_ap_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl 0x7000 /* a copy of the pointer, within reach */
    mov %cr0, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmpl $CODE_32, $ap_32
payload_ap_end:

    .code32
ap_32:
    mov $DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    /* Each takes the next stack. */
    mov $1, %eax
    lock xadd %eax, payload_next_stack
    inc %eax
    mov %eax, %edi
    shl $14, %eax
    lea payload_stacks + 16384(%eax), %esp
    push %edi
    sub $12, %esp
    call enter_long_mode
    .code64
    mov 12(%rsp), %edi
    add $16, %rsp
    and $-16, %rsp
    call payload_ap_main
1:  cli
    hlt
    jmp 1b

    /* payload_enter_bios(): leaves long mode, paging and protection, and goes where a BIOS begins. The
     * last of that in a copy within reach of real mode. */
    .global payload_enter_bios
payload_enter_bios:
    cli
    cld
    mov $bios_16, %esi
    mov $LOW_PAGE, %edi
    mov $bios_16_end - bios_16, %ecx
    rep movsb
    push $CODE_32
    push $1f
    lretq
    .code32
1:  mov %cr0, %eax
    and $0x7fffffff, %eax
    mov %eax, %cr0
    mov $0xc0000080, %ecx
    xor %eax, %eax
    xor %edx, %edx
    wrmsr
    ljmp $CODE_16, $LOW_PAGE
    .code16
bios_16:
    mov %cr0, %eax
    and $0xfe, %al
    mov %eax, %cr0
    ljmp $0xf000, $0xfff0
bios_16_end:
    .code64

    /* An entry for each vector, 16 bytes apart: payload_irq_dispatch(vector, address). */
    .align 16
    .global payload_irq_entries
payload_irq_entries:
    .set vector, 0
    .rept 256
    .align 16
    push $vector
    jmp irq_common
    .set vector, vector + 1
    .endr
irq_common:
    push %rax
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %rbp
    mov 80(%rsp), %rdi
    mov 88(%rsp), %rsi
    mov %rsp, %rbp
    and $-16, %rsp
    cld
    call payload_irq_dispatch
    mov %rbp, %rsp
    pop %rbp
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    add $8, %rsp
    iretq

    /* payload_user_enter(run, argument, stack), see user.h. The stack of ring 0 goes on below what
     * it holds now when ring 3 is interrupted. */
    .global payload_user_enter
payload_user_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, user_kernel_stack
    mov %rsp, payload_tss + 4
    mov %rdi, %rax
    mov %rsi, %rdi
    push $USER_DATA
    push %rdx
    push $USER_FLAGS
    push $USER_CODE
    push $1f
    iretq
1:  call *%rax
    mov $user_leave, %eax
    ud2
user_leave:
    mov user_kernel_stack, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    /* The handler of ud2, by which ring 3 calls ring 0: rax says what. */
    .global payload_user_called
payload_user_called:
    testb $3, 8(%rsp)
    jz payload_irq_entries + 16 * IRQ_UD
    addq $2, (%rsp)
    cld
    sub $8, %rsp
    call *%rax
    add $8, %rsp
    iretq

    /* payload_user_load_tss() */
    .global payload_user_load_tss
payload_user_load_tss:
    mov $payload_tss, %eax
    mov %ax, gdt_tss + 2
    shr $16, %eax
    mov %al, gdt_tss + 4
    mov %ah, gdt_tss + 7
    mov $TSS, %eax
    ltr %ax
    ret

    .section .data
    .align 16
    .global payload_gdt_pointer
payload_gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* code of 64 bits */
    .quad 0x00cf93000000ffff /* data */
    .quad 0x00cf9b000000ffff /* code of 32 bits */
    .quad 0x00cff3000000ffff /* data of ring 3 */
    .quad 0x00affb000000ffff /* code of ring 3 */
gdt_tss:
    .quad 0x0000890000000067 /* the base is filled in */
    .quad 0
    .quad 0x00009b000000ffff /* code of 16 bits */
payload_gdt_end:
payload_gdt_pointer:
    .word payload_gdt_end - payload_gdt - 1
    .long payload_gdt
    .align 4
    .global payload_next_stack
payload_next_stack:
    .long 0
payload_info:
    .long 0
    .align 8
user_kernel_stack:
    .quad 0
    /* Only the stack of ring 0 is used. */
    .align 16
payload_tss:
    .skip 102
    .word 104

    .section .bss
    .align 4096
tables_pml4:        .skip 4096
tables_pdpt:        .skip 4096
tables_directories: .skip 4 * 4096
payload_stacks:     .skip 16 * 16384
    .section .note.GNU-stack, "", @progbits

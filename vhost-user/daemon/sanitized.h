/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether this build runs under AddressSanitizer, LeakSanitizer or ThreadSanitizer. Their run-time
 * libraries read /proc and make system calls of their own: VU_SANITIZED is 1 then.
 */
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VU_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define VU_SANITIZED 1
#endif
#endif
#ifndef VU_SANITIZED
#define VU_SANITIZED 0
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps of guest memory: which regions are refused, translation over borders, changes while the old
 * map is in use, and the file that its owner truncates.
 */
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost-user/memory-fault.h"
#include "vhost-user/memory.h"

#define PAGE UINT64_C(4096)
#define MIB  (UINT64_C(1) << 20)
#define UVA  UINT64_C(0x7f0000000000)

static int make_file(uint64_t size)
{
    int fd = memfd_create("guest-memory", MFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
    return fd;
}

static struct vu_memory *make_map(const struct vu_region_desc *descs, const int *fds, unsigned n)
{
    struct vu_memory *memory = NULL;

    g_assert_cmpint(vu_memory_create(descs, fds, n, &memory), ==, 0);
    g_assert_cmpuint(memory->n_regions, ==, n);
    return memory;
}

/* Two nodes side by side: the second half of the file first, as front-ends may order them. */
static struct vu_memory *make_two_nodes(int fd)
{
    struct vu_region_desc descs[] = {
        {.gpa = MIB, .size = MIB, .uva = UVA + 8 * MIB, .mmap_offset = MIB},
        {.gpa = 0, .size = MIB, .uva = UVA, .mmap_offset = 0},
    };
    int fds[] = {fd, fd};

    return make_map(descs, fds, 2);
}

static void test_refused(void)
{
    static const struct vu_region_desc good = {
        .gpa = MIB, .size = MIB, .uva = UVA, .mmap_offset = 0};
    static const struct vu_region_desc bad[] = {
        {.gpa = 4 * MIB, .size = 0, .uva = UVA + 4 * MIB},                      /* empty */
        {.gpa = UINT64_MAX - PAGE + 1, .size = 2 * PAGE, .uva = UVA + 4 * MIB}, /* gpa wraps */
        {.gpa = 4 * MIB, .size = 2 * PAGE, .uva = UINT64_MAX - PAGE + 1},       /* uva wraps */
        {.gpa = 4 * MIB,
         .size = 2 * PAGE,
         .uva = UVA + 4 * MIB,
         .mmap_offset = UINT64_MAX - PAGE + 1},                  /* offset wraps */
        {.gpa = 0, .size = UINT64_MAX & ~(PAGE - 1), .uva = 0},  /* everything */
        {.gpa = 4 * MIB, .size = 3 * MIB, .uva = UVA + 4 * MIB}, /* beyond file */
        {.gpa = 4 * MIB, .size = MIB, .uva = UVA + 4 * MIB, .mmap_offset = MIB + PAGE},
        {.gpa = 4 * MIB, .size = MIB + 1, .uva = UVA + 4 * MIB, .mmap_offset = MIB},
        {.gpa = 4 * MIB + 16, .size = PAGE, .uva = UVA + 4 * MIB}, /* misaligned */
        {.gpa = 4 * MIB, .size = PAGE, .uva = UVA + 4 * MIB, .mmap_offset = 8},
        {.gpa = MIB + PAGE, .size = PAGE, .uva = UVA + 4 * MIB}, /* gpa overlaps */
        {.gpa = 0, .size = 2 * MIB, .uva = UVA + 4 * MIB},
        {.gpa = 4 * MIB, .size = PAGE, .uva = UVA + MIB - PAGE}, /* uva overlaps */
        {.gpa = MIB, .size = MIB, .uva = UVA},                   /* twice */
    };
    int fd = make_file(2 * MIB);
    int fds[] = {fd, fd};
    struct vu_memory *one = make_map(&good, fds, 1), *memory = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct vu_region_desc descs[] = {good, bad[i]};

        g_assert_cmpint(vu_memory_create(descs, fds, 2, &memory), ==, -EINVAL);
        g_assert_cmpint(vu_memory_create_added(one, &bad[i], fd, &memory), ==, -EINVAL);
        g_assert_null(memory);
    }
    g_assert_cmpuint(one->n_regions, ==, 1);
    vu_memory_unref(one);
    close(fd);
}

static void test_refused_files(void)
{
    struct vu_region_desc desc = {.gpa = 0, .size = PAGE, .uva = UVA};
    struct vu_memory *memory = NULL;
    int pipe_fds[2], bad = -1;

    g_assert_cmpint(pipe(pipe_fds), ==, 0);
    g_assert_cmpint(vu_memory_create(&desc, pipe_fds, 1, &memory), ==, -EINVAL);
    g_assert_cmpint(vu_memory_create(&desc, &bad, 1, &memory), ==, -EBADF);
    g_assert_null(memory);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void test_offset_in_page(void)
{
    struct vu_region_desc desc = {
        .gpa = PAGE + 512, .size = PAGE, .uva = UVA + 512, .mmap_offset = 2 * PAGE + 512};
    int fd = make_file(4 * PAGE);
    struct vu_memory *memory = make_map(&desc, &fd, 1);
    char word[5] = "";
    struct iovec iov;

    g_assert_cmpint(vu_memory_translate(memory, PAGE + 512, 4, &iov, 1), ==, 1);
    memcpy(iov.iov_base, "word", 4);
    g_assert_cmpint(pread(fd, word, 4, 2 * PAGE + 512), ==, 4);
    g_assert_cmpstr(word, ==, "word");
    g_assert_cmpint(vu_memory_translate(memory, PAGE + 511, 4, &iov, 1), ==, -EFAULT);
    vu_memory_unref(memory);
    close(fd);
}

static void test_translate(void)
{
    int fd = make_file(2 * MIB);
    struct vu_memory *memory = make_two_nodes(fd);
    struct iovec iov[3];

    g_assert_cmpint(vu_memory_translate(memory, MIB - 8, 24, iov, 3), ==, 2);
    g_assert_cmpuint(iov[0].iov_len, ==, 8);
    g_assert_cmpuint(iov[1].iov_len, ==, 16);
    memcpy(iov[0].iov_base, "12345678", 8);
    memcpy(iov[1].iov_base, "abcd", 4);
    g_assert_cmpuint(vu_memory_host_to_gpa(memory, iov[1].iov_base), ==, MIB);
    {
        char text[13] = "";

        g_assert_cmpint(pread(fd, text, 12, MIB - 8), ==, 12);
        g_assert_cmpstr(text, ==, "12345678abcd");
    }
    g_assert_cmpint(vu_memory_translate(memory, 0, 2 * MIB, iov, 3), ==, 2);
    g_assert_cmpint(vu_memory_translate(memory, MIB - 8, 24, iov, 1), ==, -E2BIG);
    g_assert_cmpint(vu_memory_translate(memory, MIB, 24, iov, 1), ==, 1);
    g_assert_cmpint(vu_memory_translate(memory, 5, 0, iov, 1), ==, 0);
    g_assert_cmpint(vu_memory_translate(memory, 2 * MIB - 1, 1, iov, 1), ==, 1);
    g_assert_cmpint(vu_memory_translate(memory, 2 * MIB - 1, 2, iov, 3), ==, -EFAULT);
    g_assert_cmpint(vu_memory_translate(memory, 2 * MIB, 1, iov, 3), ==, -EFAULT);
    g_assert_cmpint(vu_memory_translate(memory, 8, UINT64_MAX, iov, 3), ==, -EFAULT);
    g_assert_cmpint(vu_memory_translate(memory, UINT64_MAX, 2, iov, 3), ==, -EFAULT);
    g_assert_cmpuint(vu_memory_host_to_gpa(memory, &fd), ==, UINT64_MAX);
    vu_memory_unref(memory);
    close(fd);
}

static void test_translate_user(void)
{
    int fd = make_file(2 * MIB);
    struct vu_memory *memory = make_two_nodes(fd);
    uint64_t gpa = 0;

    g_assert_true(vu_memory_translate_user(memory, UVA + 8 * MIB + 4, 4, &gpa) ==
                  memory->regions[1]->hva + 4);
    g_assert_cmpuint(gpa, ==, MIB + 4);
    g_assert_nonnull(vu_memory_translate_user(memory, UVA, MIB, NULL));
    g_assert_null(vu_memory_translate_user(memory, UVA, MIB + 1, NULL));
    g_assert_null(vu_memory_translate_user(memory, UVA + MIB, 1, NULL));
    g_assert_null(vu_memory_translate_user(memory, UVA + 8, UINT64_MAX, NULL));
    g_assert_null(vu_memory_translate_user(memory, UVA - 1, 2, NULL));
    vu_memory_unref(memory);
    close(fd);
}

static void test_hole(void)
{
    struct vu_region_desc descs[] = {
        {.gpa = 0, .size = MIB, .uva = UVA},
        {.gpa = 2 * MIB, .size = MIB, .uva = UVA + MIB, .mmap_offset = MIB},
    };
    int fd = make_file(2 * MIB);
    int fds[] = {fd, fd};
    struct vu_memory *memory = make_map(descs, fds, 2);
    struct iovec iov[3];

    g_assert_cmpint(vu_memory_translate(memory, MIB - 4, 8, iov, 3), ==, -EFAULT);
    g_assert_cmpint(vu_memory_translate(memory, MIB, 4, iov, 3), ==, -EFAULT);
    g_assert_cmpint(vu_memory_translate(memory, 2 * MIB, 4, iov, 3), ==, 1);
    vu_memory_unref(memory);
    close(fd);
}

/* A region that is taken away stays mapped while an older map is held. */
static void test_removed_while_used(void)
{
    struct vu_region_desc second = {
        .gpa = MIB, .size = MIB, .uva = UVA + 8 * MIB, .mmap_offset = 77};
    int fd = make_file(2 * MIB);
    struct vu_memory *old = make_two_nodes(fd), *fewer = NULL, *more = NULL;
    uint8_t *kept = old->regions[1]->hva;

    g_assert_cmpint(vu_memory_create_removed(old, &second, &fewer), ==, 0);
    g_assert_cmpuint(fewer->n_regions, ==, 1);
    g_assert_true(fewer->regions[0] == old->regions[0]);
    g_assert_cmpint(vu_memory_create_removed(fewer, &second, &more), ==, -ENOENT);
    g_assert_cmpint(vu_memory_create_removed(NULL, &second, &more), ==, -ENOENT);
    kept[5] = 1;

    second.mmap_offset = MIB;
    g_assert_cmpint(vu_memory_create_added(fewer, &second, fd, &more), ==, 0);
    g_assert_cmpuint(more->n_regions, ==, 2);
    g_assert_cmpuint(more->regions[1]->hva[5], ==, 1);
    vu_memory_unref(fewer);
    vu_memory_unref(more);
    kept[6] = 1;
    vu_memory_unref(old);
    close(fd);
}

static void test_all_slots(void)
{
    int fd = make_file(PAGE);
    struct vu_memory *memory = NULL, *next = NULL;
    struct vu_region_desc desc = {.size = PAGE};

    for (unsigned i = 0; i < VU_MEMORY_MAX_REGIONS; i++) {
        desc.gpa = (i * 7 % VU_MEMORY_MAX_REGIONS) * 2 * PAGE; /* in no order */
        desc.uva = UVA + desc.gpa;
        g_assert_cmpint(vu_memory_create_added(memory, &desc, fd, &next), ==, 0);
        vu_memory_unref(memory);
        memory = next;
    }
    desc.gpa = desc.uva = UVA * 2;
    g_assert_cmpint(vu_memory_create_added(memory, &desc, fd, &next), ==, -ENOSPC);
    for (unsigned i = 1; i < memory->n_regions; i++)
        g_assert_cmpuint(memory->regions[i - 1]->gpa, <, memory->regions[i]->gpa);
    vu_memory_unref(memory);
    close(fd);
}

static void test_too_many(void)
{
    g_autofree struct vu_region_desc *descs =
        g_new0(struct vu_region_desc, VU_MEMORY_MAX_REGIONS + 1);
    g_autofree int *fds = g_new0(int, VU_MEMORY_MAX_REGIONS + 1);
    struct vu_memory *memory = NULL;

    g_assert_cmpint(vu_memory_create(descs, fds, VU_MEMORY_MAX_REGIONS + 1, &memory), ==, -E2BIG);
    g_assert_cmpint(vu_memory_create(descs, fds, 0, &memory), ==, 0);
    g_assert_cmpint(vu_memory_translate(memory, 0, 1, NULL, 0), ==, -EFAULT);
    vu_memory_unref(memory);
}

static void *touch_all(void *opaque)
{
    struct vu_memory *memory = opaque;
    uint64_t sum = 0;

    for (unsigned i = 0; i < memory->n_regions; i++) {
        for (uint64_t at = 0; at < memory->regions[i]->size; at += PAGE)
            sum += __atomic_load_n(&memory->regions[i]->hva[at], __ATOMIC_RELAXED);
    }
    return (void *)(uintptr_t)sum;
}

static void test_truncated(void)
{
    int fd = make_file(2 * MIB), other_fd = make_file(2 * MIB);
    struct vu_memory *memory = make_two_nodes(fd), *other = make_two_nodes(other_fd);
    pthread_t threads[4];

    memory->regions[1]->hva[0] = 9;
    g_assert_cmpint(ftruncate(fd, (off_t)(MIB + PAGE)), ==, 0);
    g_assert_false(vu_memory_faulted(memory));
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_cmpint(pthread_create(&threads[i], NULL, touch_all, memory), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    g_assert_true(vu_memory_faulted(memory));
    memory->regions[1]->hva[MIB - 1] = 1; /* ours alone now, and harmless */
    g_assert_false(memory->regions[0]->faulted);

    touch_all(other);
    g_assert_false(vu_memory_faulted(other));
    vu_memory_unref(memory);
    vu_memory_unref(other);
    close(fd);
    close(other_fd);
}

/* SIGBUS of a mapping that is not guest memory still kills. */
static void test_other_sigbus(void)
{
    if (g_test_subprocess()) {
        int fd = make_file(PAGE);
        volatile char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        g_assert_cmpint(vu_memory_fault_install(), ==, 0);
        g_assert_cmpint(ftruncate(fd, 0), ==, 0);
        page[0] = 1;
        exit(0);
    }
    g_test_trap_subprocess(NULL, 10 * G_USEC_PER_SEC, G_TEST_SUBPROCESS_DEFAULT);
    g_test_trap_assert_failed();
}

static void *churn_reader(void *opaque)
{
    struct vu_memory *memory = opaque;

    for (unsigned i = 0; i < 200; i++) {
        struct iovec iov[2];
        int n = vu_memory_translate(memory, MIB - 8, 16, iov, 2);

        g_assert_cmpint(n, ==, 2);
        __atomic_fetch_add((uint8_t *)iov[0].iov_base, 1, __ATOMIC_RELAXED);
        vu_memory_unref(vu_memory_ref(memory));
    }
    vu_memory_unref(memory);
    return NULL;
}

/* Maps are made and dropped here while other threads use and drop theirs. */
static void test_churn(void)
{
    int fd = make_file(2 * MIB);

    for (unsigned round = 0; round < 20; round++) {
        struct vu_memory *memory = make_two_nodes(fd);
        pthread_t threads[3];

        for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
            g_assert_cmpint(pthread_create(&threads[i], NULL, churn_reader, vu_memory_ref(memory)),
                            ==, 0);
        vu_memory_unref(memory);
        for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
            pthread_join(threads[i], NULL);
    }
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/memory/refused", test_refused);
    g_test_add_func("/memory/refused-files", test_refused_files);
    g_test_add_func("/memory/offset-in-page", test_offset_in_page);
    g_test_add_func("/memory/translate", test_translate);
    g_test_add_func("/memory/translate-user", test_translate_user);
    g_test_add_func("/memory/hole", test_hole);
    g_test_add_func("/memory/removed-while-used", test_removed_while_used);
    g_test_add_func("/memory/all-slots", test_all_slots);
    g_test_add_func("/memory/too-many", test_too_many);
    g_test_add_func("/memory/truncated", test_truncated);
    g_test_add_func("/memory/other-sigbus", test_other_sigbus);
    g_test_add_func("/memory/churn", test_churn);
    return g_test_run();
}

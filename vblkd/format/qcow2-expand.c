/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The L2 tables of snapshots are changed where they lie, one write for each: before it, everything
 * new is counted and on the disk; after it, what the table lost is given up. A table that several
 * snapshots share has as many references to what is in it.
 */
#include "vblkd/format/qcow2-expand.h"

#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-free.h"
#include "vblkd/format/qcow2-refcount.h"
#include "vblkd/format/qcow2-snapshot.h"
#include "vhost-user/cleanup.h"

/* A table on its way from one state to the other. */
struct expand {
    struct qcow2 *q;
    uint64_t n_users; /* L1 tables that name it */
    uint64_t *words;
    GArray *taken, *lost; /* uint64_t: clusters that it gets, and loses */
};

static int expand_read_words(const struct qcow2 *q, uint64_t offset, uint64_t n,
                             uint64_t **ret_words)
{
    g_autofree uint64_t *words = g_new(uint64_t, n);
    int ret = vblk_storage_read(q->storage, words, n * sizeof(uint64_t), offset);

    for (uint64_t i = 0; i < n; i++)
        words[i] = be64toh(words[i]);
    if (ret == 0)
        *ret_words = g_steal_pointer(&words);
    return ret;
}

static bool expand_is_zero(uint64_t word)
{
    return (word & QCOW2_ZERO) && !(word & QCOW2_COMPRESSED);
}

/* --- what there is --- */

/* A place of the file where a table or its data may be. */
static bool expand_is_place(const struct qcow2 *q, uint64_t offset)
{
    return offset != 0 && (offset & (q->cluster_size - 1)) == 0 &&
           offset >> q->cluster_bits < q->refcounts.end;
}

/* Counts in `users` (cluster -> number) who names which table. */
static int expand_look(const struct qcow2 *q, const struct qcow2_snapshot *snapshot,
                       GHashTable *users)
{
    g_autofree uint64_t *entries = NULL;
    int ret = expand_read_words(q, snapshot->l1_offset, snapshot->l1_size, &entries);

    for (uint32_t i = 0; ret == 0 && i < snapshot->l1_size; i++) {
        uint64_t offset = entries[i] & QCOW2_OFFSET_MASK;
        gpointer cluster = GSIZE_TO_POINTER(offset >> q->cluster_bits);

        if ((entries[i] & QCOW2_L1_RESERVED) || (offset != 0 && !expand_is_place(q, offset)))
            ret = -EBADMSG;
        else if (offset != 0)
            g_hash_table_insert(
                users, cluster,
                GSIZE_TO_POINTER(GPOINTER_TO_SIZE(g_hash_table_lookup(users, cluster)) + 1));
    }
    return ret;
}

/* 1: some of it is to be expanded. 0; -EBADMSG: it is no table. */
static int expand_check_table(const struct qcow2 *q, const uint64_t *words)
{
    int has_zeros = 0;

    for (uint64_t i = 0; i < q->cluster_size / sizeof(uint64_t); i++) {
        uint64_t offset = words[i] & QCOW2_OFFSET_MASK;

        if (words[i] & QCOW2_COMPRESSED)
            continue;
        if ((words[i] & QCOW2_L2_RESERVED) || (offset != 0 && !expand_is_place(q, offset)))
            return -EBADMSG;
        has_zeros |= expand_is_zero(words[i]);
    }
    return has_zeros;
}

/* --- one table --- */

static int expand_alloc_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    struct qcow2_run *run = opaque;

    return qcow2_clusters_alloc(q, 1, run, need);
}

static int expand_add_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    return qcow2_refcount_add(q, *(const uint64_t *)opaque, 1, need);
}

/* Behind the end of the file there are zeros, but it is to reach there. */
static int expand_zero(struct vblk_storage *storage, uint64_t offset, uint64_t len)
{
    int ret = vblk_storage_refresh_size(storage);
    uint64_t size = __atomic_load_n(&storage->size, __ATOMIC_RELAXED);

    if (ret == 0 && offset < size)
        ret = vblk_storage_zero(storage, offset, MIN(len, size - offset), true);
    return ret == 0 && offset + len > size ? vblk_storage_truncate(storage, offset + len) : ret;
}

/* A cluster with zeros, for all who name the table. */
static int expand_take(struct expand *expand, uint64_t *ret_offset)
{
    struct qcow2 *q = expand->q;
    struct qcow2_run run;
    int ret = qcow2_run(q, 0, expand_alloc_step, &run);

    if (ret < 0)
        return ret;
    g_array_append_val(expand->taken, run.cluster);
    for (uint64_t i = 1; i < expand->n_users && ret == 0; i++)
        ret = qcow2_run(q, 0, expand_add_step, &run.cluster);
    *ret_offset = run.cluster << q->cluster_bits;
    return ret == 0 ? expand_zero(q->storage, *ret_offset, q->cluster_size) : ret;
}

static int expand_entries(struct expand *expand)
{
    struct qcow2 *q = expand->q;
    int ret = 0;

    for (uint64_t i = 0; i < q->cluster_size / sizeof(uint64_t) && ret == 0; i++) {
        uint64_t old = (expand->words[i] & QCOW2_OFFSET_MASK) >> q->cluster_bits, offset = 0;

        if (!expand_is_zero(expand->words[i]))
            continue;
        if (q->header.backing_name)
            ret = expand_take(expand, &offset);
        expand->words[i] = offset;
        if (old != 0)
            g_array_append_val(expand->lost, old);
    }
    return ret;
}

static int expand_write(const struct expand *expand, uint64_t offset)
{
    struct qcow2 *q = expand->q;
    uint64_t n = q->cluster_size / sizeof(uint64_t);
    g_autofree be64_t *words = g_new(be64_t, n);
    int ret;

    for (uint64_t i = 0; i < n; i++)
        words[i] = be64_from(expand->words[i]);
    ret = vblk_storage_write(q->storage, words, q->cluster_size, offset);
    return ret == 0 ? vblk_storage_flush(q->storage) : ret;
}

/* Nobody came to name them. What was counted of one that failed half-way is a leak, no more. */
static void expand_give_back(struct expand *expand)
{
    struct qcow2 *q = expand->q;

    VU_LOCK_SCOPE(&q->lock);
    for (guint i = 0; i < expand->taken->len; i++)
        qcow2_clusters_give_back(q, g_array_index(expand->taken, uint64_t, i), 1);
}

static void expand_give_up(struct expand *expand)
{
    struct qcow2 *q = expand->q;

    VU_LOCK_SCOPE(&q->lock);
    for (guint i = 0; i < expand->lost->len; i++) {
        for (uint64_t n = 0; n < expand->n_users; n++)
            qcow2_free_later(q, g_array_index(expand->lost, uint64_t, i), 1);
    }
}

static int expand_run(struct expand *expand, uint64_t offset)
{
    int ret = expand_entries(expand);

    if (ret == 0)
        ret = qcow2_flush_all_held(expand->q);
    if (ret < 0) {
        expand_give_back(expand);
        return ret;
    }
    /* If it fails, either may be on the disk: both keep what they name. */
    ret = expand_write(expand, offset);
    if (ret == 0)
        expand_give_up(expand);
    return ret;
}

static int expand_table(struct qcow2 *q, uint64_t cluster, uint64_t n_users)
{
    struct expand expand = {.q = q, .n_users = n_users};
    uint64_t offset = cluster << q->cluster_bits;
    g_autofree uint64_t *words = NULL;
    int ret = expand_read_words(q, offset, q->cluster_size / sizeof(uint64_t), &words);

    if (ret == 0)
        ret = expand_check_table(q, words);
    if (ret <= 0)
        return ret;
    expand.words = words;
    expand.taken = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    expand.lost = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    ret = expand_run(&expand, offset);
    g_array_free(expand.taken, TRUE);
    g_array_free(expand.lost, TRUE);
    return ret;
}

int qcow2_expand_snapshots(struct qcow2 *q, const GPtrArray *snapshots)
{
    g_autoptr(GHashTable) users = g_hash_table_new(NULL, NULL);
    gpointer cluster, n_users;
    GHashTableIter iter;
    int ret = 0;

    VU_LOCK_SCOPE(&q->flush_lock);
    for (guint i = 0; i < snapshots->len && ret == 0; i++)
        ret = expand_look(q, g_ptr_array_index(snapshots, i), users);
    g_hash_table_iter_init(&iter, users);
    while (ret == 0 && g_hash_table_iter_next(&iter, &cluster, &n_users))
        ret = expand_table(q, GPOINTER_TO_SIZE(cluster), GPOINTER_TO_SIZE(n_users));
    return ret;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two queues of clusters that are no longer referred to, and what is done with those that have
 * come through both.
 */
#include "vblkd/format/qcow2-free.h"

#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-refcount.h"

static void free_append(struct qcow2 *q, GArray *queue, uint64_t cluster, uint64_t n)
{
    struct qcow2_free entry = {cluster, n, vblk_users_epoch(q->image->users)}, *last;

    qcow2_touch(q);
    /* What a flush has taken stays as it was. */
    if (queue->len > (queue == q->unmapped ? q->n_unmapped_taken : 0)) {
        last = &g_array_index(queue, struct qcow2_free, queue->len - 1);
        if (last->cluster + last->n == cluster && last->stamp == entry.stamp) {
            last->n += n;
            return;
        }
    }
    g_array_append_val(queue, entry);
}

void qcow2_free_later(struct qcow2 *q, uint64_t cluster, uint64_t n)
{
    if (n > 0)
        free_append(q, q->unmapped, cluster, n);
}

void qcow2_free_unused(struct qcow2 *q, uint64_t cluster, uint64_t n)
{
    free_append(q, q->durable, cluster, n);
}

void qcow2_free_forget(struct qcow2 *q)
{
    pthread_mutex_lock(&q->lock);
    g_array_set_size(q->unmapped, 0);
    g_array_set_size(q->durable, 0);
    pthread_mutex_unlock(&q->lock);
}

void qcow2_free_passed(struct qcow2 *q, guint n)
{
    if (n == 0)
        return;
    g_array_append_vals(q->durable, q->unmapped->data, n);
    g_array_remove_range(q->unmapped, 0, n);
}

static int free_count_step(struct qcow2 *q, uint64_t cluster, uint64_t *ret_count)
{
    struct qcow2_need need;
    int ret;

    while ((ret = qcow2_refcount_get(q, cluster, ret_count, &need)) == -EAGAIN) {
        ret = qcow2_fulfil(q, &need);
        if (ret < 0)
            return ret;
    }
    return ret;
}

/* Gives back the space of what is about to have no reference left. Holds the lock only to count. */
static int free_punch(struct qcow2 *q, const struct qcow2_free *entry)
{
    uint64_t from = entry->cluster, end = entry->cluster + entry->n;
    int ret = 0;

    for (uint64_t c = entry->cluster; c <= end && ret == 0; c++) {
        uint64_t count = 0;

        if (c < end) {
            pthread_mutex_lock(&q->lock);
            ret = free_count_step(q, c, &count);
            pthread_mutex_unlock(&q->lock);
            if (count == 1)
                continue;
        }
        /* Where it cannot, the space stays with the file and is used again. */
        if (c > from)
            vblk_storage_discard(q->storage, from << q->cluster_bits,
                                 (c - from) << q->cluster_bits);
        from = c + 1;
    }
    return ret;
}

static int free_drop(struct qcow2 *q, uint64_t cluster)
{
    struct qcow2_need need;
    uint64_t count;
    int ret = free_count_step(q, cluster, &count);

    if (ret < 0)
        return ret;
    ret = qcow2_refcount_add(q, cluster, -1, &need);
    if (ret == 0 && count == 1) {
        g_hash_table_remove(q->metadata, GSIZE_TO_POINTER(cluster));
        /* Nothing more is packed into what may become something else. */
        if (q->compressed_tail >> q->cluster_bits == cluster)
            q->compressed_tail = 0;
    }
    return ret;
}

static int free_finish_one(struct qcow2 *q, struct qcow2_free *entry)
{
    int ret = q->discards ? free_punch(q, entry) : 0;

    pthread_mutex_lock(&q->lock);
    while (ret == 0 && entry->n > 0) {
        ret = free_drop(q, entry->cluster);
        if (ret == 0) {
            entry->cluster++;
            entry->n--;
        }
    }
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int qcow2_free_finish(struct qcow2 *q)
{
    GArray *entries;
    guint n = 0, done = 0;
    int ret = 0;

    pthread_mutex_lock(&q->lock);
    while (n < q->durable->len &&
           vblk_users_have_left(q->image->users,
                                g_array_index(q->durable, struct qcow2_free, n).stamp))
        n++;
    entries = g_array_sized_new(FALSE, FALSE, sizeof(struct qcow2_free), n);
    if (n > 0) {
        g_array_append_vals(entries, q->durable->data, n);
        g_array_remove_range(q->durable, 0, n);
        qcow2_compressed_forget(q);
    }
    pthread_mutex_unlock(&q->lock);
    while (ret == 0 && done < n) {
        ret = free_finish_one(q, &g_array_index(entries, struct qcow2_free, done));
        done += ret == 0;
    }
    if (done < n) {
        pthread_mutex_lock(&q->lock);
        g_array_append_vals(q->durable, &g_array_index(entries, struct qcow2_free, done), n - done);
        pthread_mutex_unlock(&q->lock);
    }
    g_array_free(entries, TRUE);
    return ret;
}

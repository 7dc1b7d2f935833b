/* SPDX-License-Identifier: Apache-2.0 */
/* The table's entries have variable length; each is checked before its parts are used. */
#include "vblkd/format/qcow2-snapshot-table.h"

#include <string.h>

#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-free.h"
#include "vblkd/format/qcow2-l1.h"
#include "vblkd/format/qcow2-refcount.h"

void qcow2_snapshot_free(struct qcow2_snapshot *snapshot)
{
    g_free(snapshot->id);
    g_free(snapshot->name);
    g_free(snapshot->extra);
    g_free(snapshot);
}

static void snapshot_free(gpointer opaque)
{
    qcow2_snapshot_free(opaque);
}

/* --- reading --- */

static int snapshot_take_extra(struct qcow2_snapshot *snapshot, const uint8_t *extra, uint32_t len)
{
    struct qcow2_disk_snapshot_extra disk = {.icount = be64_from(UINT64_MAX)};
    uint32_t known = MIN(len, (uint32_t)sizeof(disk));

    memcpy(&disk, extra, known);
    if (known >= 8)
        snapshot->vm_state_size = be64_value(disk.vm_state_size_large);
    if (known >= 16)
        snapshot->disk_size = be64_value(disk.disk_size);
    if (known >= 24)
        snapshot->icount = be64_value(disk.icount);
    if (len > known) {
        snapshot->extra_len = len - known;
        snapshot->extra = g_memdup2(extra + known, snapshot->extra_len);
    }
    return 0;
}

/* One entry at *at; advances it. */
static int snapshot_read_one(struct qcow2 *q, uint64_t *at, struct qcow2_snapshot *snapshot)
{
    g_autofree uint8_t *rest = NULL;
    struct qcow2_disk_snapshot disk;
    uint32_t extra_len, id_len, name_len;
    int ret = vblk_storage_read(q->storage, &disk, sizeof(disk), *at);

    if (ret < 0)
        return ret;
    /* Zeros behind the end are no snapshots, and a header can promise many of them. */
    if (*at + sizeof(disk) > __atomic_load_n(&q->storage->size, __ATOMIC_RELAXED))
        return -EBADMSG;
    extra_len = be32_value(disk.extra_data_size);
    id_len = be16_value(disk.id_size);
    name_len = be16_value(disk.name_size);
    snapshot->l1_offset = be64_value(disk.l1_table_offset);
    snapshot->l1_size = be32_value(disk.l1_size);
    snapshot->disk_size = q->header.size;
    snapshot->icount = UINT64_MAX;
    if (extra_len > QCOW2_MAX_SNAPSHOT_EXTRA)
        return -EBADMSG;
    rest = g_malloc((size_t)extra_len + id_len + name_len + 1);
    ret = vblk_storage_read(q->storage, rest, (uint64_t)extra_len + id_len + name_len,
                            *at + sizeof(disk));
    if (ret < 0)
        return ret;
    snapshot->date_sec = be32_value(disk.date_sec);
    snapshot->date_nsec = be32_value(disk.date_nsec);
    snapshot->vm_clock_nsec = be64_value(disk.vm_clock_nsec);
    snapshot->vm_state_size = be32_value(disk.vm_state_size);
    snapshot_take_extra(snapshot, rest, extra_len);
    snapshot->id = g_strndup((char *)rest + extra_len, id_len);
    snapshot->name = g_strndup((char *)rest + extra_len + id_len, name_len);
    *at += (sizeof(disk) + extra_len + id_len + name_len + 7) & ~UINT64_C(7);
    return 0;
}

/* What a snapshot's tables can be. */
static bool snapshot_has_l1(const struct qcow2 *q, const struct qcow2_snapshot *snapshot)
{
    return snapshot->l1_size <= QCOW2_MAX_L1_SIZE / 8 &&
           (snapshot->l1_offset & (q->cluster_size - 1)) == 0 &&
           snapshot->l1_offset <= QCOW2_MAX_OFFSET;
}

/* --- what makes no sense --- */

/* Its tables are in the file; of an empty disk, there are none, but it has a name. */
static bool snapshot_is_there(const struct qcow2 *q, const struct qcow2_snapshot *snapshot)
{
    uint64_t size = __atomic_load_n(&q->storage->size, __ATOMIC_RELAXED);
    uint64_t end = qcow2_clusters_for(q, size) << q->cluster_bits;

    if (snapshot->l1_size == 0)
        return snapshot->id && snapshot->id[0] != '\0' && snapshot_has_l1(q, snapshot);
    return snapshot->l1_offset != 0 && snapshot_has_l1(q, snapshot) &&
           snapshot->l1_offset + (uint64_t)snapshot->l1_size * sizeof(be64_t) <= end;
}

/* L1 entries that its disk takes, and its VM's memory behind that. */
static uint64_t snapshot_n_entries(const struct qcow2 *q, const struct qcow2_snapshot *snapshot)
{
    return qcow2_header_l1_entries(&q->header, snapshot->disk_size) +
           qcow2_header_l1_entries(&q->header, snapshot->vm_state_size);
}

static bool snapshot_has_id(const GPtrArray *snapshots, const char *id)
{
    for (guint i = 0; i + 1 < snapshots->len; i++) {
        const struct qcow2_snapshot *other = g_ptr_array_index(snapshots, i);

        if (strcmp(other->id, id) == 0)
            return true;
    }
    return false;
}

/*
 * For a repair, of the last of `snapshots`: it stays if its tables are there, with a new ID if it
 * has none. False: it has to go.
 */
static bool snapshot_mend(struct qcow2 *q, GPtrArray *snapshots)
{
    struct qcow2_snapshot *snapshot = g_ptr_array_index(snapshots, snapshots->len - 1);
    uint64_t n_entries = snapshot_n_entries(q, snapshot);
    unsigned id = snapshots->len;

    /* A length that the file has no room for may be all that is wrong. */
    if (!snapshot_is_there(q, snapshot) && n_entries > 0 && n_entries < snapshot->l1_size) {
        q->n_bad_snapshots++;
        snapshot->l1_size = (uint32_t)n_entries;
    }
    if (!snapshot_is_there(q, snapshot)) {
        q->n_bad_snapshots++;
        q->n_lost_snapshots += snapshot->l1_offset != 0;
        return false;
    }
    if (snapshot->id && snapshot->id[0] != '\0' && !snapshot_has_id(snapshots, snapshot->id))
        return true;
    q->n_bad_snapshots++;
    do {
        g_free(snapshot->id);
        snapshot->id = g_strdup_printf("%u", id++);
    } while (snapshot_has_id(snapshots, snapshot->id));
    if (!snapshot->name)
        snapshot->name = g_strdup_printf("found-%s", snapshot->id);
    return true;
}

/* --- the table --- */

/* Nobody knows where those begin that follow one of unknown length. */
static int snapshot_stop(struct qcow2 *q, bool is_last, bool after_zeros)
{
    q->n_bad_snapshots++;
    q->n_lost_snapshots += !is_last && !after_zeros;
    return 0;
}

static int snapshot_read_all(struct qcow2 *q, GPtrArray *snapshots, uint64_t *at)
{
    bool after_zeros = false;

    for (uint32_t i = 0; i < q->header.n_snapshots; i++) {
        struct qcow2_snapshot *snapshot = g_new0(struct qcow2_snapshot, 1);
        bool is_zeros;
        int ret;

        g_ptr_array_add(snapshots, snapshot);
        ret = snapshot_read_one(q, at, snapshot);
        if (ret == 0 && *at - q->header.snapshots_offset > QCOW2_MAX_SNAPSHOTS_SIZE)
            ret = -EBADMSG;
        if (ret == 0 && !q->is_repairing && !snapshot_has_l1(q, snapshot))
            ret = -EBADMSG;
        if (ret < 0 && (ret != -EBADMSG || !q->is_repairing))
            return ret;
        is_zeros = snapshot->l1_offset == 0;
        if (q->is_repairing && !snapshot_mend(q, snapshots))
            g_ptr_array_remove_index(snapshots, snapshots->len - 1);
        if (ret < 0)
            return snapshot_stop(q, i + 1 == q->header.n_snapshots && !is_zeros, after_zeros);
        after_zeros = is_zeros;
    }
    return 0;
}

int qcow2_snapshot_table_read(struct qcow2 *q, GPtrArray **ret_snapshots, uint64_t *ret_len)
{
    g_autoptr(GPtrArray) snapshots = g_ptr_array_new_with_free_func(snapshot_free);
    uint64_t at = q->header.snapshots_offset;
    int ret = vblk_storage_refresh_size(q->storage);

    q->n_bad_snapshots = q->n_lost_snapshots = 0;
    if (ret == 0)
        ret = snapshot_read_all(q, snapshots, &at);
    if (ret < 0)
        return ret;
    *ret_len = at - q->header.snapshots_offset;
    *ret_snapshots = g_steal_pointer(&snapshots);
    return 0;
}

/* --- writing --- */

static void snapshot_append(GByteArray *bytes, const struct qcow2_snapshot *snapshot)
{
    static const uint8_t zeros[8];
    struct qcow2_disk_snapshot_extra extra = {
        .vm_state_size_large = be64_from(snapshot->vm_state_size),
        .disk_size = be64_from(snapshot->disk_size),
        .icount = be64_from(snapshot->icount),
    };
    struct qcow2_disk_snapshot disk = {
        .l1_table_offset = be64_from(snapshot->l1_offset),
        .l1_size = be32_from(snapshot->l1_size),
        .id_size = be16_from((uint16_t)strlen(snapshot->id)),
        .name_size = be16_from((uint16_t)strlen(snapshot->name)),
        .date_sec = be32_from(snapshot->date_sec),
        .date_nsec = be32_from(snapshot->date_nsec),
        .vm_clock_nsec = be64_from(snapshot->vm_clock_nsec),
        .vm_state_size =
            be32_from(snapshot->vm_state_size > UINT32_MAX ? 0 : (uint32_t)snapshot->vm_state_size),
        .extra_data_size = be32_from((uint32_t)sizeof(extra) + snapshot->extra_len),
    };

    g_byte_array_append(bytes, (const guint8 *)&disk, sizeof(disk));
    g_byte_array_append(bytes, (const guint8 *)&extra, sizeof(extra));
    if (snapshot->extra_len > 0)
        g_byte_array_append(bytes, snapshot->extra, snapshot->extra_len);
    g_byte_array_append(bytes, (const guint8 *)snapshot->id, (guint)strlen(snapshot->id));
    g_byte_array_append(bytes, (const guint8 *)snapshot->name, (guint)strlen(snapshot->name));
    g_byte_array_append(bytes, zeros, -bytes->len & 7);
}

/* Header fields; the caller writes it. */
static void snapshot_set_header(struct qcow2 *q, uint64_t offset, uint64_t len, uint32_t n)
{
    pthread_mutex_lock(&q->lock);
    q->header.snapshots_offset = offset;
    q->header.n_snapshots = n;
    q->snapshots_len = len;
    pthread_mutex_unlock(&q->lock);
}

int qcow2_snapshot_table_write(struct qcow2 *q, const GPtrArray *snapshots)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint64_t old_offset = q->header.snapshots_offset, old_len = q->snapshots_len, cluster = 0;
    uint32_t old_n = q->header.n_snapshots;
    int ret = 0;

    for (guint i = 0; i < snapshots->len; i++)
        snapshot_append(bytes, g_ptr_array_index(snapshots, i));
    if (bytes->len > QCOW2_MAX_SNAPSHOTS_SIZE || snapshots->len > QCOW2_MAX_SNAPSHOTS)
        return -EFBIG;
    if (bytes->len > 0)
        ret = qcow2_l1_alloc_clusters(q, qcow2_clusters_for(q, bytes->len), &cluster);
    if (ret == 0 && bytes->len > 0)
        ret = vblk_storage_write(q->storage, bytes->data, bytes->len, cluster << q->cluster_bits);
    if (ret == 0)
        ret = qcow2_flush_all_held(q);
    if (ret < 0)
        return ret;
    snapshot_set_header(q, cluster << q->cluster_bits, bytes->len, snapshots->len);
    ret = qcow2_write_header_held(q);
    if (ret < 0) {
        snapshot_set_header(q, old_offset, old_len, old_n);
        return ret;
    }
    if (old_n > 0) {
        pthread_mutex_lock(&q->lock);
        qcow2_free_later(q, old_offset >> q->cluster_bits, qcow2_clusters_for(q, old_len));
        pthread_mutex_unlock(&q->lock);
    }
    return 0;
}

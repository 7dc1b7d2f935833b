/* SPDX-License-Identifier: Apache-2.0 */
/* A row for each format: how it begins, and the library that knows it. */
#include "vmm/x86/boot-decompress.h"

#include <endian.h>
#include <errno.h>
#include <glib.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "vmm/x86/boot-image.h"

#define DECOMPRESS_MAX_LEN       (512u << 20)
#define DECOMPRESS_MAX_MEMORY    (256u << 20)
#define DECOMPRESS_GZIP_WINDOW   (15 + 16) /* the largest; with gzip's header */

#define DECOMPRESS_LZ4_MAGIC_LEN 4 /* of the format that kernels use, "legacy" */

static int decompress_gzip(const uint8_t *in, uint64_t in_len, uint8_t *out, uint64_t out_len)
{
    z_stream stream = {.avail_in = (uInt)in_len, .next_out = out, .avail_out = (uInt)out_len};
    int rc;

    stream.next_in = (z_const Bytef *)(uintptr_t)in;
    if (inflateInit2(&stream, DECOMPRESS_GZIP_WINDOW) != Z_OK)
        return -ENOMEM;
    rc = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    return rc == Z_STREAM_END && stream.total_out == out_len ? 0 : -EBADMSG;
}

static int decompress_xz(const uint8_t *in, uint64_t in_len, uint8_t *out, uint64_t out_len)
{
    uint64_t memory = DECOMPRESS_MAX_MEMORY;
    size_t in_pos = 0, out_pos = 0;
    lzma_ret rc =
        lzma_stream_buffer_decode(&memory, 0, NULL, in, &in_pos, in_len, out, &out_pos, out_len);

    if (rc == LZMA_MEM_ERROR)
        return -ENOMEM;
    return rc == LZMA_OK && out_pos == out_len ? 0 : -EBADMSG;
}

static int decompress_lzma(const uint8_t *in, uint64_t in_len, uint8_t *out, uint64_t out_len)
{
    lzma_stream stream = LZMA_STREAM_INIT;
    lzma_ret rc = lzma_alone_decoder(&stream, DECOMPRESS_MAX_MEMORY);

    stream.next_in = in;
    stream.avail_in = in_len;
    stream.next_out = out;
    stream.avail_out = out_len;
    if (rc == LZMA_OK)
        rc = lzma_code(&stream, LZMA_FINISH);
    lzma_end(&stream);
    if (rc == LZMA_MEM_ERROR)
        return -ENOMEM;
    return (rc == LZMA_OK || rc == LZMA_STREAM_END) && stream.total_out == out_len ? 0 : -EBADMSG;
}

static int decompress_zstd(const uint8_t *in, uint64_t in_len, uint8_t *out, uint64_t out_len)
{
    size_t n = ZSTD_decompress(out, out_len, in, in_len - sizeof(uint32_t));

    return !ZSTD_isError(n) && n == out_len ? 0 : -EBADMSG;
}

/* Blocks, each with its length before it, until all is there. */
static int decompress_lz4(const uint8_t *in, uint64_t in_len, uint8_t *out, uint64_t out_len)
{
    uint64_t in_at = DECOMPRESS_LZ4_MAGIC_LEN, out_at = 0;

    while (out_at < out_len) {
        uint32_t block_le, block;
        int n;

        if (in_len - in_at < sizeof(block_le))
            return -EBADMSG;
        memcpy(&block_le, in + in_at, sizeof(block_le));
        block = le32toh(block_le);
        in_at += sizeof(block_le);
        if (block > in_len - in_at || block > INT32_MAX)
            return -EBADMSG;
        n = LZ4_decompress_safe((const char *)in + in_at, (char *)out + out_at, (int)block,
                                (int)(out_len - out_at));
        if (n <= 0)
            return -EBADMSG;
        in_at += block;
        out_at += (uint64_t)n;
    }
    return 0;
}

static const struct decompress_format {
    const char *magic;
    size_t magic_len;
    int (*run)(const uint8_t *in, uint64_t in_len, uint8_t *out, uint64_t out_len);
} decompress_formats[] = {
    {"\x1f\x8b", 2, decompress_gzip},
    {"\xfd"
     "7zXZ",
     6, decompress_xz},
    {"\x28\xb5\x2f\xfd", 4, decompress_zstd},
    {"\x02\x21\x4c\x18", DECOMPRESS_LZ4_MAGIC_LEN, decompress_lz4},
    {"\x5d\0\0", 3, decompress_lzma},
};

int vmm_decompress(const uint8_t *in, uint64_t in_len, struct vmm_image *ret_image)
{
    const struct decompress_format *format = NULL;
    uint32_t out_len_le;
    uint64_t out_len;
    int rc;

    if (in_len < 2 * sizeof(out_len_le) || in_len > UINT32_MAX)
        return -EBADMSG;
    for (size_t i = 0; format == NULL && i < G_N_ELEMENTS(decompress_formats); i++)
        if (memcmp(in, decompress_formats[i].magic, decompress_formats[i].magic_len) == 0)
            format = &decompress_formats[i];
    if (format == NULL)
        return -EOPNOTSUPP;
    memcpy(&out_len_le, in + in_len - sizeof(out_len_le), sizeof(out_len_le));
    out_len = le32toh(out_len_le);
    if (out_len == 0)
        return -EBADMSG;
    if (out_len > DECOMPRESS_MAX_LEN)
        return -EFBIG;
    rc = vmm_image_alloc(ret_image, out_len);
    if (rc < 0)
        return rc;
    rc = format->run(in, in_len, ret_image->bytes, out_len);
    if (rc < 0)
        vmm_image_close(ret_image);
    return rc;
}

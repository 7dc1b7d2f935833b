/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile client of a control socket: the input is its lines. Whatever they are, each has one
 * answer, which is a line of strict JSON, and a command sees nothing that its rows do not allow.
 */
#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "vhost-user/daemon/control-request.h"
#include "vhost-user/daemon/json-build.h"
#include "vhost-user/daemon/json-check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static JsonNode *fuzz_run(struct vu_control_call *call, GError **error)
{
    const char *text = vu_control_string(call, "text"), *file = vu_control_string(call, "file");
    int64_t number = vu_control_int(call, "number", 0);
    int choice = vu_control_choice(call, "choice", 0);
    JsonBuilder *json;

    g_assert(text && text[0] != '\0' && strlen(text) <= 100 && g_utf8_validate(text, -1, NULL));
    g_assert(!file || file[0] != '\0');
    g_assert(number >= -3 && number <= INT64_MAX - 1);
    g_assert(choice == 0 || choice == 1);
    g_assert(vu_control_take_fd(call, "file") == -1);
    if (vu_control_bool(call, "flag", false))
        return vu_control_fail(error, "%s", text);
    json = vu_json_begin();
    vu_json_add_text(json, text, text);
    return vu_json_finish(json);
}

static const char *const fuzz_choices[] = {"one", "two", NULL};
static const struct vu_control_argument fuzz_rows[] = {
    {.name = "text", .type = VU_CONTROL_STRING, .is_required = true, .max = 100, .help = "."},
    {.name = "number", .type = VU_CONTROL_INT, .min = -3, .max = INT64_MAX - 1, .help = "."},
    {.name = "flag", .type = VU_CONTROL_BOOL, .help = "."},
    {.name = "choice", .type = VU_CONTROL_CHOICE, .choices = fuzz_choices, .help = "."},
    {.name = "file", .type = VU_CONTROL_FILE, .help = "."},
};
static const struct vu_control_command fuzz_commands[] = {
    {.name = "go",
     .help = ".",
     .arguments = fuzz_rows,
     .n_arguments = G_N_ELEMENTS(fuzz_rows),
     .run = fuzz_run},
};

static void fuzz_line(struct control_room *room, const char *line, size_t len)
{
    struct control_request request;
    g_autofree char *answer = NULL;
    size_t answer_len;

    control_request_parse(&request, room, line, len);
    g_assert(control_request_n_files(&request) <= 1);
    answer = control_request_run(&request);
    answer_len = strlen(answer);
    g_assert(answer_len > 0 && strchr(answer, '\n') == answer + answer_len - 1);
    g_assert(vu_json_check(answer, answer_len, NULL));
    control_request_clear(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct control_room room = {
        .program = "fuzz",
        .own = {fuzz_commands, G_N_ELEMENTS(fuzz_commands)},
        .stop_fd = -1,
    };
    /* Of just this length, so that a step beyond is seen. */
    g_autofree char *lines = g_memdup2(data, size);

    for (size_t begin = 0; begin < size;) {
        const char *end = memchr(lines + begin, '\n', size - begin);
        size_t len = end ? (size_t)(end - lines) - begin : size - begin;

        fuzz_line(&room, lines + begin, len);
        begin += len + 1;
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has been counted, as text for Prometheus (exposition format 0.0.4), by as much of HTTP/1.0
 * as that takes: GET /metrics on a socket of its own, --metrics. Nothing can be changed there. A
 * port can be reached by anybody who has a way to it: clients are bounded, see metrics.c.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

struct vu_backend;
struct vu_metrics;

/* listen_fd is taken over; NULL is returned where it is -1, and allowed below. collect appends the
 * text; on the thread "metrics", while that runs. */
struct vu_metrics *vu_metrics_create(int listen_fd, void (*collect)(void *opaque, GString *text),
                                     void *opaque);
void vu_metrics_destroy(struct vu_metrics *metrics);
/* 0 or -errno. */
int vu_metrics_start(struct vu_metrics *metrics);
/* Ends the thread, and the connections there are. */
void vu_metrics_stop(struct vu_metrics *metrics);

/* --- for collect --- */

/* Begins a metric: type "counter", "gauge" or "histogram". Its samples follow. */
void vu_metrics_begin(GString *text, const char *name, const char *type, const char *help);
/* One sample. labels: "queue=\"0\"" or the like, escaped where need be; NULL: none. */
void vu_metrics_add(GString *text, const char *name, const char *labels, uint64_t value);
/* One sample of nanoseconds, in seconds. */
void vu_metrics_add_seconds(GString *text, const char *name, const char *labels, uint64_t ns);
/* A whole histogram of durations (histogram.h), in seconds, a bucket for each doubling. */
void vu_metrics_add_histogram(GString *text, const char *name, const char *labels,
                              const uint64_t *counts, uint64_t total_ns);
/* What every daemon has: its version; sessions and their rings, with a label "device" where there
 * are several. */
void vu_metrics_add_sessions(GString *text, const char *program, struct vu_backend *const *backends,
                             unsigned n_backends);
/* That label; "" where there is one device. */
#define VU_METRICS_DEVICE_LEN 24
const char *vu_metrics_device(char text[VU_METRICS_DEVICE_LEN], unsigned device,
                              unsigned n_devices);

/* SPDX-License-Identifier: MIT
 * Contract of src/base: what every module may use. Depends on nothing of ours.
 *
 * Errors everywhere in spillfs: int or ssize_t, 0 or a count on success, -errno on failure.
 * -EBADMSG: a checksum does not match. -EUCLEAN: a structure is malformed. Only the FUSE reply edge
 * maps both to EIO. Library code returns errors; programs, the FUSE edge, the control server and
 * worker loops log them, once.
 */
#ifndef SPILL_BASE_H
#define SPILL_BASE_H

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a)     (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)         ((a) < (b) ? (a) : (b))
#define MAX(a, b)         ((a) > (b) ? (a) : (b))
#define likely(x)         __builtin_expect(!!(x), 1)
#define unlikely(x)       __builtin_expect(!!(x), 0)
#define printf_like(f, a) __attribute__((format(printf, f, a)))

/* ---- cleanup ------------------------------------------------------------------------------- */
#define cleanup_(fn) __attribute__((cleanup(fn)))
static inline void spill_freep(void *p)
{
	free(*(void **)p);
}
static inline void spill_closep(int *fd)
{
	if (*fd >= 0) {
		int e = errno;

		close(*fd);
		errno = e;
	}
}
#define cleanup_free cleanup_(spill_freep)
#define cleanup_fd   cleanup_(spill_closep)
#define steal_ptr(p)                                                                               \
	({                                                                                         \
		__typeof__(p) _p = (p);                                                            \
		(p) = NULL;                                                                        \
		_p;                                                                                \
	})
static inline int steal_fd(int *fd)
{
	int f = *fd;

	*fd = -1;
	return f;
}

/* ---- log: the only global. Thread-safe. One line per failure, with the object's name. ------- */
enum log_level { LOG_L_ERR, LOG_L_WARN, LOG_L_INFO, LOG_L_DEBUG };
/* Where lines go: stderr while in the foreground or starting, syslog (LOG_DAEMON) once detached.
 * Not thread-safe: call before threads exist. ident is kept (not copied). */
void log_init(const char *ident, enum log_level max, bool use_syslog);
void log_msg(enum log_level lvl, const char *fmt, ...) printf_like(2, 3);
#define log_err(...)   log_msg(LOG_L_ERR, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_L_WARN, __VA_ARGS__)
#define log_info(...)  log_msg(LOG_L_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_L_DEBUG, __VA_ARGS__)

/* "." or ".." of a listing. */
static inline bool is_dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* ---- explicit little-endian ------------------------------------------------------------------ */
static inline void put_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}
static inline void put_le32(uint8_t *p, uint32_t v)
{
	put_le16(p, (uint16_t)v);
	put_le16(p + 2, (uint16_t)(v >> 16));
}
static inline void put_le64(uint8_t *p, uint64_t v)
{
	put_le32(p, (uint32_t)v);
	put_le32(p + 4, (uint32_t)(v >> 32));
}
static inline uint16_t get_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t get_le32(const uint8_t *p)
{
	return get_le16(p) | (uint32_t)get_le16(p + 2) << 16;
}
static inline uint64_t get_le64(const uint8_t *p)
{
	return get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

/* ---- clock ------------------------------------------------------------------------------------
 */
/* Monotonic and wall clock, nanoseconds. */
uint64_t clock_mono_ns(void);
int64_t clock_wall_ns(void);
/* timespec <-> signed nanoseconds since the epoch; false when it does not fit in 64 bits. */
bool ts_to_ns(const struct timespec *ts, int64_t *ret_ns);
struct timespec ns_to_ts(int64_t ns);

/* ---- hashes ------------------------------------------------------------------------------------
 */
#define SHA256_LEN 32
struct sha256; /* incremental SHA-256 (libcrypto); not thread-safe */
int sha256_new(struct sha256 **ret);
void sha256_free(struct sha256 *h);
void sha256_reset(struct sha256 *h);
void sha256_update(struct sha256 *h, const void *data, size_t len);
/* Finish and write 32 bytes. Needs sha256_reset before the next use. */
void sha256_final(struct sha256 *h, uint8_t out[SHA256_LEN]);
void sha256_once(const void *data, size_t len, uint8_t out[SHA256_LEN]);
uint64_t hash64(const void *data, size_t len); /* XXH3-64, seed 0 */
void hex_encode(const uint8_t *in, size_t len, char *out /* 2*len+1 */);

/* ---- I/O ----------------------------------------------------------------------------------------
 * Loop over EINTR and short counts. read_full returns the bytes read (short only at EOF). */
ssize_t pread_full(int fd, void *buf, size_t len, off_t off);
int write_full(int fd, const void *buf, size_t len);
/* Whole small file as a NUL-terminated string, at most max bytes (else -EFBIG). */
int read_file(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len);

/* ---- a fixed pool of threads working on a bounded FIFO ------------------------------------------
 */
struct workq;
typedef void (*workq_fn)(void *ctx, void *item);
/* nthreads workers call fn(ctx, item). name <= 15 characters shows in top(1). */
int workq_new(struct workq **ret, const char *name, unsigned nthreads, unsigned depth, workq_fn fn,
	      void *ctx);
/* Blocks while depth items are queued. */
void workq_put(struct workq *q, void *item);
/* Waits until everything queued so far has been worked on. */
void workq_drain(struct workq *q);
/* Drains, joins, frees. NULL is fine. */
void workq_free(struct workq *q);

/* Start a detached-from-signals thread (all signals blocked) with a name; -errno. */
int thread_start(pthread_t *ret, const char *name, void *(*fn)(void *), void *arg);

/* ---- n items, taken by threads in runs of neighbours --------------------------------------------
 */
#define PARALLEL_MAX 7 /* threads besides the calling one */
struct parallel {
	size_t n, run;
	atomic_size_t next;
};
/* The items [*from, *to) are the caller's; false: none is left. */
bool parallel_next(struct parallel *p, size_t *from, size_t *to);
/* fn(ctx), which asks parallel_next, in the calling thread and in one for each further CPU, but no
 * more than there are runs. Back when all are; a thread that cannot be had is done without. */
void parallel_do(const struct parallel *p, const char *name, void *(*fn)(void *), void *ctx);

#endif

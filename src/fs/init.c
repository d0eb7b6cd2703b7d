/* SPDX-License-Identifier: MIT
 * The custom I/O hooks between libfuse and /dev/fuse, and INIT.
 *
 * One code path for libfuse 3.14, 3.17 and later: what the library does not know is patched into
 * the INIT reply here, read from the raw request, or answered before the library sees it. The
 * descriptor is ours, so that it can outlive the session.
 */
#include "fs_int.h"

#include <sys/uio.h>

_Thread_local struct raw_req cur_raw;

const void *raw_arg(size_t need)
{
	if (!cur_raw.buf || cur_raw.len < sizeof(struct fuse_in_header) + need)
		return NULL;
	return cur_raw.buf + sizeof(struct fuse_in_header);
}

/* What the kernel asked of the first daemon: libfuse must know its offer. */
static ssize_t replay_init(struct fs *f, void *buf, size_t len)
{
	size_t n = MIN(len, f->state->init_len);

	f->replay = false;
	f->replayed = true;
	memcpy(buf, f->state->init, n);
	return (ssize_t)n;
}

/* Every request without an answer once more, marked. Before Linux 6.9 there is no such thing: what
 * was being done then waits for an interrupt. */
static void ask_again(struct fs *f)
{
	struct fuse_out_header oh = {.len = sizeof(oh), .error = ABI_NOTIFY_RESEND};

	if (write(f->dev_fd, &oh, sizeof(oh)) != sizeof(oh))
		log_warn("the kernel cannot send requests again (%s): those that the daemon had "
			 "taken when it died wait until they are interrupted",
			 strerror(errno));
}

/* Past us, or with the kernel's writeback cache, or neither; as the first daemon said, whatever the
 * options mean to this one. */
static void choose_mode(struct fs *f)
{
	uint64_t offer = f->kernel_flags;

	if (f->replayed) {
		f->pass = f->state->granted & (ABI_PASSTHROUGH >> 16);
		f->writeback = f->state->granted & (ABI_WRITEBACK_CACHE >> 16);
	} else {
		f->pass = f->o.passthrough && offer & ABI_PASSTHROUGH;
		f->writeback = f->o.writeback && !f->pass && offer & ABI_WRITEBACK_CACHE;
		f->state->granted = (uint32_t)((f->pass ? ABI_PASSTHROUGH : 0) >> 16 |
					       (f->writeback ? ABI_WRITEBACK_CACHE : 0) >> 16);
	}
	if (f->pass)
		backing_use(f);
}

static ssize_t io_read(int fd, void *buf, size_t len, void *userdata)
{
	struct fs *f = userdata;

	for (;;) {
		if (!f->replay)
			spin_for_request(f, fd);
		if (fuse_session_exited(f->se)) { /* fs_stop's signal may have come meanwhile */
			errno = EINTR;
			return -1;
		}
		ssize_t n = f->replay ? replay_init(f, buf, len) : read(fd, buf, len);

		if (n < (ssize_t)sizeof(struct fuse_in_header)) {
			cur_raw = (struct raw_req){0};
			return n;
		}
		const struct fuse_in_header *h = buf;

		cur_raw = (struct raw_req){
			.buf = buf,
			.len = (size_t)n,
			.unique = h->unique & ~ABI_UNIQUE_RESEND,
			.again = h->unique & ABI_UNIQUE_RESEND,
		};
		atomic_fetch_add_explicit(&f->state->progress, 1, memory_order_relaxed);
		lead_take(f);
		if (unlikely(cur_raw.again)) {
			atomic_fetch_add(&f->state->again, 1);
			resume_request(f, cur_raw.unique);
			if (poison_refuse(f, h))
				continue;
		}
		count_request(f, h->opcode);
		if (h->opcode == ABI_OP_TMPFILE) {
			doing_begin(f, false); /* we count as waiting here */
			tmpfile_answer(f, fd, buf, (size_t)n);
			doing_end(f);
			continue;
		}
		if (h->opcode == ABI_OP_INIT) {
			const struct fuse_init_in *in = raw_arg(16);

			f->init_unique = h->unique;
			f->kernel_flags = in ? in->flags : 0;
			if (f->kernel_flags & ABI_INIT_EXT && raw_arg(20))
				f->kernel_flags |= (uint64_t)get_le32((const uint8_t *)in + 16)
						   << 32;
			choose_mode(f);
			if (!f->state->init_len && n <= STATE_INIT) {
				memcpy(f->state->init, buf, (size_t)n);
				f->state->init_len = (uint32_t)n;
				spare_keep(f);
			}
		}
		return n;
	}
}

static void accept_flag(struct fuse_init_out *out, uint64_t flag)
{
	uint8_t *p = (uint8_t *)out;

	out->flags |= ABI_INIT_EXT;
	put_le32(p + ABI_INIT_OUT_FLAGS2,
		 get_le32(p + ABI_INIT_OUT_FLAGS2) | (uint32_t)(flag >> 32));
}

/* A stack depth of one: an overlay may lie on us, but no overlay on that one. */
static void accept_passthrough(struct fuse_init_out *out)
{
	accept_flag(out, ABI_PASSTHROUGH);
	put_le32((uint8_t *)out + ABI_INIT_OUT_STACK_DEPTH, 1);
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct fs *f = userdata;
	struct fuse_out_header *oh = iov[0].iov_base;
	bool init = f->init_unique && oh->unique == f->init_unique;

	if (init && count == 2 && !oh->error) {
		struct fuse_init_out *out = iov[1].iov_base;

		/* Without it every write sends a GETXATTR for security.capability. */
		if (f->kernel_flags & ABI_HANDLE_KILLPRIV_V2)
			out->flags |= ABI_HANDLE_KILLPRIV_V2;
		if (f->pass)
			accept_passthrough(out);
		if (f->kernel_flags & ABI_HAS_RESEND)
			accept_flag(out, ABI_HAS_RESEND);
	}
	ssize_t n = init && f->replayed ? (ssize_t)oh->len : writev(fd, iov, count);

	if (init && n >= 0) {
		if (f->replayed)
			ask_again(f);
		pthread_mutex_lock(&f->lock);
		f->init_unique = 0;
		f->ready = true;
		pthread_cond_broadcast(&f->cond);
		pthread_mutex_unlock(&f->lock);
	}
	return n;
}

const struct fuse_custom_io fs_io = {
	.read = io_read,
	.writev = io_writev,
};

void op_init(void *userdata, struct fuse_conn_info *conn)
{
	const unsigned want = FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC |
			      FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_DONT_MASK | FUSE_CAP_READDIRPLUS |
			      FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_POSIX_ACL |
			      FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA |
			      FUSE_CAP_IOCTL_DIR;
	/* Auto invalidation would drop pages after each of our own writes: all changes come through
	 * us. KILLPRIV is v2's business (io_writev). Locks stay with the kernel. */
	/* Asynchronous direct writes of one file would run on several of our threads at once and
	 * overlapping ones end in any order; the hot file system keeps the order they were
	 * submitted in. */
	/* READDIRPLUS always: with AUTO the kernel asks for names alone from the second part of a
	 * directory on, and who reads a whole directory mostly looks at its entries. */
	const unsigned refuse = FUSE_CAP_ASYNC_DIO | FUSE_CAP_READDIRPLUS_AUTO |
				FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_HANDLE_KILLPRIV |
				FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				FUSE_CAP_SPLICE_MOVE | FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS;

	const struct fs *f = userdata;
	const unsigned cache = FUSE_CAP_WRITEBACK_CACHE;

	conn->want = (conn->want & ~refuse & ~cache) | (conn->capable & want);
	if (f->writeback)
		conn->want |= conn->capable & cache;
	conn->max_write = IO_MAX;
	conn->max_readahead = IO_MAX;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	conn->time_gran = 1;
}

/* SPDX-License-Identifier: MIT
 * Contract of src/config: one struct, one table-driven parser of mount options, one validator.
 */
#ifndef SPILL_CONFIG_H
#define SPILL_CONFIG_H

#include "spill/base.h"

struct config {
	char *store; /* absolute, symlinks resolved */
	char *dir;   /* absolute, symlinks resolved in all but the last component, which is none */
	/* watermarks, percent of the hot tier in use */
	unsigned high, low, critical;
	unsigned premigrate; /* premigrate=, 50: cold files are copied ahead of need; 0: never */
	uint64_t rate_bytes; /* rate=, 50M: of that copying, a second; 0: no limit */
	unsigned retain_sec; /* retain=, 10 min: what was recalled is not spilled again for so long
			      */
	unsigned half_life_sec; /* half-life=, 12 h: a use counts half after that */
	char exclude[256]; /* exclude=GLOB:GLOB, "": of paths below DIR that are never spilled by
			      themselves */
	bool overflow;   /* overflow=off|on, on: a large file goes on in the store when the hot tier
			    is full */
	bool supervisor; /* supervisor=on|off, on: a daemon that dies is replaced under the mount */
	bool auto_spill; /* auto=on|off, on */
	bool spill_all;  /* spill=layers|all, layers */
	unsigned min_age_sec;      /* min-age=30s|5m|1h|2d, 60 s: younger files are not spilled
				      automatically */
	uint64_t min_size_bytes;   /* min-size=, 1 */
	uint64_t store_size_bytes; /* store-size=, 0: all there is */
	uint64_t pack_size_bytes;  /* pack-size=, 128M; 1M..1G */
	unsigned store_grace_sec; /* store-grace=, 5 min: statfs counts a store that does not answer
				     as it was for so long */
	int level;                /* level=1..19, 3 */
	unsigned threads;         /* threads=, compression threads; 0: CPUs */
	unsigned interval_sec; /* interval=, longest pause between two looks at the watermarks, 5 */
	bool allow_dev, allow_suid, allow_exec, read_only,
		noatime;      /* the generic mount options; rw,dev,suid,exec */
	unsigned passthrough; /* enum config_passthrough; passthrough=auto|on|off, auto */
	unsigned kubelet;     /* enum config_kubelet; kubelet=auto|anchor|off, auto */
	unsigned writeback;   /* enum config_writeback; writeback=off|auto|on, off */
	bool debug;
};

/* The kernel reads and writes files that are not spilled by itself: where it can; or no mount; or
 * never. */
enum config_passthrough { PASSTHROUGH_AUTO, PASSTHROUGH_ON, PASSTHROUGH_OFF };

/* A source in the mount table by which kubelet finds the mount: where there is one; or no mount; or
 * none at all. */
enum config_kubelet { KUBELET_AUTO, KUBELET_ANCHOR, KUBELET_OFF };

/* Writes of files that are not passed through stay in the kernel's page cache for a while: never;
 * if the mount has no passthrough; or instead of it. */
enum config_writeback { WRITEBACK_OFF, WRITEBACK_AUTO, WRITEBACK_ON };

void config_init(struct config *c); /* defaults */
void config_done(struct config *c);
/* Parse one comma separated -o list into c; may be called again. Generic mount(8) options that mean
 * nothing here (defaults, auto, noauto, _netdev, nofail, user=, x-*, comment=, loop is refused) are
 * accepted and ignored. *ret_msg (caller frees): one line that names the option and says what is
 * allowed. -EINVAL. */
int config_parse_opts(struct config *c, const char *opts, char **ret_msg);
/* Contradictions between options (low >= high, ...). -EINVAL with a message. */
int config_validate(const struct config *c, char **ret_msg);
/* "10", "4K", "3M", "2G", "1T" (powers of 1024) -> bytes; -EINVAL. */
int config_parse_size(const char *s, uint64_t *ret);
int config_parse_age(const char *s, uint64_t *ret_sec); /* "30s", "5m", "1h", "2d"; -EINVAL */
/* The options in force as one -o list, for status. Caller frees. */
char *config_format(const struct config *c);

#endif

/* SPDX-License-Identifier: MIT
 * Part of fsdiff: extended attributes, POSIX ACLs and file capabilities (the last two are xattrs
 * to the kernel). spillfs' own names are left out: the plain side would simply store them.
 */

static const char *const xattr_names[] = {
	"user.a",
	"user.b",
	"user.LONG",
	"trusted.x",
	"trusted.overlay.opaque",
	"security.capability",
	"security.foo",
	"system.posix_acl_access",
	"system.posix_acl_access",
	"system.posix_acl_default",
	"user.",
	"bogus.x",
	"user.TOO-LONG",
	"",
};

static const char *pick_name(const struct op *o)
{
	static char lng[300];
	const char *n = xattr_names[o->v[0] % (sizeof(xattr_names) / sizeof(xattr_names[0]))];
	size_t len = strcmp(n, "user.LONG") == 0 ? 255 : 256;

	if (strcmp(n, "user.LONG") != 0 && strcmp(n, "user.TOO-LONG") != 0)
		return n;
	memset(lng, 'n', len);
	memcpy(lng, "user.", 5);
	lng[len] = 0;
	return lng;
}

static void put32(unsigned char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(v >> (8 * i));
}

/* linux/posix_acl_xattr.h: le32 version 2, then {le16 tag, le16 perm, le32 id}, sorted by tag. */
static size_t make_acl(const struct op *o, unsigned char *p)
{
	static const struct {
		uint16_t tag;
		uint32_t id;
	} e[] = {{1, ~0u}, {2, 1001}, {2, 1002}, {4, ~0u}, {8, 3000}, {16, ~0u}, {32, ~0u}};
	bool minimal = o->v[2] % 4 == 0, broken = o->v[2] % 32 == 1;
	size_t n = 4;

	put32(p, broken ? 3 : 2);
	for (size_t i = 0; i < sizeof(e) / sizeof(e[0]); i++) {
		if (minimal && (e[i].tag == 2 || e[i].tag == 8 || e[i].tag == 16))
			continue;
		put32(p + n, e[i].tag | (o->v[3] >> (3 * i) & 7) << 16);
		put32(p + n + 4, e[i].id);
		n += 8;
	}
	return n;
}

static size_t make_value(const struct op *o, const char *name, unsigned char *buf)
{
	static const size_t lens[] = {0, 1, 16, 60, 100, 255, 1000, 4000, 65536, 65537};
	size_t n = sizeof(lens) / sizeof(lens[0]);
	size_t len = lens[o->v[1] % n];

	if (strncmp(name, "system.", 7) == 0)
		return make_acl(o, buf);
	if (strcmp(name, "security.capability") == 0 && o->v[1] % 8) {
		/* linux/capability.h: VFS_CAP_REVISION_2, effective, permitted, inheritable */
		memset(buf, 0, 20);
		put32(buf, 0x02000001);
		put32(buf + 4, 1u << (o->v[2] % 32));
		return 20;
	}
	/* The marker needs some of the room that ext4 gives to attributes. */
	if (g.spill && len > 255 && len <= 65536)
		len = 40;
	fill(buf, len, o->data);
	return len;
}

static void op_setxattr(struct side *s, const struct op *o)
{
	static unsigned char val[70000];
	const char *name = pick_name(o);
	size_t len = make_value(o, name, val);
	int flags = o->v[4] % 4 == 0 ? XATTR_CREATE : o->v[4] % 4 == 1 ? XATTR_REPLACE : 0;
	bool follow = o->v[5] % 2;

	call(s, follow ? "setxattr" : "lsetxattr", o->p1);
	say_quoted(&s->out, name, strlen(name));
	say(&s->out, " %zu bytes flags %d", len, flags);
	if (planted(s, "xattr") && len == 60)
		val[59] ^= 1;
	say_ret(s, follow ? setxattr(o->p1, name, val, len, flags)
			  : lsetxattr(o->p1, name, val, len, flags));
}

static void op_fsetxattr(struct side *s, const struct op *o)
{
	static unsigned char val[70000];
	const char *name = pick_name(o);
	size_t len = make_value(o, name, val);

	say(&s->out, "fsetxattr slot %d ", o->s1);
	say_quoted(&s->out, name, strlen(name));
	say(&s->out, " %zu bytes", len);
	say_ret(s, fsetxattr(s->slot[o->s1], name, val, len, 0));
}

static void op_getxattr(struct side *s, const struct op *o)
{
	static const size_t sizes[] = {0, 1, 30, 70000, 70000, 70000};
	static char val[70000];
	const char *name = pick_name(o);
	size_t size = sizes[o->v[1] % 6];
	bool follow = o->v[5] % 2;
	ssize_t n;

	call(s, follow ? "getxattr" : "lgetxattr", o->p1);
	say_quoted(&s->out, name, strlen(name));
	say(&s->out, " size %zu", size);
	n = follow ? getxattr(o->p1, name, val, size) : lgetxattr(o->p1, name, val, size);
	say_ret(s, n);
	if (n > 0 && size)
		say_data(s, val, (size_t)n);
}

static void op_fgetxattr(struct side *s, const struct op *o)
{
	static char val[70000];
	const char *name = pick_name(o);
	ssize_t n;

	say(&s->out, "fgetxattr slot %d ", o->s1);
	say_quoted(&s->out, name, strlen(name));
	n = fgetxattr(s->slot[o->s1], name, val, sizeof(val));
	say_ret(s, n);
	if (n > 0)
		say_data(s, val, (size_t)n);
}

static void op_listxattr(struct side *s, const struct op *o)
{
	static char list[65536];
	static const size_t sizes[] = {0, 5, sizeof(list), sizeof(list)};
	size_t size = sizes[o->v[0] % 4], k = 0;
	char *names[256];
	ssize_t n;

	call(s, "llistxattr", o->p1);
	say(&s->out, " size %zu", size);
	n = llistxattr(o->p1, list, size);
	say_ret(s, n);
	for (char *p = list; size && n > 0 && p < list + n && k < 256; p += strlen(p) + 1)
		names[k++] = p;
	qsort(names, k, sizeof(names[0]), cmp_str);
	for (size_t i = 0; i < k; i++) {
		say(&s->out, " ");
		say_quoted(&s->out, names[i], strlen(names[i]));
	}
}

static void op_removexattr(struct side *s, const struct op *o)
{
	const char *name = pick_name(o);
	bool follow = o->v[5] % 2;

	call(s, follow ? "removexattr" : "lremovexattr", o->p1);
	say_quoted(&s->out, name, strlen(name));
	say_ret(s, follow ? removexattr(o->p1, name) : lremovexattr(o->p1, name));
}

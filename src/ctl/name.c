/* SPDX-License-Identifier: MIT
 * File names are bytes; JSON strings and terminals are not. Here names become JSON and come back
 * unchanged, and become text that cannot steer a terminal.
 */
#include "spill/ctl.h"

#include <stdio.h>

/* Length of the UTF-8 character at s (NUL-terminated), or 0: not UTF-8 (RFC 3629: no overlong
 * forms, no surrogates, nothing above U+10FFFF). */
static size_t utf8_char(const unsigned char *s, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 0;
	uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);

	if (!n || s[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret = c;
	return n;
}

static int put_hex(json_t *o, const char *key, const char *name)
{
	size_t len = strlen(name);
	cleanup_free char *hex = malloc(2 * len + 1), *hex_key = NULL;

	if (!hex || asprintf(&hex_key, "%s_hex", key) < 0)
		return -ENOMEM;
	hex_encode((const uint8_t *)name, len, hex);
	return json_object_set_new(o, hex_key, json_string(hex)) ? -ENOMEM : 0;
}

int ctl_name_put(json_t *o, const char *key, const char *name)
{
	const unsigned char *s = (const unsigned char *)name;
	cleanup_free char *text = malloc(3 * strlen(name) + 1);
	bool exact = true;
	char *t = text;
	uint32_t c;

	if (!text)
		return -ENOMEM;
	while (*s) {
		size_t n = utf8_char(s, &c);

		if (n) {
			t = mempcpy(t, s, n);
			s += n;
		} else {
			t = mempcpy(t, "\xef\xbf\xbd", 3);
			s++;
			exact = false;
		}
	}
	*t = 0;
	if (json_object_set_new(o, key, json_string(text)))
		return -ENOMEM;
	return exact ? 0 : put_hex(o, key, name);
}

static int unhex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int get_hex(const json_t *v, char **ret)
{
	const char *hex = json_string_value(v);
	size_t len = json_string_length(v);
	cleanup_free char *name = NULL;

	if (!hex || len % 2)
		return -EINVAL;
	name = malloc(len / 2 + 1);
	if (!name)
		return -ENOMEM;
	for (size_t i = 0; i < len / 2; i++) {
		int hi = unhex(hex[2 * i]), lo = unhex(hex[2 * i + 1]);

		if (hi < 0 || lo < 0 || !(hi | lo))
			return -EINVAL;
		name[i] = (char)(hi << 4 | lo);
	}
	name[len / 2] = 0;
	*ret = steal_ptr(name);
	return 0;
}

int ctl_name_get(const json_t *o, const char *key, char **ret)
{
	cleanup_free char *hex_key = NULL;
	const json_t *v;

	if (asprintf(&hex_key, "%s_hex", key) < 0)
		return -ENOMEM;
	v = json_object_get(o, hex_key);
	if (v)
		return get_hex(v, ret);
	v = json_object_get(o, key);
	if (!v)
		return -ENOENT;
	if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
		return -EINVAL;
	*ret = strdup(json_string_value(v));
	return *ret ? 0 : -ENOMEM;
}

/* Invisible, or changes the direction or the place of what follows: a name made of them shows as
 * another one. */
static bool deceives(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
	       (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe0fff);
}

char *ctl_escape(const char *name)
{
	const unsigned char *s = (const unsigned char *)name;
	char *text = malloc(4 * strlen(name) + 1), *t = text;
	uint32_t c;

	if (!text)
		return NULL;
	while (*s) {
		size_t n = utf8_char(s, &c);

		if (n && c != '\\' && !deceives(c)) {
			t = mempcpy(t, s, n);
			s += n;
			continue;
		}
		for (n = n ? n : 1; n; n--, s++) {
			if (*s == '\\')
				t = mempcpy(t, "\\\\", 2);
			else if (*s == '\n')
				t = mempcpy(t, "\\n", 2);
			else if (*s == '\t')
				t = mempcpy(t, "\\t", 2);
			else
				t += sprintf(t, "\\x%02x", *s);
		}
	}
	*t = 0;
	return text;
}

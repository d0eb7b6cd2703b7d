/* SPDX-License-Identifier: MIT
 * The control protocol: the codec against everything a socket can deliver, names against
 * everything a directory can hold, server and client against clients that behave badly.
 */
#include "spill/ctl.h"
#include "spill/exit.h"
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* ---- codec ---------------------------------------------------------------------------------- */

static int feed_str(struct ctl_reader *r, const char *s)
{
	return ctl_reader_feed(r, s, strlen(s));
}

TEST(codec_split_anywhere)
{
	const char text[] = "{\"verb\":\"ls\",\"path\":\"\xc3\xa4\"}\n{}\n{\"a\":[1,2]}\n";
	size_t len = strlen(text);

	for (size_t step = 1; step <= len; step++) {
		struct ctl_reader r;
		unsigned got = 0;

		ctl_reader_init(&r);
		for (size_t i = 0; i < len; i += step) {
			json_t *o;

			CHECK_EQ(ctl_reader_feed(&r, text + i, MIN(step, len - i)), 0);
			while (ctl_reader_next(&r, &o) == 1) {
				got++;
				json_decref(o);
			}
		}
		CHECK_EQ(got, 3);
		CHECK_EQ(r.pos, r.len);
		ctl_reader_done(&r);
	}
}

TEST(codec_unfinished_line_yields_nothing)
{
	struct ctl_reader r;
	json_t *o;

	ctl_reader_init(&r);
	CHECK_EQ(ctl_reader_next(&r, &o), 0);
	CHECK_EQ(feed_str(&r, "{\"verb\":\"status\"}"), 0);
	CHECK_EQ(ctl_reader_next(&r, &o), 0);
	CHECK_EQ(feed_str(&r, "\n"), 0);
	CHECK_EQ(ctl_reader_next(&r, &o), 1);
	CHECK_STR(json_string_value(json_object_get(o, "verb")), "status");
	json_decref(o);
	ctl_reader_done(&r);
}

TEST(codec_garbage_is_passed_over)
{
	static const char *const bad[] = {"",
					  "\r",
					  "nonsense",
					  "[1,2]",
					  "\"text\"",
					  "17",
					  "null",
					  "{\"a\":1} trailing",
					  "{\"a\":1,\"a\":2}",
					  "{\"a\":\"\xff\xfe\"}",
					  "{\"a\":\"\\u0000\"}",
					  "{\"a\":\"\\ud800\"}",
					  "{\"a\":1e999}",
					  "{\"a\":99999999999999999999}",
					  "{\"a\":"};
	struct ctl_reader r;
	json_t *o;

	ctl_reader_init(&r);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_EQ(feed_str(&r, bad[i]), 0);
		CHECK_EQ(feed_str(&r, "\n{}\n"), 0);
		CHECK_EQ(ctl_reader_next(&r, &o), -EBADMSG);
		CHECK_EQ(ctl_reader_next(&r, &o), 1);
		json_decref(o);
		CHECK_EQ(ctl_reader_next(&r, &o), 0);
	}
	ctl_reader_done(&r);
}

TEST(codec_nul_bytes)
{
	struct ctl_reader r;
	json_t *o;

	ctl_reader_init(&r);
	CHECK_EQ(ctl_reader_feed(&r, "{\"a\":\"x\0y\"}\n", 12), 0);
	CHECK_EQ(ctl_reader_next(&r, &o), -EBADMSG);
	CHECK_EQ(ctl_reader_feed(&r, "\0\0\0\n", 4), 0);
	CHECK_EQ(ctl_reader_next(&r, &o), -EBADMSG);
	CHECK_EQ(ctl_reader_feed(&r, "{}\0\n", 4), 0);
	CHECK_EQ(ctl_reader_next(&r, &o), -EBADMSG);
	ctl_reader_done(&r);
}

TEST(codec_line_limit_is_exact)
{
	char *line = malloc(CTL_LINE_MAX + 2);
	struct ctl_reader r;
	json_t *o;

	memset(line, 'x', CTL_LINE_MAX + 2);
	memcpy(line, "{\"a\":\"", 6);
	memcpy(line + CTL_LINE_MAX - 2, "\"}\n", 3);
	ctl_reader_init(&r);
	CHECK_EQ(ctl_reader_feed(&r, line, CTL_LINE_MAX + 1), 0); /* exactly the limit, and \n */
	CHECK_EQ(ctl_reader_next(&r, &o), 1);
	json_decref(o);
	ctl_reader_done(&r);

	memset(line, 'x', CTL_LINE_MAX + 1);
	CHECK_EQ(ctl_reader_feed(&r, line, CTL_LINE_MAX + 1), -EMSGSIZE);
	CHECK_EQ(ctl_reader_feed(&r, line, CTL_LINE_MAX), 0);
	CHECK_EQ(ctl_reader_feed(&r, line, 1), -EMSGSIZE);
	CHECK_EQ(ctl_reader_feed(&r, "\n", 1), 0); /* the refused byte left nothing behind */
	CHECK_EQ(ctl_reader_next(&r, &o), -EBADMSG);
	CHECK_EQ(ctl_reader_feed(&r, "{}\n", 3), 0);
	CHECK_EQ(ctl_reader_next(&r, &o), 1);
	json_decref(o);
	ctl_reader_done(&r);
	free(line);
}

TEST(codec_memory_is_bounded)
{
	struct ctl_reader r;
	json_t *o;
	int err = 0;

	ctl_reader_init(&r);
	for (unsigned i = 0; i < 4 * CTL_LINE_MAX / 1024 && !err; i++) {
		char piece[1024];

		memset(piece, i % 3 ? 'a' : ' ', sizeof(piece));
		err = ctl_reader_feed(&r, piece, sizeof(piece));
	}
	CHECK_EQ(err, -EMSGSIZE);
	CHECK(r.cap <= 2 * CTL_LINE_MAX);
	ctl_reader_done(&r);
	for (unsigned i = 0; i < 100000; i++) { /* many lines need no more memory than one */
		CHECK_EQ(ctl_reader_feed(&r, "{\"a\":1}\n{", 9), 0);
		CHECK_EQ(ctl_reader_next(&r, &o), 1);
		json_decref(o);
		CHECK_EQ(ctl_reader_feed(&r, "}\n", 2), 0);
		CHECK_EQ(ctl_reader_next(&r, &o), 1);
		json_decref(o);
	}
	CHECK(r.cap <= 4096);
	ctl_reader_done(&r);
}

TEST(codec_nesting_bombs)
{
	static const char *const opens[] = {"[", "{\"a\":", "[{\"a\":"};
	struct ctl_reader r;
	json_t *o;

	ctl_reader_init(&r);
	for (size_t k = 0; k < ARRAY_SIZE(opens); k++) {
		for (size_t i = 0; i < 100000; i++)
			CHECK_EQ(feed_str(&r, opens[k]), 0);
		CHECK_EQ(feed_str(&r, "\n"), 0);
		CHECK_EQ(ctl_reader_next(&r, &o), -EBADMSG);
	}
	ctl_reader_done(&r);
}

TEST(codec_line_out)
{
	json_t *o = json_pack("{s:s}", "k", "line\nbreak");
	char *line = NULL, *big = malloc(CTL_LINE_MAX + 1);
	size_t len;

	CHECK_EQ(ctl_line(o, &line, &len), 0);
	CHECK_STR(line, "{\"k\":\"line\\nbreak\"}\n");
	CHECK_EQ(len, strlen(line));
	free(line);
	memset(big, 'x', CTL_LINE_MAX);
	big[CTL_LINE_MAX] = 0;
	json_object_set_new(o, "k", json_string(big));
	CHECK_EQ(ctl_line(o, &line, &len), -EMSGSIZE);
	json_decref(o);
	free(big);
}

/* ---- names ---------------------------------------------------------------------------------- */

static const char *const names[] = {
	"plain",
	"",
	"with space",
	"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xa7",
	"\xff",
	"a\xffz",
	"\xc3",
	"\xe2\x82",
	"\xf0\x9f\x90",
	"\xc0\xaf",
	"\xed\xa0\x80",
	"\xf4\x90\x80\x80",
	"\xf5\x80\x80\x80",
	"\x80\xbf",
	"tab\tnew\nline\x1b[2J",
	"back\\slash",
	"\xef\xbf\xbd",
	"quote\"'",
};

TEST(names_round_trip)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		json_t *o = json_object();
		char *line, *back;
		size_t len;

		CHECK_EQ(ctl_name_put(o, "path", names[i]), 0);
		CHECK(json_is_string(json_object_get(o, "path")));
		CHECK_EQ(ctl_line(o, &line, &len), 0);
		json_decref(o);
		o = json_loadb(line, len, 0, NULL);
		CHECK(o);
		CHECK_EQ(ctl_name_get(o, "path", &back), 0);
		CHECK_STR(back, names[i]);
		free(back);
		free(line);
		json_decref(o);
	}
}

TEST(names_hex_only_where_needed)
{
	json_t *o = json_object();

	ctl_name_put(o, "path", "\xc3\xa4");
	CHECK(!json_object_get(o, "path_hex"));
	ctl_name_put(o, "path", "a\xffz");
	CHECK_STR(json_string_value(json_object_get(o, "path")), "a\xef\xbf\xbdz");
	CHECK_STR(json_string_value(json_object_get(o, "path_hex")), "61ff7a");
	json_decref(o);
}

TEST(names_malformed)
{
	static const char *const bad[] = {"{\"path_hex\":\"6\"}",    "{\"path_hex\":\"zz\"}",
					  "{\"path_hex\":\"6100\"}", "{\"path_hex\":\"AA\"}",
					  "{\"path_hex\":17}",       "{\"path\":17}",
					  "{\"path\":null}"};
	char *s;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *o = json_loads(bad[i], 0, NULL);

		CHECK_EQ(ctl_name_get(o, "path", &s), -EINVAL);
		json_decref(o);
	}
	json_t *o = json_object();
	CHECK_EQ(ctl_name_get(o, "path", &s), -ENOENT);
	json_object_set_new(o, "path", json_stringn("a\0b", 3));
	CHECK_EQ(ctl_name_get(o, "path", &s), -EINVAL);
	json_decref(o);
}

TEST(names_escaped_for_terminals)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{"plain \xc3\xa4", "plain \xc3\xa4"},
		{"a\nb\tc", "a\\nb\\tc"},
		{"\x1b[2J", "\\x1b[2J"},
		{"\x7f", "\\x7f"},
		{"\xc2\x9b"
		 "31m",
		 "\\xc2\\x9b31m"}, /* C1: CSI */
		{"\xe2\x80\xae"
		 "cod.exe",
		 "\\xe2\\x80\\xae"
		 "cod.exe"}, /* right-to-left override */
		{"\xff\\", "\\xff\\\\"},
		{"", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		char *s = ctl_escape(t[i].in);

		CHECK_STR(s, t[i].out);
		free(s);
	}
}

/* ---- server and client ---------------------------------------------------------------------- */

static struct {
	sem_t inside; /* posted when a handler waits */
	sem_t go;     /* lets one waiting handler go on */
	atomic_int running, most, interrupted;
} probe;

static json_t *h_echo(void *ctx, struct ctl_conn *c, const json_t *req, char **err, int *code)
{
	(void)ctx, (void)c, (void)err, (void)code;
	return json_pack("{s:O}", "you_said", json_object_get(req, "text"));
}

static json_t *h_fail(void *ctx, struct ctl_conn *c, const json_t *req, char **err, int *code)
{
	(void)ctx, (void)c, (void)req;
	return ctl_error(err, code, EXIT_STUBS, "no: %d", 7);
}

static json_t *h_null(void *ctx, struct ctl_conn *c, const json_t *req, char **err, int *code)
{
	(void)ctx, (void)c, (void)req, (void)err, (void)code;
	return NULL;
}

/* n events of one kind with a payload, then how many were accepted. */
static json_t *h_events(void *ctx, struct ctl_conn *c, const json_t *req, char **err, int *code)
{
	const char *kind = json_string_value(json_object_get(req, "kind"));
	json_int_t n = json_integer_value(json_object_get(req, "n")), i;
	char pad[1001];

	(void)ctx, (void)err, (void)code;
	memset(pad, 'p', 1000);
	pad[1000] = 0;
	for (i = 0; i < n; i++)
		if (!ctl_progress(c,
				  json_pack("{s:s, s:I, s:s}", "event", kind, "i", i, "pad", pad)))
			break;
	return json_pack("{s:I}", "sent", i);
}

static json_t *h_wait(void *ctx, struct ctl_conn *c, const json_t *req, char **err, int *code)
{
	int now = ++probe.running, most = probe.most;

	(void)ctx, (void)req, (void)err, (void)code;
	while (now > most && !atomic_compare_exchange_weak(&probe.most, &most, now))
		;
	sem_post(&probe.inside);
	sem_wait(&probe.go);
	probe.running--;
	(void)c;
	return json_object();
}

static json_t *h_until_interrupted(void *ctx, struct ctl_conn *c, const json_t *req, char **err,
				   int *code)
{
	(void)ctx, (void)req;
	sem_post(&probe.inside);
	for (int i = 0; i < 1000; i++) {
		if (ctl_interrupted(c)) {
			probe.interrupted++;
			sem_post(&probe.inside);
			return ctl_error(err, code, EXIT_FAILED, "interrupted");
		}
		usleep(10000);
	}
	return json_object();
}

static json_t *h_big(void *ctx, struct ctl_conn *c, const json_t *req, char **err, int *code)
{
	char *s = malloc(CTL_LINE_MAX);
	json_t *o;

	(void)ctx, (void)c, (void)req, (void)err, (void)code;
	memset(s, 'b', CTL_LINE_MAX);
	o = json_pack("{s:s#}", "s", s, (int)CTL_LINE_MAX);
	free(s);
	return o;
}

static const struct ctl_verb verbs[] = {
	{"echo", h_echo},     {"fail", h_fail}, {"null", h_null},
	{"events", h_events}, {"wait", h_wait}, {"until-interrupted", h_until_interrupted},
	{"big", h_big},       {NULL, NULL}};

static char sock[4096];

static struct ctl_server *start(void)
{
	struct ctl_server *s = NULL;

	sem_init(&probe.inside, 0, 0);
	sem_init(&probe.go, 0, 0);
	probe.running = probe.most = probe.interrupted = 0;
	snprintf(sock, sizeof(sock), "%s/sock", test_tmpdir());
	return ctl_server_start(&s, sock, verbs, NULL) ? NULL : s;
}

struct answer {
	int err, code;
	char *text;
	json_t *result;
	unsigned events;
	unsigned stop_after; /* interrupt at this event */
};

static bool count_event(void *ctx, const json_t *ev)
{
	struct answer *a = ctx;

	(void)ev;
	return ++a->events != a->stop_after;
}

static struct answer call(json_t *req)
{
	struct answer a = {0};

	a.err = ctl_call(sock, req, 0, count_event, &a, &a.result, &a.text, &a.code);
	json_decref(req);
	return a;
}

static void answer_done(struct answer *a)
{
	free(a->text);
	json_decref(a->result);
}

/* A client made of bytes. */
static int raw_connect(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.100s", sock);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Send text, read all there is until the server closes. */
static char *raw_call(const char *text, size_t len, bool half_close)
{
	int fd = raw_connect();
	size_t got = 0;
	char *buf = calloc(1, 65536);
	ssize_t n;

	while (len && (n = send(fd, text, len, MSG_NOSIGNAL)) > 0)
		text += n, len -= (size_t)n;
	if (half_close)
		shutdown(fd, SHUT_WR);
	while (got < 65535 && (n = read(fd, buf + got, 65535 - got)) > 0)
		got += (size_t)n;
	close(fd);
	return buf;
}

TEST(server_answers)
{
	struct ctl_server *s = start();
	struct answer a;
	struct stat st;

	CHECK(s);
	CHECK_EQ(stat(sock, &st), 0);
	CHECK_EQ(st.st_mode, S_IFSOCK | 0600);
	a = call(json_pack("{s:s, s:s}", "verb", "echo", "text", "hello"));
	CHECK_EQ(a.err, 0);
	CHECK_STR(json_string_value(json_object_get(a.result, "you_said")), "hello");
	answer_done(&a);
	a = call(json_pack("{s:s}", "verb", "fail"));
	CHECK_EQ(a.err, -EREMOTEIO);
	CHECK_EQ(a.code, EXIT_STUBS);
	CHECK_STR(a.text, "no: 7");
	answer_done(&a);
	a = call(json_pack("{s:s}", "verb", "null"));
	CHECK_EQ(a.err, -EREMOTEIO);
	CHECK_EQ(a.code, EXIT_SYSTEM);
	answer_done(&a);
	a = call(json_pack("{s:s}", "verb", "nonesuch"));
	CHECK_EQ(a.code, EXIT_USAGE);
	answer_done(&a);
	a = call(json_pack("{s:i}", "verb", 1));
	CHECK_EQ(a.code, EXIT_USAGE);
	answer_done(&a);
	a = call(json_pack("{s:s}", "verb", "big"));
	CHECK_EQ(a.err, -EREMOTEIO);
	CHECK_STR(a.text, "the answer is too long");
	answer_done(&a);
	ctl_server_stop(s);
	CHECK(stat(sock, &st) && errno == ENOENT);
	a = call(json_pack("{s:s}", "verb", "echo"));
	CHECK_EQ(a.err, -ENOENT);
}

TEST(server_all_events_but_progress_arrive)
{
	struct ctl_server *s = start();
	struct answer a =
		call(json_pack("{s:s, s:s, s:i}", "verb", "events", "kind", "entries", "n", 20000));

	CHECK_EQ(a.err, 0);
	CHECK_EQ(a.events, 20000); /* 20 MB: more than is kept for a slow client */
	answer_done(&a);
	a = call(json_pack("{s:s, s:s, s:i}", "verb", "events", "kind", "progress", "n", 20000));
	CHECK_EQ(a.err, 0);
	CHECK(a.events > 0 && a.events <= 20000);
	answer_done(&a);
	ctl_server_stop(s);
}

TEST(server_bad_requests)
{
	static char huge[CTL_LINE_MAX + 4096];
	struct ctl_server *s = start();
	char *r;

	r = raw_call("nonsense\n", 9, false);
	CHECK_STR(r, "{\"error\":\"not a request\",\"code\":1}\n");
	free(r);
	memset(huge, '[', sizeof(huge));
	r = raw_call(huge, sizeof(huge), false);
	CHECK_STR(r, "{\"error\":\"not a request\",\"code\":1}\n");
	free(r);
	memset(huge, 0, 100);
	huge[100] = '\n';
	r = raw_call(huge, 101, false);
	CHECK_STR(r, "{\"error\":\"not a request\",\"code\":1}\n");
	free(r);
	r = raw_call("{\"verb\":\"echo\"", 14, true); /* unfinished, then nothing */
	CHECK_STR(r, "");
	free(r);
	r = raw_call("", 0, true);
	CHECK_STR(r, "");
	free(r);
	/* Shutting down the sending half is no interruption. */
	r = raw_call("{\"verb\":\"echo\",\"text\":\"x\"}\n", 27, true);
	CHECK_STR(r, "{\"result\":{\"you_said\":\"x\"}}\n");
	free(r);
	ctl_server_stop(s);
}

TEST(server_interrupted_by_closing)
{
	struct ctl_server *s = start();
	int fd = raw_connect();

	CHECK_EQ(write(fd, "{\"verb\":\"until-interrupted\"}\n", 29), 29);
	sem_wait(&probe.inside);
	CHECK_EQ(probe.interrupted, 0);
	close(fd);
	sem_wait(&probe.inside);
	CHECK_EQ(probe.interrupted, 1);
	ctl_server_stop(s);
}

TEST(server_interrupted_by_the_callback)
{
	struct ctl_server *s = start();
	struct answer a = {.stop_after = 3};
	json_t *req =
		json_pack("{s:s, s:s, s:i}", "verb", "events", "kind", "entries", "n", 1000000);

	a.err = ctl_call(sock, req, 0, count_event, &a, &a.result, &a.text, &a.code);
	CHECK_EQ(a.err, -EINTR);
	CHECK_EQ(a.events, 3);
	json_decref(req);
	ctl_server_stop(s);
}

static void on_alarm(int sig)
{
	(void)sig;
}

TEST(client_interrupted_by_a_signal)
{
	struct ctl_server *s = start();
	struct sigaction sa = {.sa_handler = on_alarm}, old;
	struct answer a;

	sigaction(SIGALRM, &sa, &old);
	ualarm(100000, 100000);
	a = call(json_pack("{s:s}", "verb", "until-interrupted"));
	ualarm(0, 0);
	sigaction(SIGALRM, &old, NULL);
	CHECK_EQ(a.err, -EINTR);
	sem_wait(&probe.inside);
	sem_wait(&probe.inside);
	CHECK_EQ(probe.interrupted, 1);
	ctl_server_stop(s);
}

TEST(server_stop_interrupts_handlers)
{
	struct ctl_server *s = start();
	int fd = raw_connect(), idle = raw_connect();
	char buf[256] = "";

	CHECK_EQ(write(fd, "{\"verb\":\"until-interrupted\"}\n", 29), 29);
	sem_wait(&probe.inside);
	ctl_server_stop(s); /* also with a client that never sent a request */
	CHECK_EQ(probe.interrupted, 1);
	CHECK(read(fd, buf, sizeof(buf) - 1) > 0); /* and it was told */
	CHECK_STR(buf, "{\"error\":\"interrupted\",\"code\":24}\n");
	close(fd);
	close(idle);
}

static void *call_wait(void *arg)
{
	struct answer a = call(json_pack("{s:s}", "verb", "wait"));

	*(int *)arg = a.err;
	answer_done(&a);
	return NULL;
}

TEST(server_more_clients_than_slots)
{
	enum { N = 3 * CTL_MAX_CLIENTS + 1 };
	struct ctl_server *s = start();
	pthread_t t[N];
	int err[N];

	for (int i = 0; i < N; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, call_wait, &err[i]), 0);
	for (int i = 0; i < CTL_MAX_CLIENTS; i++)
		sem_wait(&probe.inside);
	usleep(100000); /* one too many would come in now */
	CHECK_EQ(probe.running, CTL_MAX_CLIENTS);
	for (int i = 0; i < N; i++)
		sem_post(&probe.go);
	for (int i = 0; i < N; i++) {
		pthread_join(t[i], NULL);
		CHECK_EQ(err[i], 0);
	}
	CHECK_EQ(probe.most, CTL_MAX_CLIENTS);
	ctl_server_stop(s);
}

TEST(server_stop_with_clients_waiting)
{
	enum { N = CTL_MAX_CLIENTS + 4 };
	struct ctl_server *s = start();
	int fd[N];

	for (int i = 0; i < N; i++) {
		fd[i] = raw_connect();
		CHECK(fd[i] >= 0);
		CHECK_EQ(write(fd[i], "{\"verb\":\"until-interrupted\"}\n", 29), 29);
	}
	for (int i = 0; i < CTL_MAX_CLIENTS; i++)
		sem_wait(&probe.inside);
	ctl_server_stop(s);
	CHECK_EQ(probe.interrupted, CTL_MAX_CLIENTS);
	for (int i = 0; i < N; i++)
		close(fd[i]);
}

TEST(server_handler_does_not_wait_for_a_slow_client)
{
	struct ctl_server *s = start();
	int fd = raw_connect();
	struct ctl_reader r;
	unsigned events = 0;
	bool last = false;
	char buf[4096];

	/* 4 MB of events nobody reads: more than a socket buffer, less than is kept. */
	CHECK_EQ(dprintf(fd, "{\"verb\":\"events\",\"kind\":\"note\",\"n\":4000}\n"), 41);
	usleep(300000);
	ctl_reader_init(&r);
	while (!last) { /* and slowly, all of it arrives */
		ssize_t n = read(fd, buf, sizeof(buf));
		json_t *o;

		CHECK(n > 0);
		CHECK_EQ(ctl_reader_feed(&r, buf, (size_t)n), 0);
		while (ctl_reader_next(&r, &o) == 1) {
			events += json_object_get(o, "event") != NULL;
			last = json_object_get(o, "result") != NULL;
			json_decref(o);
		}
	}
	CHECK_EQ(events, 4000);
	ctl_reader_done(&r);
	close(fd);
	ctl_server_stop(s);
}

TEST(server_stop_with_a_stuck_client)
{
	struct ctl_server *s = start();
	int fd = raw_connect();
	uint64_t before;

	CHECK(dprintf(fd, "{\"verb\":\"events\",\"kind\":\"note\",\"n\":100000}\n") > 0);
	usleep(200000); /* 100 MB: the handler waits for us by now */
	before = clock_mono_ns();
	ctl_server_stop(s);
	CHECK((clock_mono_ns() - before) / 1000000 < 30000);
	close(fd);
}

TEST(server_replaces_a_stale_socket)
{
	struct ctl_server *s = start(), *second = NULL;
	struct answer a;
	struct stat st;

	CHECK_EQ(ctl_server_start(&second, sock, verbs, NULL), 0);
	a = call(json_pack("{s:s, s:s}", "verb", "echo", "text", "x"));
	CHECK_EQ(a.err, 0);
	answer_done(&a);
	ctl_server_stop(s); /* the first leaves the second one's socket alone */
	CHECK_EQ(stat(sock, &st), 0);
	ctl_server_stop(second);
}

TEST(server_socket_path_longer_than_an_address)
{
	const char *tmp = test_tmpdir();
	struct ctl_server *s;
	struct answer a;
	struct stat st;
	int n = snprintf(sock, sizeof(sock), "%s/", tmp);

	memset(sock + n, 'd', 200);
	sock[n + 200] = 0;
	CHECK_EQ(mkdir(sock, 0700), 0);
	strcat(sock, "/sock");
	CHECK_EQ(ctl_server_start(&s, sock, verbs, NULL), 0);
	a = call(json_pack("{s:s, s:s}", "verb", "echo", "text", "x"));
	CHECK_EQ(a.err, 0);
	answer_done(&a);
	ctl_server_stop(s);
	CHECK(stat(sock, &st) && errno == ENOENT);
}

TEST(client_without_a_server)
{
	struct answer a;
	int fd;

	snprintf(sock, sizeof(sock), "%s/nothing/sock", test_tmpdir());
	a = call(json_pack("{s:s}", "verb", "x"));
	CHECK_EQ(a.err, -ENOENT);
	snprintf(sock, sizeof(sock), "%s/dead", test_tmpdir());
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.100s", sock);
	CHECK_EQ(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	a = call(json_pack("{s:s}", "verb", "x"));
	CHECK_EQ(a.err, -ECONNREFUSED);
}

/* A server made of bytes: says text to one client and hangs up. */
static const char *say;
static void *say_main(void *arg)
{
	int l = *(int *)arg, fd = accept(l, NULL, NULL);
	char buf[4096];

	if (read(fd, buf, sizeof(buf)) > 0 && write(fd, say, strlen(say)) < 0)
		perror("write");
	close(fd);
	return NULL;
}

TEST(client_against_bad_servers)
{
	static const struct {
		const char *say;
		int err;
	} t[] = {
		{"", -ECONNRESET},
		{"{\"event\":\"progress\"}\n", -ECONNRESET},
		{"HTTP/1.0 400 Bad Request\r\n", -EBADMSG},
		{"{\"what\":1}\n", -EBADMSG},
		{"{\"error\":1}\n", -EBADMSG},
		{"{\"error\":\"e\"}\n", -EREMOTEIO},
		{"{\"result\":{}}", -ECONNRESET},
		{"{\"result\":{}}\ntrailing", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct sockaddr_un addr = {.sun_family = AF_UNIX};
		int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct answer a;
		pthread_t th;

		snprintf(sock, sizeof(sock), "%s/bad%zu", test_tmpdir(), i);
		snprintf(addr.sun_path, sizeof(addr.sun_path), "%.100s", sock);
		CHECK_EQ(bind(l, (struct sockaddr *)&addr, sizeof(addr)) | listen(l, 1), 0);
		say = t[i].say;
		pthread_create(&th, NULL, say_main, &l);
		a = call(json_pack("{s:s}", "verb", "x"));
		pthread_join(th, NULL);
		close(l);
		CHECK_EQ(a.err, t[i].err);
		answer_done(&a);
	}
}

TEST_MAIN

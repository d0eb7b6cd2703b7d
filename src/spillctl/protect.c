/* SPDX-License-Identifier: MIT
 * `protect`: a second belt for images. Pinned here they stay in the hot tier; pinned in the engine
 * kubelet does not delete them at all, whatever the disk says.
 *
 * containerd: the label io.cri-containerd.pinned=pinned on the image in the namespace k8s.io (its
 * CRI plugin reports it as pinned since 1.7; kubelet's image GC and eviction pass over such images
 * since 1.28). CRI-O: pinned_images in its configuration. Docker and podman have nothing of the
 * kind and nothing that deletes by itself, but for prune.
 */
#include "spillctl.h"

#include "spill/layers.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

#define LABEL "io.cri-containerd.pinned=pinned"

/* Where k3s and rke2 have their containerd's socket; others: ctr's own default, or what
 * CONTAINERD_ADDRESS says. */
#define K3S_SOCKET "/run/k3s/containerd/containerd.sock"

struct protecting {
	const struct cli *c;
	json_t *out;
};

/* Run argv; its words go to *ret_text (caller frees). The exit code, or -errno. */
static int run(char *const argv[], char **ret_text)
{
	int fds[2], status;
	size_t len = 0;
	char buf[4096];
	FILE *f;
	ssize_t n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		int err = -errno;

		close(fds[0]);
		close(fds[1]);
		return err;
	}
	if (!pid) {
		int null = open("/dev/null", O_RDONLY);

		dup2(null, STDIN_FILENO);
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(fds[1]);
	f = open_memstream(ret_text, &len);
	while (f && (n = read(fds[0], buf, sizeof(buf))) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		if (n > 0)
			fwrite(buf, 1, (size_t)n, f);
	}
	if (f)
		fclose(f);
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* "ctr -n k8s.io images label NAME LABEL", as it is run and as a person can type it. */
static int label(const char *mount, const char *name, json_t *o)
{
	bool k3s = !getenv("CONTAINERD_ADDRESS") && !access(K3S_SOCKET, F_OK) &&
		   (strstr(mount, "/k3s") || access("/run/containerd/containerd.sock", F_OK));
	char *argv[12];
	cleanup_free char *text = NULL, *said = NULL;
	size_t n = 0, len;
	FILE *f;
	int r;

	argv[n++] = (char *)"ctr";
	if (k3s) {
		argv[n++] = (char *)"-a";
		argv[n++] = (char *)K3S_SOCKET;
	}
	argv[n++] = (char *)"-n";
	argv[n++] = (char *)"k8s.io";
	argv[n++] = (char *)"images";
	argv[n++] = (char *)"label";
	argv[n++] = (char *)name;
	argv[n++] = (char *)LABEL;
	argv[n] = NULL;
	f = open_memstream(&text, &len);
	for (size_t i = 0; f && i < n; i++)
		fprintf(f, "%s%s", i ? " " : "", argv[i]);
	if (f)
		fclose(f);
	r = run(argv, &said);
	if (said)
		said[strcspn(said, "\n")] = 0;
	ctl_name_put(o, "command", text ? text : "ctr");
	json_object_set_new(o, "labelled", json_boolean(!r));
	if (r == 127)
		ctl_name_put(o, "engine_error",
			     "ctr is not installed; run the command where it is");
	else if (r < 0)
		ctl_name_put(o, "engine_error", strerror(-r));
	else if (r)
		ctl_name_put(o, "engine_error", said && *said ? said : "it failed");
	return r ? EXIT_PARTIAL : EXIT_OK;
}

/* The engine's own pin, or a sentence that there is none. */
static int engine_pin(const struct pin_req *r, json_t *o)
{
	const char *advice;

	switch ((enum layer_engine)r->engine) {
	case LAYER_CONTAINERD:
		if (r->in_kubernetes)
			return label(r->t.mount, r->owner, o);
		advice = "containerd: not in the namespace k8s.io, so kubelet does not know it and "
			 "does not delete it";
		break;
	case LAYER_DOCKER:
		advice =
			"docker: it has no pins of its own; it deletes images only on prune or rmi "
			"(with cri-dockerd kubelet deletes them: keep a container of it)";
		break;
	case LAYER_CONTAINERS_STORAGE:
	default:
		advice = "podman: it has no pins of its own, and deletes images only on prune or "
			 "rmi; CRI-O: name it in pinned_images of [crio.image] in crio.conf";
		break;
	}
	ctl_name_put(o, "advice", advice);
	return EXIT_OK;
}

static void print_one(const struct cli *c, const char *arg, const json_t *o)
{
	cleanup_free char *cmd = NULL, *err = NULL, *advice = NULL;

	if (c->json)
		return;
	if (!c->quiet) {
		put_safe(stdout, arg);
		printf(": pinned in the hot tier\n");
	}
	ctl_name_get(o, "engine_error", &err);
	if (!ctl_name_get(o, "command", &cmd) && (err || !c->quiet)) {
		printf(err ? "  to do: " : "  ran: ");
		put_safe(stdout, cmd);
		putchar('\n');
	}
	if (err)
		warn("%s: %s", arg, err);
	if (!ctl_name_get(o, "advice", &advice) && !c->quiet) {
		printf("  ");
		put_safe(stdout, advice);
		putchar('\n');
	}
}

static int protect_one(struct protecting *p, const char *arg)
{
	cleanup_(pin_req_done) struct pin_req r = {0};
	cleanup_free char *err = NULL;
	json_t *o = NULL, *pin = NULL;
	int code = pin_resolve(p->c, arg, false, &r, &err);

	if (!code)
		code = pin_ask(p->c, "pin", &r, !p->c->no_recall, &pin, &err);
	json_decref(pin);
	if (code == EXIT_INTERRUPTED)
		return code;
	o = json_object();
	ctl_name_put(o, "image", r.owner ? r.owner : arg);
	if (code) {
		const char *why = err ? err : "out of memory";

		warn("%s%s%s", strncmp(why, arg, strlen(arg)) ? arg : "",
		     strncmp(why, arg, strlen(arg)) ? ": " : "", why);
		ctl_name_put(o, "error", why);
	} else {
		code = engine_pin(&r, o);
		print_one(p->c, arg, o);
	}
	json_object_set_new(o, "code", json_integer(code));
	json_array_append_new(p->out, o);
	return code;
}

int do_protect(const struct cli *c)
{
	struct cli images = *c;
	struct protecting p = {.c = &images, .out = json_array()};
	int bad = 0, last = EXIT_OK;

	images.image = true;
	interrupt_catch();
	for (int i = 0; i < c->argc && last != EXIT_INTERRUPTED; i++) {
		int code = protect_one(&p, c->argv[i]);

		bad += code != EXIT_OK;
		last = code ? code : last;
	}
	if (c->json)
		print_json(p.out);
	else
		json_decref(p.out);
	return last == EXIT_INTERRUPTED || bad == c->argc ? last : bad ? EXIT_PARTIAL : EXIT_OK;
}

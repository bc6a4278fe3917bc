// chain N ACTIVE WRITES passes bytes along a chain of N pipes. A round begins
// with a byte in ACTIVE of them; whoever finds his pipe readable takes the byte
// and, until WRITES have been written, puts one into the next pipe. It is over
// when every byte has been read.
//
// With LIBEV defined libev dispatches, with LIBEVENT libevent, else a loop over epoll(7)
// and nothing else. Without arguments the program says what it was built with.

#define _GNU_SOURCE
#include "session.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/resource.h>

static int (*pipes)[2]; // read end, write end
static int n, active;
static long writes, left, reads, total; // of a round; left to write

static void put(int i)
{
	char byte = 0;

	if (write(pipes[i][1], &byte, 1) != 1)
		fail("write");
}

// step is the callback of pipe i. It tells whether the round is over.
static int step(int i)
{
	char byte;

	if (read(pipes[i][0], &byte, 1) != 1)
		fail("read");
	reads++;
	if (left > 0) {
		left--;
		put((i + 1) % n);
	}
	return reads == total;
}

#ifdef LIBEV
#include <ev.h>

static struct ev_loop *loop;

static void readable(struct ev_loop *l, ev_io *w, int revents)
{
	(void)revents;
	if (step((int)(intptr_t)w->data))
		ev_break(l, EVBREAK_ALL);
}

static void about(void)
{
	printf("%d.%d, gcc %s\n", ev_version_major(), ev_version_minor(), __VERSION__);
}

static void watch(void)
{
	ev_io *watchers = calloc(n, sizeof *watchers);

	loop = ev_loop_new(EVBACKEND_EPOLL);
	if (!loop || !watchers)
		fail("ev_loop_new");
	for (int i = 0; i < n; i++) {
		ev_io_init(&watchers[i], readable, pipes[i][0], EV_READ);
		watchers[i].data = (void *)(intptr_t)i;
		ev_io_start(loop, &watchers[i]);
	}
}

static void dispatch(void)
{
	ev_run(loop, 0);
}

#elif defined LIBEVENT
#include <event2/event.h>
#include <string.h>

static struct event_base *base;

static void readable(evutil_socket_t fd, short events, void *pipe)
{
	(void)fd, (void)events;
	if (step((int)(intptr_t)pipe))
		event_base_loopbreak(base);
}

static void about(void)
{
	printf("%s, gcc %s\n", event_get_version(), __VERSION__);
}

static void watch(void)
{
	base = event_base_new();
	if (!base || strcmp(event_base_get_method(base), "epoll") != 0)
		fail("event_base_new");
	for (int i = 0; i < n; i++) {
		struct event *e = event_new(base, pipes[i][0], EV_READ | EV_PERSIST, readable, (void *)(intptr_t)i);

		if (!e || event_add(e, NULL) != 0)
			fail("event_add");
	}
}

static void dispatch(void)
{
	if (event_base_dispatch(base) != 0)
		fail("event_base_dispatch");
}

#else
#include <errno.h>
#include <sys/epoll.h>

static struct handler {
	void (*call)(struct handler *, uint32_t events);
	int pipe;
} *handlers;

static int epfd, over;

static void readable(struct handler *h, uint32_t events)
{
	(void)events;
	over = step(h->pipe);
}

static void about(void)
{
	printf("epoll, gcc %s\n", __VERSION__);
}

static void watch(void)
{
	handlers = calloc(n, sizeof *handlers);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (!handlers || epfd < 0)
		fail("epoll_create1");
	for (int i = 0; i < n; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.u32 = i};

		handlers[i] = (struct handler){readable, i};
		if (epoll_ctl(epfd, EPOLL_CTL_ADD, pipes[i][0], &ev) != 0)
			fail("epoll_ctl");
	}
}

static void dispatch(void)
{
	struct epoll_event events[128];

	for (over = 0; !over;) {
		int got = epoll_wait(epfd, events, 128, -1);

		if (got < 0 && errno != EINTR)
			fail("epoll_wait");
		for (int i = 0; i < got; i++) {
			struct handler *h = &handlers[events[i].data.u32];

			h->call(h, events[i].events);
		}
	}
}
#endif

static void play(const char *command)
{
	(void)command;
	left = writes;
	reads = 0;
	for (long i = 0; i < active; i++)
		put((int)(i * n / active));
	start_clock();
	dispatch();
	stop_clock();
	answer(reads);
}

int main(int argc, char **argv)
{
	struct rlimit files;

	if (argc == 1) {
		about();
		return 0;
	}
	if (argc != 4 || (n = atoi(argv[1])) < 1 || (active = atoi(argv[2])) < 1 || active > n || (writes = atol(argv[3])) < 1) {
		fprintf(stderr, "usage: chain N ACTIVE WRITES, all positive, ACTIVE <= N\n");
		return 2;
	}
	total = active + writes;
	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		fail("getrlimit");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) != 0)
		fail("setrlimit");
	pipes = calloc(n, sizeof *pipes);
	if (!pipes)
		fail("calloc");
	for (int i = 0; i < n; i++)
		if (pipe2(pipes[i], O_NONBLOCK | O_CLOEXEC) != 0)
			fail("pipe2");
	watch();
	serve(play);
}

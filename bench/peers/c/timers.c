// timers N WITHIN arms N timers of libev, or with LIBEVENT defined of libevent, that
// are due within WITHIN nanoseconds, at random, and but for "fire" an hour later. A round is a line: "new" times how as
// many others are allocated and armed, "arm" how those that exist are armed, "arm-now"
// the same with a look at the clock for each, "fire" how the loop runs them when all
// are due, "reset" how those that are armed are armed anew, "stop" how they are
// stopped. Without arguments the program says what it was built with.

#include "session.h"

#include <stdint.h>
#include <string.h>

#define LATER (3600 * 1000000000ull) // ns, added where no timer is to fire within the round

static long fired;

// A timer and a delay are what each library has for it. arm and rearm count from the
// time that the library read when the turn began; look has it read the clock again.
#ifdef LIBEVENT
#include <event2/event.h>
#include <event2/event_struct.h>

typedef struct event timer;
typedef struct timeval delay;

static struct event_base *base;

static void due(evutil_socket_t fd, short events, void *unused)
{
	(void)fd, (void)events, (void)unused;
	fired++;
}

static void about(void)
{
	printf("%s, gcc %s\n", event_get_version(), __VERSION__);
}

// By default libevent reads a clock that stands still for milliseconds.
static void open_loop(void)
{
	struct event_config *config = event_config_new();

	if (!config || event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) != 0)
		fail("event_config_new");
	base = event_base_new_with_config(config);
	if (!base || strcmp(event_base_get_method(base), "epoll") != 0)
		fail("event_base_new_with_config");
	event_config_free(config);
}

static delay delay_of(uint64_t nanoseconds)
{
	return (delay){.tv_sec = (time_t)(nanoseconds / 1000000000), .tv_usec = (suseconds_t)(nanoseconds / 1000 % 1000000)};
}

static void init(timer *t)
{
	if (evtimer_assign(t, base, due, NULL) != 0)
		fail("evtimer_assign");
}

static void arm(timer *t, delay after)
{
	if (evtimer_add(t, &after) != 0)
		fail("evtimer_add");
}

#define rearm arm // for an armed one event_add moves it

static void disarm(timer *t)
{
	evtimer_del(t);
}

static int is_armed(timer *t)
{
	return evtimer_pending(t, NULL);
}

static void look(void)
{
	event_base_update_cache_time(base);
}

static void run(void)
{
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void call(evutil_socket_t fd, short events, void *work)
{
	(void)fd, (void)events;
	(*(void (**)(void))work)();
}

// in_turn does the work in a callback: outside of a turn libevent reads the clock
// for every timer.
static void in_turn(void (*work)(void))
{
	if (event_base_once(base, -1, EV_TIMEOUT, call, &work, NULL) != 0)
		fail("event_base_once");
	run();
}

#else
#include <ev.h>

typedef ev_timer timer;
typedef ev_tstamp delay;

static struct ev_loop *loop;

static void due(struct ev_loop *l, ev_timer *w, int revents)
{
	(void)l, (void)w, (void)revents;
	fired++;
}

static void about(void)
{
	printf("%d.%d, gcc %s\n", ev_version_major(), ev_version_minor(), __VERSION__);
}

static void open_loop(void)
{
	loop = ev_loop_new(EVBACKEND_EPOLL);
	if (!loop)
		fail("ev_loop_new");
}

static delay delay_of(uint64_t nanoseconds)
{
	return nanoseconds * 1e-9;
}

static void init(timer *t)
{
	ev_init(t, due);
}

static void arm(timer *t, delay after)
{
	ev_timer_set(t, after, 0.);
	ev_timer_start(loop, t);
}

// libev has a call of its own for it, which moves the timer in its heap; with repeat it
// would also come again.
static void rearm(timer *t, delay after)
{
	t->repeat = after;
	ev_timer_again(loop, t);
}

static void disarm(timer *t)
{
	ev_timer_stop(loop, t);
}

static int is_armed(timer *t)
{
	return ev_is_active(t);
}

static void look(void)
{
	ev_now_update(loop);
}

static void run(void)
{
	ev_run(loop, EVRUN_NOWAIT);
}

static void in_turn(void (*work)(void))
{
	look();
	work();
}
#endif

static timer *timers, **made;
static delay *after, *soon;
static long n;
static uint64_t within; // nanoseconds

static void arm_all(void)
{
	for (long i = 0; i < n; i++)
		arm(&timers[i], after[i]);
}

static void arm_soon(void)
{
	for (long i = 0; i < n; i++)
		arm(&timers[i], soon[i]);
}

static void arm_now(void)
{
	for (long i = 0; i < n; i++) {
		look();
		arm(&timers[i], after[i]);
	}
}

// make arms timers that it allocates.
static void make(void)
{
	for (long i = 0; i < n; i++) {
		made[i] = malloc(sizeof *made[i]);
		if (!made[i])
			fail("malloc");
		init(made[i]);
		arm(made[i], after[i]);
	}
}

// reset exchanges the times of the first timer and the last, and so on.
static void reset(void)
{
	for (long i = 0; i < n; i++)
		rearm(&timers[i], after[n - 1 - i]);
}

static void stop(void)
{
	for (long i = 0; i < n; i++)
		disarm(&timers[i]);
}

static long armed(void)
{
	long count = 0;

	for (long i = 0; i < n; i++)
		count += is_armed(&timers[i]) != 0;
	return count;
}

static void (*prepare)(void), (*timed)(void);
static long prepared; // armed before what is timed

static void work(void)
{
	prepared = 0;
	if (prepare) {
		prepare();
		prepared = armed();
	}
	start_clock();
	timed();
	stop_clock();
}

// clock_in_turn does both in one turn, in which no timer fires, and times the latter.
static void clock_in_turn(void (*first)(void), void (*then)(void))
{
	prepare = first;
	timed = then;
	in_turn(work);
}

static void play(const char *command)
{
	long events;

	if (armed() != 0) {
		fprintf(stderr, "%ld timers are armed before the round\n", armed());
		exit(1);
	}
	if (strcmp(command, "new\n") == 0) {
		clock_in_turn(NULL, make);
		events = 0;
		for (long i = 0; i < n; i++) {
			events += is_armed(made[i]) != 0;
			disarm(made[i]);
			free(made[i]);
		}
	} else if (strcmp(command, "arm\n") == 0 || strcmp(command, "arm-now\n") == 0) {
		clock_in_turn(NULL, strcmp(command, "arm\n") == 0 ? arm_all : arm_now);
		events = armed();
		stop();
	} else if (strcmp(command, "fire\n") == 0) {
		struct timespec wait = {(time_t)(within / 1000000000), (long)(within % 1000000000)};

		in_turn(arm_soon);
		nanosleep(&wait, NULL); // all are due
		fired = 0;
		start_clock();
		run(); // one turn is enough
		stop_clock();
		events = fired;
	} else if (strcmp(command, "reset\n") == 0) {
		clock_in_turn(arm_all, reset);
		events = prepared - (n - armed());
		stop();
	} else if (strcmp(command, "stop\n") == 0) {
		clock_in_turn(arm_all, stop);
		events = prepared - armed();
	} else {
		fprintf(stderr, "unknown command %s", command);
		exit(2);
	}
	answer(events);
}

int main(int argc, char **argv)
{
	uint32_t random = 1;

	if (argc == 1) {
		about();
		return 0;
	}
	if (argc != 3 || (n = atol(argv[1])) < 1 || (within = strtoull(argv[2], NULL, 10)) < 1) {
		fprintf(stderr, "usage: timers N WITHIN, all positive\n");
		return 2;
	}
	open_loop();
	timers = calloc(n, sizeof *timers);
	made = calloc(n, sizeof *made);
	after = calloc(n, sizeof *after);
	soon = calloc(n, sizeof *soon);
	if (!timers || !made || !after || !soon)
		fail("calloc");
	for (long i = 0; i < n; i++) {
		random = random * 1664525u + 1013904223u;
		soon[i] = delay_of(random * within >> 32);
		after[i] = delay_of(LATER + (random * within >> 32));
		init(&timers[i]);
	}
	serve(play);
}

// timers N WITHIN arms N timers of libev that are due within WITHIN nanoseconds,
// at random. A round is a line: "new" times how as many others are allocated and
// armed, "arm" how those that exist are armed, "arm-now" the same with a look at
// the clock for each, "fire" how the loop runs them when all are due, "reset" how
// those that are armed are armed anew, "stop" how they are stopped. Without
// arguments the program says what it was built with.

#include "session.h"

#include <ev.h>
#include <stdint.h>
#include <string.h>

static struct ev_loop *loop;
static ev_timer *timers;
static ev_tstamp *after; // seconds
static long n, fired;
static uint64_t within; // nanoseconds

static void due(struct ev_loop *l, ev_timer *w, int revents)
{
	(void)l, (void)w, (void)revents;
	fired++;
}

// arm arms timers that are due from the time of the loop on, which it looked at
// when the round began, or from now on.
static void arm(int now)
{
	for (long i = 0; i < n; i++) {
		if (now)
			ev_now_update(loop);
		ev_timer_set(&timers[i], after[i], 0.);
		ev_timer_start(loop, &timers[i]);
	}
}

// make arms timers that it allocates.
static void make(ev_timer **made)
{
	for (long i = 0; i < n; i++) {
		ev_timer *t = malloc(sizeof *t);

		if (!t)
			fail("malloc");
		ev_timer_init(t, due, after[i], 0.);
		ev_timer_start(loop, t);
		made[i] = t;
	}
}

static void stop(void)
{
	for (long i = 0; i < n; i++)
		ev_timer_stop(loop, &timers[i]);
}

// reset exchanges the times of the first timer and the last, and so on. libev has
// a call of its own for that, which moves the timer in its heap; with repeat it
// would also come again.
static void reset(void)
{
	for (long i = 0; i < n; i++) {
		timers[i].repeat = after[n - 1 - i];
		ev_timer_again(loop, &timers[i]);
	}
}

static long armed(void)
{
	long count = 0;

	for (long i = 0; i < n; i++)
		count += ev_is_active(&timers[i]) != 0;
	return count;
}

static void play(const char *command)
{
	long events;

	if (armed() != 0) {
		fprintf(stderr, "%ld timers are armed before the round\n", armed());
		exit(1);
	}
	ev_now_update(loop);
	if (strcmp(command, "new\n") == 0) {
		ev_timer **made = calloc(n, sizeof *made);

		if (!made)
			fail("calloc");
		start_clock();
		make(made);
		stop_clock();
		events = 0;
		for (long i = 0; i < n; i++) {
			events += ev_is_active(made[i]) != 0;
			ev_timer_stop(loop, made[i]);
			free(made[i]);
		}
		free(made);
	} else if (strcmp(command, "arm\n") == 0 || strcmp(command, "arm-now\n") == 0) {
		start_clock();
		arm(strcmp(command, "arm-now\n") == 0);
		stop_clock();
		events = armed();
		stop();
	} else if (strcmp(command, "fire\n") == 0) {
		struct timespec wait = {(time_t)(within / 1000000000), (long)(within % 1000000000)};

		arm(0);
		nanosleep(&wait, NULL); // all are due
		fired = 0;
		start_clock();
		ev_run(loop, EVRUN_NOWAIT); // one turn is enough
		stop_clock();
		events = fired;
	} else if (strcmp(command, "reset\n") == 0) {
		arm(0);
		ev_now_update(loop);
		start_clock();
		reset();
		stop_clock();
		events = armed();
		stop();
	} else if (strcmp(command, "stop\n") == 0) {
		arm(0);
		start_clock();
		stop();
		stop_clock();
		events = n - armed();
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
		printf("%d.%d, gcc %s\n", ev_version_major(), ev_version_minor(), __VERSION__);
		return 0;
	}
	if (argc != 3 || (n = atol(argv[1])) < 1 || (within = strtoull(argv[2], NULL, 10)) < 1) {
		fprintf(stderr, "usage: timers N WITHIN, all positive\n");
		return 2;
	}
	loop = ev_loop_new(EVBACKEND_EPOLL);
	timers = calloc(n, sizeof *timers);
	after = calloc(n, sizeof *after);
	if (!loop || !timers || !after)
		fail("ev_loop_new");
	for (long i = 0; i < n; i++) {
		random = random * 1664525u + 1013904223u;
		after[i] = (random * within >> 32) * 1e-9;
		ev_init(&timers[i], due);
	}
	serve(play);
}

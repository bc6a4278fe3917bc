// What the programs have in common. A program sets up, then plays a round for
// each line of its input and answers each with a line: how many events, how many
// nanoseconds, how many of them on a processor. It ends with its input.

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static long long nanoseconds(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) != 0)
		fail("clock_gettime");
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long wall, cpu; // of the round

static void start_clock(void)
{
	cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
	wall = nanoseconds(CLOCK_MONOTONIC);
}

static void stop_clock(void)
{
	wall = nanoseconds(CLOCK_MONOTONIC) - wall;
	cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
}

static void answer(long events)
{
	printf("%ld %lld %lld\n", events, wall, cpu);
	fflush(stdout);
}

static void *idle(void *unused)
{
	for (;;)
		pause();
	return unused;
}

// serve gives the process a second thread, as every Go process has: the kernel
// looks descriptors up faster where there is only one. A round that hangs is
// ended by SIGALRM.
static void serve(void (*play)(const char *command))
{
	pthread_t thread;
	char line[16];

	if (pthread_create(&thread, NULL, idle, NULL) != 0)
		fail("pthread_create");
	while (fgets(line, sizeof line, stdin)) {
		alarm(60);
		play(line);
		alarm(0);
	}
}

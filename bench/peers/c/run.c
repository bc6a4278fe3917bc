// run PROGRAM ARG... runs a program to its end and says on descriptor 3 what that
// took: nanoseconds, nanoseconds on processors, and the most bytes that were resident.
// It ends as the program does. It is small on purpose: the kernel counts the
// peak of a process from before it executes the program (ru_maxrss in getrusage(2)).
// When nobody reads descriptor 3 any more, the program is killed.
// Without arguments it says what it was built with.

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(125);
}

static long long now(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
		fail("clock_gettime");
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long nanoseconds(struct timeval t)
{
	return t.tv_sec * 1000000000LL + t.tv_usec * 1000LL;
}

// forsaken waits for the end of a process, and tells whether nobody reads descriptor 3
// any more, which comes first where who has started this program is killed.
static int forsaken(pid_t pid)
{
	struct pollfd p[] = {{.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN}, {.fd = 3}}; // POLLERR is always told

	if (p[0].fd < 0)
		fail("pidfd_open");
	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			fail("poll");
	return p[0].revents == 0;
}

int main(int argc, char **argv)
{
	struct rusage used;
	long long start;
	pid_t self = getpid(), pid;
	int status;

	if (argc == 1) {
		printf("gcc %s\n", __VERSION__);
		return 0;
	}
	start = now();
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		close(3);
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
			fail("prctl");
		if (getppid() != self) // it ended before that
			return 125;
		execvp(argv[1], argv + 1);
		fail(argv[1]);
	}
	if (forsaken(pid))
		return 125; // and the program is killed
	if (wait4(pid, &status, 0, &used) != pid)
		fail("wait4");
	start = now() - start;
	if (dprintf(3, "%lld %lld %lld\n", start, nanoseconds(used.ru_utime) + nanoseconds(used.ru_stime), used.ru_maxrss * 1024LL) < 0)
		fail("descriptor 3");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

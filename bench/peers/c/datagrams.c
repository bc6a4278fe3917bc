// datagrams batch|single is a UDP echo server (RFC 862) on 127.0.0.1, on epoll(7). When
// there is something to read, it answers with a recvmmsg(2) and a sendmmsg(2) for up to 32
// datagrams, or with a recvfrom(2) and a sendto(2) for one.

#include "server.h"

#include <sys/epoll.h>

enum { BATCH = 32, PORT = 7, BUFFER = 200 << 10 }; // bytes, below the default net.core.rmem_max

static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static struct sockaddr_in peers[BATCH];
static char datagrams[BATCH][SIZE];

static int open_udp(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), buffer = BUFFER;
	struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	if (fd < 0)
		fail("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer) != 0)
		fail("SO_RCVBUF");
	if (bind(fd, (struct sockaddr *)&local, sizeof local) != 0)
		fail("bind");
	return fd;
}

static void answer_batch(int fd)
{
	static int used = BATCH; // headers to be prepared
	int n;

	for (int i = 0; i < used; i++) {
		vectors[i] = (struct iovec){datagrams[i], SIZE};
		messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &vectors[i], .msg_iovlen = 1};
	}
	n = recvmmsg(fd, messages, BATCH, 0, NULL);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		fail("recvmmsg");
	used = n < 0 ? 0 : n;
	for (int i = 0; i < n; i++)
		vectors[i].iov_len = messages[i].msg_len;
	for (int sent = 0, k; sent < n; sent += k) {
		k = sendmmsg(fd, messages + sent, (unsigned)(n - sent), 0);
		if (k < 0)
			fail("sendmmsg");
	}
}

static void answer_single(int fd)
{
	socklen_t size = sizeof peers[0];
	long n = recvfrom(fd, datagrams[0], SIZE, 0, (struct sockaddr *)&peers[0], &size);

	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return;
		fail("recvfrom");
	}
	if (sendto(fd, datagrams[0], (size_t)n, 0, (struct sockaddr *)&peers[0], size) < 0)
		fail("sendto");
}

int main(int argc, char **argv)
{
	struct epoll_event event = {.events = EPOLLIN};
	void (*answer)(int fd);
	int fd, epoll;

	if (argc == 1) {
		printf("epoll, gcc %s\n", __VERSION__);
		return 0;
	}
	answer = strcmp(argv[1], "batch") == 0 ? answer_batch : answer_single;
	if (argc != 2 || (answer == answer_single && strcmp(argv[1], "single") != 0)) {
		fprintf(stderr, "usage: datagrams batch|single\n");
		return 2;
	}
	fd = open_udp();
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		fail("epoll");
	ready();
	for (;;) {
		if (epoll_wait(epoll, &event, 1, -1) > 0)
			answer(fd);
		else if (errno != EINTR)
			fail("epoll_wait");
	}
}

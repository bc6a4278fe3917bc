// lesson is the server of a lesson about epoll(7): a raw socket, and for each packet
// one epoll_wait, one recvfrom and one sendto, with the checksum made anew. The one
// thing that it has beyond a lesson is a filter that keeps its own replies away, for
// each of which it would have three more calls on the loopback interface.

#include "server.h"

#include <sys/epoll.h>

int main(int argc, char **argv)
{
	struct epoll_event event = {.events = EPOLLIN};
	static char packet[SIZE];
	int fd, epoll;

	(void)argv;
	if (argc == 1) {
		printf("epoll, recvfrom, sendto, gcc %s\n", __VERSION__);
		return 0;
	}
	fd = open_raw();
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		fail("epoll");
	ready();
	for (;;) {
		struct sockaddr_in peer;
		socklen_t size = sizeof peer;
		long got, skip;

		if (epoll_wait(epoll, &event, 1, -1) < 0) {
			if (errno == EINTR)
				continue;
			fail("epoll_wait");
		}
		got = recvfrom(fd, packet, sizeof packet, 0, (struct sockaddr *)&peer, &size);
		if (got < 0)
			fail("recvfrom");
		skip = header(packet);
		if (turn(packet + skip, got - skip) &&
		    sendto(fd, packet + skip, (size_t)(got - skip), 0, (struct sockaddr *)&peer, size) < 0)
			fail("sendto");
	}
}

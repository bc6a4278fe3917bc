// Package peers compares iomux with what one would take instead: its loop with
// libev, libevent, a goroutine for each descriptor, and with a loop over epoll(7)
// written by hand, in Go (bare-go) and in C (bare-c); its loop and transport for UDP
// with gnet; its echo client with fping(8), ping(8), nping(1), masscan(8), zmap(1),
// pro-bing, golang.org/x/net/icmp (x-net), and sendmmsg(2) and recvmmsg(2) called by hand
// in C (bare-c); its echo server with the server of a lesson about
// epoll in C (lesson), and with loops in C that do nothing else.
//
//	go test -C bench/peers -run '^$' -bench Chain -benchtime 25x     # four minutes
//	go test -C bench/peers -run '^$' -bench Timers -benchtime 9x -timers.n 1000000     # three minutes
//	go test -C bench/peers -run '^$' -bench Datagrams -benchtime 25x -answer.n 100000   # five minutes
//	go test -C bench/peers -run '^$' -bench 'Sweep|Flood' -benchtime 9x -flood.n 300000   # three minutes
//	go test -C bench/peers -run '^$' -bench Scan -benchtime 5x -scan.n 65536       # three minutes
//	go test -C bench/peers -run '^$' -bench InFlight -benchtime 3x                 # a minute
//	go test -C bench/peers -run '^$' -bench Steady -benchtime 5x -steady.time 10s  # six minutes
//	go test -C bench/peers -run '^$' -bench 'Server|Loops|Trip|Rules' -benchtime 25x -answer.n 100000   # six minutes
//	go test -C bench/peers -run '^$' -bench Sweep -benchtime 3x -sweep.n 1048576   # two minutes
//	go test -C bench/peers -run '^$' -bench Sweep -benchtime 1x -sweep.n 16777215 -timeout 1h   # ten minutes
//
// It is a module of its own, for it compiles the programs in c/ with gcc.
// What is not installed is left out and named with its Debian packages; all
// comes with
//
//	apt-get install gcc libc6-dev libev-dev libevent-dev fping iputils-ping nmap masscan zmap
//
// A line is a contestant, and the number behind its name is of pairs of rounds,
// one of the contestant beside one of libev, so that what slows the machine
// down for a while slows down both:
//
//		libev: 4.33, gcc 12.2.0 -std=gnu11 -O2 -pthread -DLIBEV -lev
//		bare-c: epoll, gcc 12.2.0 -std=gnu11 -O2 -pthread
//		BenchmarkChain/n=100/active=1/loop=iomux/calls=raw-2       50  2146 cpu-ns/event  2146 ns/event   1.022 x-libev   1.020 x-libev-cpu  0.9159 x-libev-p10   1.111 x-libev-p90
//		BenchmarkChain/n=100/active=1/loop=bare-go/calls=raw-2     50  2038 cpu-ns/event  2010 ns/event  0.9791 x-libev  0.9963 x-libev-cpu  0.8726 x-libev-p10   1.147 x-libev-p90
//		BenchmarkChain/n=100/active=1/loop=libev-2                 25  2180 cpu-ns/event  2212 ns/event   1.002 x-libev  0.9997 x-libev-cpu  0.8595 x-libev-p10   1.145 x-libev-p90
//		BenchmarkTimers/job=stop/loop=iomux-2                       7  11.33 cpu-ns/timer  11.29 ns/timer  0.2032 x-libev  0.2044 x-libev-cpu  0.1911 x-libev-p10  0.2227 x-libev-p90
//
//	  - ns/event: the median round, divided by its events; cpu-ns/event: the time
//	    on processors of the whole process, garbage collection included.
//	  - x-libev: the median of the ratios of the pairs, below 1 where the
//	    contestant is the faster; x-libev-p10 and x-libev-p90: their spread.
//	  - x-libev-cpu: the same of processor time, which other processes disturb
//	    less.
//
// The lines of loop=libev compare libev with itself in a second process: how far
// they are from 1 is what the machine makes of equals.
//
// # Chain
//
// A byte in some of n pipes; the callback of a readable pipe takes the byte and
// writes one into the next pipe, 50,000 times in a round. An event is a wait's
// share, a dispatch, a read and nearly always a write. In Go the two calls are
// either raw (right for descriptors that do not block) or plain (unix.Read,
// unix.Write). What is set up, and the first bytes, are outside the clock.
//
//   - libev, libevent: a watcher of each pipe that stays, on epoll(7); libevent with
//     its defaults and without locks.
//   - bare-c, bare-go: epoll_wait with room for 128 events, a table of callbacks, and
//     nothing else.
//   - goroutines: no loop of one's own. The pipes are those of os.Pipe, and a goroutine
//     for each waits in Read for the runtime's poller, on all processors. There the
//     first bytes are inside the clock.
//
// The goroutines are not locked to threads, as they would not be in use. The
// programs in C have a second, idle thread, because in a process with one thread
// the kernel looks descriptors up faster, and libc's read and write skip their
// checks for cancellation; no Go process has one. With a single thread libev takes
// 2 to 10 % less.
//
// # Timers
//
// -timers.n timers, due at random within a second, the same for all loops; but for fire an
// hour later, so that none is due within a round. libevent
// has its precise clock (EVENT_BASE_FLAG_PRECISE_TIMER), as its own stands still for
// milliseconds.
//
//   - new: they are allocated and armed: AfterFunc, and malloc with
//     ev_timer_start or evtimer_add.
//   - arm: those that exist are armed: Reset, ev_timer_start, evtimer_add.
//   - fire: the loop runs when all are due.
//   - reset: all that are armed are moved to other times: Reset,
//     ev_timer_again, evtimer_add.
//   - stop: all are stopped, in the order in which they were armed.
//
// All but fire is done in a callback of iomux's loop, and the time goes on until
// the loop is ready to wait, as it puts off some of the work until then. It looks
// at the clock once at the end of the turn and is never early. libev and libevent count
// from the time at which their turn began and are early by what the turn has taken since;
// the lines of loop=libev-now and loop=libevent-now ask them to look at the clock before
// each timer (ev_now_update, event_base_update_cache_time), which is what never being
// early costs there.
//
// # Probers
//
// Each round is a process, from its start to its end, in a network namespace made for
// the benchmark; every request has to be answered, or the benchmark fails. Only of the
// lines with %lost some may be lost. Beside what is told above there are
//
//   - MB: the resident size at its peak (10^6 bytes), the median of the rounds.
//   - ns-rtt: the average round-trip time, as the prober says; those of fping and ping are
//     not read.
//   - %core: the processor time of a probe at the rate of the benchmark, also where a
//     prober does not keep that rate.
//   - %lost: what was not answered of what was sent.
//   - x-fping-cpu-p10 and so on: the spread of the ratios of processor time. On a
//     machine with other work it is narrower than that of the others.
//
// All rounds count, from the first one on, as each is a process of its own. Of an odd number
// of them the median is a round.
//
// On a machine that had other work:
//
//	BenchmarkSweep/n=65534/prober=echo-2      7  21.16 MB   9747 cpu-ns/probe  2631 ns-rtt  0.8049 x-fping  0.7266 x-fping-cpu  0.6962 x-fping-cpu-p10  0.8131 x-fping-cpu-p90
//	BenchmarkSweep/n=65534/prober=bare-c-2    7  2.302 MB   7692 cpu-ns/probe  2322 ns-rtt  0.6545 x-fping  0.6170 x-fping-cpu  0.5831 x-fping-cpu-p10  0.6342 x-fping-cpu-p90
//	BenchmarkSweep/n=262144/prober=echo-2     7  32.44 MB   8814 cpu-ns/probe  2412 ns-rtt   1.079 x-bare-c  1.094 x-bare-c-cpu  1.055 x-bare-c-cpu-p10  1.199 x-bare-c-cpu-p90
//	BenchmarkFlood/prober=echo-2              7  22.89 MB   8710 cpu-ns/probe  2229 ns-rtt   1.042 x-ping   1.058 x-ping-cpu   1.036 x-ping-cpu-p10   1.090 x-ping-cpu-p90
//	BenchmarkSteady/n=4096/prober=echo-2      2  21.45 MB  22946 cpu-ns/probe  3951 ns-rtt  9.399 %core     0.4590 x-fping-cpu  0.3568 x-fping-cpu-p10  0.4590 x-fping-cpu-p90
//	BenchmarkInFlight-2                       7  32.32 MB  61.91 B/probe
//
// and on one that was overloaded, where the processor time beside the reference still
// tells something:
//
//	BenchmarkSweep/n=65534/prober=x-net-2           2  11.87 MB  11985 cpu-ns/probe      581542 ns-rtt  1.024 x-fping-cpu
//	BenchmarkSteady/n=4096/prober=x-net-2           1  11.20 MB  35962 cpu-ns/probe       44483 ns-rtt  0.7016 x-fping-cpu  14.73 %core
//	BenchmarkSteady/n=4096/prober=pro-bing-2        1  70.33 MB  692675 cpu-ns/probe 1420266966 ns-rtt  14.42 x-fping-cpu   283.7 %core  21.85 %lost
//	BenchmarkSteady/n=4096/prober=pro-bing-udp-2    1  131.2 MB  188078 cpu-ns/probe   23399054 ns-rtt  3.788 x-fping-cpu   77.04 %core      0 %lost
//	BenchmarkSteady/n=256/prober=echo-2             2  19.56 MB  108878 cpu-ns/probe       7678 ns-rtt  1.354 x-fping-cpu   2.787 %core
//	BenchmarkSteady/n=256/prober=pro-bing-2         2  15.80 MB  736699 cpu-ns/probe     489800 ns-rtt  7.513 x-fping-cpu   18.86 %core      0 %lost
//	BenchmarkFlood/prober=pro-bing-2                2  12.40 MB  20891 cpu-ns/probe    15045633 ns-rtt  2.373 x-ping-cpu   70.56 %lost
//	BenchmarkFlood/prober=nping-2                   2  11.07 MB  19632 cpu-ns/probe        4000 ns-rtt  2.302 x-ping-cpu       0 %lost
//	BenchmarkScan/n=32768/prober=echo-2             3  21.31 MB  13530 cpu-ns/probe        3574 ns-rtt  1.293 x-bare-c-cpu
//	BenchmarkScan/n=32768/prober=fping-2            3  18.32 MB  36266 cpu-ns/probe                     3.451 x-bare-c-cpu
//	BenchmarkScan/n=32768/prober=masscan-2          3  44.49 MB  19513 cpu-ns/probe                     1.585 x-bare-c-cpu  28.32 %lost
//	BenchmarkScan/n=32768/prober=zmap-2             3  6.234 MB  23077 cpu-ns/probe                     1.993 x-bare-c-cpu  0.0061 %lost
//
// Sweep sends a request to each of n addresses of 127.0.0.0/8 and waits for all the
// replies, as fast as that goes: fping -q -r0 -i0, and echo client --flood. fping cannot
// tell more than 65,535 requests apart, so that from there on the reference is bare-c,
// whose socket has the filters, receive buffer, time stamps and error reports of
// echo client's. -sweep.n says which n; 1048576 and 16777215, which is 127.0.0.0/8 but for
// its last address, take long.
//
// Flood sends -flood.n requests to one address: ping -f waits for a reply before it sends
// the next one, or for 10 ms, and the others do not. ping takes the time of sending
// from its own clock. The kernel's time stamps of sending, which the others use, are
// a seventh of what bare-c takes.
//
// Steady sends a request a second to each of 4,096 addresses over a veth(4) to a kernel
// that answers, for -steady.time. fping, x-net and pro-bing send evenly, one request each
// 244 us; echo client and bare-c send the 64 of 16 ms together, so that a part of
// what they take less is of waking up and calling less often. fping-burst is fping without an interval
// between targets (-i0), which sends the 4,096 at once and then sleeps. The lines of
// n=256 do the same with 256 addresses, and those of n=1 send as many requests as to the
// 4,096 to a single one, one at a time.
//
// x-net is the prober that one writes by hand in Go: a PacketConn of
// golang.org/x/net/icmp, a goroutine that sends, one that receives, and a map. It has
// the kernel's filter for types, and at most 128 requests in flight, for which the
// default receive buffer is enough. pro-bing has a Pinger for each target, as its users
// have it, with a raw socket and a filter each, or with a ping socket each
// (pro-bing-udp); they start evenly. The kernel offers each reply to all the raw
// sockets, and each Pinger wakes up ten times a second or more for nothing, so that 256
// targets suit it better than 4,096, where it does not keep the rate. In Flood its
// Interval is a nanosecond. There it sends a third of the requests, as does
// nping, and neither waits for replies; the second that pro-bing then waits for those
// that are lost is in its ns/probe.
//
// Scan sends a request to each of -scan.n addresses over a veth(4), all probers at
// -scan.rate, for masscan and zmap build frames themselves and do not wait for replies.
// These two start and end with waits that cannot be switched off (masscan --wait 0; zmap
// -c 1, as with 0 replies are lost), so that only their processor time can be compared. Of
// that their start is a part: more addresses tell more. They do less: they take no
// round-trip times, and send 48 bytes of data (masscan) or 20 (zmap) where the others
// send 56. masscan has room for some 200 packets, which is not enough where it does not
// get a processor for 10 ms, and what is lost costs it nothing more.
//
// InFlight has 262,144 requests in flight, which nobody answers. B/probe is what
// each takes of the resident size.
//
// # Servers
//
// Each server has a network namespace of its own, where the kernel answers nothing, and
// the first processor; a program in C on the last one sends it -answer.n requests of 56
// bytes of data in a round, compares every reply with what it has to be, byte for byte,
// and does not sleep while 256 are outstanding, so that no server pays for waking it. The
// time on processors is the server's, from the first request of a round until it has
// come to rest, and replies/cpu-s how many there are to a second of it.
//
//   - lesson: an epoll_wait, a recvfrom and a sendto for each packet on a raw socket,
//     which is spared its own replies by a filter.
//   - batch: a recvmmsg and a sendmmsg for up to 32 packets on a raw socket. Replies leave
//     from the address that their request was sent to (IP_PKTINFO). batch-bare goes
//     without, and is right for a host with one address only.
//   - tun: a read and a write for each packet on a TUN device.
//   - echo: echo server, on a raw socket (Raw) or on a TUN device for 10.0.0.0/8 (TUN),
//     all of whose addresses are asked in turn.
//
// Server compares what a reply costs. Loops has two loops beside one, both on all
// processors: what a reply costs should be the same, and how many there are in a second
// tells something from four processors up, as the client needs one. RoundTrip has one
// request outstanding; with spin=50us neither echo server nor its client sleeps before
// nothing has come for that long, and the lesson with its client is as it always is.
// Rules answers on a TUN device by a file of 100,000 rules, one for each 128 addresses,
// beside a file of one. All addresses are asked in turn, so that what a rule takes is
// hardly ever in a cache.
//
// # Datagrams
//
// A UDP echo server (RFC 862) on the loopback interface, in place and measured as the
// servers above; a datagram has 56 bytes, and all sockets have room for the same number of them. With outstanding=256 the client does not sleep,
// and what counts is processor time; with outstanding=1 it sleeps, and what counts is the
// round trip.
//
//   - gnet: one event loop, with an epoll_wait, a recvfrom, a getsockopt and a sendto for
//     each datagram. It serves sockets of TCP, UDP and unix(7) that it has opened, neither
//     pipes nor raw sockets, so that this is where it can be compared. It is the reference,
//     as the framework that one would take instead.
//   - iomux: transport/udp on mux/loop, a recvmmsg and a sendmmsg for up to 32 datagrams.
//     Unlike the others it is told for each where it was sent to, when, and with which
//     TTL and TOS, and answers from that address.
//   - goroutine: net.UDPConn, ReadFromUDPAddrPort and WriteToUDPAddrPort.
//   - bare-c: epoll_wait, a recvmmsg and a sendmmsg for up to 32 datagrams, in C.
//   - bare-c-single: epoll_wait, a recvfrom and a sendto for each datagram, in C.
package peers

// goping PROBER FIRST TARGETS COUNT GAP sends COUNT echo requests of 56 bytes of data to
// each of so many IPv4 addresses from FIRST on, one every GAP, or with GAP 0 as fast as
// PROBER goes: x-net, pro-bing or pro-bing-udp. It prints how many were sent and how many
// were answered, and the average round-trip time in nanoseconds, 0 if there is none.
package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"
)

const (
	data     = 56          // bytes
	patience = time.Second // without a reply, after which the rest is lost
)

type load struct {
	first          net.IP // of 4 bytes
	targets, count int
	gap            time.Duration
}

func (l load) target(i int) net.IP {
	ip := append(net.IP(nil), l.first...)
	for at := len(ip) - 1; i > 0 && at >= 0; at-- {
		i += int(ip[at])
		ip[at], i = byte(i), i>>8
	}
	return ip
}

// result is what became of a load.
type result struct {
	sent, answered int
	sum            time.Duration // of the round-trip times
}

var probers = map[string]func(load) (result, error){
	"x-net":        sendAndReceive,
	"pro-bing":     func(l load) (result, error) { return runPingers(l, true) },
	"pro-bing-udp": func(l load) (result, error) { return runPingers(l, false) },
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "goping:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 5 || probers[args[0]] == nil {
		return fmt.Errorf("%q: want PROBER FIRST TARGETS COUNT GAP, the first one of x-net, pro-bing and pro-bing-udp", args)
	}
	first, err := netip.ParseAddr(args[1])
	if err != nil || !first.Is4() {
		return fmt.Errorf("FIRST %q: want an IPv4 address", args[1])
	}
	l := load{first: first.AsSlice()}
	for i, n := range []*int{&l.targets, &l.count} {
		if *n, err = strconv.Atoi(args[2+i]); err != nil || *n < 1 || *n > 1<<24 {
			return fmt.Errorf("%s %q: want a number from 1 to %d", []string{"TARGETS", "COUNT"}[i], args[2+i], 1<<24)
		}
	}
	if l.targets > 1<<24/l.count {
		return fmt.Errorf("TARGETS %d, COUNT %d: want up to %d requests", l.targets, l.count, 1<<24)
	}
	if l.gap, err = time.ParseDuration(args[4]); err != nil || l.gap < 0 {
		return fmt.Errorf("GAP %q: want a duration such as 250us, or 0s", args[4])
	}
	r, err := probers[args[0]](l)
	if err == nil {
		fmt.Println(r.sent, r.answered, int64(r.sum)/int64(max(r.answered, 1)))
	}
	return err
}

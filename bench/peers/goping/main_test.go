package main

import (
	"net/netip"
	"strings"
	"testing"
)

// Targets follow one another beyond the last byte.
func TestTarget(t *testing.T) {
	l := load{first: netip.MustParseAddr("10.8.255.254").AsSlice()}
	for i, want := range map[int]string{0: "10.8.255.254", 1: "10.8.255.255", 2: "10.9.0.0", 259: "10.9.1.1", 1 << 24: "11.8.255.254"} {
		if got := l.target(i).String(); got != want {
			t.Errorf("target %d is %s; want %s", i, got, want)
		}
	}
}

func TestBadArguments(t *testing.T) {
	for args, want := range map[string]string{
		"":                             "want PROBER FIRST TARGETS COUNT GAP",
		"ping 127.0.0.1 1 1 0s":        "one of x-net, pro-bing and pro-bing-udp",
		"x-net ::1 1 1 0s":             "want an IPv4 address",
		"x-net localhost 1 1 0s":       "want an IPv4 address",
		"x-net 127.0.0.1 0 1 0s":       `TARGETS "0": want a number from 1 to 16777216`,
		"x-net 127.0.0.1 1 many 0s":    `COUNT "many": want a number`,
		"x-net 127.0.0.1 4097 4096 0s": "TARGETS 4097, COUNT 4096: want up to 16777216 requests",
		"x-net 127.0.0.1 1 1 250":      `GAP "250": want a duration such as 250us`,
		"x-net 127.0.0.1 1 1 -1s":      `GAP "-1s": want a duration`,
	} {
		if err := run(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", args, err, want)
		}
	}
}

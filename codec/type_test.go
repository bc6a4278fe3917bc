package codec_test

import (
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"iomux/codec"
)

func TestTypeNumbersAreThoseOfIANA(t *testing.T) {
	for typ, want := range map[codec.Type]struct{ v4, v6 int }{
		0:                            {-1, -1},
		codec.EchoRequest:            {int(ipv4.ICMPTypeEcho), int(ipv6.ICMPTypeEchoRequest)},
		codec.EchoReply:              {int(ipv4.ICMPTypeEchoReply), int(ipv6.ICMPTypeEchoReply)},
		codec.DestinationUnreachable: {int(ipv4.ICMPTypeDestinationUnreachable), int(ipv6.ICMPTypeDestinationUnreachable)},
		codec.PacketTooBig:           {-1, int(ipv6.ICMPTypePacketTooBig)},
		codec.TimeExceeded:           {int(ipv4.ICMPTypeTimeExceeded), int(ipv6.ICMPTypeTimeExceeded)},
		codec.ParameterProblem:       {int(ipv4.ICMPTypeParameterProblem), int(ipv6.ICMPTypeParameterProblem)},
		codec.Redirect:               {int(ipv4.ICMPTypeRedirect), int(ipv6.ICMPTypeRedirect)},
		codec.SourceQuench:           {4, -1},
		codec.TimestampRequest:       {int(ipv4.ICMPTypeTimestamp), -1},
		codec.TimestampReply:         {int(ipv4.ICMPTypeTimestampReply), -1},
		codec.ExtendedEchoRequest:    {int(ipv4.ICMPTypeExtendedEchoRequest), int(ipv6.ICMPTypeExtendedEchoRequest)},
		codec.ExtendedEchoReply:      {int(ipv4.ICMPTypeExtendedEchoReply), int(ipv6.ICMPTypeExtendedEchoReply)},
		13:                           {-1, -1},
		255:                          {-1, -1},
	} {
		if typ.NumberV4() != want.v4 || typ.NumberV6() != want.v6 {
			t.Errorf("%v: %d and %d, want %+v", typ, typ.NumberV4(), typ.NumberV6(), want)
		}
	}
}

func TestTypeNames(t *testing.T) {
	for _, test := range []struct {
		got, want string
	}{
		{codec.EchoRequest.String(), "echo request"},
		{codec.ExtendedEchoReply.String(), "extended echo reply"},
		{codec.Type(0).String(), "Type(0)"},
		{codec.Type(13).String(), "Type(13)"},
		{codec.EchoRequest.NameV4(0), "echo request"},
		{codec.EchoReply.NameV4(7), "echo reply, code 7"},
		{codec.DestinationUnreachable.NameV4(codec.PortUnreachableV4), "port unreachable"},
		{codec.DestinationUnreachable.NameV4(codec.FragmentationNeededV4), "fragmentation needed and DF set"},
		{codec.DestinationUnreachable.NameV4(15), "precedence cutoff in effect"},
		{codec.DestinationUnreachable.NameV4(16), "destination unreachable, code 16"},
		{codec.DestinationUnreachable.NameV6(codec.NoRouteV6), "no route to destination"},
		{codec.DestinationUnreachable.NameV6(codec.PortUnreachableV6), "port unreachable"},
		{codec.DestinationUnreachable.NameV6(8), "headers too long"},
		{codec.DestinationUnreachable.NameV6(9), "destination unreachable, code 9"},
		{codec.TimeExceeded.NameV4(codec.HopLimitExceeded), "time to live exceeded in transit"},
		{codec.TimeExceeded.NameV6(codec.ReassemblyTimeExceeded), "fragment reassembly time exceeded"},
		{codec.ParameterProblem.NameV4(1), "missing a required option"},
		{codec.ParameterProblem.NameV6(10), "option too big"},
		{codec.Redirect.NameV4(3), "redirect for the type of service and host"},
		{codec.Redirect.NameV6(0), "redirect"},
		{codec.PacketTooBig.NameV6(0), "packet too big"},
		{codec.ExtendedEchoReply.NameV6(2), "no such interface"},
		{codec.Type(0).NameV4(0), "Type(0)"},
		{codec.Type(99).NameV6(1), "Type(99), code 1"},
		{codec.Whole.String(), "whole"},
		{codec.Atomic.String(), "atomic fragment"},
		{codec.First.String(), "first fragment"},
		{codec.Later.String(), "later fragment"},
		{codec.Fragment(4).String(), "Fragment(4)"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

func TestTimestamp(t *testing.T) {
	noon := time.Date(2026, 11, 23, 13, 4, 5, 678_900_000, time.FixedZone("", 3600))
	if got := codec.TimestampOf(noon); got != 43_445_678 || got.String() != "12:04:05.678" {
		t.Errorf("%d, %v", uint32(got), got)
	}
	early := time.Date(2026, 11, 23, 0, 30, 0, 0, time.FixedZone("", 3600)) // on another day than in UT
	if got := codec.TimestampOf(early); got.String() != "23:30:00.000" {
		t.Errorf("%d, %v", uint32(got), got)
	}
	for _, test := range []struct {
		t    codec.Timestamp
		d    time.Duration
		ok   bool
		text string
	}{
		{0, 0, true, "00:00:00.000"},
		{86_399_999, 24*time.Hour - time.Millisecond, true, "23:59:59.999"},
		{86_400_999, 24*time.Hour + 999*time.Millisecond, true, "24:00:00.999"}, // a leap second
		{86_401_000, 0, false, "0x05265fe8"},
		{1 << 31, 0, false, "0x80000000"},
		{1<<32 - 1, 0, false, "0xffffffff"},
	} {
		if d, ok := test.t.SinceMidnight(); d != test.d || ok != test.ok || test.t.String() != test.text {
			t.Errorf("%d: %v, %t, %v", uint32(test.t), d, ok, test.t)
		}
	}
}

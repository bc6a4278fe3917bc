package report_test

import (
	"net/netip"
	"os"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/report"
	"iomux/apps/echo/prober/stats"
)

func ExampleNewPing() {
	host := netip.MustParseAddr("192.0.2.1")
	results := []prober.Result{
		{Addr: host, Number: 1, Last: true, RTT: 14 * time.Microsecond, Clock: prober.Kernel, From: host, TTL: 64, Size: 64},
		{Addr: host, Number: 2, Last: true, Outcome: stats.Timeout},
	}
	out := report.NewPing(os.Stdout, report.Options{})
	out.Begin(&report.Run{Size: 56, Clock: prober.Kernel})
	for i := range results {
		if err := out.Result(&results[i]); err != nil {
			return
		}
	}
	var target stats.Target // that of the prober
	target.Sent()
	target.Answer(stats.Reply, 14*time.Microsecond)
	target.Sent()
	target.Count(stats.Timeout)
	out.Summary(&report.Summary{Elapsed: 2 * time.Second, Total: target.Summary()})
	// Output:
	// PING 192.0.2.1 (192.0.2.1) 56(84) bytes of data.
	// 64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.014 ms
	// no answer for icmp_seq=2: timed out
	//
	// --- 192.0.2.1 ping statistics ---
	// 2 packets transmitted, 1 received, 50% packet loss, time 2000ms
	// rtt min/avg/max/mdev = 0.014/0.014/0.014/0.000 ms, p50/p90/p99/p99.9 0.014/0.014/0.014/0.014 ms, jitter 0.000 ms, kernel clock
}

func ExampleNewList() {
	out := report.NewList(os.Stdout, report.Options{})
	out.Begin(&report.Run{Count: 1})
	out.Result(&prober.Result{Addr: netip.MustParseAddr("192.0.2.1"), Number: 1, Last: true, RTT: 35 * time.Microsecond, Clock: prober.Kernel})
	out.Result(&prober.Result{Addr: netip.MustParseAddr("192.0.2.2"), Number: 1, Last: true, Outcome: stats.Timeout})
	out.Flush()
	// Output:
	// 192.0.2.1 is alive (0.035 ms)
	// 192.0.2.2 is unreachable
}

func ExampleNewJSON() {
	now := func() time.Time { return time.Date(2024, 5, 17, 12, 0, 0, 0, time.UTC) }
	out := report.NewJSON(os.Stdout, report.Options{Now: now})
	out.Result(&prober.Result{Name: "a\x1b[31m", Addr: netip.MustParseAddr("192.0.2.1"), Number: 1, Last: true, Outcome: stats.Timeout})
	out.Flush()
	// Output:
	// {"type":"result","version":1,"time":"2024-05-17T12:00:00.000000000Z","outcome":"timeout","target":0,"name":"a\u001b[31m","addr":"192.0.2.1","number":1,"try":0,"last":true}
}

func ExampleNewProgress() {
	bar := report.NewProgress(os.Stderr, nil, nil)
	out := report.NewList(bar.Over(os.Stdout), report.Options{FlushLines: true})
	out.Begin(&report.Run{Count: 1})
	bar.Update(1, 256)
	out.Result(&prober.Result{Addr: netip.MustParseAddr("192.0.2.2"), Number: 1, Last: true, Outcome: stats.Timeout})
	bar.Clear()
}

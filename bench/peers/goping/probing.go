package main

import (
	"time"

	probing "github.com/prometheus-community/pro-bing"
	"golang.org/x/sync/errgroup"
)

// runPingers has a Pinger for each target, with a raw socket or a ping socket of its
// own, as pro-bing is meant to be used. Where there is a gap they start one after the
// other, as those of smokeping_prober do, so that the requests are spread evenly.
func runPingers(l load, raw bool) (result, error) {
	pingers := make([]*probing.Pinger, l.targets)
	for i := range pingers {
		p, err := probing.NewPinger(l.target(i).String())
		if err != nil {
			return result{}, err
		}
		p.SetPrivileged(raw)
		p.Size, p.Count = data, l.count
		p.Interval = max(time.Duration(l.targets)*l.gap, 1)
		p.RecordRtts, p.RecordTTLs = false, false
		sent := 0
		p.OnSend = func(*probing.Packet) {
			if sent++; sent == l.count {
				time.AfterFunc(patience, p.Stop) // it would wait for ever
			}
		}
		pingers[i] = p
	}
	var all errgroup.Group
	start := time.Now()
	for i, p := range pingers {
		time.Sleep(time.Until(start.Add(time.Duration(i) * l.gap)))
		all.Go(p.Run)
	}
	if err := all.Wait(); err != nil {
		return result{}, err
	}
	var r result
	for _, p := range pingers {
		s := p.Statistics()
		r.sent += s.PacketsSent
		r.answered += s.PacketsRecv
		r.sum += s.AvgRtt * time.Duration(s.PacketsRecv)
	}
	return r, nil
}

package cmd

import (
	"fmt"
	"time"

	"iomux/apps/echo/prober"
)

// report prints what became of the probes, in the manner of ping(8).
type report struct {
	out     *output
	targets []host
	payload []byte
	quiet   bool
}

func (r *report) header(network, backend string) {
	for _, h := range r.targets {
		fmt.Fprintf(r.out, "PING %s (%v) %d bytes of data, on %s, multiplexer %s\n",
			h.name, h.addr, len(r.payload), network, backend)
	}
}

func (r *report) result(res prober.Result) {
	if r.quiet {
		return
	}
	h := r.targets[res.Target]
	switch res.Outcome {
	case prober.Timeout:
		fmt.Fprintf(r.out, "no reply from %v: icmp_seq=%d\n", h.addr, res.Seq)
		return
	case prober.SendError:
		fmt.Fprintf(r.out, "not sent to %v: icmp_seq=%d: %v\n", h.addr, res.Seq, res.Err)
		return
	}
	m := res.Message
	fmt.Fprintf(r.out, "%d bytes from %v: icmp_seq=%d ttl=%d time=%s ms",
		m.N, h.addr, res.Seq, m.TTL, milliseconds(res.RTT))
	switch res.Outcome {
	case prober.Duplicate:
		fmt.Fprint(r.out, " (DUP!)")
	case prober.Late:
		fmt.Fprint(r.out, " (late)")
	}
	if res.Altered {
		fmt.Fprintf(r.out, " other data: %s", text(res.Echo.Data))
	}
	fmt.Fprintln(r.out)
}

// summary prints the statistics and returns how many targets have answered.
func (r *report) summary(p *prober.Prober, took time.Duration) (answered int) {
	for i, h := range r.targets {
		s := p.Stats(i)
		fmt.Fprintf(r.out, "\n--- %s ping statistics ---\n", h.name)
		fmt.Fprintf(r.out, "%d packets transmitted, %d received", s.Sent, s.Received)
		for _, extra := range []struct {
			n    uint64
			what string
		}{
			{s.Duplicates, "duplicates"}, {s.Late, "late"}, {s.SendErrors, "not sent"}, {s.Altered, "with other data"},
		} {
			if extra.n > 0 {
				fmt.Fprintf(r.out, ", %d %s", extra.n, extra.what)
			}
		}
		if s.Received+s.Lost > 0 {
			fmt.Fprintf(r.out, ", %.4g%% packet loss", 100*s.Loss())
		}
		fmt.Fprintf(r.out, ", time %dms\n", took.Milliseconds())
		if s.Received > 0 {
			answered++
			fmt.Fprintf(r.out, "rtt min/avg/max/mdev = %s/%s/%s/%s ms\n",
				milliseconds(s.Min), milliseconds(s.Mean()), milliseconds(s.Max), milliseconds(s.Deviation()))
		}
	}
	if n := p.Corrupt(); n > 0 {
		fmt.Fprintf(r.out, "\n%d corrupt replies, not counted above: bad checksum, too short, or a code other than 0\n", n)
	}
	return answered
}

// milliseconds writes a duration as ping(8) does.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.3f", float64(d)/float64(time.Millisecond))
}

package peers

import (
	"regexp"
	"strconv"
	"time"
)

var (
	rawPackets = regexp.MustCompile(`Raw packets sent: (\d+) .*\| Rcvd: (\d+) `)
	averageRTT = regexp.MustCompile(`Avg rtt: ([0-9.]+ms)`)
)

// newNping looks for nping, of nmap, which sends to one address, at a rate that it
// cannot reach where there is no gap.
func newNping() (*prober, error) {
	about, err := nping.version("--version")
	return &prober{
		name: nping.name, about: about, loses: true,
		args: func(l load) []string {
			rate := int64(1_000_000)
			if l.gap > 0 {
				rate = int64(time.Second / l.gap)
			}
			return []string{"nping", "--icmp", "--data-length", "56", "-H", "-q1", // nothing of single packets
				"-c", strconv.Itoa(l.count), "--rate", strconv.FormatInt(rate, 10), l.first.String()}
		},
		parse: func(said []byte, _ load) (t tally, err error) {
			t, err = counts(said, rawPackets)
			if m := averageRTT.FindSubmatch(said); err == nil && m != nil { // else it is N/A
				t.rtt, err = time.ParseDuration(string(m[1]))
			}
			return t, err
		},
	}, err
}

package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"iomux/apps/echo/prober/report"
	"iomux/apps/echo/prober/stats"
)

// result is what the client says of one message or request. Numbers that are not known
// are nil. The names are those of report.Schema.
type result struct {
	Outcome stats.Outcome `json:"outcome"`
	Target  *int          `json:"target"`
	Number  uint64        `json:"number"`
	RTT     *int64        `json:"rtt_ns"`
	From    string        `json:"from"`
	Type    *int          `json:"icmp_type"`
	Code    *int          `json:"icmp_code"`
	TTL     *int          `json:"ttl"`
	TOS     *int          `json:"tos"`
	Size    *int          `json:"size_bytes"`
	MTU     *int          `json:"mtu_bytes"`
	Offset  *int          `json:"offset_bytes"`
}

// counts are those of a target, or of all.
type counts map[string]uint64

// countKeys are what is compared of them, in the order in which they are told.
var countKeys = func() []string {
	keys := []string{"sent", "in_flight"}
	for o := range stats.Outcomes {
		keys = append(keys, o.CountKey())
	}
	return keys
}()

// run is what the client says in all.
type run struct {
	results map[int][]result // by target, in their order
	targets map[int]counts
	total   counts
	elapsed float64 // seconds
	strays  []result
}

// readRun reads what the client has written.
func readRun(out []byte) (*run, error) {
	r := &run{results: map[int][]result{}, targets: map[int]counts{}}
	for line := range bytes.Lines(out) {
		var event struct {
			Kind    string `json:"type"`
			Version int    `json:"version"`
			Interim bool   `json:"interim"`
			result
		}
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("the client writes %q: %w", line, err)
		}
		if event.Version != report.Version {
			return nil, fmt.Errorf("the client writes version %d, want %d: %q", event.Version, report.Version, line)
		}
		switch {
		case event.Interim, event.Kind == "begin":
		case event.Kind == "result" && event.Target == nil:
			r.strays = append(r.strays, event.result)
		case event.Kind == "result":
			r.results[*event.Target] = append(r.results[*event.Target], event.result)
		case event.Kind == "target", event.Kind == "total":
			c, elapsed, err := readCounts(line)
			switch {
			case err != nil:
				return nil, fmt.Errorf("the client writes %q: %w", line, err)
			case event.Kind == "total":
				r.total, r.elapsed = c, elapsed
			case event.Target != nil:
				r.targets[*event.Target] = c
			}
		}
	}
	if r.total == nil {
		return nil, errors.New("the client has not written what all came to")
	}
	return r, nil
}

func readCounts(line []byte) (c counts, elapsed float64, err error) {
	var all map[string]any
	if err := json.Unmarshal(line, &all); err != nil {
		return nil, 0, err
	}
	c = counts{}
	for _, key := range append([]string{"stray"}, countKeys...) {
		n, ok := all[key].(float64)
		if !ok && key != "stray" {
			return nil, 0, fmt.Errorf("there is no %s", key)
		}
		c[key] = uint64(n)
	}
	elapsed, _ = all["elapsed_ns"].(float64)
	return c, elapsed / 1e9, nil
}

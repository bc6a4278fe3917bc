package stats

import (
	"fmt"
	"strconv"
	"strings"
)

// Outcome is what became of a probe, or what a message that ended none turned out
// to be.
type Outcome uint8

const (
	// Reply: the target answered in time, complete and unaltered.
	Reply Outcome = iota
	// Reordered: the same, but after the answer to a later probe of the target.
	Reordered
	// Corrupt: the answer has a bad checksum, a code other than 0 or altered data.
	Corrupt
	// Truncated: the answer has less data than was sent.
	Truncated
	// ICMPError: a router or the target reported an ICMP error instead.
	ICMPError
	// SendError: the probe did not leave this host.
	SendError
	// LocalDrop: no answer in time, and this host dropped packets meanwhile.
	LocalDrop
	// Timeout: no answer in time, and nothing tells why.
	Timeout

	// The following end no probe.

	// Duplicate: a further answer to a probe that was answered.
	Duplicate
	// Late: an answer to a probe that had been given up.
	Late
	// WrongSource: a genuine answer, from an address that was not probed.
	WrongSource
	// Forged: an answer to a probe that was never sent.
	Forged

	// Outcomes is how many there are: for o := range stats.Outcomes.
	Outcomes
)

// names holds for each outcome its text, and the names by which programs know one
// of the kind and their number.
var names = [Outcomes]struct{ text, key, count string }{
	Reply:       {"reply", "reply", "replies"},
	Reordered:   {"reordered", "reordered", "reordered"},
	Corrupt:     {"corrupt", "corrupt", "corrupt"},
	Truncated:   {"truncated", "truncated", "truncated"},
	ICMPError:   {"icmp error", "icmp_error", "icmp_errors"},
	SendError:   {"send error", "send_error", "send_errors"},
	LocalDrop:   {"local drop", "local_drop", "local_drops"},
	Timeout:     {"timeout", "timeout", "timeouts"},
	Duplicate:   {"duplicate", "duplicate", "duplicates"},
	Late:        {"late", "late", "late"},
	WrongSource: {"wrong source", "wrong_source", "wrong_source"},
	Forged:      {"forged", "forged", "forged"},
}

// String returns the outcome as people read it, such as "icmp error".
func (o Outcome) String() string {
	if o >= Outcomes {
		return "Outcome(" + strconv.Itoa(int(o)) + ")"
	}
	return names[o].text
}

// Key returns the outcome as programs read it, such as "icmp_error".
func (o Outcome) Key() string {
	if o >= Outcomes {
		return o.String()
	}
	return names[o].key
}

// CountKey returns the name under which programs read how many there were, such as
// "icmp_errors". Conditions know it by the same name.
func (o Outcome) CountKey() string {
	if o >= Outcomes {
		return o.String()
	}
	return names[o].count
}

// Final says whether the outcome ends a probe. Each probe has one such outcome.
func (o Outcome) Final() bool { return o <= Timeout }

// ParseOutcome returns the outcome with the given Key. The error lists them all.
func ParseOutcome(key string) (Outcome, error) {
	known := make([]string, Outcomes)
	for o := range Outcomes {
		if names[o].key == key {
			return o, nil
		}
		known[o] = names[o].key
	}
	return 0, fmt.Errorf("stats: outcome %q is unknown; there are %s", key, strings.Join(known, ", "))
}

// MarshalText returns the Key. It fails for a number that is no outcome.
func (o Outcome) MarshalText() ([]byte, error) {
	if o >= Outcomes {
		return nil, fmt.Errorf("stats: %v is no outcome; the last is %d", o, Outcomes-1)
	}
	return []byte(names[o].key), nil
}

// UnmarshalText is ParseOutcome.
func (o *Outcome) UnmarshalText(key []byte) (err error) {
	parsed, err := ParseOutcome(string(key))
	if err == nil {
		*o = parsed
	}
	return err
}

package stats_test

import (
	"encoding/json"
	"testing"

	"iomux/apps/echo/prober/stats"
)

func TestOutcomeNames(t *testing.T) {
	names := [stats.Outcomes]struct {
		text, key, count string
		final            bool
	}{
		stats.Reply:       {"reply", "reply", "replies", true},
		stats.Reordered:   {"reordered", "reordered", "reordered", true},
		stats.Corrupt:     {"corrupt", "corrupt", "corrupt", true},
		stats.Truncated:   {"truncated", "truncated", "truncated", true},
		stats.ICMPError:   {"icmp error", "icmp_error", "icmp_errors", true},
		stats.SendError:   {"send error", "send_error", "send_errors", true},
		stats.LocalDrop:   {"local drop", "local_drop", "local_drops", true},
		stats.Timeout:     {"timeout", "timeout", "timeouts", true},
		stats.Duplicate:   {"duplicate", "duplicate", "duplicates", false},
		stats.Late:        {"late", "late", "late", false},
		stats.WrongSource: {"wrong source", "wrong_source", "wrong_source", false},
		stats.Forged:      {"forged", "forged", "forged", false},
	}
	for o, want := range names {
		o := stats.Outcome(o)
		if o.String() != want.text || o.Key() != want.key || o.CountKey() != want.count || o.Final() != want.final {
			t.Errorf("%d: %q, %q, %q, final %t, want %v", o, o, o.Key(), o.CountKey(), o.Final(), want)
		}
		if got, err := stats.ParseOutcome(want.key); got != o || err != nil {
			t.Errorf("ParseOutcome(%q) = %v, %v", want.key, got, err)
		}
		text, err := json.Marshal(map[stats.Outcome]stats.Outcome{o: o})
		if want := `{"` + want.key + `":"` + want.key + `"}`; err != nil || string(text) != want {
			t.Errorf("JSON %s, %v, want %s", text, err, want)
		}
		var back map[stats.Outcome]stats.Outcome
		if err := json.Unmarshal(text, &back); err != nil || len(back) != 1 || back[o] != o {
			t.Errorf("%s is read as %v, %v", text, back, err)
		}
	}
}

func TestOutcomesThatAreNone(t *testing.T) {
	for _, o := range []stats.Outcome{stats.Outcomes, 255} {
		want := "Outcome(12)"
		if o == 255 {
			want = "Outcome(255)"
		}
		if o.String() != want || o.Key() != want || o.CountKey() != want || o.Final() {
			t.Errorf("%q, %q, %q, final %t, want %s", o, o.Key(), o.CountKey(), o.Final(), want)
		}
		text, err := o.MarshalText()
		if want := "stats: " + want + " is no outcome; the last is 11"; text != nil || err == nil || err.Error() != want {
			t.Errorf("MarshalText = %q, %v, want %s", text, err, want)
		}
	}
	for _, key := range []string{"", "icmp error", "Reply", "replies"} {
		want := `stats: outcome "` + key + `" is unknown; there are reply, reordered, corrupt, truncated, ` +
			`icmp_error, send_error, local_drop, timeout, duplicate, late, wrong_source, forged`
		if _, err := stats.ParseOutcome(key); err == nil || err.Error() != want {
			t.Errorf("ParseOutcome(%q): %v, want %s", key, err, want)
		}
		o := stats.Late
		if err := o.UnmarshalText([]byte(key)); err == nil || err.Error() != want || o != stats.Late {
			t.Errorf("UnmarshalText(%q): %v, %v", key, o, err)
		}
	}
}

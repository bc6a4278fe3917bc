package report

import (
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
)

func TestCSV(t *testing.T) {
	s := script{
		run: Run{Targets: hosts{{Addr: one}}},
		results: []prober.Result{
			with(reply(1, 55*micro), func(r *prober.Result) { r.TOS = 184 }),
			with(silence(stats.Timeout, 1), func(r *prober.Result) {
				r.Target, r.Name, r.Addr, r.Try, r.Last = 2, "www.example.com", six, 1, false
			}),
			with(refused(2, 3, 4), func(r *prober.Result) { r.MTU = 1400 }),
			with(reply(2, 47*micro), func(r *prober.Result) {
				r.Outcome, r.Offset, r.Err, r.Clock = stats.Corrupt, 0, errAltered, prober.User
			}),
			{Outcome: stats.Forged, Target: prober.NoTarget, From: router, Size: 12, TTL: 3, Number: 9, Name: "x", Addr: one},
		},
		summaries: []Summary{{Interim: true}, {}},
	}
	golden(t, s.play(t, NewCSV), `
		time,outcome,target,name,addr,number,try,last,rtt_ns,clock,from,icmp_type,icmp_code,ttl,tos,size_bytes,mtu_bytes,offset_bytes,error
		2024-05-17T12:00:00.123456789Z,reply,0,,192.0.2.1,1,0,true,55000,kernel,192.0.2.1,0,0,64,184,64,,,
		2024-05-17T12:00:00.123456789Z,timeout,2,www.example.com,2001:db8::1,1,1,false,,,,,,,,,,,
		2024-05-17T12:00:00.123456789Z,icmp_error,0,,192.0.2.1,2,0,true,,,198.51.100.9,3,4,,,,1400,,
		2024-05-17T12:00:00.123456789Z,corrupt,0,,192.0.2.1,2,0,true,47000,user,192.0.2.1,0,0,64,0,64,,0,altered data
		2024-05-17T12:00:00.123456789Z,forged,,,,,,,,,198.51.100.9,0,0,3,0,12,,,
		`)
}

// The columns are the keys of JSON.
func TestCSVHasTheKeysOfJSON(t *testing.T) {
	type object struct {
		Properties map[string]any `json:"properties"`
	}
	var schema struct {
		Defs map[string]object `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(Schema), &schema); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		columns []string
		events  []string
		without []string // keys that are no column
	}{
		{resultColumns, []string{"event", "result"}, []string{"type", "version"}},
		{targetColumns, []string{"event", "target", "statistics"}, []string{"type", "version", "interim"}},
		{slices.Concat(targetColumns, totalColumns), []string{"event", "target", "total", "statistics"}, []string{"type", "version", "interim"}},
	} {
		keys := map[string]bool{}
		for _, event := range c.events {
			for key := range schema.Defs[event].Properties {
				keys[key] = true
			}
		}
		for _, key := range slices.Concat(c.columns, c.without) {
			if !keys[key] {
				t.Errorf("%v have no key %q", c.events, key)
			}
			delete(keys, key)
		}
		for key := range keys {
			t.Errorf("%v have the key %q, which is no column", c.events, key)
		}
	}
}

func TestCSVOfTargets(t *testing.T) {
	total := quantiles(answered(55*micro, 47*micro), 47, 55, 55, 55)
	first := lost(1)
	first.Sent() // another one, in flight
	s := script{o: Options{Quiet: true},
		run:       Run{Targets: hosts{{Addr: one}, {Addr: two}, {Name: "www.example.com"}}, Target: func(i uint64) *stats.Target { return []*stats.Target{first, nil, new(stats.Target)}[i] }},
		results:   []prober.Result{reply(1, 5)},
		summaries: []Summary{{Interim: true}, {Total: total, Elapsed: time.Second, Stray: 1, ClockSteps: 2, Skipped: 3}},
	}
	golden(t, s.play(t, NewCSV), `
		time,target,name,addr,sent,received,in_flight,replies,reordered,corrupt,truncated,icmp_errors,send_errors,local_drops,timeouts,duplicates,late,wrong_source,forged,loss,unanswered,min_ns,avg_ns,max_ns,mdev_ns,jitter_ns,p50_ns,p90_ns,p99_ns,p999_ns,elapsed_ns,stray,clock_steps,skipped,clock
		2024-05-17T12:00:00.123456789Z,0,,192.0.2.1,2,0,1,0,0,0,0,0,0,0,1,0,0,0,0,1,1,,,,,,,,,,,,,,
		2024-05-17T12:00:00.123456789Z,2,www.example.com,,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,,,,,,,,,,,,,,,,
		2024-05-17T12:00:00.123456789Z,,,,2,2,0,2,0,0,0,0,0,0,0,0,0,0,0,0,0,47000,51000,55000,4000,500,47000,55000,55000,55000,1000000000,1,2,3,kernel
		`)
}

// Whatever a name holds, a row has all its cells, and none of them is a formula.
func TestHostileTextsInCSV(t *testing.T) {
	for _, text := range hostile {
		for _, o := range []Options{{}, {Quiet: true}} {
			s := script{o: o}
			s.infest(text)
			rows, err := csv.NewReader(strings.NewReader(s.play(t, NewCSV))).ReadAll()
			if err != nil || len(rows) < 4 {
				t.Errorf("%.80q: %d rows, %v", text, len(rows), err)
			}
			for _, row := range rows {
				for _, cell := range row {
					for _, part := range strings.FieldsFunc(cell, func(r rune) bool { return strings.ContainsRune(",;\t", r) }) {
						if strings.ContainsRune("=+-@\uff1d\uff0b\uff0d\uff20\t\r", []rune(part)[0]) {
							t.Errorf("%.80q makes a formula: %.80q", text, cell)
						}
					}
				}
			}
		}
	}
	for text, want := range map[string]string{"=1": "'=1", "+1": "'+1", "-1": "'-1", "@A": "'@A", "a=b": "a=b", "a-b+c@d": "a-b+c@d", "": "",
		"\uff1d1": "'\uff1d1", "\uff0b": "'\uff0b", "\uff0d": "'\uff0d", "\uff20": "'\uff20", "a;=1,+2": `"a;'=1,'+2"`, "==": "'==",
		`say "a"`: `"say ""a"""`, `"=1"`: `"""=1"""`} {
		if got := string(appendCell(nil, []byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

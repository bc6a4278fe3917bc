package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
)

func TestJSON(t *testing.T) {
	first, both := answered(47*micro, 47*micro), answered(55*micro, 47*micro) // the quantiles of one time are exact
	s := script{
		run: Run{Targets: hosts{{Addr: one}, {Addr: six}, {Name: "www.example.com"}}, Target: func(i uint64) *stats.Target { return []*stats.Target{first, nil, lost(1)}[i] },
			Size: 56, Count: 2, Interval: time.Second, Timeout: 500 * time.Millisecond, Retries: 1, Clock: prober.Kernel, Source: two, Interface: "eth0"},
		results: []prober.Result{
			with(reply(1, 55*micro), func(r *prober.Result) { r.TOS = 184 }),
			with(silence(stats.Timeout, 1), func(r *prober.Result) {
				r.Target, r.Name, r.Addr, r.Try, r.Last = 2, "www.example.com", six, 1, false
			}),
			with(refused(2, 3, 4), func(r *prober.Result) { r.MTU = 1400 }),
			with(reply(2, 47*micro), func(r *prober.Result) {
				r.Outcome, r.Offset, r.Err, r.Clock = stats.Corrupt, 0, errAltered, prober.User
			}),
			with(silence(stats.SendError, 2), func(r *prober.Result) { r.Err = errors.New(`no "buffer"`) }),
			{Outcome: stats.Forged, Target: prober.NoTarget, From: router, Size: 12, TTL: 3, Number: 9, Name: "x", Addr: one},
		},
		summaries: []Summary{{Interim: true, Elapsed: time.Second, Total: quantiles(both, 47, 55, 55, 55), Stray: 4, ClockSteps: 5, Skipped: 6}},
	}
	golden(t, s.play(t, NewJSON), `
		{"type":"begin","version":1,"time":"2024-05-17T12:00:00.123456789Z","targets":3,"targets_ipv4":1,"targets_ipv6":1,"targets_by_name":1,"data_bytes":56,"network":"ip","count":2,"interval_ns":1000000000,"timeout_ns":500000000,"retries":1,"clock":"kernel","source":"192.0.2.2","interface":"eth0"}
		{"type":"result","version":1,"time":"2024-05-17T12:00:00.123456789Z","outcome":"reply","target":0,"addr":"192.0.2.1","number":1,"try":0,"last":true,"rtt_ns":55000,"clock":"kernel","from":"192.0.2.1","icmp_type":0,"icmp_code":0,"ttl":64,"tos":184,"size_bytes":64}
		{"type":"result","version":1,"time":"2024-05-17T12:00:00.123456789Z","outcome":"timeout","target":2,"name":"www.example.com","addr":"2001:db8::1","number":1,"try":1,"last":false}
		{"type":"result","version":1,"time":"2024-05-17T12:00:00.123456789Z","outcome":"icmp_error","target":0,"addr":"192.0.2.1","number":2,"try":0,"last":true,"from":"198.51.100.9","icmp_type":3,"icmp_code":4,"mtu_bytes":1400}
		{"type":"result","version":1,"time":"2024-05-17T12:00:00.123456789Z","outcome":"corrupt","target":0,"addr":"192.0.2.1","number":2,"try":0,"last":true,"rtt_ns":47000,"clock":"user","from":"192.0.2.1","icmp_type":0,"icmp_code":0,"ttl":64,"tos":0,"size_bytes":64,"offset_bytes":0,"error":"altered data"}
		{"type":"result","version":1,"time":"2024-05-17T12:00:00.123456789Z","outcome":"send_error","target":0,"addr":"192.0.2.1","number":2,"try":0,"last":true,"error":"no \"buffer\""}
		{"type":"result","version":1,"time":"2024-05-17T12:00:00.123456789Z","outcome":"forged","from":"198.51.100.9","icmp_type":0,"icmp_code":0,"ttl":3,"tos":0,"size_bytes":12}
		{"type":"target","version":1,"time":"2024-05-17T12:00:00.123456789Z","interim":true,"target":0,"addr":"192.0.2.1","sent":2,"received":2,"in_flight":0,"replies":2,"reordered":0,"corrupt":0,"truncated":0,"icmp_errors":0,"send_errors":0,"local_drops":0,"timeouts":0,"duplicates":0,"late":0,"wrong_source":0,"forged":0,"loss":0,"unanswered":0,"min_ns":47000,"avg_ns":47000,"max_ns":47000,"mdev_ns":0,"jitter_ns":0,"p50_ns":47000,"p90_ns":47000,"p99_ns":47000,"p999_ns":47000}
		{"type":"target","version":1,"time":"2024-05-17T12:00:00.123456789Z","interim":true,"target":2,"name":"www.example.com","sent":1,"received":0,"in_flight":0,"replies":0,"reordered":0,"corrupt":0,"truncated":0,"icmp_errors":0,"send_errors":0,"local_drops":0,"timeouts":1,"duplicates":0,"late":0,"wrong_source":0,"forged":0,"loss":1,"unanswered":1}
		{"type":"total","version":1,"time":"2024-05-17T12:00:00.123456789Z","interim":true,"elapsed_ns":1000000000,"sent":2,"received":2,"in_flight":0,"replies":2,"reordered":0,"corrupt":0,"truncated":0,"icmp_errors":0,"send_errors":0,"local_drops":0,"timeouts":0,"duplicates":0,"late":0,"wrong_source":0,"forged":0,"loss":0,"unanswered":0,"min_ns":47000,"avg_ns":51000,"max_ns":55000,"mdev_ns":4000,"jitter_ns":500,"p50_ns":47000,"p90_ns":55000,"p99_ns":55000,"p999_ns":55000,"stray":4,"clock_steps":5,"skipped":6,"clock":"kernel"}
		`)
	checkEvents(t, schema(t), s.play(t, NewJSON))
}

// What is not known has no key.
func TestJSONLeavesOutTheUnknown(t *testing.T) {
	s := script{run: Run{Network: "ip6"}, results: []prober.Result{{}}, summaries: []Summary{{}}}
	got := s.play(t, NewJSON)
	golden(t, got, `
		{"type":"begin","version":1,"time":"2024-05-17T12:00:00.123456789Z","data_bytes":0,"network":"ip6","interval_ns":0,"timeout_ns":0,"retries":0}
		{"type":"result","version":1,"time":"2024-05-17T12:00:00.123456789Z","outcome":"reply","target":0,"number":0,"try":0,"last":false}
		{"type":"total","version":1,"time":"2024-05-17T12:00:00.123456789Z","interim":false,"elapsed_ns":0,"sent":0,"received":0,"in_flight":0,"replies":0,"reordered":0,"corrupt":0,"truncated":0,"icmp_errors":0,"send_errors":0,"local_drops":0,"timeouts":0,"duplicates":0,"late":0,"wrong_source":0,"forged":0,"stray":0,"clock_steps":0,"skipped":0}
		`)
	checkEvents(t, schema(t), got)
	s.o.Quiet = true
	if got := s.play(t, NewJSON); strings.Contains(got, `"result"`) {
		t.Errorf("quiet: %s", got)
	}
}

// Times are in UTC, wherever the machine is.
func TestJSONTimesAreUTC(t *testing.T) {
	s := script{o: Options{Now: func() time.Time { return noon().In(time.FixedZone("", 3600)) }}}
	if got := s.play(t, NewJSON); !strings.Contains(got, `"time":"2024-05-17T12:00:00.123456789Z"`) {
		t.Errorf("%s", got)
	}
}

func TestJSONStrings(t *testing.T) {
	for _, text := range hostile {
		got := appendQuoted(nil, text)
		var back string
		if err := json.Unmarshal(got, &back); err != nil || back != strings.ToValidUTF8(text, "\ufffd") && back != valid(text) {
			t.Errorf("%.80q: %.80s, which is %.80q, %v", text, got, back, err)
		}
	}
	for text, want := range map[string]string{
		"plain": `"plain"`, "näme €": `"näme €"`, `a"b\c`: `"a\"b\\c"`, "\x00\x1f\x7f\n\t": `"\u0000\u001f\u007f\n\u0009"`,
		"\u0085\u202e\u2028": `"\u0085\u202e\u2028"`, "\U000e0041": `"\udb40\udc41"`, "\xffz\xfe": `"\ufffdz\ufffd"`, "\ufffd": "\"\ufffd\"",
	} {
		if got := string(appendQuoted(nil, text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// valid replaces each byte that is no UTF-8.
func valid(s string) string { return string([]rune(s)) }

// schema returns the compiled Schema.
func schema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkEvents checks each line, which encoding/json has to parse as well, and
// returns how many there are.
func checkEvents(t testing.TB, s *jsonschema.Schema, output string) int {
	t.Helper()
	if !strings.HasSuffix(output, "\n") || !utf8.ValidString(output) {
		t.Errorf("the output is no UTF-8, or its last line has no end: %.200q", output)
	}
	lines := strings.Split(strings.TrimSuffix(output, "\n"), "\n")
	for _, line := range lines {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err == nil {
			err = s.Validate(v)
		}
		if err != nil || !json.Valid([]byte(line)) {
			t.Errorf("%.1000s\n%v", line, err)
		}
	}
	return len(lines)
}

func TestHostileTextsInJSON(t *testing.T) {
	s := schema(t)
	for _, text := range hostile {
		var sc script
		sc.infest(text)
		if n := checkEvents(t, s, sc.play(t, NewJSON)); n != 1+2*int(stats.Outcomes)+2*3 {
			t.Errorf("%.80q: %d events", text, n)
		}
	}
}

// The schema is of use only if it refuses what is wrong.
func TestTheSchemaIsStrict(t *testing.T) {
	s := schema(t)
	var sc script
	sc.run = Run{Targets: hosts{{Addr: one}}, Target: func(uint64) *stats.Target { return answered(5, 6) }, Clock: prober.Kernel}
	sc.results, sc.summaries = []prober.Result{reply(1, 5)}, []Summary{{Total: answered(5, 6).Summary()}}
	changes := map[string]func(map[string]any){
		"an unknown key":        func(m map[string]any) { m["extra"] = 1 },
		"no type":               func(m map[string]any) { delete(m, "type") },
		"an unknown type":       func(m map[string]any) { m["type"] = "other" },
		"no version":            func(m map[string]any) { delete(m, "version") },
		"another version":       func(m map[string]any) { m["version"] = 2 },
		"the version in quotes": func(m map[string]any) { m["version"] = "1" },
		"no time":               func(m map[string]any) { delete(m, "time") },
		"a time not in UTC":     func(m map[string]any) { m["time"] = "2024-05-17T12:00:00.123456789+01:00" },
		"an impossible time":    func(m map[string]any) { m["time"] = "2024-13-17T12:00:00.123456789Z" },
		"another clock":         func(m map[string]any) { m["clock"] = "sundial" },
	}
	for line := range strings.SplitSeq(strings.TrimSpace(sc.play(t, NewJSON)), "\n") {
		var event map[string]any
		json.Unmarshal([]byte(line), &event)
		all := map[string]func(map[string]any){}
		for name, change := range changes {
			all[name] = change
		}
		for key, value := range event {
			switch value.(type) {
			case float64:
				all[key+" in quotes"] = func(m map[string]any) { m[key] = "1" }
				all[key+" below 0"] = func(m map[string]any) { m[key] = -1 }
			case string:
				all[key+" as a number"] = func(m map[string]any) { m[key] = 5 }
			case bool:
				all[key+" as a string"] = func(m map[string]any) { m[key] = "true" }
			}
		}
		if event["type"] == "result" {
			all["another outcome"] = func(m map[string]any) { m["outcome"] = "icmp error" }
			all["a time without its clock"] = func(m map[string]any) { delete(m, "clock") }
			all["a number without a target"] = func(m map[string]any) { delete(m, "target") }
		}
		for name, change := range all {
			var changed map[string]any
			json.Unmarshal([]byte(line), &changed)
			change(changed)
			text, _ := json.Marshal(changed)
			v, _ := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			if s.Validate(v) == nil {
				t.Errorf("%s: %s passes: %s", event["type"], name, text)
			}
		}
	}
}

// jq reads every event, and finds in it what was put there.
func TestJQReadsTheOutput(t *testing.T) {
	path, err := exec.LookPath("jq")
	if err != nil {
		t.Skip("jq is not installed (apt-get install jq)")
	}
	for _, text := range hostile {
		var sc script
		sc.infest(text)
		if text == "" { // no name at all
			continue
		}
		cmd := exec.Command(path, "-c", `[.type, .name, .interface, .error, .outcome, .rtt_ns, .addr, .source]`)
		cmd.Stdin = strings.NewReader(sc.play(t, NewJSON))
		got, err := cmd.Output()
		if err != nil {
			t.Errorf("%.80q: %v", text, err)
			continue
		}
		text = valid(text)
		zone := "fe80::1%" + text
		want := [][]any{{"begin", nil, text, nil, nil, nil, nil, zone}}
		for o := range stats.Outcomes {
			want = append(want, []any{"result", text, nil, text, o.Key(), 0.0, zone, nil}, []any{"result", nil, nil, text, o.Key(), nil, nil, nil})
		}
		for range sc.summaries {
			want = append(want, []any{"target", text, nil, nil, nil, nil, zone, nil}, []any{"target", nil, nil, nil, nil, nil, zone, nil},
				[]any{"total", nil, nil, nil, nil, nil, nil, nil})
		}
		d := json.NewDecoder(bytes.NewReader(got))
		for i := range want {
			var row []any
			if err := d.Decode(&row); err != nil || !slices.Equal(row, want[i]) {
				t.Errorf("%.80q: event %d is %.300q, want %.300q, %v", text, i, row, want[i], err)
			}
		}
		if err := d.Decode(new(any)); err != io.EOF {
			t.Errorf("%.80q: there are more events, %v", text, err)
		}
	}
}

// The schema has no key that never comes, and every type of event is in its place.
func TestEachKeyOfTheSchemaComes(t *testing.T) {
	var doc struct {
		Defs map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(Schema), &doc); err != nil {
		t.Fatal(err)
	}
	sc := script{run: Run{Targets: hosts{{Addr: one, Name: "www.example.com"}}, Target: func(uint64) *stats.Target { return answered(5, 6) }, Count: 1,
		Clock: prober.Kernel, Source: two, Interface: "eth0"}, summaries: []Summary{{Total: answered(5, 6).Summary()}}}
	sc.results = []prober.Result{with(reply(1, 5), func(r *prober.Result) {
		r.Name, r.MTU, r.Outcome, r.Err = "www.example.com", 1300, stats.Corrupt, errAltered
	})}
	got := map[string]map[string]any{}
	output := sc.play(t, NewJSON)
	checkEvents(t, schema(t), output)
	for line := range strings.SplitSeq(strings.TrimSpace(output), "\n") {
		var event map[string]any
		json.Unmarshal([]byte(line), &event)
		got[event["type"].(string)] = event
	}
	for typ, event := range got {
		defs := []string{"event", typ}
		if typ == "target" || typ == "total" {
			defs = append(defs, "statistics")
		}
		for _, def := range defs {
			for key := range doc.Defs[def].Properties {
				if _, there := event[key]; !there {
					t.Errorf("no event %s has the key %s", typ, key)
				}
			}
		}
	}
	if len(got) != 4 || len(doc.Defs) != 4+2 {
		t.Errorf("%d types of events, and %d definitions", len(got), len(doc.Defs))
	}
}

func FuzzJSON(f *testing.F) {
	for _, text := range hostile {
		text = text[:min(len(text), 100)] // long ones take the fuzzer minutes to minimize
		f.Add(text, text, text, []byte{192, 0, 2, 1}, uint64(1), int64(5), uint8(0), uint8(0), uint8(0), 64, -1)
	}
	f.Add("", "", "", []byte{}, uint64(prober.NoTarget), int64(-1), uint8(255), uint8(255), uint8(255), -1, 1<<31-1)
	s := schema(f)
	f.Fuzz(func(t *testing.T, name, errText, zone string, addr []byte, target uint64, rtt int64, outcome, clock, code uint8, size, offset int) {
		a, _ := netip.AddrFromSlice(addr)
		a = a.WithZone(zone)
		r := prober.Result{Outcome: stats.Outcome(outcome) % stats.Outcomes, Target: target, Name: name, Addr: a, From: a, Number: target, Try: offset,
			RTT: time.Duration(rtt), Clock: prober.Clock(clock), TTL: code, TOS: clock, Type: outcome, Code: code, MTU: uint32(rtt), Size: size, Offset: offset}
		if errText != "" {
			r.Err = errors.New(errText)
		}
		sc := script{results: []prober.Result{r, r}}
		sc.run = Run{Targets: hosts{{Addr: a, Name: name}}, Interface: name, Source: a, Size: size, Interval: r.RTT, Timeout: r.RTT, Count: target, Retries: offset, Clock: r.Clock,
			Target: func(uint64) *stats.Target { return answered(time.Duration(rtt)) }}
		sc.summaries = []Summary{{Total: answered(time.Duration(rtt), 1).Summary(), Elapsed: r.RTT}}
		if n := checkEvents(t, s, sc.play(t, NewJSON)); n != 5 {
			t.Errorf("%d events", n)
		}
		for _, newWriter := range makers { // nothing panics
			sc.play(t, newWriter)
		}
	})
}

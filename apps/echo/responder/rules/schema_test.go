package rules_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"iomux/apps/echo/responder/rules"
)

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(rules.Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("rules.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("rules.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance returns what a JSON schema sees of a YAML file.
func instance(text string) (v any, err error) {
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
}

// good are rules without a fault.
var good = []string{
	"{}", "to: 10.0.0.0/8", "to: 10.0.0.1", "to: [10.0.0.0/8, 2001:db8::/32, '::/0']", "{from: ['fd00::/8']}", "name: a", "name: 'übergroß 1'",
	"silent: true", "silent: false", "{silent: true, to: 10.0.0.1, name: x}", "{silent: false, loss: 1%}",
	"loss: 1%", "loss: 100%", "loss: 100.00%", "loss: 0%", "loss: 0", "loss: 0.5", "loss: 1.0e-3", "loss: '0.5'", "loss: 99.999%",
	"delay: 20ms", "delay: 0", "delay: 1m30.5s", "delay: 1h", "delay: 100us", "delay: 100µs", "delay: constant:20ms", "delay: uniform:1ms,2ms", "delay: normal:20ms,5ms",
	"delay: pareto:10ms,2.5", "delay: pareto:10ms,2.5,1s", "delay: 'pareto:shape=2,min=1ms'",
	"delay: {distribution: constant, value: 1ms}", "delay: {distribution: uniform, min: 1ms, max: 1ms}", "delay: {distribution: normal, mean: 0, deviation: 0s}",
	"delay: {distribution: pareto, min: 1ms, shape: 3}", "delay: {distribution: pareto, min: 1ms, shape: 0.1, max: 1h}",
	"{delay: 5ms, jitter: 5ms}", "jitter: 0s", "reorder: 1%,by=50ms", "reorder: 'by=50ms,probability=0.1'", "reorder: {probability: 1%, by: 50ms}",
	"duplicate: 1%", "duplicate: 0.5", "duplicate: 1%,copies=100", "duplicate: {probability: 1%}", "duplicate: {probability: 1%, copies: 1}",
	"corrupt: {flip: 1%}", "corrupt: {flip: 1%, at: -1}", "corrupt: {flip: 1%, at: 65535, checksum: 0.1, truncate: 50%, lengthen: 50%}", "corrupt: flip=1%,at=0",
	"code: 0", "code: 0xff", "ttl: 1", "ttl: 255", "tos: 0", "tos: 255",
	"source: 10.0.0.1", "source: ['2001:db8::1', 10.0.0.1]",
	"error: time exceeded", "error: port-unreachable,probability=5%,quote=28", "{to: 10.0.0.1, error: 3}", "{to: 10.0.0.1, error: {type: 255, code: 255}}",
	"error: {type: destination unreachable, code: 9, probability: 0.5, quote: 65535}", "error: {type: packet too big, mtu: 1280, from: [10.0.0.1, '2001:db8::1']}",
	"{to: 'fd00::1', error: {type: packet too big, mtu: 4294967295}}",
	"rate: 100", "rate: 0.001", "rate: 100,burst=5", "rate: {replies: 1000000, burst: 1000000}", "rate: 'replies=5'", "rate: '5'",
	"down: {from: 1s}", "down: {to: 1s}", "down: {from: 1s, to: 2s, every: 1m}", "down: from=1s", "down: [to=1s, {from: 2s}]",
}

// bad are rules that neither the schema nor Parse takes.
var bad = []string{
	"5", "text", "[]", "null", "{los: 1%}", "loss: null",
	"to: []", "to: 5", "to: host.example", "to: {a: b}", "to: 10.0.0.0/", "to: fe80::1%eth0", "from: true", "name: ''", "name: 5", "name: [a]",
	"silent: yes", "silent: 1", "silent: 'true'", "{silent: true, loss: 1%}", "{silent: true, ttl: 5}",
	"loss: 1", "loss: 1.0", "loss: 2", "loss: -0.1", "loss: 101%", "loss: 100.1%", "loss: -1%", "loss: 1 %", "loss: 1e1%", "loss: '1'", "loss: '1e-3'", "loss: .5%", "loss: 5.%", "loss: '%'", "loss: ''", "loss: true", "loss: [1%]",
	"delay: 20", "delay: -1ms", "delay: 20 ms", "delay: 20mss", "delay: ''", "delay: true", "delay: []", "delay: {}", "delay: gamma:1ms", "delay: +1ms", "delay: .5s", "delay: 1.s",
	"delay: {min: 1ms, max: 2ms}", "delay: {distribution: gamma}", "delay: {distribution: uniform, min: 1ms}", "delay: {distribution: normal, mean: 1ms, deviation: 1ms, max: 1s}",
	"delay: {distribution: pareto, min: 1ms}", "delay: {distribution: pareto, min: 1ms, shape: 0}", "delay: {distribution: pareto, min: 1ms, shape: 101}",
	"jitter: 5", "reorder: 1%", "reorder: {probability: 1%}", "reorder: {by: 1ms}", "reorder: 0.5", "duplicate: 2", "duplicate: {copies: 2}", "duplicate: {probability: 1%, copies: 0}", "duplicate: {probability: 1%, copies: 101}", "duplicate: [1%]",
	"corrupt: {}", "corrupt: 1%", "corrupt: {at: 1}", "corrupt: {flip: 1%, at: 65536}", "corrupt: {flip: 2}", "corrupt: {bits: 1%}", "corrupt: []",
	"code: -1", "code: 256", "code: '1'", "code: 1.5", "ttl: 0", "ttl: 256", "tos: 256", "tos: null",
	"source: 5", "source: 10.0.0.0/8", "source: []", "source: [10.0.0.1, 10.0.0.2, 10.0.0.3]", "source: {}",
	"error: 256", "error: -1", "error: ''", "error: true", "error: {}", "error: {code: 1}", "error: {type: time exceeded, code: 256}", "error: {type: time exceeded, quote: -1}", "error: {type: time exceeded, mtu: 4294967296}", "error: {type: time exceeded, probability: 2}", "error: []",
	"rate: 0", "rate: -1", "rate: 2000000", "rate: fast", "rate: {}", "rate: {burst: 5}", "rate: {replies: 5, burst: 0}", "rate: {replies: '5'}", "rate: true",
	"down: {}", "down: {every: 1m}", "down: []", "down: {from: 5}", "down: 10s", "down: {from: 1s, until: 2s}", "down: true",
}

// unseen are rules that only Parse can refuse: they contradict themselves, or what is
// wrong is within a text.
var unseen = []string{
	"to: 10.1.2.3/8", "to: 300.1.1.1", "to: 10.0.0.0/33", "to: '::ffff:10.0.0.0/104'", "{to: 10.0.0.0/8, from: 'fd00::/8'}",
	"delay: 2h", "delay: uniform:2ms,1ms", "delay: {distribution: uniform, min: 2ms, max: 1ms}", "delay: normal:1ms", "delay: {distribution: pareto, min: 0s, shape: 1}", "jitter: 5ms",
	"reorder: {probability: 1%, by: 0s}", "duplicate: 1%,copies=0", "duplicate: 1%,copes=2", "corrupt: {truncate: 60%, lengthen: 60%}",
	"source: [10.0.0.1, 10.0.0.2]", "source: 0.0.0.0", "source: 224.0.0.1", "{to: 10.0.0.1, source: '2001:db8::1'}", "ttl: 64.0", "name: \"a\\x07\"",
	"error: nonsense", "error: host unreachable", "error: 3", "{error: time exceeded, code: 1}", "{error: {type: time exceeded, mtu: 1300}}", "error: {type: port unreachable, code: 3}",
	"down: {from: 2s, to: 1s}", "down: {from: 1s, every: 0s}", "down: {to: 2m, every: 1m}", "rate: '5000000'",
}

func TestSchemaAndParseAgree(t *testing.T) {
	schema := compileSchema(t)
	for _, c := range []struct {
		rules  []string
		schema bool // takes them
		parse  bool
	}{{good, true, true}, {bad, false, false}, {unseen, true, false}} {
		for _, rule := range c.rules {
			text := "version: 1\nrules:\n- " + strings.ReplaceAll(rule, "\n", "\n  ") + "\n"
			v, err := instance(text)
			if err != nil {
				t.Errorf("%s: %v", rule, err)
				continue
			}
			if err := schema.Validate(v); (err == nil) != c.schema {
				t.Errorf("%s: the schema takes it: %v, want %v (%v)", rule, err == nil, c.schema, err)
			}
			if _, err := rules.Parse("x", []byte(text)); (err == nil) != c.parse {
				t.Errorf("%s: Parse takes it: %v, want %v (%v)", rule, err == nil, c.parse, err)
			}
		}
	}
}

func TestSchemaAndParseAgreeOnTheFile(t *testing.T) {
	schema := compileSchema(t)
	for text, want := range map[string]bool{
		"version: 1\nrules: []\n":                             true,
		"version: 1\nseed: 18446744073709551615\nrules: []\n": true,
		"version: 2\nrules: []\n":                             false,
		"version: '1'\nrules: []\n":                           false,
		"rules: []\n":                                         false,
		"version: 1\n":                                        false,
		"version: 1\nrules: {}\n":                             false,
		"version: 1\nrules: []\nsed: 5\n":                     false,
		"version: 1\nseed: -1\nrules: []\n":                   false,
		"version: 1\nseed: '5'\nrules: []\n":                  false,
		"version: 1\nseed: 1.5\nrules: []\n":                  false,
		"- to: 10.0.0.1\n":                                    false,
	} {
		v, err := instance(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != want {
			t.Errorf("%q: the schema says %v", text, err)
		}
		if _, err := rules.Parse("x", []byte(text)); (err == nil) != want {
			t.Errorf("%q: Parse says %v", text, err)
		}
	}
}

func TestSchemaHasTheKeysAndPatternsOfParse(t *testing.T) {
	var doc struct {
		Defs struct {
			Rule struct{ Properties map[string]any }
		} `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(rules.Schema), &doc); err != nil {
		t.Fatal(err)
	}
	for _, k := range rules.Keys() {
		if doc.Defs.Rule.Properties[k.Name] == nil {
			t.Errorf("the schema has no %s", k.Name)
		}
		delete(doc.Defs.Rule.Properties, k.Name)
	}
	for k := range doc.Defs.Rule.Properties {
		t.Errorf("Parse has no %s", k)
	}
	for _, p := range rules.Patterns {
		quoted := strings.ReplaceAll(p, `\`, `\\`)
		if !strings.Contains(rules.Schema, fmt.Sprintf("%q: \"%s\"", "pattern", quoted)) {
			t.Errorf("the schema has no pattern %s", p)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, rule := range slices.Concat(good, bad, unseen) {
		f.Add("version: 1\nrules:\n- " + strings.ReplaceAll(rule, "\n", "\n  ") + "\n")
	}
	for _, text := range []string{"", "a: &a [*a]", "? a\n: b", "- - - -", "[[[{{{", "a: |\n  b\n", "%YAML 1.2\n---\n", "a: !!binary x", "\ufeffa: 1", "version: 1\r\nrules:\r\n- {}\r\n", "{version: 1, rules: [{}, {to: 10.0.0.1}]}", "<<: {a: b}", "'", "\"\\x", "a:\n\t- b", "- \xff"} {
		f.Add(text)
	}
	schema := compileSchema(f)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := rules.Parse("x", []byte(text))
		if (s == nil) == (err == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 2
		for _, fault := range faultsOf(t, err) {
			if fault.Line < 1 || fault.Line > lines || fault.Column < 1 || fault.Text == "" || fault.File != "x" {
				t.Errorf("%q: %+v", text, fault)
			}
			if strings.Contains(fault.Text, "parser failed") {
				t.Logf("%q: %v", text, fault)
			}
		}
		if err != nil {
			return
		}
		// What is taken works, and the schema takes it too.
		d := s.NewDecider(16)
		for i := range 3 {
			dec := d.Decide(packet(i), 0)
			if n := len(dec.AppendData(nil, packet(i).Data)); n > len(packet(i).Data)+64 || dec.Delay < 0 {
				t.Errorf("%q: %+v", text, dec)
			}
		}
		if v, err := instance(text); err == nil {
			if err := schema.Validate(v); err != nil {
				t.Errorf("%q: Parse takes it, and the schema says %v", text, err)
			}
		}
	})
}

package rules_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-multierror"

	"iomux/apps/echo/responder/rules"
)

// faultsOf returns the faults that an error has, each with its place.
func faultsOf(t testing.TB, err error) (all []*rules.Fault) {
	t.Helper()
	var one *rules.Fault
	var several *multierror.Error
	switch {
	case err == nil:
	case errors.As(err, &several):
		for _, e := range several.Errors {
			f, ok := e.(*rules.Fault)
			if !ok {
				t.Fatalf("%T: %v", e, e)
			}
			all = append(all, f)
		}
		if len(all) < 2 {
			t.Fatalf("%d faults in a multierror", len(all))
		}
	case errors.As(err, &one):
		all = []*rules.Fault{one}
	default:
		t.Fatalf("%T: %v", err, err)
	}
	return all
}

// wantFaults compares faults with lines such as "3:5: text". A line may end in "..."
// for any rest.
func wantFaults(t *testing.T, text string, err error, want ...string) {
	t.Helper()
	var got []string
	for _, f := range faultsOf(t, err) {
		got = append(got, strings.TrimPrefix(f.Error(), "rules.yaml:"))
	}
	same := slices.EqualFunc(got, want, func(g, w string) bool {
		if begin, cut := strings.CutSuffix(w, "..."); cut {
			return strings.HasPrefix(g, begin)
		}
		return g == w
	})
	if !same {
		t.Errorf("%s\nhas the faults\n\t%s\nwant\n\t%s", text, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestAFileWithTwentyFaultsReportsTwenty(t *testing.T) {
	text := `version: 2
sed: 1
rules:
  - name: one
    to: [10.1.2.3/8, 300.1.1.1]
    los: 1%
    delay: normal:20ms,5
  - loss: 150%
    ttl: 0
    tos: "5"
  - silent: yes
    to: 10.1.0.0/16
  - duplicate: "1%,copes=2"
    to: 10.2.0.0/16
    code: 256
    rate: {replies: 0}
  - corrupt: {flip: -1%, at: 70000}
    to: 10.3.0.0/16
    error: {type: host unreachble, quote: -1}
    source: 224.0.0.1
    down: {from: 20s, to: 10s}
  - to: 10.4.0.0/16
    silent: true
    loss: 1%
`
	_, err := rules.Parse("rules.yaml", []byte(text))
	wantFaults(t, text, err,
		`1:10: version: 2 is unknown; write 1`,
		`2:1: "sed" is unknown; did you mean seed?`,
		`5:10: to: "10.1.2.3/8" has bits set after the first 8; write 10.0.0.0/8, or 10.1.2.3 for the address alone`,
		`5:22: to: "300.1.1.1" is no prefix; write a prefix such as 192.0.2.0/24 or 2001:db8::/32`,
		`6:5: rule: "los" is unknown; did you mean loss?`,
		`7:24: delay: normal: deviation: "5" has no unit; write a time with one, such as 5ms`,
		`8:11: loss: "150%" is more than 100%; write a probability such as 1% or 0.01`,
		`9:10: ttl: 0 is not a whole number from 1 to 255`,
		`10:10: tos: it is a text; write a whole number from 0 to 255`,
		`11:13: silent: it is a text; write true or false`,
		`12:9: the rule is never used, as the rule in line 8 comes before it and has its addresses; put it before that, or leave it out`,
		`13:20: duplicate: "copes" is unknown; did you mean copies?`,
		`14:9: the rule is never used, ...`,
		`15:11: code: 256 is not a whole number from 0 to 255`,
		`16:21: rate: 0 is not a number from 0.001 to 1000000`,
		`17:21: corrupt: flip: "-1%" is below 0; write a probability such as 1% or 0.01`,
		`17:30: corrupt: at: 70000 is not a whole number from -65535 to 65535`,
		`18:9: the rule is never used, ...`,
		`19:19: error: "host unreachble" is no ICMP error; did you mean host unreachable?`,
		`19:43: error: quote: -1 is not a whole number from 0 to 65535`,
		`20:13: source: nothing comes from "224.0.0.1"; write the address of a host`,
		`21:27: down: to 10s is not after from 20s; write a later time`,
		`22:9: the rule is never used, ...`,
		`24:11: loss: the rule is silent, so this does nothing; leave one of them out`,
	)
}

func TestFaults(t *testing.T) {
	const probability = "; write a probability such as 1% or 0.01"
	for _, c := range []struct {
		rule string // from line 3 on
		want []string
	}{
		// Probabilities.
		{"- loss: 1", []string{"3:9: loss: 1 can mean 1% and 100%; write one of these"}},
		{"- loss: 1.0", []string{"3:9: loss: 1.0 can mean 1% and 100%; write one of these"}},
		{"- loss: 5", []string{"3:9: loss: 5 is more than 1" + probability}},
		{"- loss: -0.1", []string{"3:9: loss: -0.1 is below 0" + probability}},
		{"- loss: 100.1%", []string{`3:9: loss: "100.1%" is more than 100%` + probability}},
		{"- loss: .nan", []string{"3:9: loss: .nan is no probability; write one such as 1% or 0.01"}},
		{"- loss: 1 %", []string{`3:9: loss: "1 %" is no probability; write one such as 1% or 0.01`}},
		{"- loss: 1e1%", []string{`3:9: loss: "1e1%" is no probability; write digits and a percent sign, such as 0.5%`}},
		{"- loss: '1e-3'", []string{`3:9: loss: "1e-3" is no probability; write one such as 1% or 0.01`}},
		{"- loss: ''", []string{`3:9: loss: "" is no probability; write one such as 1% or 0.01`}},
		{"- loss:", []string{"3:3: loss: it is nothing" + probability}},
		{"- loss: [1%]", []string{"3:9: loss: it is a list" + probability}},
		{"- loss: {p: 1%}", []string{"3:9: loss: it is a mapping" + probability + "; if it has colons, put it in quotes"}},
		{"- loss: true", []string{"3:9: loss: it is a boolean" + probability}},

		// Times.
		{"- delay: 20", []string{"3:10: delay: 20 has no unit; write a time with one, such as 20ms"}},
		{"- delay: 20 ms", []string{`3:10: delay: "20 ms" is no time; write a time with a unit, such as 20ms or 1m30s`}},
		{"- delay: -20ms", []string{`3:10: delay: "-20ms" is below 0; write a time with a unit, such as 20ms`}},
		{"- delay: 2h", []string{`3:10: delay: "2h" is more than 1h; write a shorter time`}},
		{"- delay: 99999999999h", []string{`3:10: delay: "99999999999h" is no time; write a time with a unit, such as 20ms or 1m30s`}},
		{"- delay: true", []string{"3:10: delay: it is a boolean; write a time such as 20ms, or a distribution such as normal:20ms,5ms"}},

		// Delays.
		{"- delay: gamma:1ms", []string{`3:10: delay: distribution "gamma" is unknown; write constant, uniform, normal or pareto`}},
		{"- delay: norml:1ms,2ms", []string{`3:10: delay: distribution "norml" is unknown; did you mean normal?`}},
		{"- delay: normal:1ms", []string{"3:10: delay: normal: deviation is missing; write mean, deviation"}},
		{"- delay: normal:1ms,2ms,3ms", []string{`3:25: delay: normal: "3ms" has no name; write name=value, with one of mean, deviation`}},
		{"- delay: normal:deviaton=1ms,mean=2ms", []string{
			"3:10: delay: normal: deviation is missing; write mean, deviation",
			`3:17: delay: normal: "deviaton" is unknown; did you mean deviation?`}},
		{"- delay: uniform:2ms,1ms", []string{"3:22: delay: uniform: max 1ms is less than min 2ms; write the lesser one as min"}},
		{"- delay: {distribution: uniform, min: 1ms}", []string{"3:10: delay: uniform: max is missing; write min, max"}},
		{"- delay: {min: 1ms, max: 2ms}", []string{"3:10: delay: distribution is missing; write one of constant, uniform, normal, pareto"}},
		{"- delay: {distribution: normal, mean: 1ms, deviation: 1ms, shape: 3}", []string{"3:67: delay: a normal one has no shape; there are mean, deviation"}},
		{"- delay: pareto:0s,2", []string{"3:17: delay: pareto: min is 0, and so would all delays be; write a time above 0"}},
		{"- delay: pareto:1ms,0", []string{`3:21: delay: pareto: shape: "0" is not a number from 0.1 to 100`}},
		{"- delay: pareto:1ms,NaN", []string{`3:21: delay: pareto: shape: "NaN" is not a number from 0.1 to 100`}},
		{"- jitter: 1ms", []string{"3:11: jitter: 1ms is more than the shortest delay, 0s, and nothing is answered before it is asked; write less, or a longer delay"}},
		{"- {delay: 5ms, jitter: 6ms}", []string{"3:24: jitter: 6ms is more than the shortest delay, 5ms, ..."}},
		{"- {delay: 5, jitter: 6ms}", []string{"3:11: delay: 5 has no unit; write a time with one, such as 5ms"}},
		{"- reorder: 1%", []string{"3:12: reorder: by is missing, how long an answer is held for others to overtake it; write by, such as 50ms"}},
		{"- reorder: {by: 50ms}", []string{"3:12: reorder: probability is missing; write one such as 1%"}},
		{"- reorder: {probability: 1%, by: 0s}", []string{"3:34: reorder: by is 0, and nothing would be overtaken; write a time above 0"}},
		{"- duplicate: 1%,2", []string{`3:17: duplicate: "2" has no name; write name=value, with one of probability, copies`}},
		{"- duplicate: 1%,copies=0", []string{`3:24: duplicate: copies: "0" is not a whole number from 1 to 100`}},
		{"- duplicate: 1%,copies=1,copies=2", []string{`3:26: duplicate: copies is there twice; write it once`}},
		{"- duplicate: [1%]", []string{"3:14: duplicate: it is a list; write a mapping of probability, copies"}},

		// Damage.
		{"- corrupt: {}", []string{"3:12: corrupt: there is no damage; write one such as flip: 1%"}},
		{"- corrupt: 1%", []string{`3:12: corrupt: "1%" has no name; write name=value, with one of flip, at, checksum, truncate, lengthen`,
			"3:12: corrupt: there is no damage; write one such as flip: 1%"}},
		{"- corrupt: {at: 1}", []string{"3:17: corrupt: at says which byte to flip, and there is no flip; write flip too"}},
		{"- corrupt: {truncate: 60%, lengthen: 41%}", []string{"3:38: corrupt: truncate and lengthen exclude each other and are more than 100% together; write less"}},

		// Addresses.
		{"- to: []", []string{"3:7: to: the list is empty; write a prefix, or leave to out"}},
		{"- to: 10.0.0.0/33", []string{`3:7: to: "10.0.0.0/33" is no prefix; ...`}},
		{"- to: 10", []string{"3:7: to: it is a number; write a prefix such as 192.0.2.0/24 or 2001:db8::/32"}},
		{"- to: host.example", []string{`3:7: to: "host.example" is no prefix; ...`}},
		{"- to: ::ffff:10.0.0.0/104", []string{`3:7: to: "::ffff:10.0.0.0/104" is IPv4 mapped into IPv6; write 10.0.0.0/8`}},
		{"- to: fe80::1%eth0", []string{`3:7: to: "fe80::1%eth0" has a zone; write the address alone, which then counts in every zone`}},
		{"- {to: [fd00:1::/32]}", []string{"3:9: to: it is a mapping; write a prefix such as 192.0.2.0/24 or 2001:db8::/32; if it has colons, put it in quotes"}},
		{"- {to: 10.0.0.0/8, from: 'fd00::/8'}", []string{"3:26: from: no prefix is of the family of one in to, so the rule is never used; write both of one family"}},
		{"- source: 0.0.0.0", []string{`3:11: source: nothing comes from "0.0.0.0"; write the address of a host`}},
		{"- source: 255.255.255.255", []string{`3:11: source: nothing comes from "255.255.255.255"; write the address of a host`}},
		{"- source: 10.0.0.0/8", []string{`3:11: source: "10.0.0.0/8" is no address; write an address such as 192.0.2.1 or 2001:db8::1`}},
		{"- source: fe80::1%1", []string{`3:11: source: "fe80::1%1" has a zone; write the address alone`}},
		{"- source: [10.0.0.1, 10.0.0.2]", []string{"3:22: source: 10.0.0.2 is a second IPv4 address; write one"}},
		{"- {to: 10.0.0.0/8, source: 'fd00::1'}", []string{"3:28: source: fd00::1 is IPv6, and the rule is not for such addresses; write one of their family"}},

		// ICMP errors.
		{"- error: 3", []string{"3:10: error: the number means one thing in IPv4 and another in IPv6, and the rule is for both; write a name, or a rule for each"}},
		{"- {to: 10.0.0.0/8, error: 8}", []string{"3:27: error: type 8 is an echo request in IPv4, which two responders would answer each other for ever; write that of an error"}},
		{"- {to: 'fd00::/8', error: {type: 128}}", []string{"3:34: error: type 128 is an echo request in IPv6, which two responders would answer each other for ever; write that of an error"}},
		{"- error: 256,code=1", []string{`3:10: error: type: "256" is not a whole number from 0 to 255`}},
		{"- error: nonsense of all kinds", []string{`3:10: error: "nonsense of all kinds" is no ICMP error; write a number, or a name of the RFCs such as destination unreachable, host unreachable, time exceeded`}},
		{"- error: echo reply", []string{`3:10: error: "echo reply" is no ICMP error; ...`}},
		{"- error: host unreachable", []string{`3:10: error: IPv6 has no "host unreachable"; write another error, or a rule for each family`}},
		{"- {error: no route to destination, to: 10.0.0.0/8}", []string{`3:11: error: IPv4 has no "no route to destination"; ...`}},
		{"- error: port unreachable,code=3", []string{`3:32: error: "port unreachable" has its code already; leave code out`}},
		{"- error: time exceeded,mtu=1300", []string{"3:28: error: mtu is for packet too big and fragmentation needed only; leave it out",
			"3:28: error: mtu is for packet too big and fragmentation needed only; leave it out"}},
		{"- error: packet too big,mtu=65536", []string{"3:29: error: mtu: 65536 is more than 65535, the most there is in IPv4; write less"}},
		{"- error: {code: 1}", []string{"3:10: error: type is missing; write a number, or a name such as host unreachable"}},
		{"- {error: time exceeded, code: 3}", []string{"3:32: code: there is no reply, as every request is answered by an error; leave one of them out, or give the error a probability"}},
		{"- {error: {type: time exceeded, probabilty: 5%}, code: 3}", []string{`3:33: error: "probabilty" is unknown; did you mean probability?`}},
		{"- {to: 10.0.0.1, error: 'time exceeded,from=fd00::1'}", []string{"3:45: error: from: fd00::1 is IPv6, and the rule is not for such addresses; write one of their family"}},

		// The rest.
		{"- ttl: 64.5", []string{"3:8: ttl: 64.5 is not a whole number from 1 to 255"}},
		{"- ttl: 99999999999999999999", []string{"3:8: ttl: 99999999999999999999 is not a whole number from 1 to 255"}},
		{"- rate: 2000000", []string{"3:9: rate: \"2000000\" is not a number from 0.001 to 1000000"}},
		{"- rate: {burst: 3}", []string{"3:9: rate: replies is missing, how many there may be a second; write a number"}},
		{"- rate: 5,burst=0", []string{`3:17: rate: burst: "0" is not a whole number from 1 to 1000000`}},
		{"- down: {}", []string{"3:9: down: neither from nor to is there; write from, to or both, such as 10s and 20s"}},
		{"- down: {every: 1m}", []string{"3:9: down: neither from nor to is there; write from, to or both, such as 10s and 20s"}},
		{"- down: {from: 1s, every: 0s}", []string{"3:27: down: every is 0; write a time above 0, or leave it out"}},
		{"- down: {from: 1m, every: 1m}", []string{"3:16: down: from 1m is not before the end of every 1m; write an earlier time"}},
		{"- down: {from: 1s, to: 2m, every: 1m}", []string{"3:24: down: to 2m is after the end of every 1m; write an earlier time"}},
		{"- down: [{to: 1s}, {to: 0s}]", []string{"3:25: down: to 0s is not after from 0s; write a later time"}},
		{"- down: []", []string{"3:9: down: the list is empty; write a time window, or leave down out"}},
		{"- name: ''", []string{"3:9: name: it has 0 characters; write 1 to 64"}},
		{"- name: \"a\\tb\"", []string{`3:9: name: there are control characters in "a\tb"; write it without`}},
		{"- name: 5", []string{"3:9: name: it is a number; write a text, with quotes around what could be something else"}},
		{"- {name: a, to: 10.0.0.1}\n- {name: a, to: 10.0.0.2}", []string{`4:10: name: "a" is the name of the rule in line 3 too; write another`}},
		{"- silent: true\n  ttl: 5\n  error: time exceeded", []string{
			"4:8: ttl: the rule is silent, so this does nothing; leave one of them out",
			"5:10: error: the rule is silent, so this does nothing; leave one of them out"}},
		{"- {silent: true, ttl: 0}", []string{"3:23: ttl: 0 is not a whole number from 1 to 255"}},
		{"- loss: 1%\n  loss: 2%", []string{"4:3: rule: loss is there twice; write it once"}},
		{"- text", []string{"3:3: rule: it is a text; write a mapping of name, ..."}},
		{"-", []string{"3:3: rule: it is nothing; write a mapping of name, ..."}},
		{"- 5: 6", []string{`3:3: the key "5" is no text; write a plain one`}},

		// YAML.
		{"- loss: &a 1%\n- {to: 10.0.0.1, loss: *a}", []string{"3:9: an anchor is not read; write the value alone",
			"4:24: an alias is not read; write the value again"}},
		{"- ttl: !!int 5", []string{"3:8: a tag is not read; write the value alone"}},
		{"- <<: {ttl: 5}", []string{`3:3: the key "<<" is no text; write a plain one`}},
		{"- to: fd00::", []string{"3:7: it is no YAML: mapping value is not allowed in this context; put what ends in a colon, such as fd00::, in quotes"}},
		{"- to: [10.0.0.1", []string{"3:7: it is no YAML: sequence end token ']' not found"}},
		{"- é: 1%\n- {é: ö, loss: 200%}", []string{
			`3:3: rule: "é" is unknown; there are name, ...`,
			`4:4: rule: "é" is unknown; there are name, ...`,
			`4:16: loss: "200%" is more than 100%...`}},
	} {
		_, err := rules.Parse("rules.yaml", []byte("version: 1\nrules:\n"+c.rule+"\n"))
		wantFaults(t, c.rule, err, c.want...)
	}
}

func TestFaultsOfTheFileAsAWhole(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", []string{"1:1: there is nothing in the file; write version: 1 and rules"}},
		{"# nothing\n", []string{"1:1: there is nothing in the file; write version: 1 and rules"}},
		{"rules: []\n", []string{"1:1: version is missing; write version: 1"}},
		{"version: 1\n", []string{"1:1: rules is missing; write rules, a list"}},
		{"version: '1'\nrules: []\n", []string{"1:10: version: it is a text; write 1"}},
		{"version: 1\nrules: {}\n", []string{"2:8: rules: it is a mapping; write a list"}},
		{"version: 1\nrules:\n", []string{"2:1: rules: it is nothing; write a list"}},
		{"- to: 10.0.0.1\n", []string{"1:1: the file is a list; write a mapping of version, seed and rules"}},
		{"just text\n", []string{"1:1: the file is a text; write a mapping of version, seed and rules"}},
		{"version: 1\nseed: -1\nrules: []\n", []string{"2:7: seed: -1 is not a whole number from 0 to 18446744073709551615"}},
		{"version: 1\nseed: 18446744073709551616\nrules: []\n", []string{"2:7: seed: 18446744073709551616 is not a whole number from 0 to 18446744073709551615"}},
		{"version: 1\nrules: []\n---\nversion: 1\n", []string{"4:8: there is a second document; write one"}},
		{"version: 1\nrules: []\nname: a\xffb\n", []string{"3:8: there are bytes that are no UTF-8; write the file in UTF-8"}},
		{"version: 1\r\nrules:\r\n- loss: 200%\r\n  ttl: 0\r\n", []string{"3:9: loss: ...", "4:8: ttl: ..."}},
		{"{\n  \"version\": 1,\n  \"rules\": [\n    {\"name\": \"ü\", \"loss\": 5, \"ttl\":\n    0}\n  ]\n}\n", []string{"4:27: loss: ...", "5:5: ttl: ..."}},
		{"version: 1\nrules: []\x00\n", []string{"2:1: there is a zero byte; is it a text?"}},
	} {
		_, err := rules.Parse("rules.yaml", []byte(c.text))
		wantFaults(t, c.text, err, c.want...)
	}
}

func TestFormsOfAFileThatAreAllRead(t *testing.T) {
	for _, text := range []string{
		"version: 1\nrules: []\n",
		"version: 1\nrules: []",
		"\ufeffversion: 1\nrules: []\n",
		"%YAML 1.2\n---\nversion: 1\nrules: []\n",
		"---\nversion: 1\nrules: []\n...\n",
		"version: 1\r\nrules:\r\n  - to: 10.0.0.1\r\n    loss: 1%\r\n",
		"{version: 1, rules: [{to: 10.0.0.1}]}",
		`{"version": 1, "seed": 18446744073709551615, "rules": [{"to": ["10.0.0.1"], "loss": 0.5}]}`,
		"# comment\nversion: 1 # comment\n\nrules: # comment\n# comment\n- to: 10.0.0.1 # comment\n# comment\n  # comment\n",
	} {
		if _, err := rules.Parse("rules.yaml", []byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestARuleThatIsNeverUsedIsAFault(t *testing.T) {
	covered := func(text string, lines ...int) {
		t.Helper()
		_, err := rules.Parse("rules.yaml", []byte("version: 1\nrules:\n"+text))
		var got []int
		for _, f := range faultsOf(t, err) {
			if !strings.Contains(f.Text, "never used") {
				t.Errorf("%s: %v", text, f)
			}
			got = append(got, f.Line)
		}
		if !slices.Equal(got, lines) {
			t.Errorf("%s: faults in lines %d, want %d", text, got, lines)
		}
	}
	covered("- {to: 10.0.0.0/8}\n- {to: 10.1.0.0/16}\n- {to: 11.0.0.0/8}\n", 4)
	covered("- {to: 10.1.0.0/16}\n- {to: 10.0.0.0/8}\n")
	covered("- {to: 10.0.0.0/8}\n- {to: [10.1.0.0/16, 11.0.0.0/8]}\n")
	covered("- {to: 10.0.0.0/8}\n- {to: 11.0.0.0/8}\n- {to: [10.1.0.0/16, 11.1.0.0/16]}\n", 5)
	covered("- {to: 10.0.0.0/8, from: 192.0.2.0/24}\n- {to: 10.0.0.0/8, from: 192.0.2.7}\n- {to: 10.0.0.0/8}\n", 4)
	covered("- {}\n- {}\n", 4)
	covered("- {to: 0.0.0.0/0}\n- {}\n- {to: 'fd00::/8'}\n", 5)
	covered("- {from: 10.0.0.0/8}\n- {to: 10.0.0.0/8, from: 10.2.0.0/16}\n", 4)
	// Both halves are there, but not in one rule: this is not looked for.
	covered("- {to: 10.0.0.0/9}\n- {to: 10.128.0.0/9}\n- {to: 10.0.0.0/8}\n")
}

func TestHostileFilesAreRefusedSoon(t *testing.T) {
	deep := strings.Repeat
	for name, text := range map[string]string{
		"a billion laughs":      "a: &a [x]\nb: &b [*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b]\nversion: 1\nrules: [*c,*c]\n",
		"an alias of itself":    "version: 1\nrules: &r [*r]\n",
		"brackets":              deep("[", 1<<17),
		"closed brackets":       deep("[", 1<<17) + deep("]", 1<<17),
		"braces":                deep("{a: ", 1<<17),
		"lists in lists":        deep("- ", 1<<17),
		"keys of keys":          deep("? ", 1<<17),
		"mappings":              nested(5000),
		"keys":                  keys(1<<17, "k%d: 1\n"),
		"keys in braces":        "{" + keys(1<<17, "k%d: 1, ") + "}",
		"keys that are deeper":  "version: 1\nrules:\n- " + strings.ReplaceAll(keys(1<<17, "k%d: 1\n"), "\n", "\n  "),
		"colons":                deep("a:", 1<<17),
		"tags":                  deep("!a ", 1<<17),
		"anchors":               deep("&a ", 1<<17),
		"signs":                 "[" + deep(",", 15<<20) + "]",
		"lines":                 deep("- \n", 3<<20),
		"more than is read":     deep("#", 16<<20+1),
		"a text without an end": `version: "` + deep("x\n", 1<<17),
		"documents":             deep("---\n", 1<<17) + "a",
	} {
		start := time.Now()
		_, err := rules.Parse("rules.yaml", []byte(text))
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if s := err.Error(); len(s) > 10<<20 {
			t.Errorf("%s: an error of %d bytes", name, len(s))
		}
		t.Logf("%s: %v, %.150v", name, time.Since(start), err)
	}
}

func nested(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i%1000) + "a:\n")
	}
	return b.String()
}

func keys(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestManyRules(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n")
	const n = 5_000
	for i := range n {
		fmt.Fprintf(&b, "- {to: 10.%d.%d.%d/30, loss: 1%%, delay: %dms}\n", i>>14, i>>6&255, i<<2&255, i%10)
	}
	s, err := rules.Parse("rules.yaml", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != n || s.Rule(7).Name != "rule 8" || s.Rule(7).Line != 10 {
		t.Errorf("%d rules, one is %+v", s.Len(), s.Rule(7))
	}
	if got := s.Match(addr("192.0.2.1"), addr("10.0.0.31")); got != 7 {
		t.Errorf("rule %d, want 7", got)
	}
	if got := s.Behaviours(); got != 10 {
		t.Errorf("%d behaviours, want 10: equal ones are one", got)
	}
}

func TestTheFileInTheDocumentationIsRight(t *testing.T) {
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(source), "//\tversion: 1\n")
	text, _, ended := strings.Cut(after, "//\n")
	if !found || !ended {
		t.Fatal("there is none")
	}
	text = "version: 1\n" + strings.ReplaceAll(text, "//\t", "")
	s, err := rules.Parse("doc.go", []byte(text))
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	if s.Len() != 5 || s.Seed() != 42 {
		t.Errorf("%d rules, seed %d", s.Len(), s.Seed())
	}
	v, err := instance(text)
	if err == nil {
		err = compileSchema(t).Validate(v)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestReadFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "my.yaml")
	if _, err := rules.ReadFile(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := rules.ReadFile(filepath.Dir(name)); err == nil {
		t.Error("a folder: no error")
	}
	if err := os.WriteFile(name, []byte("version: 1\nrules:\n- {loss: 200%, name: a}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := rules.ReadFile(name)
	if err == nil || !strings.HasPrefix(err.Error(), name+":3:10: loss: ") {
		t.Errorf("a fault: %v", err)
	}
	if err := os.WriteFile(name, []byte("version: 1\nseed: 9\nrules:\n- {loss: 20%, name: a}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := rules.ReadFile(name)
	if err != nil || s.Len() != 1 || s.Seed() != 9 || s.Rule(0) != (rules.Rule{Name: "a", Line: 4}) {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := rules.ReadFile("/dev/zero"); err == nil {
		t.Error("a file without an end: no error")
	}
}

func TestSettings(t *testing.T) {
	s, err := rules.FromSettings(
		rules.Setting{Key: "seed", Value: "42"}, rules.Setting{Key: "to", Value: "10.0.0.0/8, fd00::"}, rules.Setting{Key: "to", Value: "192.0.2.1"},
		rules.Setting{Key: "loss", Value: "1%"}, rules.Setting{Key: "delay", Value: "normal:20ms,5ms"}, rules.Setting{Key: "jitter", Value: "1ms"},
		rules.Setting{Key: "reorder", Value: "1%,by=50ms"}, rules.Setting{Key: "duplicate", Value: "1%,copies=2"}, rules.Setting{Key: "ttl", Value: "7"},
		rules.Setting{Key: "corrupt", Value: "flip=1%,at=0,checksum=0.5"}, rules.Setting{Key: "error", Value: "packet-too-big,mtu=1300,probability=5%"},
		rules.Setting{Key: "source", Value: "10.0.0.1,fd00::1"}, rules.Setting{Key: "rate", Value: "100,burst=10"},
		rules.Setting{Key: "down", Value: "from=10s,to=20s,every=1m"}, rules.Setting{Key: "down", Value: "to=1s"})
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]int{"10.1.1.1": 0, "fd00::": 0, "192.0.2.1": 0, "192.0.2.2": -1, "fd00::1": -1} {
		if got := s.Match(addr("1.1.1.1"), addr(to)); got != want {
			t.Errorf("%s: rule %d, want %d", to, got, want)
		}
	}
	d := s.NewDecider(0)
	for at, want := range map[time.Duration]rules.Drop{0: rules.Down, 15 * time.Second: rules.Down, 75 * time.Second: rules.Down} {
		if got := d.Decide(packet(1), at).Drop; got != want {
			t.Errorf("at %v: %v", at, got)
		}
	}
	t.Run("mean what they mean in a file", func(t *testing.T) {
		file := mustParse(t, `
- delay: {distribution: normal, mean: 20ms, deviation: 5ms}
  loss: 0.1
  reorder: {probability: 10%, by: 30ms}
  duplicate: {probability: 0.1, copies: 2}
  corrupt: {flip: 10%, checksum: 0.1}
  error: {type: time exceeded, probability: 0.1}
`).NewDecider(0)
		set, err := rules.FromSettings(rules.Setting{Key: "seed", Value: "42"}, rules.Setting{Key: "delay", Value: "normal:20ms,5ms"}, rules.Setting{Key: "loss", Value: "10%"},
			rules.Setting{Key: "reorder", Value: "0.1,by=30ms"}, rules.Setting{Key: "duplicate", Value: "copies=2,probability=10%"},
			rules.Setting{Key: "corrupt", Value: "checksum=10%,flip=10%"}, rules.Setting{Key: "error", Value: "type=time_exceeded,probability=10%"})
		if err != nil {
			t.Fatal(err)
		}
		settings := set.NewDecider(0)
		for i := range 1000 {
			if a, b := shown(file.Decide(packet(i), 0)), shown(settings.Decide(packet(i), 0)); strings.ReplaceAll(a, "0x", "") != strings.ReplaceAll(b, "0x", "") {
				t.Fatalf("%s and %s", a, b)
			}
		}
	})
	t.Run("only a seed is no rule", func(t *testing.T) {
		s, err := rules.FromSettings(rules.Setting{Key: "seed", Value: "5"})
		if err != nil || s.Len() != 0 || s.Seed() != 5 {
			t.Errorf("%+v, %v", s, err)
		}
	})
	t.Run("have their faults reported", func(t *testing.T) {
		_, err := rules.FromSettings(rules.Setting{Key: "loss", Value: "101%"}, rules.Setting{Key: "delay", Value: "normal:20ms,5ms,3"}, rules.Setting{Key: "lss", Value: "1"},
			rules.Setting{Key: "error", Value: "host-unreachable"}, rules.Setting{Key: "to", Value: "10.0.0.0/8,::/0"}, rules.Setting{Key: "ttl", Value: "5"},
			rules.Setting{Key: "ttl", Value: "6"}, rules.Setting{Key: "seed", Value: "x"}, rules.Setting{Key: "silent", Value: "maybe"}, rules.Setting{Key: "nonsense", Value: ""})
		var got []string
		for _, f := range faultsOf(t, err) {
			got = append(got, f.Error())
		}
		slices.Sort(got)
		want := []string{
			`--delay: normal: "3" has no name; write name=value, with one of mean, deviation`,
			`--error: IPv6 has no "host-unreachable"; write another error, or a rule for each family`,
			`--loss: "101%" is more than 100%; write a probability such as 1% or 0.01`,
			`--lss is unknown; did you mean loss?`,
			`--nonsense is unknown; there are seed, name, to, from, silent, loss, delay, jitter, reorder, duplicate, corrupt, code, ttl, tos, source, error, rate, down`,
			`--seed: "x" is not a whole number from 0 to 18446744073709551615`,
			`--silent: "maybe" is neither true nor false; write one of these`,
			`--ttl is there twice; give it once`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("faults\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	})
	t.Run("are all told", func(t *testing.T) {
		for _, k := range rules.Keys() {
			if k.Name == "" || k.Usage == "" || strings.Contains(k.Usage, "\n") {
				t.Errorf("%+v", k)
			}
		}
		if n := len(rules.Keys()); n != 17 {
			t.Errorf("%d keys", n)
		}
	})
}

func TestDistanceOfWords(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"loss", "loss", 0}, {"Loss", "loss", 0}, {"los", "loss", 1}, {"lsos", "loss", 1}, {"lass", "loss", 1}, {"closs", "loss", 1}, {"kitten", "sitting", 3}, {"", "abc", 3}} {
		if got := rules.Distance(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

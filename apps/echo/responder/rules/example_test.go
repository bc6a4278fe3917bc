package rules_test

import (
	"fmt"
	"net/netip"

	"iomux/apps/echo/responder/rules"
)

// A file is parsed once; then each request is decided about.
func Example() {
	set, err := rules.Parse("rules.yaml", []byte(`
version: 1
seed: 42
rules:
  - name: far
    to: [10.64.0.0/16, fd00:64::/32]
    delay: 80ms
  - name: gone
    to: 10.65.0.0/16
    error: {type: host unreachable, from: 10.65.0.1}
  - to: 10.66.0.0/16
    silent: true
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	decider := set.NewDecider(0)
	for _, to := range []string{"10.64.0.1", "fd00:64::1", "10.65.0.9", "10.66.0.9", "10.67.0.9"} {
		p := rules.Packet{From: netip.MustParseAddr("192.0.2.1"), To: netip.MustParseAddr(to), ID: 1, Seq: 1, Data: []byte("data")}
		d := decider.Decide(&p, 0)
		switch {
		case d.Rule < 0:
			fmt.Println(to, "has no rule and is", d.Drop)
		case d.Error != nil:
			fmt.Println(to, set.Rule(d.Rule).Name, "has error", d.Error.Type, d.Error.Code, "from", d.Error.From)
		default:
			fmt.Println(to, set.Rule(d.Rule).Name, "is", d.Drop, "after", d.Delay)
		}
	}
	// Output:
	// 10.64.0.1 far is answered after 80ms
	// fd00:64::1 far is answered after 80ms
	// 10.65.0.9 gone has error 3 1 from 10.65.0.1
	// 10.66.0.9 rule 3 is silent after 0s
	// 10.67.0.9 has no rule and is answered
}

// Everything that is wrong is told at once.
func ExampleParse() {
	_, err := rules.Parse("rules.yaml", []byte(`
version: 1
rules:
  - to: 10.1.2.3/8
    los: 1%
  - to: 10.0.0.0/8
    delay: normal:20ms,5
  - to: 10.9.0.0/16
`))
	fmt.Println(err)
	// Output:
	// 4 errors occurred:
	// 	* rules.yaml:4:9: to: "10.1.2.3/8" has bits set after the first 8; write 10.0.0.0/8, or 10.1.2.3 for the address alone
	// 	* rules.yaml:5:5: rule: "los" is unknown; did you mean loss?
	// 	* rules.yaml:7:24: delay: normal: deviation: "5" has no unit; write a time with one, such as 5ms
	// 	* rules.yaml:8:9: the rule is never used, as the rule in line 6 comes before it and has its addresses; put it before that, or leave it out
}

// Flags such as --loss 1% --delay normal:20ms,5ms make one rule.
func ExampleFromSettings() {
	set, err := rules.FromSettings(
		rules.Setting{Key: "to", Value: "10.64.0.0/16"},
		rules.Setting{Key: "loss", Value: "1%"},
		rules.Setting{Key: "delay", Value: "normal:20ms,5ms"},
	)
	fmt.Println(set.Len(), err)

	_, err = rules.FromSettings(rules.Setting{Key: "loss", Value: "101%"})
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// --loss: "101%" is more than 100%; write a probability such as 1% or 0.01
}

// The data of a reply may be damaged.
func ExampleDecision_AppendData() {
	set, err := rules.FromSettings(rules.Setting{Key: "corrupt", Value: "flip=100%,at=-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	p := rules.Packet{From: netip.MustParseAddr("192.0.2.1"), To: netip.MustParseAddr("10.64.0.1"), Data: []byte("data")}
	d := set.NewDecider(0).Decide(&p, 0)
	fmt.Printf("%.3s %v\n", d.AppendData(nil, p.Data), d.Flip)
	// Output: dat true
}

package stats_test

import (
	"fmt"
	"log"
	"time"

	"iomux/apps/echo/prober/stats"
)

// Each target has its own statistics; a Total takes the same outcomes.
func Example() {
	targets := make([]stats.Target, 2)
	total := stats.NewTotal()
	for i := range targets {
		target := &targets[i]
		for _, rtt := range []time.Duration{10 * time.Millisecond, 26 * time.Millisecond} {
			target.Sent()
			total.Sent()
			total.Answer(stats.Reply, rtt, target.Answer(stats.Reply, rtt))
		}
	}
	targets[1].Sent()
	total.Sent()
	targets[1].Count(stats.Timeout)
	total.Count(stats.Timeout)

	for i := range targets {
		s := targets[i].Summary()
		fmt.Printf("target %d: %d sent, %d received, %.1f%% loss, avg %v, jitter %v\n",
			i, s.Sent, s.Received(), 100*s.Loss(), s.Mean, s.Jitter)
	}
	s := total.Summary()
	fmt.Printf("total: %d sent, %d received, %.1f%% loss, max %v\n", s.Sent, s.Received(), 100*s.Loss(), s.Max)
	// Output:
	// target 0: 2 sent, 2 received, 0.0% loss, avg 18ms, jitter 1ms
	// target 1: 3 sent, 2 received, 33.3% loss, avg 18ms, jitter 1ms
	// total: 5 sent, 4 received, 20.0% loss, max 26ms
}

// A script fails if a condition holds, or if there is nothing to judge it by.
func ExampleParseConditions() {
	failIf, err := stats.ParseConditions("loss>1%, p99>20ms, duplicates>0")
	if err != nil {
		log.Fatal(err)
	}
	var target stats.Target
	s := target.Summary()
	for _, v := range failIf.Check(&s) {
		fmt.Println(v)
	}
	for range 3 {
		target.Sent()
		target.Answer(stats.Reply, 5*time.Millisecond)
	}
	target.Sent()
	target.Count(stats.Timeout)
	s = target.Summary()
	for _, v := range failIf.Check(&s) {
		fmt.Println(v)
	}
	// Output:
	// loss > 1%: no probe was answered or timed out
	// p99 > 20ms: no replies
	// loss 25% > 1%
}

// Every fault is told, with its place and what would be right.
func ExampleParseConditions_errors() {
	_, err := stats.ParseConditions("loss>1%, p99>20")
	fmt.Println(err)
	// Output: condition "p99>20" at character 10: p99: "20" lacks a unit; write ns, us, ms, s, m or h, such as p99>20ms
}

// Package jobs has the work that is measured here and in bench/peers, and the way
// in which contestants are compared:
//
//	c, err := jobs.NewChain(1000, 100, 50_000, jobs.Raw)
//	...
//	ours, err := c.OnLoop(m)
//	bare, err := c.OnBare()
//	var pairs jobs.Comparison
//	for b.Loop() {
//		pairs.Pair(ours.Round, bare.Round)
//	}
//	pairs.Report(b.ReportMetric, "event", "bare")
package jobs

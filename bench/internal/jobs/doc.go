// Package jobs has the work that is measured here and in bench/peers, and the way
// in which contestants are compared:
//
//	c, err := jobs.NewChain(1000, 100, 50_000, jobs.Raw)
//	other, err := jobs.NewChain(1000, 100, 50_000, jobs.Raw)
//	...
//	ours, err := c.OnLoop(m)
//	bare, err := other.OnBare()
//	err = errors.Join(ours.Attach(), bare.Attach())
//	var pairs jobs.Comparison
//	for b.Loop() {
//		err = pairs.Pair(ours.Round, bare.Round)
//	}
//	pairs.Report(b.ReportMetric, "event", "bare")
package jobs

package prober

import (
	"context"
	"iter"

	"iomux/mux"
	"iomux/mux/loop"
)

// Run probes and yields the results as they come, on the calling goroutine. It ends
// when all rounds are over, when the caller breaks out of the range, or with an error
// as its last element: the context's, or what went wrong. Config.OnResult is called
// as well. Data and Err of a Result are valid until the next one.
func Run(ctx context.Context, cfg Config) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		cfg := cfg // it may be ranged over again
		m, err := mux.Open("")
		if err != nil {
			yield(Result{}, err)
			return
		}
		l := loop.New(m)
		var p *Prober
		closed := false
		defer func() { // the caller's panic passes through here
			if !closed && p != nil {
				p.Close()
			}
			if !closed {
				l.Close()
			}
		}()
		broken := false // the caller has had enough
		var failure error
		onResult, onDone, onFailure := cfg.OnResult, cfg.OnDone, cfg.OnFailure
		cfg.OnResult = func(r *Result) {
			if onResult != nil {
				onResult(r)
			}
			if !broken && !yield(*r, nil) {
				broken = true
				p.Stop()
				l.Stop()
			}
		}
		cfg.OnDone = func() {
			if onDone != nil {
				onDone()
			}
			l.Stop()
		}
		cfg.OnFailure = func(err error) {
			if onFailure != nil {
				onFailure(err)
			}
			failure = err
			l.Stop()
		}
		if err = ctx.Err(); err == nil {
			p, err = New(l, cfg)
		}
		if err == nil {
			p.Start()
			err = l.Run(ctx)
			err = join(err, failure, p.Close())
		}
		closed = true
		err = join(err, l.Close())
		if err != nil && !broken {
			yield(Result{}, err)
		}
	}
}

package resolve

import (
	"context"
	"os"
	"sync"
)

// Pool resolves names in the background, a bounded number at a time, and delivers
// the answers on a loop.
type Pool struct {
	lookup Lookup
	post   func(func())
	ctx    context.Context
	cancel context.CancelFunc

	working sync.WaitGroup
	mu      sync.Mutex
	idle    int                   // workers that are not at work; they have no goroutine
	pending map[question]*request // those in the queue and those at work
	first   *request              // the queue
	last    *request
	closed  bool
}

type question struct{ network, host string }

// request is a question with those who ask it.
type request struct {
	question
	asking []func(Answer, error)
	next   *request
}

// NewPool returns a Pool that asks lookup, for up to workers names at a time, or one
// if workers is less than that. While nothing is asked it has no goroutine.
//
// Answers are delivered through post, which runs a function on the loop: the Post of
// a loop.Loop. It may be called from any goroutine and must not block.
func NewPool(lookup Lookup, workers int, post func(func())) *Pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool{lookup: lookup, post: post, ctx: ctx, cancel: cancel,
		idle: max(workers, 1), pending: make(map[question]*request)}
}

// Resolve asks for the addresses of a host and returns at once; fn is called on the
// loop, exactly once unless the Pool is closed before. Names are asked for in the
// order in which they come, and a name that is waited for already is not asked for
// again: both get the same Answer, which neither may alter. The queue has no bound.
//
// Resolve may be called from any goroutine, and from fn. After Close it does nothing.
func (p *Pool) Resolve(network, host string, fn func(Answer, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	q := question{network, host}
	if r := p.pending[q]; r != nil {
		r.asking = append(r.asking, fn)
		return
	}
	r := &request{question: q, asking: []func(Answer, error){fn}}
	p.pending[q] = r
	if p.first == nil {
		p.first = r
	} else {
		p.last.next = r
	}
	p.last = r
	if p.idle > 0 {
		p.idle--
		p.working.Go(p.work)
	}
}

// work answers requests until none is left.
func (p *Pool) work() {
	for r := p.take(); r != nil; r = p.take() {
		a, err := p.lookup(p.ctx, r.network, r.host)
		if err == nil && len(a.Addrs) == 0 {
			err = notFound(r.host, noSuchHost)
		}
		p.finish(r, a, err)
	}
}

// take takes the next request from the queue, which is empty after Close.
func (p *Pool) take() *request {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.first
	if r == nil {
		p.idle++
		return nil
	}
	p.first, r.next = r.next, nil
	return r
}

// finish has the answer delivered. From then on the name is asked for again.
func (p *Pool) finish(r *request, a Answer, err error) {
	p.mu.Lock()
	delete(p.pending, r.question) // nobody joins any more
	asking := r.asking
	p.mu.Unlock()
	p.post(func() {
		for _, fn := range asking {
			if p.isClosed() { // perhaps by the one before
				return
			}
			fn(a, err)
		}
	})
}

func (p *Pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// Close cancels all lookups and waits until those that run have returned, which those
// of System do at once. When it has returned none of the Pool's goroutines is left
// (those that package net began for a lookup end soon afterwards), and no function
// that was given to Resolve is called any more, provided that Close is called on the
// loop: in a callback, or by the goroutine that ran the loop when Run has returned,
// as Own of a loop.Loop has it. Called elsewhere it cannot keep one from running at
// the same time.
//
// A second Close returns os.ErrClosed. There is no other error.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return os.ErrClosed
	}
	p.closed = true
	p.pending, p.first, p.last = nil, nil, nil
	p.mu.Unlock()
	p.cancel()
	p.working.Wait()
	return nil
}

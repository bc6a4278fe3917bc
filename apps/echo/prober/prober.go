// Package prober sends ICMP echo requests to one host or to a million, from one
// socket for each address family, and tells what became of each.
//
//	hosts, err := targets.Parse("192.0.2.0/24")
//	if err != nil {
//		return err
//	}
//	cfg := prober.Config{Targets: hosts, Count: 1, Rate: 1000, Data: make([]byte, 56)}
//	for r, err := range prober.Run(ctx, cfg) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(r.Addr, r.Outcome, r.RTT)
//	}
//
// Run has a loop of its own. New puts a prober on a loop of yours, which may do other
// things as well, and calls Config.OnResult.
//
// A probe is told from all others by a cookie in its data that only the prober can
// make, and its time of sending is kept here: nothing that an answer says about itself
// is believed. Round-trip times are from when the kernel gave the request to the
// network device to when it received the reply, where the transport has such time
// stamps. Package stats has the outcomes.
//
// The package has no global state, handles no signals and prints nothing.
package prober

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"iomux/apps/echo/prober/resolve"
	"iomux/apps/echo/prober/stats"
	"iomux/mux"
	"iomux/mux/loop"
)

// Prober probes its targets. Its methods belong to the loop.
type Prober struct {
	l    *loop.Loop
	cfg  Config
	base time.Time
	now  time.Duration // when the batch in hand was begun
	id   uint16

	paths [2]*path // IPv4, IPv6; nil until needed
	fails [2]failure

	schedule schedule
	ticker   *loop.Timer
	started  bool
	began    bool   // the first round has begun
	posted   bool   // pump will be called again in the next turn
	resume   func() // pump, posted
	again    retries
	free     time.Duration // when Rate allows a retry
	parked   int           // probes that wait for an address
	found    []*host       // those of them that have got one, or none
	hosts    map[uint64]*host
	names    *resolve.Pool
	zones    map[string]zone
	wide     map[netip.Addr]bool // whether these are broadcast addresses

	cookies *cookies
	signed  bool   // probes have a cookie
	sending []byte // the data, with the latest cookie

	awaiting int // probes that have not ended

	total      *stats.Total
	targets    []*target // with TargetStats; an entry is nil until its first probe
	stray      uint64
	skipped    uint64
	clockSteps uint64
	res        Result

	stopped bool
	done    bool // OnDone has been called
}

// target is what is known of a target with TargetStats.
type target struct {
	stats stats.Target
	// Of the probes answered, the one sent latest: when, and its serial number among
	// those sent together.
	sent   time.Duration
	serial uint64
}

// overtaken reports whether a probe that is answered was sent before another that was
// answered already.
func (t *target) overtaken(sent time.Duration, serial uint64) bool {
	if sent < t.sent || sent == t.sent && serial < t.serial {
		return true
	}
	t.sent, t.serial = sent, serial
	return false
}

var (
	errEthernet  = errors.New("prober: the transport carries Ethernet frames; want ICMP messages or IP packets")
	errNoSource  = errors.New("prober: the transport carries IP packets, so that Config.Source must be their source address")
	errNoAddress = errors.New("the name has no address to probe")
)

// New prepares a prober. The error tells everything that is wrong with the Config.
func New(l *loop.Loop, cfg Config) (*Prober, error) {
	cfg.setDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Data = slices.Clone(cfg.Data)
	p := &Prober{l: l, cfg: cfg, base: cfg.Clock(), id: uint16(1 + rand.IntN(1<<16-1)),
		total: stats.NewTotal(), sending: cfg.Data,
		signed: !cfg.Verbatim && len(cfg.Data) >= cookieSize,
		wide:   make(map[netip.Addr]bool),
		again:  newRetries(cfg.Retries, cfg.Timeout, cfg.Backoff)}
	var err error
	if p.cookies, err = newCookies(); err != nil {
		return nil, err
	}
	if cfg.TargetStats {
		p.targets = make([]*target, cfg.Targets.Len())
	}
	p.resume = func() {
		p.posted = false
		// A goroutine that never passes the scheduler is preempted every 10 ms, for
		// which the runtime polls every 20 microseconds: more than a tenth of the time.
		runtime.Gosched()
		p.pump()
	}
	counts := cfg.Targets.Counts()
	if counts.Names > 0 {
		lookup := cfg.Lookup
		if lookup == nil {
			lookup = resolve.System()
		}
		p.hosts = make(map[uint64]*host)
		p.names = resolve.NewPool(bounded(lookup), maxLookups, l.Post)
	}
	// What is needed for sure is opened now, so that the caller learns why it
	// cannot be.
	if counts.IPv4 > 0 {
		p.path(netip.IPv4Unspecified())
	}
	if counts.IPv6 > 0 {
		p.path(netip.IPv6Unspecified())
	}
	if p.paths[0] == nil && p.paths[1] == nil && (p.fails[0].err != nil || p.fails[1].err != nil) {
		return nil, join(p.fails[0].err, p.fails[1].err, p.Close())
	}
	return p, nil
}

// Start begins. A second Start, or one after Stop, does nothing. If the only target is a
// name, the first round begins when it has been looked up.
func (p *Prober) Start() {
	if p.started || p.stopped {
		return
	}
	p.started = true
	p.ticker = p.l.AfterFunc(time.Hour, p.pump)
	p.ticker.Stop() // sleep arms it
	if t := p.cfg.Targets.At(0); t.Name == "" || p.cfg.Targets.Len() > 1 || !p.host(0, t.Name).asking {
		p.begin()
	}
}

// begin begins the first round.
func (p *Prober) begin() {
	p.began = true
	p.schedule = newSchedule(&p.cfg, p.elapsed())
	p.pump()
}

// Stop sends nothing more and receives nothing more. What has not been answered has
// no result. No function of the Config is called after Stop.
func (p *Prober) Stop() {
	if p.stopped {
		return
	}
	p.stopped = true
	if p.ticker != nil {
		p.ticker.Stop()
	}
	for _, w := range p.paths {
		if w != nil {
			w.watch.Stop()
			w.expiry.Stop()
		}
	}
}

// Close stops, ends lookups and closes the transports. It returns everything that
// fails: one error as itself, several as a *multierror.Error.
func (p *Prober) Close() error {
	p.Stop()
	var errs []error
	if p.names != nil {
		errs = append(errs, p.names.Close())
	}
	for _, w := range p.paths {
		if w != nil {
			errs = append(errs, w.t.Close())
		}
	}
	return join(errs...)
}

// Total holds the statistics of all targets.
func (p *Prober) Total() *stats.Total { return p.total }

// Target holds those of one target, by its index; nil before its first probe, and
// without Config.TargetStats.
func (p *Prober) Target(i uint64) *stats.Target {
	if i >= uint64(len(p.targets)) || p.targets[i] == nil {
		return nil
	}
	return &p.targets[i].stats
}

// Stray counts messages that concern no probe of this prober, or are none that end
// one: other types, foreign identifiers, redirects.
func (p *Prober) Stray() uint64 { return p.stray }

// ClockSteps counts the round-trip times by the kernel's clock that could not be
// true, because the wall clock was set meanwhile, and were measured in user space
// instead.
func (p *Prober) ClockSteps() uint64 { return p.clockSteps }

// Skipped counts the targets that were left out since they are broadcast addresses,
// without Config.Broadcast. Their probes have no result.
func (p *Prober) Skipped() uint64 { return p.skipped }

// elapsed is the time since the prober was made.
func (p *Prober) elapsed() time.Duration { return p.cfg.Clock().Sub(p.base) }

// burst is how many batches are sent before the loop sees to other things.
const burst = 16

// pump sends what is due, and sees to it that it is called again when more is. While
// it has to be at once, the loop need not say what has come in: that costs the kernel
// something for each message.
func (p *Prober) pump() {
	if p.stopped || !p.began {
		return
	}
	if p.sendDue() {
		p.listen(0)
		p.yield()
	} else if !p.stopped {
		p.listen(mux.Readable)
	}
}

// sendDue sends what is due and receives in between, for a while. It reports whether
// more is due.
func (p *Prober) sendDue() (more bool) {
	for range burst {
		p.now = p.elapsed()
		added := 0
		for added < batch && !p.stopped && p.room() && !p.full() && p.sendNext(p.now) {
			added++
		}
		out := p.flush()
		if p.stopped {
			return false
		}
		p.watchTime()
		if !out {
			return false // until writable
		}
		if added > 0 {
			if p.receive(); p.stopped { // answers of a near target are there already
				return false
			}
		}
		if !p.room() {
			return false // until a probe ends
		}
		if !p.due(p.elapsed()) {
			p.sleep()
			p.finish()
			return false
		}
	}
	return true
}

// listen has the loop report what comes in, or not. Paths that wait for room have it
// reported in any case.
func (p *Prober) listen(want mux.Interest) {
	for _, w := range p.paths {
		if w != nil && w.want&mux.Writable == 0 {
			w.wait(want)
		}
	}
}

// maxSpan is how far apart the first probe in flight and the latest one may be, so
// that an answer to each is found by its sequence number.
const maxSpan = tries << 16

// room reports whether there may be another probe in flight.
func (p *Prober) room() bool {
	for _, w := range p.paths {
		if w != nil && w.ledger.advance() && w.ledger.next-w.ledger.head >= maxSpan {
			return false
		}
	}
	return p.awaiting < p.cfg.Window
}

// yield has pump called in the next turn.
func (p *Prober) yield() {
	if !p.posted {
		p.posted = true
		p.l.Post(p.resume)
	}
}

// due reports whether something may be sent now.
func (p *Prober) due(now time.Duration) bool {
	return p.foundDue(now) || p.retryDue(now) || p.nextDue(now)
}

// nextDue reports whether the next probe of the schedule may be sent now.
func (p *Prober) nextDue(now time.Duration) bool {
	return p.next() && p.schedule.due(now) > 0
}

// next reports whether there is a next probe of the schedule, once it is due. While very
// many wait for their retry or their address there is none.
func (p *Prober) next() bool {
	return !p.schedule.over() && p.again.n < maxRetrying && p.parked < maxParked
}

// spare reports whether something may be sent now that is not in the schedule. Rate
// leaves room for it where the schedule does not use it up, and else it takes the
// place of the next probe.
func (p *Prober) spare(now time.Duration) bool {
	s := &p.schedule
	return now >= p.free || s.atRate() && !s.over() && s.due(now) > 0
}

// retryDue reports whether a retry may be sent now.
func (p *Prober) retryDue(now time.Duration) bool {
	at, _, ok := p.again.next()
	return ok && at <= now && p.spare(now)
}

// foundDue reports whether a probe may be sent now that has waited for its address.
func (p *Prober) foundDue(now time.Duration) bool { return len(p.found) > 0 && p.spare(now) }

// sleep arms the ticker for when something is due. It is called when nothing is.
func (p *Prober) sleep() {
	var at time.Duration
	sleeping := false
	if p.next() && p.schedule.gap > 0 {
		at, sleeping = p.schedule.when(), true
	}
	due, _, ok := p.again.next()
	if len(p.found) > 0 {
		due, ok = 0, true
	}
	if ok {
		if due = max(due, p.free); !sleeping || due < at {
			at, sleeping = due, true
		}
	}
	if sleeping {
		p.ticker.Reset(at - p.elapsed())
	}
}

// sendNext sends what has waited for an address, a retry that is due, or the next
// probe of the schedule, and reports whether there was any.
func (p *Prober) sendNext(now time.Duration) bool {
	switch {
	case p.foundDue(now):
		h := p.found[0]
		p.found = slices.Delete(p.found, 0, 1)
		number := h.parked
		h.parked = 0
		p.parked--
		p.delay()
		p.send(h.target, h.addr, number, 0, h.err)
		p.dismiss(h, number)
	case p.retryDue(now):
		_, queue, _ := p.again.next()
		r := p.again.pop(queue)
		p.delay()
		p.send(r.target, r.address(), r.number, r.try, nil)
	case p.nextDue(now):
		n := p.cfg.Targets.Len()
		i, number := p.schedule.next%n, p.schedule.next/n+1
		p.schedule.next++
		if t := p.cfg.Targets.At(i); t.Name != "" {
			p.sendByName(i, t.Name, number)
		} else {
			p.send(i, t.Addr, number, 0, nil)
		}
	default:
		return false
	}
	p.free = p.schedule.freeAfter(p.free, now)
	return true
}

// delay makes room in the schedule for what is not in it, where Rate asks for that.
func (p *Prober) delay() {
	if p.schedule.atRate() && !p.schedule.over() {
		p.schedule.delay()
	}
}

// send puts a probe into its path's batch. One that cannot be sent, for err or for
// want of a path, ends at once.
func (p *Prober) send(i uint64, addr netip.Addr, number uint64, try uint8, err error) {
	var w *path
	var index uint32
	addr = addr.Unmap()
	if err == nil {
		index, err = p.zone(addr.Zone())
	}
	if err == nil {
		w, err = p.path(addr)
	}
	pr := probe{target: i, number: number, try: try, zone: index}
	if addr.IsValid() {
		pr.setAddr(addr)
	}
	switch {
	case err != nil:
	case w.stuck && w.full():
		err = errNoRoom
	default:
		err = w.add(&pr)
	}
	if err != nil {
		p.unsent(&pr, err)
	}
}

// full reports whether a path has no room for another probe, and has to be waited for.
func (p *Prober) full() bool {
	for _, w := range p.paths {
		if w != nil && w.full() && !w.stuck {
			return true
		}
	}
	return false
}

// watchTime sees to it that probes are given up when it is time to.
func (p *Prober) watchTime() {
	for _, w := range p.paths {
		if w != nil {
			w.arm()
		}
	}
}

// flush sends what the paths hold, and reports whether all of it is out that is worth
// waiting for.
func (p *Prober) flush() bool {
	out := true
	for _, w := range p.paths {
		if w != nil && !w.flush() && !w.stuck {
			out = false
		}
	}
	return out
}

// receive takes what has come in meanwhile.
func (p *Prober) receive() {
	for _, w := range p.paths {
		if w != nil && !p.stopped {
			w.receive()
		}
	}
}

// sent counts a probe that was handed to the kernel.
func (p *Prober) sent(pr *probe) {
	p.total.Sent()
	if p.targets != nil {
		p.target(pr.target).stats.Sent()
	}
}

// target returns what is known of a target.
func (p *Prober) target(i uint64) *target {
	if p.targets[i] == nil {
		p.targets[i] = new(target)
	}
	return p.targets[i]
}

// unsent reports a probe that did not leave.
func (p *Prober) unsent(pr *probe, err error) {
	r := &p.res
	*r = Result{Outcome: stats.SendError, Last: true, Err: err}
	p.identify(r, pr)
	p.finished(pr, r)
}

// finished counts and reports a result that is about a probe.
func (p *Prober) finished(pr *probe, r *Result) {
	var t *target
	if p.targets != nil {
		t = p.target(pr.target)
	}
	if r.Outcome == stats.Reply || r.Outcome == stats.Reordered {
		d := stats.NoDifference
		if t != nil {
			d = t.stats.Answer(r.Outcome, r.RTT)
		}
		p.total.Answer(r.Outcome, r.RTT, d)
	} else {
		p.total.Count(r.Outcome)
		if t != nil {
			t.stats.Count(r.Outcome)
		}
	}
	p.report(r)
}

func (p *Prober) report(r *Result) {
	if p.cfg.OnResult != nil && !p.stopped {
		p.cfg.OnResult(r)
	}
}

// finish calls OnDone when nothing is left to do.
func (p *Prober) finish() {
	if p.stopped || p.done || !p.schedule.over() || p.awaiting > 0 || p.again.n > 0 || p.parked > 0 {
		return
	}
	p.done = true
	if p.cfg.OnDone != nil {
		p.cfg.OnDone()
	}
}

func (p *Prober) fail(err error) {
	p.Stop()
	if p.cfg.OnFailure != nil {
		p.cfg.OnFailure(err)
	}
}

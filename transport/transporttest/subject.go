package transporttest

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/go-multierror"

	"iomux/transport"
)

// Pair is a transport under test and the other end of it.
type Pair struct {
	// A is the transport under test.
	A transport.Transport
	// B is what A's messages reach, and whose messages reach A: another
	// transport of the kind, or any that keeps the contract. The suite closes
	// both, A first.
	B transport.Transport
	// ToB makes message number seq for A to send to B, with a payload of size
	// bytes. Messages whose numbers differ modulo 256 have to differ, but for
	// those of MinSize. nil if A only receives: cases about sending are then to
	// be declared in Without, and the others do without it.
	ToB func(seq, size int) transport.Message
	// ToA makes one for B to send to A; nil if A only sends.
	ToA func(seq, size int) transport.Message
}

// Subject is what the suite has to know about the transport under test. Open,
// Network and the sizes are for all; each of the others is for some cases only,
// and a subject that leaves one of those out declares these cases in Without.
type Subject struct {
	// Network is the name under which the transport is registered.
	Network string
	// Open opens a pair, A with the Config, which may be nil. Between the two
	// nothing may be lost as long as no more than a batch is on its way.
	Open func(cfg *transport.Config) (Pair, error)
	// MinSize and MaxSize are the lengths of the shortest and of the longest
	// payload that gets through, in bytes.
	MinSize, MaxSize int
	// Without has a reason for each case that the transport cannot have. Such
	// a case does not become a subtest; the reason is logged. A name that no
	// case has is an error.
	Without map[string]string

	// Header is the number of bytes in front of the payload that a
	// Config.Filter sees: 20 where it is given IPv4 packets.
	Header int
	// Reporting are Config.Options that make the kernel report transmit time
	// stamps and errors to A; nil if there are none.
	Reporting any
	// Normalize overwrites in a payload what the kernel changes on the way, a
	// time to live for instance. It is given whole payloads, sent and received,
	// before they are compared; nil if they arrive as they were sent.
	Normalize func(payload []byte)
	// Answer makes of the payload of a message to A, in place, that of one from
	// A, where they differ; nil where they do not. Length and number stay.
	Answer func(payload []byte)

	// Unsendable returns messages to B that A's Send refuses with an error,
	// every time, one for each way in which it does. Case
	// send_error_is_about_the_first.
	Unsendable func(Pair) []transport.Message
	// Hold keeps what A sends from leaving, so that its buffer fills, until
	// release, which may throw it away. nil where a B that does not receive
	// holds A up, and nothing is lost. Case short_send_then_writable.
	Hold func(Pair) (release func() error, err error)
	// Starve makes A's Send of m fail with ENOBUFS although there is room in its
	// buffer, until feed. Case enobufs_blocks_or_is_an_error.
	Starve func(Pair) (m transport.Message, feed func() error, err error)
	// Disturb leaves an asynchronous error pending on A, want or one that wraps
	// it, without keeping A from sending to B. Case pending_error_reported_once.
	Disturb func(Pair) (want, err error)
	// Deny calls open where the system does not permit the transport to be
	// opened: see [WithoutCapabilities]. Case unprivileged_open.
	Deny func(open func()) error
	// SetLink switches the interface that A sends through. Case
	// link_down_and_up.
	SetLink func(Pair, bool) error
}

// check reports everything that is wrong with the subject itself.
func (s *Subject) check() error {
	var errs *multierror.Error
	if s.Open == nil || s.Network == "" {
		errs = multierror.Append(errs, errors.New("it needs Open and Network"))
	}
	if s.MinSize < 0 || s.MaxSize < s.MinSize+16 {
		errs = multierror.Append(errs, fmt.Errorf("MinSize is %d and MaxSize %d: want 0 or more, and at least 16 more", s.MinSize, s.MaxSize))
	}
	declared := func(name string) bool { return s.Without[name] != "" }
	for _, need := range []struct {
		missing bool
		name    string
		what    string
	}{
		{s.MinSize > 0, "empty_message", "MinSize is not 0"},
		{s.Unsendable == nil, "send_error_is_about_the_first", "Unsendable is nil"},
		{s.Starve == nil, "enobufs_blocks_or_is_an_error", "Starve is nil"},
		{s.Disturb == nil, "pending_error_reported_once", "Disturb is nil"},
		{s.Deny == nil, "unprivileged_open", "Deny is nil"},
		{s.SetLink == nil, "link_down_and_up", "SetLink is nil"},
	} {
		if need.missing && !declared(need.name) {
			errs = multierror.Append(errs, fmt.Errorf("as %s there is no %s: give the reason in Without", need.what, need.name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Without)) {
		switch {
		case !isCase(name):
			errs = multierror.Append(errs, fmt.Errorf("there is no case %q to be declared in Without; there are %q", name, caseNames()))
		case !declared(name):
			errs = multierror.Append(errs, fmt.Errorf("the case %s is declared in Without without a reason", name))
		}
	}
	return errs.ErrorOrNil()
}

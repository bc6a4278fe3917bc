// Package transporttest proves that a transport keeps the contract of
// [transport.Transport].
//
// [Run] is the suite that the transports of this module pass. One from elsewhere
// is proved in a test of its own module, by a [Subject] that says how a pair of
// them is opened and what is special about them:
//
//	package serial_test
//
//	func TestConformance(t *testing.T) {
//		transporttest.Run(t, transporttest.Subject{
//			Network: "serial",
//			Open: func(cfg *transport.Config) (transporttest.Pair, error) {
//				a, b, err := serial.Pair(cfg)
//				return transporttest.Pair{A: a, B: b, ToB: message, ToA: message}, err
//			},
//			MaxSize: 4096,
//			Unsendable: func(transporttest.Pair) []transport.Message {
//				return []transport.Message{message(0, 4097)}
//			},
//			Without: map[string]string{
//				"link_down_and_up": "there is no interface",
//				// and so on: Run lists what is missing
//			},
//		})
//	}
//
// Transport A of a pair is the one under test. B only has to keep the contract:
// a ping socket has a raw socket at its other end, and a TUN device another that
// the kernel forwards to. What such a pair does to packets on the way is said by
// Normalize, Answer and the messages themselves.
//
// A behaviour is a subtest, so that one of them can be run alone:
//
//	go test -run 'TestConformance/order_kept'
//
// A case that the transport cannot have, declared in Without, is none: it
// neither passes nor is it skipped. The log of the test has the reason.
//
// Where the descriptor has to be silent it is looked at through a Mux of every
// backend of package [iomux/mux].
//
// No case depends on the speed of the machine: what must happen is waited for,
// under a watchdog that names the case and shows every goroutine. Messages may
// arrive in any order but in order_kept; they must all arrive. The suite looks at
// the descriptors, the goroutines and the signals of its process and therefore
// does not belong beside parallel tests.
//
// # What the suite catches
//
// These mistakes were made on purpose, in a transport of the package's own tests,
// and each was caught by the subtest beside it:
//
//	the descriptor blocks                          descriptor_is_stable
//	the descriptor survives execve(2)              descriptor_is_stable
//	an idle Recv is an error                       idle_recv_is_0_nil
//	FD is another descriptor                       readable_on_every_backend
//	Recv stops after the first message             drained_is_silent
//	a transmit stamp stays in the queue            drained_is_silent
//	an empty message is dropped                    empty_message
//	truncation is not flagged                      truncation_flagged
//	Recv writes beyond Buf                         truncation_flagged
//	an empty Recv takes a message                  empty_slice_consumes_nothing
//	Recv clears what it does not fill              recv_leaves_the_rest_untouched
//	Recv replaces Buf                              recv_leaves_the_rest_untouched
//	fields of an earlier message stay              recv_leaves_the_rest_untouched
//	the filter comes after the first message       filter_before_the_first_message
//	Send sends Buf from its start                  round_trip_byte_exact
//	the payload begins in the header               round_trip_byte_exact
//	what is past the batch counts as sent          batches_of_every_size
//	a batch is sent backwards                      order_kept
//	Send changes what it sent                      send_leaves_messages_untouched
//	Send looks at buffers after it has returned    nothing_retained
//	the buffers of a Recv are used by the next     nothing_retained
//	an answer has the TTL of its request           echo_in_place
//	Recv and Send share their memory               recv_and_send_at_once
//	Recv allocates                                 zero_allocs
//	Send allocates                                 zero_allocs
//	a full buffer is an error                      short_send_then_writable
//	a short send counts as a whole one             short_send_then_writable
//	Send would block where there is room           short_send_then_writable
//	a bad message fails its batch                  send_error_is_about_the_first
//	a bad message is skipped in silence            send_error_is_about_the_first
//	an error is a bare errno                       send_error_is_about_the_first
//	Send takes a pending error for its own         pending_error_reported_once
//	Send swallows a pending error                  pending_error_reported_once
//	ENOBUFS always means that it would block       enobufs_blocks_or_is_an_error
//	EINTR is returned                              eintr_invisible
//	a second Close succeeds                        after_close_errclosed
//	a closed transport goes on with its number     after_close_errclosed
//	Close leaves a descriptor open                 no_leak
//	Close leaves a goroutine                       no_leak
//	Options that it does not know are accepted     no_leak
//	a refusal gives no advice                      unprivileged_open
//	an interface that is down swallows messages    link_down_and_up
//	an interface that is down makes waiters spin   link_down_and_up
//	an interface that was down stays down          link_down_and_up
//	it is not registered                           unknown_network_lists_known
//	it is not registered                           duplicate_register_panics
package transporttest
